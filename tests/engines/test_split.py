"""Steps in two halves: all of the array, in either order; and a training step that is PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.engines import split, threads
from portable_nn.engines.split import SplitPlan, halved
from portable_nn.operators.linear.blas import has_threads_to_set
from portable_nn.operators.registry import Array, Step

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _cut_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "PRODUCT", 1)
    monkeypatch.setattr(split, "ELEMENTS", 1)


A, B, C = (RNG.standard_normal(shape) for shape in ((5, 1, 6, 4), (3, 1, 4), (40, 7)))
MOVED = RNG.standard_normal((4, 6, 3, 5)).transpose(3, 2, 1, 0)
STACK, MATRIX, WIDE = (RNG.standard_normal(shape) for shape in ((3, 1, 6, 4), (1, 5, 4, 8), (7, 9)))

STEPS: dict[str, tuple[Callable[[Array], Step], Array]] = {
    "of two": (lambda out: partial(np.add, A, B, out=out), A + B),
    "laid out by columns": (lambda out: partial(np.multiply, MOVED, 2.0, out=out), MOVED * 2),
    "a comparison": (lambda out: partial(np.greater, MOVED, MOVED[:1], out=out), MOVED[:1] < MOVED),
    "a copy": (lambda out: partial(np.copyto, out, B), np.broadcast_to(B, (2, 3, 1, 4))),
    "a stack of products": (
        lambda out: partial(np.matmul, STACK, MATRIX, out=out),
        np.einsum("aimk,ibkn->abmn", STACK, MATRIX),
    ),
    "one matrix for all": (
        lambda out: partial(np.matmul, STACK, MATRIX[0, 0], out=out),
        np.einsum("abmk,kn->abmn", STACK, MATRIX[0, 0]),
    ),
    "rows": (lambda out: partial(np.dot, C, WIDE, out), np.einsum("mk,kn->mn", C, WIDE)),
    "rows of columns": (lambda out: partial(np.dot, C.T.copy().T, WIDE, out), np.einsum("mk,kn->mn", C, WIDE)),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_both_halves_are_the_whole(name: str, order: tuple[int, int]) -> None:
    make, expected = STEPS[name]
    out = np.zeros(expected.shape, expected.dtype)
    halves = halved(make(out))
    assert halves is not None
    for which in order:
        halves[which]()
    np.testing.assert_allclose(out, expected, rtol=1e-12)
    untouched = np.zeros_like(out)
    halves = halved(make(untouched))
    assert halves is not None
    halves[0]()
    assert (untouched == 0).any()


def test_what_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(40.0).reshape(10, 4)
    whole: dict[str, Any] = {
        "another place of the same memory": partial(np.add, x[1:], 1, out=x[:-1]),
        "a copy over itself": partial(np.copyto, x[1:], x[:-1]),
        "another function": partial(np.add.reduce, x, axis=0, out=x[0].copy()),
        "few rows": partial(np.dot, x[:8], x[:4], np.empty((8, 4))),
        "sums of products": partial(np.vecdot, x, x, out=np.empty(10)),
        "no array": x.copy,
        "one element": partial(np.add, x[:1, :1], 1, out=x[:1, :1]),
    }
    assert [name for name, step in whole.items() if halved(step)] == []
    assert halved(partial(np.add, x, 1, out=x))
    monkeypatch.setattr(split, "ELEMENTS", 41)
    assert halved(partial(np.add, x, 1, out=x)) is None


X, Y = RNG.standard_normal((24, 2, 8, 8)), np.arange(24) % 3


def network() -> pnn.Network:
    return pnn.Sequential(
        pnn.Input(2, 8, 8, dtype="float64"),
        pnn.Conv2d(24, 3, padding=1),
        pnn.BatchNorm2d(),
        pnn.ReLU(),
        pnn.MaxPool2d(3, stride=2, padding=1),
        pnn.Conv2d(16, 3, stride=2),
        pnn.Flatten(),
        pnn.Dense(3),
        seed=0,
    )


def trained(cores: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, Array]:
    """The weights after three steps with all examples."""
    monkeypatch.setattr(threads, "cores", lambda: cores)
    made = network()
    made.fit(X, Y, loss="cross_entropy", optimizer=pnn.SGD(0.1), epochs=3, batch_size=24)
    return {name: array.copy() for name, array in made.parameters.items()}


@pytest.mark.skipif(not has_threads_to_set(), reason="numpy has another BLAS here, with other threads")
def test_training_is_that_of_pytorch_on_any_number_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = list[int]()
    run = SplitPlan._run_steps

    def counted(self: SplitPlan) -> None:
        runs.append(1)
        run(self)

    monkeypatch.setattr(SplitPlan, "_run_steps", counted)
    one, two = trained(1, monkeypatch), trained(2, monkeypatch)
    assert len(runs) == 6
    for name, array in one.items():
        np.testing.assert_array_equal(two[name], array)

    torch = pytest.importorskip("torch")
    nn, old = torch.nn, [torch.from_numpy(array.copy()) for array in network().parameters.values()]
    layers = [nn.Conv2d(2, 24, 3, padding=1), nn.BatchNorm2d(24), nn.Conv2d(24, 16, 3, 2), nn.Linear(16, 3)]
    conv, norm, other, dense = layers
    net = nn.Sequential(conv, norm, nn.ReLU(), nn.MaxPool2d(3, 2, 1), other, nn.Flatten(), dense).double()
    theirs = [value for layer in layers for name, value in layer.state_dict().items() if "tracked" not in name]
    for value, array in zip(theirs, old, strict=True):
        value.copy_(array if value.shape == array.shape else array.T)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(torch.from_numpy(X)), torch.from_numpy(Y)).backward()
        optimizer.step()
    for value, (name, array) in zip(theirs, one.items(), strict=True):
        if "var" in name:  # PyTorch's running variance is that of a sample, the standard's that of a population.
            continue
        np.testing.assert_allclose(
            array if value.shape == array.shape else array.T, value, rtol=1e-9, atol=1e-12, err_msg=name
        )
