import assert from "node:assert/strict";
import { test } from "node:test";

import { counted, percent, rounded } from "../../portable_nn/pages/src/shared/text";

test("numbers are written as Python's :.6g does", () => {
  const written: [number, string][] = [
    [0, "0"], [1, "1"], [0.1 + 0.2, "0.3"], [1234567, "1.23457e+06"], [123456, "123456"], [0.0001, "0.0001"],
    [0.00001234567, "1.23457e-05"], [-2.5, "-2.5"], [100, "100"], [999999.5, "1e+06"], [1e300, "1e+300"],
    [NaN, "nan"], [Infinity, "inf"], [-Infinity, "-inf"],
  ];
  for (const [value, text] of written) assert.equal(rounded(value), text);
});

test("shares and counts are written for people", () => {
  assert.equal(percent(0.98765), "98.8 %");
  assert.equal(percent(0.99996), "100.00 %");
  assert.equal(counted(1, "digit"), "1 digit");
  assert.equal(counted(3, "digit"), "3 digits");
});
