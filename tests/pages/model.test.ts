import assert from "node:assert/strict";
import { test } from "node:test";

import { decided, probabilities, quantities } from "../../portable_nn/pages/src/model/answers";
import { normal } from "../../portable_nn/pages/src/model/generator";
import { readNpy, writeNpy } from "../../portable_nn/pages/src/model/npy";
import { numbers, tensor } from "../../portable_nn/pages/src/model/tensors";
import { palette } from "../../portable_nn/pages/src/model/parts";
import type { Answer } from "../../portable_nn/pages/src/model/types";
import { COMMAS, csvLines, numberIn, rowsIn, type Mark } from "../../portable_nn/pages/src/model/cells";
import { firstRow } from "../../portable_nn/pages/src/model/tables";
import { ticks } from "../../portable_nn/pages/src/shared/chart";
import spelled from "./numbers.json";

const ANSWER: Answer = {
  input: "x", dtype: "float32", example: [1], batch: null, output: "y", kind: "logits", labels: ["a", "b"], units: [], target: "",
  temperature: 1, threshold: 0, context: 0,
};

function near(found: readonly number[], wanted: readonly number[]): void {
  assert.equal(found.length, wanted.length);
  found.forEach((value, k) => assert.ok(Math.abs(value - (wanted[k] as number)) < 1e-12, `${found} is not ${wanted}`));
}

test("logits become shares by softmax, also where they are large, and their temperature divides them", () => {
  near(probabilities([Math.log(1), Math.log(3)], "logits"), [0.25, 0.75]);
  near(probabilities([1000, 1000 + Math.log(3)], "logits"), [0.25, 0.75]);
  near(probabilities([0, 2 * Math.log(3)], "logits", 2), [0.25, 0.75]);
});

test("one logit is about the second of two classes, and so is one probability", () => {
  near(probabilities([Math.log(3)], "binary_logits"), [0.25, 0.75]);
  near(probabilities([0.75], "probabilities"), [0.25, 0.75]);
  near(probabilities([0.9], "probabilities", 2), [0.25, 0.75]); // The square root of the odds 9 is 3.
});

test("an answer below the threshold is unsure, and the first of equals is the best", () => {
  assert.deepEqual([decided([0, 0], { ...ANSWER, threshold: 0.6 }).unsure, decided([0, 0], ANSWER).best], [true, 0]);
  assert.equal(decided([0, Math.log(3)], { ...ANSWER, threshold: 0.6 }).unsure, false);
});

test("a normal distribution has a mean and, from the logarithm of its variance, a standard deviation", () => {
  const [found] = quantities([5, Math.log(4)], { ...ANSWER, kind: "gaussian", labels: ["height"], units: ["m"] });
  assert.equal(found?.name, "height");
  near([found?.value ?? 0, found?.spread ?? 0], [5, 2]);
});

test("arrays come back from files of numpy", async () => {
  for (const dtype of ["float32", "float64", "int64", "uint8"]) {
    const given = tensor([1, 2, 3, 4, 5, 6], [2, 3], dtype), back = readNpy(await writeNpy(given).arrayBuffer());
    assert.deepEqual([back.dtype, back.shape, [...numbers(back)]], [dtype, [2, 3], [1, 2, 3, 4, 5, 6]]);
  }
  assert.throws(() => readNpy(new ArrayBuffer(20)), /found another kind of file/);
  assert.throws(() => tensor([1, 2], [3]), /expected 3 numbers for the shape \(3,\), found 2/);
});

test("noise has a standard normal distribution, and is the same for a seed", () => {
  const noise = normal(20_000, 7), mean = noise.reduce((a, b) => a + b) / noise.length;
  assert.ok(Math.abs(mean) < 0.03);
  assert.ok(Math.abs(noise.reduce((a, b) => a + b * b) / noise.length - mean ** 2 - 1) < 0.04);
  assert.deepEqual(normal(5, 7), noise.slice(0, 5));
  assert.notDeepEqual(normal(5, 8), noise.slice(0, 5));
});

test("axes end at round numbers", () => {
  assert.deepEqual(ticks(0.13, 0.87, 4), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(ticks(-1, 1, 4), [-1, -0.5, 0, 0.5, 1]);
});

test("numbers are spelled, and refused, as in Python", () => {
  for (const [mark, text, wanted] of spelled as [Mark, string, number | string][]) {
    const found = numberIn(text, mark);
    if (typeof wanted === "number") assert.equal(typeof found === "number" && Math.fround(found), Math.fround(wanted), text);
    else if (wanted.endsWith("so: ")) assert.equal(found, wanted.slice(0, wanted.indexOf("if")) + COMMAS);
    else if (wanted.startsWith("the value is missing")) assert.ok(Number.isNaN(found), text);
    else assert.equal(found, wanted);
  }
});

test("lines of CSV have the cells that Python's reader finds", () => {
  assert.deepEqual(csvLines('\ufeffa,"b, ""c""" ,\r\n\n1,2,3\n'), [["a", 'b, "c"', ""], ["1", "2", "3"]]);
  assert.deepEqual(csvLines("a;b\n1,5;2", ","), [["a", "b"], ["1,5", "2"]]);
  assert.deepEqual(csvLines("a\tb"), [["a", "b"]]);
  assert.throws(() => csvLines('a,"b\n1,2'), /line 1: a cell in quotes does not end/);
});

test("rows of numbers are read as predict reads them, and each bad one has its reason", () => {
  assert.deepEqual(rowsIn("x1,x2\n1,2\n3,abc\n4\n1e39,0\n", 2), [
    Float32Array.of(1, 2), "column 2: expected a finite number, found 'abc'", "expected 2 values, found 1 cell", "column 1: expected a finite number, found '1e39'",
  ]);
  assert.deepEqual(rowsIn("7,1,2\n8,3,\n", 2), [Float32Array.of(1, 2), "column 3: expected a finite number, found nothing"]);
  assert.deepEqual(rowsIn("1 2\n", 2), ["expected 2 values, found 1 cell: commas, semicolons or tabs separate columns"]);
  assert.throws(() => rowsIn(",0,1\n5,1,2\n", 2), /a first column without a heading/);
  assert.deepEqual(rowsIn("0,1,2\n0.5,1,2\n", 3), [Float32Array.of(0.5, 1, 2)]);
  assert.deepEqual(rowsIn("0,1,2\n", 3), [Float32Array.of(0, 1, 2)]);
  assert.throws(() => rowsIn("0,1,2\n3,4,5\n", 3), /the first line, 0,1,2, may be a row, or the names of the columns as pandas writes them/);
});

test("a row of a table fills in columns by their names, or in their order", () => {
  assert.deepEqual(firstRow("b,a,more\nx,1,2\ny,3,4", ["a", "b"]), { cells: ["1", "x"], count: 2 });
  assert.deepEqual(firstRow("1;x", ["a", "b"]), { cells: ["1", "x"], count: 1 });
  assert.deepEqual(firstRow("2,5;x", ["a", "b"], ","), { cells: ["2,5", "x"], count: 1 });
  assert.throws(() => firstRow("b,c\nx,1", ["a", "b"]), /has no column 'a'/);
  assert.throws(() => firstRow("1,2,3", ["a", "b"]), /expected 2 columns, or a first line with their names; found 3 without names/);
  assert.throws(() => firstRow("a,b\n1", ["a", "b"]), /expected 2 cells, as the first line has, found 1/);
  assert.throws(() => firstRow("", ["a", "b"]), /expected a row of a table, found none/);
});

test("a class keeps its colour while it is drawn, and no two have one", () => {
  const colour = palette(), first = colour([3, 8, 1, 20, 5, 6]), next = colour([30, 8, 1, 3, 5, 6]);
  assert.equal(new Set(first.values()).size, 6);
  assert.equal(new Set(next.values()).size, 6);
  for (const place of [1, 3, 5, 6, 8]) assert.equal(next.get(place), first.get(place));
});
