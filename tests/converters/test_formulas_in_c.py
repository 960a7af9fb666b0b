"""Formulas of array code, printed in C: brackets, types and NaN, against numpy."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import numpy as np
import pytest

from portable_nn.converters.array.helpers import functions
from portable_nn.converters.source.c_compiling import STRICT, compiler
from portable_nn.converters.source.c_formulas import FORMULAS, Formula
from portable_nn.converters.source.c_kernels import in_type, kernels_in
from portable_nn.converters.source.c_operators.use import literal
from portable_nn.operators.registry import Array

RNG = np.random.default_rng(0)
LEAVES = ("x0", "x1", "x0", "x1", "0.5", "(-2.0)", "3.25", "np.inf")
BINARY = ("{} + {}", "{} - {}", "{} * {}", "{} / {}", "np.maximum({}, {})", "np.minimum({}, {})")
OTHERS = ("-{}", "np.abs({})", "np.tanh({})", "sigmoid({})", "relu({})", "elu({}, 0.5)", "softplus({})", "softsign({})")


def drawn(depth: int) -> str:
    """A formula of numbers, with brackets wherever Python may need them."""
    if depth == 0 or RNG.random() < 0.1:
        return str(RNG.choice(LEAVES))
    inner = [f"({drawn(depth - 1)})" if RNG.random() < 0.7 else str(RNG.choice(LEAVES)) for _ in range(4)]
    kind = RNG.integers(8)
    if kind == 0:
        return f"np.where({inner[0]} {RNG.choice(['<', '<=', '>', '>=', '=='])} {inner[1]}, {inner[2]}, {inner[3]})"
    if kind == 1:
        return f"np.clip({inner[0]}, -1.5, {'None' if RNG.random() < 0.5 else '0.25'})"
    return str(RNG.choice(BINARY if kind < 5 else OTHERS)).format(*inner)


@pytest.mark.skipif(not compiler(), reason="there is no C compiler: cc, gcc or clang")
def test_random_formulas_are_the_same_numbers_in_c(tmp_path: Path) -> None:
    formulas = [formula for _ in range(400) if "x" in (formula := drawn(4)) and "/" not in formula.replace("/ (x", "")]
    pairs = np.vstack([RNG.normal(size=(8, 2)), [[0, 0], [np.nan, 1], [1, np.nan], [-np.inf, 2], [0.5, -2]]])
    printed = Formula(
        {"x0": "a", "x1": "b"},
        lambda value: f"({literal(value, 'float64')})",
        lambda name: in_type(f"{name}(", "float64")[:-1],
    )
    lines = [f'printf("%.17g\\n", (double)({printed.expression(ast.parse(f, mode="eval").body)}));' for f in formulas]
    helpers = "\n".join(kernels_in({(name, "float64") for name in (*FORMULAS, "larger", "smaller")}))
    helpers = "\n".join(line.replace("static double", "static inline double") for line in helpers.splitlines())
    body = 'double a, b;\nwhile (scanf("%lf %lf", &a, &b) == 2) {\n' + "\n".join(lines) + "\n}\nreturn 0;"
    source = f"#include <math.h>\n#include <stdio.h>\n#include <stdint.h>\n{helpers}\nint main(void)\n{{\n{body}\n}}\n"
    (tmp_path / "all.c").write_text(source)
    command = [compiler() or "", *STRICT, "-Wno-parentheses", "all.c", "-lm", "-o", "all"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    given = "\n".join(f"{a!r} {b!r}" for a, b in pairs.tolist())
    done = subprocess.run([str(tmp_path / "all")], input=given, text=True, check=True, capture_output=True)
    found: Array = np.array(done.stdout.split(), np.float64).reshape(len(pairs), len(formulas))
    space = {"np": np, **functions()}
    with np.errstate(all="ignore"):
        for formula, column in zip(formulas, found.T, strict=True):
            wanted = eval(formula, space, {"x0": pairs[:, 0], "x1": pairs[:, 1]})
            wanted = np.broadcast_to(np.asarray(wanted, np.float64), column.shape)
            np.testing.assert_allclose(column, wanted, rtol=1e-9, atol=1e-12, err_msg=formula)
