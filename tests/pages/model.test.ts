import assert from "node:assert/strict";
import { test } from "node:test";

import { decided, probabilities, quantities } from "../../portable_nn/pages/src/model/answers";
import { normal } from "../../portable_nn/pages/src/model/generator";
import { numbers, readNpy, tensor, writeNpy } from "../../portable_nn/pages/src/model/tensors";
import type { Answer } from "../../portable_nn/pages/src/model/types";
import { ticks } from "../../portable_nn/pages/src/shared/chart";

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
  assert.throws(() => readNpy(new ArrayBuffer(20)), /no .npy file/);
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
