"""The field of a game on a grid, and runs through it."""

from __future__ import annotations

import numpy as np
import pytest

from portable_nn.adversarial import portrait, simulate
from portable_nn.core.errors import UsageError


def test_the_grid_of_the_saddle() -> None:
    found = portrait(grid=5, reach=2.0, steps=10)
    assert found.x.shape == found.y.shape == found.value.shape == (5, 5)
    assert found.flow.shape == found.ascent.shape == (5, 5, 2)
    assert found.x[0].tolist() == found.y[:, 0].tolist() == [-2, -1, 0, 1, 2]
    assert np.allclose(found.value, found.x * found.y)
    # Where f grows most is (y, x); x goes up its own slope and y down: (y, -x).
    assert np.allclose(found.ascent, np.stack([found.y, found.x], axis=-1))
    assert np.allclose(found.flow, np.stack([found.y, -found.x], axis=-1))
    assert not np.signbit(found.flow[found.flow == 0]).any()


def test_the_runs_are_those_of_simulate() -> None:
    found = portrait("forsaken", "consensus", [(0.5, 0.5), (1.0, 0.2)], 0.05, 20, gamma=0.5)
    assert len(found.results) == 2
    for result, start in zip(found.results, [(0.5, 0.5), (1.0, 0.2)], strict=True):
        assert np.array_equal(result.z, simulate("forsaken", "consensus", start, 0.05, 20, gamma=0.5).z)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"game": "rock-paper-scissors"},
            "the field can be shown of a game of two numbers; 'rock-paper-scissors' has 4: 2 of x and 2 of y",
        ),
        ({"starts": [(1, 2, 3)]}, r"starts must be points of 2 numbers, one for each run; their shape is \(1, 3\)"),
        ({"starts": "here"}, "starts must be points of 2 numbers, one for each run, not 'here'"),
        ({"grid": 1}, "grid must be a whole number from 2 to 1000, not 1"),
        ({"reach": 0}, "reach must be a number above 0, not 0"),
        ({"reach": "far"}, "reach must be a number above 0, not 'far'"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        portrait(**arguments)
