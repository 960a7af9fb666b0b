"""Forks while other threads compute, and copies of a network: by ``copy``, by ``pickle`` and in other processes."""

import copy
import itertools
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core import forks
from portable_nn.onnx.library.isolated import infer_shapes
from portable_nn.onnx.writing import to_model

X = np.random.default_rng(0).normal(size=(256, 784)).astype(np.float32)
Y = np.arange(256) % 10

COPIES: dict[str, Callable[[pnn.Network], pnn.Network]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
}


def network(units: int = 1000) -> pnn.Sequential:
    return pnn.Sequential(pnn.Input(784), pnn.Dense(units), pnn.ReLU(), pnn.Dense(units), pnn.ReLU(), pnn.Dense(10))


@contextmanager
def repeating(work: Callable[[], Any]) -> Iterator[None]:
    """Another thread that does ``work`` again and again."""
    over, begun = threading.Event(), threading.Event()

    def run() -> None:
        while not over.is_set():
            work()
            begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert begun.wait(60)
        yield
    finally:
        over.set()
        thread.join()


def fork(work: Callable[[], bool], seconds: float = 60) -> str:
    """What comes of ``work`` in a forked process: "right", "wrong" or "hangs"."""
    child = os.fork()
    if not child:
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            os._exit(2)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "right" if status == 0 else "wrong"
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.mark.long
@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("what", "engine"), list(itertools.product(["predicts", "trains", "compiles"], ["numpy", "onnxruntime"]))
)
def test_a_fork_waits_for_what_other_threads_compute(engine: Any, what: str) -> None:
    """Without that, the child waits for ever for a thread of OpenBLAS or onnxruntime that it does not have."""
    net, other = network(), network(400)
    expected = net.predict(X, engine=engine)
    work: Callable[[], Any] = {
        "predicts": lambda: net.predict(X, engine=engine),
        "trains": lambda: other.fit(X, Y, epochs=1, progress=False),
        "compiles": lambda: network(200).predict(X[:32], engine=engine),
    }[what]

    def answers() -> bool:
        return np.allclose(net.predict(X, engine=engine), expected, atol=1e-4)

    found = []
    with repeating(work):
        for number in range(5):
            time.sleep(0.003 * number)
            found.append(fork(answers))
    assert found == ["right"] * 5
    assert answers()


@pytest.mark.long
@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_asks_the_helper_process() -> None:
    """The onnx library's shape inference runs in a process of its own, which belongs to the parent alone."""
    model = to_model(network(20).graph, network(20).parameters)

    def ask() -> bool:
        return len(infer_shapes(model).graph.value_info) == len(model.graph.node) - 1

    with repeating(ask):
        assert [fork(ask) for _ in range(3)] == ["right"] * 3
    assert ask()


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_does_not_wait_for_what_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "PATIENCE", 0.2)
    over, begun = threading.Event(), threading.Event()

    def compute() -> None:
        with forks.computing():
            begun.set()
            over.wait(60)

    thread = threading.Thread(target=compute)
    thread.start()
    assert begun.wait(60)
    assert fork(lambda: True) == "right"
    over.set()
    thread.join()
    assert fork(lambda: True) == "right"


def _answer(net: pnn.Network, engine: Any, queue: Any) -> None:
    queue.put(net.predict(X, engine=engine))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(("engine", "start"), list(itertools.product(["numpy", "onnxruntime"], ["fork", "spawn"])))
def test_other_processes_can_use_a_network(engine: Any, start: str) -> None:
    net, context = network(50), multiprocessing.get_context(start)
    expected, queue = net.predict(X, engine=engine), context.Queue()
    process = context.Process(target=_answer, args=(net, engine, queue))
    with repeating(lambda: net.predict(X, engine=engine)):
        process.start()
        assert np.allclose(queue.get(timeout=60), expected, atol=1e-5)
        process.join(60)
    assert process.exitcode == 0


def trained() -> pnn.Sequential:
    net = pnn.Sequential(
        pnn.Input(4, name="x"), pnn.Dense(8), pnn.BatchNorm1d(), pnn.ReLU(), pnn.Dropout(0.3), pnn.Dense(3),
        labels="abc", metadata={"by": "me"}, seed=3,
    )  # fmt: skip
    net.fit(X[:, :4], Y % 3, epochs=1, progress=False)
    return net


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_is_the_same_network(copied: Callable[[pnn.Network], pnn.Network]) -> None:
    """The same answers, the same bytes in a file, and the same training from there on."""
    net = trained()
    other = copied(net)
    assert type(other) is pnn.Sequential
    assert (other.predict(X[:, :4]) == net.predict(X[:, :4])).all()
    assert other.manifest() == net.manifest()
    for each in (net, other):
        each.fit(X[:, :4], Y % 3, epochs=2, progress=False)
    assert all((other.parameters[name] == array).all() for name, array in net.parameters.items())


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_shares_nothing(copied: Callable[[pnn.Network], pnn.Network]) -> None:
    net = trained()
    before, other = net.manifest(), copied(net)
    other.fit(X[:, :4], Y % 3, epochs=1, progress=False)
    other.parameters["dense_1.weight"][...] = 7
    other.metadata["by"] = "you"
    other.freeze("*")
    assert net.manifest() == before
    assert np.array_equal(net.rng.bit_generator.state["state"], trained().rng.bit_generator.state["state"])


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_of_mapped_weights_lies_in_memory(copied: Callable[[pnn.Network], pnn.Network], tmp_path: Any) -> None:
    trained().save(tmp_path / "m.safetensors")
    mapped = pnn.load(tmp_path / "m.safetensors", lazy=True)
    other = copied(mapped)
    assert (other.predict(X[:, :4]) == mapped.predict(X[:, :4])).all()
    other.parameters["dense_1.weight"][...] = 0
    assert mapped.parameters["dense_1.weight"].any()
