"""Random networks as modules of PyTorch: the same outputs, and the same parameters after five steps of training."""

from __future__ import annotations

import pytest
from drawing import drawn

from portable_nn.converters.torch.module import to_torch

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def compared(seed: int) -> None:
    program, net = drawn(seed, "float64")
    try:
        to_torch(net, atol=1e-9, rtol=1e-9, prove_training=True)
    except Exception as error:
        raise AssertionError(f"network {seed}:\n{program}\n{error}") from error


@pytest.mark.parametrize("seed", range(3))
def test_a_few_random_networks_come_out(seed: int) -> None:
    compared(seed)


@pytest.mark.long
@pytest.mark.parametrize("first", range(100, 140, 20))
def test_forty_random_networks_come_out(first: int) -> None:
    for seed in range(first, first + 20):
        compared(seed)
