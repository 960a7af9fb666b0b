import assert from "node:assert/strict";
import { test } from "node:test";

import { counted, percent, plain, rounded } from "../../portable_nn/pages/src/shared/text";

test("numbers are written as Python's :.6g does", () => {
  const written: [number, string][] = [
    [0, "0"], [1, "1"], [0.1 + 0.2, "0.3"], [1234567, "1.23457e+06"], [123456, "123456"], [0.0001, "0.0001"],
    [0.00001234567, "1.23457e-05"], [-2.5, "-2.5"], [100, "100"], [999999.5, "1e+06"], [1e300, "1e+300"],
    [NaN, "nan"], [Infinity, "inf"], [-Infinity, "-inf"],
  ];
  for (const [value, text] of written) assert.equal(rounded(value), text);
});

test("numbers are written as a person writes them", () => {
  const written: [number, number, string][] = [
    [122800, 4, "122,800"], [122834.5, 4, "122,800"], [122834.5, 6, "122,835"], [0.0123, 4, "0.0123"], [-1234.56, 5, "-1,234.6"],
    [999999.5, 6, "1,000,000"], [123456789, 5, "123,460,000"], [1e9, 5, "1e+09"], [0.00012, 5, "0.00012"], [0.000012, 5, "1.2e-05"],
    [0, 5, "0"], [999, 4, "999"], [1000, 4, "1,000"], [NaN, 4, "nan"], [-Infinity, 4, "-inf"],
  ];
  for (const [value, digits, text] of written) assert.equal(plain(value, digits), text);
  assert.equal(plain(122800, 4, false), "122800");
});

test("shares and counts are written for people", () => {
  assert.equal(percent(0.98765), "98.8 %");
  assert.equal(percent(0.99996), "100.00 %");
  assert.equal(counted(1, "digit"), "1 digit");
  assert.equal(counted(3, "digit"), "3 digits");
});
