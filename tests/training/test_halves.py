"""A batch in two halves: the same numbers as at once, in any number of threads, and only where examples are apart."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.graph import Graph
from portable_nn.engines import threads
from portable_nn.engines.apart import has_convolution, keeps_examples_apart
from portable_nn.operators import Leaf, Symbol, emit, integers, trace
from portable_nn.operators.linear.blas import _set_threads, _threads, has_threads_to_set, single_threaded
from portable_nn.operators.registry import Array
from portable_nn.training import halves, step

pytestmark = pytest.mark.skipif(not has_threads_to_set(), reason="numpy has another BLAS here, with other threads")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 2, 8, 8))


def network(*last: Any) -> pnn.Network:
    return pnn.Sequential(
        pnn.Input(2, 8, 8, dtype="float64"),
        pnn.Conv2d(4, 3, padding=1),
        pnn.ReLU(),
        pnn.MaxPool2d(2),
        pnn.Flatten(),
        pnn.Dense(3),
        *last,
        seed=0,
    )


def weights_after(y: Array, batch: int, **options: Any) -> dict[str, Array]:
    made = network()
    made.fit(X, y, epochs=3, batch_size=batch, **options)
    return {name: array.copy() for name, array in made.parameters.items()}


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that were computed in halves."""
    sizes: list[int] = []
    run = halves.Halves.run

    def counted(self: halves.Halves) -> None:
        sizes.append(len(next(iter(self.inputs.values()))))
        run(self)

    monkeypatch.setattr(halves.Halves, "run", counted)
    return sizes


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error", "binary_cross_entropy"])
@pytest.mark.parametrize("optimizer", [pnn.SGD(0.1), pnn.SGD(0.1, momentum=0.9), pnn.AdamW(0.01), pnn.RMSProp(0.01)])
def test_the_same_as_at_once(loss: str, optimizer: Any, used: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    y = RNG.integers(0, 3, 96) if loss == "cross_entropy" else RNG.random((96, 3))
    found = weights_after(y, 32, loss=loss, optimizer=optimizer)
    assert used == [32] * 9
    monkeypatch.setattr(step, "SMALLEST", 1000)
    at_once = weights_after(y, 32, loss=loss, optimizer=optimizer)
    assert len(used) == 9
    for name, array in at_once.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-12)


def test_the_losses_are_those_of_all_examples(used: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    y = RNG.integers(0, 3, 96)
    rows = [network().fit(X, y, loss="cross_entropy", batch_size=48, epochs=2).rows]
    monkeypatch.setattr(step, "SMALLEST", 1000)
    rows.append(network().fit(X, y, loss="cross_entropy", batch_size=48, epochs=2).rows)
    assert used == [48] * 4
    assert [row["loss"] for row in rows[0]] == pytest.approx([row["loss"] for row in rows[1]], rel=1e-12)


def test_one_core_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    y = RNG.integers(0, 3, 96)
    two = weights_after(y, 32, loss="cross_entropy")
    monkeypatch.setattr(threads, "cores", lambda: 1)
    for name, array in weights_after(y, 32, loss="cross_entropy").items():
        np.testing.assert_array_equal(two[name], array)


def test_odd_and_small_batches_and_weights_are_computed_at_once(used: list[int]) -> None:
    y = RNG.integers(0, 3, 96)
    for batch, options in ((33, {}), (16, {}), (32, {"sample_weight": np.ones(96)})):
        network().fit(X, y, loss="cross_entropy", batch_size=batch, epochs=1, **options)
    assert used == []


@pytest.mark.parametrize("layer", [pnn.Dropout(0.1), pnn.Softmax()], ids=["noise", "softmax"])
def test_noise_and_operators_that_are_not_listed_are_computed_at_once(layer: Any, used: list[int]) -> None:
    network(layer).fit(X, RNG.random((96, 3)), loss="mean_squared_error", batch_size=32, epochs=1)
    assert used == []


def test_running_statistics_are_those_of_the_whole_batch(used: list[int]) -> None:
    made = pnn.Sequential(pnn.Input(2, 8, 8), pnn.Conv2d(4, 3), pnn.BatchNorm2d(), pnn.Flatten(), pnn.Dense(3))
    made.fit(X.astype("float32"), RNG.integers(0, 3, 96), loss="cross_entropy", batch_size=32, epochs=1)
    assert used == []


def graph_of(build: Callable[[Leaf], Symbol], *shape: int | str) -> Graph:
    x = Leaf("x", "float32", shape)
    return trace([x], [build(x)]).graph


def convolved(x: Symbol) -> Symbol:
    return emit("Conv", x, Leaf(None, "float32", (2, 2, 3, 3), parameter=True))


TOGETHER: dict[str, Callable[[Leaf], Symbol]] = {
    "a mean over the batch": lambda x: convolved(x) - emit("ReduceMean", convolved(x), integers([0])),
    "a softmax over the batch": lambda x: emit("Softmax", convolved(x), axis=0),
    "a product with the batch": lambda x: emit("Gemm", f := emit("Flatten", convolved(x)), f, transB=1),
    "a batch that is turned": lambda x: emit("Transpose", convolved(x), perm=[1, 0, 2, 3]),
    "a batch that is doubled": lambda x: emit("Concat", convolved(x), convolved(x), axis=0),
    "a batch that is padded": lambda x: emit("Pad", convolved(x), integers([1, 0, 0, 0, 0, 0, 0, 0])),
    "a batch as weights": lambda x: emit("Conv", Leaf("v", "float32", (1, 2, 8, 8), parameter=True), x),
    "a batch made rows of": lambda x: emit("Reshape", convolved(x), integers([-1, 6])),
}


@pytest.mark.parametrize("what", TOGETHER)
def test_examples_that_know_of_each_other_stay_together(what: str) -> None:
    shape: tuple[int | str, ...] = (3, 2, 8, 8) if what == "a batch as weights" else ("batch", 2, 8, 8)
    assert not keeps_examples_apart(graph_of(TOGETHER[what], *shape))


def test_which_networks_are_apart() -> None:
    assert keeps_examples_apart(network().graph)
    dense = pnn.Sequential(pnn.Input(4), pnn.Dense(3)).graph
    assert keeps_examples_apart(dense)
    assert not has_convolution(dense), "nothing to gain"
    normalised = pnn.Sequential(pnn.Input(2, 8, 8), pnn.Conv2d(4, 3), pnn.BatchNorm2d()).graph
    assert keeps_examples_apart(normalised)
    assert not keeps_examples_apart(normalised, training=True), "statistics are those of the batch"
    assert not keeps_examples_apart(graph_of(convolved, 32, 2, 8, 8)), "the batch is fixed"


def test_products_have_one_thread_and_then_as_many_as_before() -> None:
    before = _threads()()
    found: list[int] = []
    _set_threads()(2)

    def fails() -> None:
        with single_threaded():
            found.append(_threads()())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    found.append(_threads()())
    _set_threads()(before)
    assert found == [1, 2]


FORKED = """
import os
import numpy as np
import portable_nn as pnn
from portable_nn.engines import threads

threads.cores = lambda: 2
x, y = np.random.default_rng(0).normal(size=(64, 2, 8, 8)), np.arange(64) % 3

def train():
    net = pnn.Sequential(pnn.Input(2, 8, 8), pnn.Conv2d(4, 3), pnn.Flatten(), pnn.Dense(3), seed=0)
    return net.fit(x, y, batch_size=32, epochs=2)["loss"][-1]

before = train()
child = os.fork()
if not child:
    os._exit(0 if train() == before else 1)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_trains_as_well() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "0\n"


def test_a_fault_in_either_half_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing has been changed by the step."""
    monkeypatch.setattr(threads, "cores", lambda: 2)
    for broken in (0, 1):
        made = network()
        before = {name: array.copy() for name, array in made.parameters.items()}
        run = halves.Halves._run_half

        def fails(self: halves.Halves, which: int, broken: int = broken, run: Any = run) -> None:
            run(self, which)
            if which == broken:
                raise MemoryError("no room")

        with monkeypatch.context() as patch:
            patch.setattr(halves.Halves, "_run_half", fails)
            with pytest.raises(MemoryError, match="no room"):
                made.fit(X, RNG.integers(0, 3, 96), loss="cross_entropy", batch_size=32, epochs=1)
        for name, array in made.parameters.items():
            np.testing.assert_array_equal(array, before[name])
