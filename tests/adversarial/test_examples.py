"""The examples in the docstrings print what they show."""

from __future__ import annotations

import doctest
import importlib

import pytest

from portable_nn import adversarial
from portable_nn.adversarial import gan

MODULES = [
    "games.game", "games.table", "theory.updates", "theory.forecast", "runs.simulation", "runs.comparison",
    "runs.sweeping", "gan.training",
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(f"portable_nn.adversarial.{name}")
    names = {public: getattr(package, public) for package in (adversarial, gan) for public in package.__all__}
    found = doctest.testmod(module, extraglobs=names)
    assert found.attempted
    assert not found.failed


def test_a_result_and_a_comparison_are_tables() -> None:
    assert repr(adversarial.simulate()).splitlines()[-1] == (
        "verdict       diverges: the distance is multiplied by 1.004988 per step"
    )
    shown = repr(adversarial.compare(methods=["simultaneous", "optimistic"])).splitlines()
    assert shown[0] == "bilinear, 1,000 gradient evaluations each"
    assert [line.split()[0] for line in shown[1:]] == ["method", "optimistic", "simultaneous"]
