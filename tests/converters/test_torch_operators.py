"""Every operator in PyTorch: each case of the table, computed here and by the module that is written for it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from cases import CASES, Case

import portable_nn as pnn
from portable_nn.converters.torch.execution import executed
from portable_nn.converters.torch.source import source_of
from portable_nn.converters.torch.source_use import ROWS
from portable_nn.core.errors import UsageError
from portable_nn.engines.once import run_numpy
from portable_nn.operators import REGISTRY, trace
from portable_nn.operators.registry import find

torch: Any = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")


def network_of(case: Case, dtype: str) -> pnn.Network:
    leaves, outputs = case.build(dtype)
    named = [each for each in outputs if each is not None]
    return pnn.Network.from_graph(trace(leaves, named).graph, {})


STANDARD = [case for case in CASES if not case.domain]


REFUSED = {
    "AveragePool": "a dilated average",
    "BatchNormalization": "running statistics as outputs",
    "BitShift": "bits of uint",
    "Dropout": "a mask as an output",
    "MaxPool": "indices of an uneven padding|padding of whole numbers",
    "Resize": "outside the input",
    "RoiAlign": "sampling_ratio of 1 or more|the mode avg",
}
"""What PyTorch has not, by operator: no other case may be refused."""


def compared(case: Case) -> str:
    """The reason why a case is refused; empty where both sides agree."""
    dtype = "float64" if case.exists_in("float64") else "float32"
    net, feeds = network_of(case, dtype), case.feeds(dtype)
    try:
        module = executed(source_of(net), net)
    except UsageError as error:
        return str(error)
    with torch.no_grad():
        found = module(*(torch.from_numpy(np.array(feeds[value.name])) for value in net.graph.inputs))
    results = found if isinstance(found, tuple) else (found,)
    for theirs, (name, ours) in zip(results, run_numpy(net.graph, net.parameters, feeds).items(), strict=True):
        assert (theirs.numpy().dtype, theirs.shape) == (ours.dtype, ours.shape), name
        tolerance = 1e-6 if ours.dtype == np.float64 else 1e-5
        text = f"{case}: {name}\n{module.source}"
        np.testing.assert_allclose(theirs.numpy(), ours, rtol=tolerance, atol=tolerance, err_msg=text)
    return ""


@pytest.mark.parametrize("case", STANDARD[::25], ids=str)
def test_a_few_cases_are_the_same_in_pytorch(case: Case) -> None:
    compared(case)


@pytest.mark.long
@pytest.mark.parametrize("operator", sorted({case.operator for case in STANDARD}))
def test_an_operator_is_the_same_in_pytorch(operator: str) -> None:
    for case in STANDARD:
        if case.operator == operator and (reason := compared(case)):
            assert re.search(REFUSED.get(operator, "nothing"), reason), f"{case}: {reason}"


def test_every_operator_has_a_row_or_a_lowering_or_layer() -> None:
    assert {name for domain, name in REGISTRY if not domain and name not in ROWS and not find(name).lowering} == set()
