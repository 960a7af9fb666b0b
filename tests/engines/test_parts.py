"""A batch that is computed in parts: PyTorch's numbers for any number of examples, whoever computes which part."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core import forks
from portable_nn.engines import plans, threads
from portable_nn.operators import Leaf, emit, integers, trace
from portable_nn.operators.registry import Array

RNG = np.random.default_rng(0)
X = RNG.standard_normal((67, 2, 20, 18), np.float32)


@pytest.fixture
def network() -> pnn.Network:
    made = pnn.Sequential(
        pnn.Input(2, 20, 18),
        pnn.Conv2d(6, 3, padding=1, bias=False),
        pnn.BatchNorm2d(),
        pnn.ReLU(),
        pnn.Conv2d(8, 3, stride=2, groups=2),
        pnn.MaxPool2d(2),
        pnn.Flatten(),
        pnn.Dense(3),
        seed=0,
    )
    for array in made.parameters.values():
        array[...] = RNG.uniform(0.2, 1, array.shape)
    return made


def torch_outputs(network: pnn.Network, x: Array) -> Array:
    torch = pytest.importorskip("torch")
    p = {name: torch.from_numpy(array.astype(np.float64)) for name, array in network.parameters.items()}
    conv, scale, bias, mean, variance, other, other_bias, dense, dense_bias = p.values()
    f = torch.nn.functional
    y = f.conv2d(torch.from_numpy(x.astype(np.float64)), conv, padding=1)
    y = f.relu(f.batch_norm(y, mean, variance, scale, bias))
    y = f.max_pool2d(f.conv2d(y, other, other_bias, stride=2, groups=2), 2).flatten(1)
    found: Array = (y @ (dense if dense.shape[0] == y.shape[1] else dense.T) + dense_bias).numpy()
    return found


@pytest.mark.parametrize("count", [1, 8, 9, 16, 17, 67])
def test_any_number_of_examples(network: pnn.Network, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "CACHED", 1)  # Eight examples in a part.
    expected = torch_outputs(network, X[:count])
    for batch_size in (None, 3, 100):
        found = network.predict(X[:count], batch_size=batch_size)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5 * np.abs(expected).max())


def test_who_computes_a_part_changes_no_bit(network: pnn.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "CACHED", 1)
    found = []
    for cores in (1, 2):
        monkeypatch.setattr(threads, "cores", lambda cores=cores: cores)
        found.append(network.predict(X))
        with threads._LOCK[0]:  # Somebody else uses the second thread.
            found.append(network.predict(X))
    assert all((each == found[0]).all() for each in found)


def test_the_second_thread_sees_new_weights(network: pnn.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "CACHED", 1)
    monkeypatch.setattr(threads, "cores", lambda: 2)
    network.predict(X)
    for array in network.parameters.values():
        array *= 0.5
    expected = torch_outputs(network, X)
    np.testing.assert_allclose(network.predict(X), expected, rtol=2e-5, atol=1e-5 * np.abs(expected).max())


def test_examples_that_know_of_each_other_are_computed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "CACHED", 1)
    x, weight = Leaf("x", "float32", ("batch", 2, 20, 18)), Leaf("w", "float32", (1, 2, 1, 1), parameter=True)
    convolved = emit("Conv", x, weight)
    graph = trace([x], [convolved - emit("ReduceMean", convolved, integers([0]))]).graph
    ones: dict[str, Any] = {"w": np.ones((1, 2, 1, 1), np.float32)}
    sums = X.sum(axis=1, keepdims=True)
    found = pnn.Network.from_graph(graph, ones).predict(X)
    np.testing.assert_allclose(found, sums - sums.mean(axis=0), atol=1e-5)


def test_an_error_in_either_half_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)

    def fails() -> None:
        raise MemoryError

    for pair in ((fails, lambda: None), (lambda: None, fails)):
        with pytest.raises(MemoryError):
            threads.side_by_side(*pair)
    done: list[int] = []
    threads.side_by_side(lambda: done.append(1), lambda: done.append(2))
    assert sorted(done) == [1, 2]


def test_the_second_thread_never_waits_for_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork that has the locks of all threads but the first waits for that one, and it for the second thread."""
    monkeypatch.setattr(threads, "cores", lambda: 2)
    begun, done = threading.Event(), list[str]()

    def first() -> None:
        begun.wait(20)
        done.append("first")

    def second() -> None:
        with forks.computing():
            done.append("second")
        begun.set()

    own, held = forks.computing(), threading.Event()
    threads.side_by_side(begun.set, lambda: None)  # Now the second thread is there.
    begun.clear()

    def fork() -> None:
        taken = [turn for turn in list(forks._turns) if turn is not own and turn.acquire(timeout=20)]
        held.set()
        begun.wait(20)
        for turn in taken:
            turn.release()

    forking = threading.Thread(target=fork)
    forking.start()
    held.wait(20)
    threads.side_by_side(first, second)
    forking.join()
    assert done == ["second", "first"]
