"""Element-wise operators on single floats compute what their numpy kernels do."""

from __future__ import annotations

import numpy as np
import pytest

from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, emit, lookup, trace
from portable_nn.operators.scalars import SCALARS


@pytest.mark.parametrize("name", SCALARS)
def test_scalars_equal_the_kernel(name: str) -> None:
    values = [0.3, 1.7, 2.0] if name in {"Log", "Sqrt", "Pow"} else [-40.0, -1.2, 0.3, 2.0, 40.0]
    leaves = [Leaf(f"x{place}", "float64", ()) for place in range(len(lookup(name).inputs))]
    output = emit(name, *leaves)
    traced = trace(leaves, [output], name)
    plan = Plan(traced.graph, {}, {})
    for value in values:
        inputs = [value, 0.7][: len(leaves)]
        for leaf, number in zip(leaves, inputs, strict=True):
            plan.inputs[traced.names[leaf]][()] = number
        plan.run()
        found = SCALARS[name](*inputs)
        assert isinstance(found, float)
        assert found == pytest.approx(float(plan.outputs[traced.names[output]]), rel=1e-14, abs=1e-300), value
    assert np.isfinite(found)
