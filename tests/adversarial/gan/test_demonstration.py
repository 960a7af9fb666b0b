"""The two examples, trained in any way and measured."""

from __future__ import annotations

import numpy as np
import pytest

from portable_nn.adversarial.gan.examples import demonstrate, train_pattern
from portable_nn.adversarial.gan.modes import mode_metrics
from portable_nn.adversarial.gan.sampling import sample
from portable_nn.core.errors import UsageError


@pytest.mark.long
def test_the_pattern_is_measured_and_watched() -> None:
    found = demonstrate(seed=3, steps=200, progress=False)
    assert [step for step, _ in found.result.eigenvalues] == [*range(0, 201, 20)]
    alone = train_pattern(seed=3, steps=200, progress=False)
    for name, array in alone.averaged.parameters.items():
        assert np.array_equal(found.result.averaged.parameters[name], array)
    made = sample(found.result.averaged, 2500, 10_003)
    assert found.figures["error"] == pytest.approx(np.abs(made.mean(axis=0) - [1, 0, 1, 0]).max())
    assert found.figures["deviation"] == pytest.approx(made.std(axis=0).mean())
    assert found.result.history[-1]["error"] == found.figures["error"]


@pytest.mark.long
def test_the_pattern_is_learned() -> None:
    found = demonstrate(steps=1000, eigenvalues=1000, progress=False)
    assert found.figures["error"] < 0.05
    assert found.figures["deviation"] == pytest.approx(0.05, abs=0.03)


@pytest.mark.long
def test_a_plain_one_has_no_penalty_and_no_average() -> None:
    found = demonstrate(recipe="plain", steps=20, progress=False)
    for name, array in found.result.generator.parameters.items():
        assert np.array_equal(found.result.averaged.parameters[name], array)


@pytest.mark.long
def test_the_ring_has_the_metrics_of_modes() -> None:
    found = demonstrate("ring", loss="wasserstein_gp", steps=3, progress=False)
    made = sample(found.result.averaged, 2500, 10_000)
    assert found.figures == vars(mode_metrics(made))
    assert set(found.figures) <= set(found.result.history[-1])
    assert found.result.eigenvalues == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"example": "circle"}, "example must be one of pattern, ring, not 'circle'"),
        ({"recipe": "good"}, "recipe must be one of regularised, plain, not 'good'"),
        ({"steps": 0}, "steps must be a whole number from 1, not 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ({"method": "x"}, "method must be one of alternating, "),
        ({"example": "ring", "eigenvalues": 5, "steps": 5}, "a dense Jacobian is for up to 3,000 weights"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        demonstrate(**arguments, progress=False)
