import assert from "node:assert/strict";
import { test } from "node:test";

import { decided, probabilities, quantities, sentence } from "../../portable_nn/pages/src/model/answers";
import { normal } from "../../portable_nn/pages/src/model/generator";
import { fromHalves, toHalves } from "../../portable_nn/pages/src/model/halves";
import { readNpy, writeNpy } from "../../portable_nn/pages/src/model/npy";
import { numbers, tensor } from "../../portable_nn/pages/src/model/tensors";
import { firstExample } from "../../portable_nn/pages/src/model/inside";
import { palette } from "../../portable_nn/pages/src/model/parts";
import type { Answer } from "../../portable_nn/pages/src/model/types";
import { COMMAS, csv, csvLines, numberIn, rowsIn, type Mark } from "../../portable_nn/pages/src/model/cells";
import { firstRow } from "../../portable_nn/pages/src/model/tables";
import { cast, mismatch, parsed, spelled } from "../../portable_nn/pages/src/model/typed";
import { ticks } from "../../portable_nn/pages/src/shared/chart";
import formulas from "./formulas.json";
import spellings from "./numbers.json";

const ANSWER: Answer = {
  input: "x", dtype: "float32", example: [1], batch: null, output: "y", kind: "logits", labels: ["a", "b"], units: [], target: "",
  temperature: 1, threshold: 0, context: 0, meant: true,
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

test("an answer is the likeliest class with its own probability, unless the threshold asks for more", () => {
  const names = ["fraud", "ok"], target = "fraud", said = (row: number[], threshold = 0) =>
    sentence(decided(row, { ...ANSWER, kind: "probabilities", threshold }), names, { ...ANSWER, target, threshold });
  assert.deepEqual(said([0.0003, 0.9997]), ["ok", "fraud is ok: probability 99.97 %"]);
  assert.deepEqual(said([0.75, 0.25]), ["fraud", "fraud is fraud: probability 75.0 %"]);
  assert.deepEqual(said([0.25, 0.75], 0.75), ["ok", "fraud is ok: probability 75.0 %"]);
  assert.deepEqual(said([0.3, 0.7], 0.75), ["unsure", "ok is the likeliest, at 70.0 %: less than the 75.0 % that this model asks for"]);
  assert.deepEqual(sentence(decided([0.75], { ...ANSWER, kind: "probabilities" }), names, ANSWER), ["ok", "probability 75.0 %"]);
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
  const height: Answer = { ...ANSWER, kind: "gaussian", labels: ["height"], units: ["m"] };
  const unsure = quantities([5, Math.log(4)], { ...height, threshold: 1 });
  assert.deepEqual(unsure, [{ name: "height", unit: "m", value: NaN, spread: 2 }]);
  const [found] = quantities([5, Math.log(4)], height);
  assert.equal(found?.name, "height");
  near([found?.value ?? 0, found?.spread ?? 0], [5, 2]);
});

test("arrays come back from files of numpy", async () => {
  for (const dtype of ["float32", "float64", "int64", "uint8"]) {
    const given = tensor([1, 2, 3, 4, 5, 6], [2, 3], { input: "x", dtype }), back = readNpy(await writeNpy(given).arrayBuffer());
    assert.deepEqual([back.dtype, back.shape, [...numbers(back)]], [dtype, [2, 3], [1, 2, 3, 4, 5, 6]]);
  }
  assert.throws(() => readNpy(new ArrayBuffer(20)), /found another kind of file/);
  assert.throws(() => tensor([1, 2], [3], { input: "x", dtype: "float32" }), /expected 3 numbers for the shape \(3,\), found 2/);
});

test("numbers of 16 bits are the nearest ones, of two as near the even one", () => {
  const bits = Uint16Array.from({ length: 0x7c00 }, (_, place) => place), values = fromHalves(bits);
  assert.deepEqual([values[1], values[0x3c00], values[0x7bff]], [2 ** -24, 1, 65504]);
  assert.deepEqual(toHalves(values), bits);
  assert.deepEqual(toHalves(values.map((value) => -value)), bits.map((each) => each | 0x8000));
  const between = Float64Array.from({ length: 0x7bff }, (_, place) => ((values[place] as number) + (values[place + 1] as number)) / 2);
  assert.deepEqual(toHalves(between), bits.slice(0, -1).map((each) => each + (each % 2)));
  assert.deepEqual([...toHalves([65519, 65520, Infinity, -Infinity, NaN])], [0x7bff, 0x7c00, 0x7c00, 0xfc00, 0x7e00]);
});

test("words that every object of JavaScript has are no numbers", () => {
  for (const word of ["constructor", "toString", "__proto__"]) {
    for (const dtype of ["float32", "int64", "bool"]) assert.throws(() => parsed(`[${word}]`, dtype), /^Error: expected (a number|true or false), found/);
  }
});

test("what the type of an input has not is refused, and no other number", () => {
  const given = (value: number, dtype: string) => tensor([value], [1], { input: "x", dtype }).data[0];
  assert.deepEqual([given(-128, "int8"), given(1, "bool"), given(2 ** 53, "int64"), given(0.1, "float16")], [-128, 1, 2n ** 53n, 0.0999755859375]);
  for (const [value, dtype] of [[128, "int8"], [0.5, "int64"], [-1, "uint64"], [2, "bool"], [NaN, "int32"], [1e20, "int64"], [-1, "uint8"]] as const) {
    assert.throws(() => given(value, dtype), new RegExp(`^Error: input 'x' takes ${dtype}, and `), `${value} ${dtype}`);
  }
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
  for (const [mark, text, wanted] of spellings as [Mark, string, number | string][]) {
    const found = numberIn(text, mark);
    if (typeof wanted === "number") assert.equal(typeof found === "number" && Math.fround(found), Math.fround(wanted), text);
    else if (wanted.endsWith("so: ")) assert.equal(found, wanted.slice(0, wanted.indexOf("if")) + COMMAS);
    else if (wanted.startsWith("the value is missing")) assert.ok(Number.isNaN(found), text);
    else assert.equal(found, wanted);
  }
});

test("words that a spreadsheet would compute are written to CSV as Python writes them", () => {
  for (const [word, written] of formulas as [string, string][]) assert.equal(csv([word, -1.5]), `${written},-1.5\n`);
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
  assert.deepEqual(firstRow("1,5\t2,5", ["a", "b"]), { cells: ["1,5", "2,5"], count: 1 });
  assert.deepEqual(firstRow("b\ta\r\n2,5\t1,5\r\n", ["a", "b"], ","), { cells: ["1,5", "2,5"], count: 1 });
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

test("arrays as JSON are taken to the last digit, or refused", () => {
  const data = (text: string, dtype: string) => Array.from(parsed(text, dtype).data as ArrayLike<number | bigint>);
  assert.deepEqual(data("[9007199254740993, -9223372036854775808, 1e3, 2.0]", "int64"), [9007199254740993n, -9223372036854775808n, 1000n, 2n]);
  assert.deepEqual(data("[[18446744073709551615]]", "uint64"), [18446744073709551615n]);
  assert.deepEqual(data("[NaN, -Infinity, 1e-400, 0.1]", "float32"), [NaN, -Infinity, 0, Math.fround(0.1)]);
  assert.deepEqual(data(" [ true, 0 ] ", "bool"), [1, 0]);
  assert.deepEqual(parsed("[[[1,2,3],[4,5,6]]]", "float32").shape, [1, 2, 3]);
  assert.deepEqual([parsed("7", "int8").shape, parsed("[]", "float32").shape, parsed("[[],[]]", "float32").shape], [[], [0], [2, 0]]);
  const wrong: [string, string, string][] = [
    ["[0.5]", "int64", "expected int64, found 0.5"], ["[9223372036854775808]", "int64", "9223372036854775808 does not fit into int64"],
    ["[-1]", "uint8", "-1 does not fit into uint8"], ["[256]", "uint8", "256 does not fit into uint8"], ["[NaN]", "int32", "expected int32, found NaN"],
    ["[null]", "float32", "expected a number, found null"], ["[true]", "float32", "expected a number, found true"], ['["a"]', "float32", 'expected a number, found "a"'],
    ["[1e39]", "float32", "1e+39 does not fit into a float32"], ["[1e400]", "float64", "inf does not fit into a float64"], ["[0x10]", "int8", "expected a number, found 0x10"],
    ["[2]", "bool", "expected true or false, found 2"], ["[null]", "bool", "expected true or false, found null"],
    ["hello", "float32", "expected a number, found hello"], ["", "float32", "expected a number or a list in brackets, found the end"],
    ["[1,,2]", "float32", "expected a number or a list in brackets, found ','"], ["[1 2]", "float32", "expected a comma or ] after each number of a list"],
    ["[1", "float32", "expected a comma or ] after each number of a list"], ["[1],[2]", "float32", "expected one array, found ',' after it"],
    ["[[1,2,3],[4,5]]", "float32", "expected lists of one length, found (3,) and (2,) beside each other"],
  ];
  for (const [text, dtype, words] of wrong) assert.throws(() => parsed(text, dtype), { message: words }, text);
});

test("arrays are spelled so that they come back, and cast where that changes no whole number", () => {
  for (const [dtype, words] of [["float32", "[0.1,16777217,1e-45,NaN,-Infinity,0.33333334]"], ["float64", "[0.1,0.3333333333333333,5e-324]"], ["int64", "[9007199254740993]"], ["bool", "[true,false]"]] as const) {
    const given = parsed(words, dtype), back = parsed(spelled(given), dtype);
    assert.deepEqual(back, given);
  }
  assert.equal(spelled(parsed("[[1,2],[3,4]]", "int8")), "[[1,2],[3,4]]");
  assert.equal(spelled(parsed("[[1,2],[3,4]]", "int8"), 3), "[1,2,3]");
  const value = (dtype: string) => ({ name: "x", dtype, shape: ["N"] });
  assert.deepEqual(cast(parsed("[1,2]", "float64"), value("int64")), parsed("[1,2]", "int64"));
  assert.throws(() => cast(parsed("[1,0.5]", "float64"), value("int64")), /expected int64, as input 'x' takes, found float64 with other numbers: expected int64, found 0.5/);
  assert.throws(() => cast(parsed("[1e39]", "float64"), value("float32")), /1e\+39 does not fit into a float32/);
  assert.throws(() => cast(parsed("[3]", "int64"), value("bool")), /expected bool, found 3/);
});

test("shapes that do not fit are refused in Python's words", () => {
  const inputs = [{ name: "a", dtype: "float32", shape: ["N", 2] }, { name: "b", dtype: "float32", shape: ["N", "M"] }];
  const given = (a: string, b: string) => ({ a: parsed(a, "float32"), b: parsed(b, "float32") });
  assert.equal(mismatch(inputs, given("[[1,2]]", "[[1,2,3]]")), undefined);
  assert.equal(mismatch(inputs, given("[[1]]", "[[1]]")), "input 'a' needs (N, 2), not (1, 1)");
  assert.equal(mismatch(inputs, given("[1,2]", "[[1]]")), "input 'a' needs (N, 2), not (2,)");
  assert.equal(mismatch(inputs, given("[[1,2],[3,4]]", "[[1]]")), "input 'b' needs (N, M) where N is 2 by 'a', not (1, 1)");
});

test("the first example of a layer lies along the axis of the batch", () => {
  const output = tensor(Array.from({ length: 12 }, (_, place) => place), [3, 2, 2], { input: "x", dtype: "float32" });
  assert.deepEqual(firstExample(output, 1), { values: Float64Array.of(0, 1, 4, 5, 8, 9), shape: [3, 2] });
  assert.deepEqual(firstExample(output, 0), { values: Float64Array.of(0, 1, 2, 3), shape: [2, 2] });
  assert.deepEqual(firstExample(output, null).shape, [3, 2, 2]);
});
