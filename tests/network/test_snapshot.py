"""The onnxruntime engine of a network, and compiled snapshots: always the weights that are meant."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.onnx.session import Session

FEED = np.random.default_rng(1).normal(size=(5, 3, 8, 8)).astype("float32")


@pytest.fixture
def net() -> pnn.Network:
    """A convolution with batch normalisation, which onnxruntime folds into it, and a dense layer."""
    layers = [pnn.Conv2d(8, 3, padding=1), pnn.BatchNorm2d(), pnn.ReLU(), pnn.Flatten(), pnn.Dense(4)]
    return pnn.Sequential(pnn.Input(3, 8, 8), *layers, seed=0)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for every session that is made."""
    made: list[str] = []
    first = Session.__init__

    def counted(self: Session, *args: Any, **options: Any) -> None:
        made.append("session")
        first(self, *args, **options)

    monkeypatch.setattr(Session, "__init__", counted)
    return made


def agree(net: pnn.Network) -> bool:
    return np.allclose(net.predict(FEED, engine="onnxruntime"), net.predict(FEED), atol=1e-5)


def test_one_session_serves_while_the_weights_stay_the_same(net: pnn.Network, opened: list[str]) -> None:
    for count in (5, 5, 2, 5):
        assert np.allclose(net.predict(FEED[:count], engine="onnxruntime"), net.predict(FEED[:count]), atol=1e-5)
    assert net.parameters["conv_1.weight"].sum() != 0  # Read, and not written.
    assert agree(net)
    assert opened == ["session"]


def test_threads_share_one_session_of_a_network(net: pnn.Network, opened: list[str]) -> None:
    expected = net.predict(FEED)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: net.predict(FEED, engine="onnxruntime"), range(32)))
    assert all(np.allclose(each, expected, atol=1e-5) for each in found)
    assert opened == ["session"]


def in_place(net: pnn.Network, name: str) -> None:
    net.parameters[name][...] += 2


def by_element(net: pnn.Network, name: str) -> None:
    net.parameters[name].flat[0] += 3


def by_ufunc(net: pnn.Network, name: str) -> None:
    np.add(net.parameters[name], 1, out=net.parameters[name])


def by_memoryview(net: pnn.Network, name: str) -> None:
    array = net.parameters[name]
    memoryview(array.reshape(-1)).cast("B")[0:4] = np.float32(7).tobytes()


def by_load_weights(net: pnn.Network, name: str) -> None:
    net.load_weights({key: array + 1 for key, array in net.parameters.items()})


def by_fit(net: pnn.Network, name: str) -> None:
    net.fit(FEED, np.zeros(5, int), epochs=1, optimizer=pnn.SGD(0.5))


WRITES = [in_place, by_element, by_ufunc, by_memoryview, by_load_weights, by_fit]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", ["conv_1.weight", "batch_norm_1.running_mean", "dense_1.bias"])
def test_every_kind_of_write_is_noticed(
    net: pnn.Network, opened: list[str], write: Callable[[pnn.Network, str], None], name: str
) -> None:
    before = net.predict(FEED, engine="onnxruntime")
    write(net, name)
    assert agree(net)
    assert not np.allclose(before, net.predict(FEED))
    assert agree(net)
    assert opened == ["session"] * 2


def test_writes_to_arrays_that_somebody_keeps_are_noticed_at_any_time(net: pnn.Network, opened: list[str]) -> None:
    row = net.parameters["conv_1.weight"][3].T[1:]  # A view of a view.
    raw = memoryview(net.parameters["dense_1.weight"])
    for number in range(1, 4):
        assert agree(net)
        assert agree(net)
        row[...] = number
        assert agree(net)
        np.asarray(raw)[1, 2] = 10 * number
        assert agree(net)
    assert len(opened) == 7


def test_tensors_of_other_packages_share_the_memory(net: pnn.Network) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(net.parameters["conv_1.weight"])
    assert agree(net)
    gc.collect()
    tensor.mul_(-3)
    assert agree(net)


def test_training_lets_go_of_the_weights(net: pnn.Network, opened: list[str]) -> None:
    net.fit(FEED, np.zeros(5, int), epochs=1)
    gc.collect()
    assert agree(net)
    assert agree(net)
    assert opened == ["session"]
    assert net.parameters._hashes == {}  # Nothing need be hashed any more.


def test_mapped_weights_are_copied_and_noticed(net: pnn.Network, tmp_path: Any) -> None:
    net.save(tmp_path / "net.safetensors")
    lazy = pnn.load(tmp_path / "net.safetensors", lazy=True)
    assert agree(lazy)
    lazy.own_weights()
    lazy.parameters["conv_1.weight"][...] += 1
    assert agree(lazy)
    with pytest.raises(ValueError, match="read-only"):
        pnn.load(tmp_path / "net.safetensors", lazy=True).parameters["conv_1.weight"][...] = 0


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_a_snapshot_does_not_follow_the_network(net: pnn.Network, engine: Any) -> None:
    session, before = net.session(engine=engine), net.predict(FEED)
    in_place(net, "conv_1.weight")
    assert np.allclose(session.predict(FEED), before, atol=1e-5)
    assert np.allclose(session(FEED[:2], batch_size=1), before[:2], atol=1e-5)
    assert np.allclose(session.predict({"input": FEED})["dense_1"], before, atol=1e-5)
    assert np.allclose(net.session(engine=engine).predict(FEED), net.predict(FEED), atol=1e-5)


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_threads_may_use_a_snapshot_at_once(net: pnn.Network, engine: Any) -> None:
    session = net.session(engine=engine, threads=1)
    feeds = [FEED[:1] * number for number in range(200)]
    expected = [net.predict(feed) for feed in feeds]
    with ThreadPoolExecutor(4) as pool:
        assert all(
            np.allclose(a, b, atol=1e-4) for a, b in zip(pool.map(session.predict, feeds), expected, strict=True)
        )


def _answer(session: pnn.Snapshot, queue: Any) -> None:
    queue.put(session.predict(FEED))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_other_processes_can_use_a_snapshot(net: pnn.Network, engine: Any, start: str) -> None:
    session, context = net.session(engine=engine), multiprocessing.get_context(start)
    expected, queue = session.predict(FEED), context.Queue()
    process = context.Process(target=_answer, args=(session, queue))
    process.start()
    assert np.allclose(queue.get(timeout=60), expected, atol=1e-5)
    process.join(60)
    assert process.exitcode == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_can_go_on_with_the_network_itself(net: pnn.Network) -> None:
    expected = net.predict(FEED, engine="onnxruntime")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=lambda: queue.put(net.predict(FEED, engine="onnxruntime")))
    process.start()
    assert np.allclose(queue.get(timeout=60), expected, atol=1e-5)
    process.join(60)


def test_a_snapshot_can_be_pickled(net: pnn.Network) -> None:
    for engine in ("numpy", "onnxruntime"):
        copied = pickle.loads(pickle.dumps(net.session(engine=engine)))
        assert np.allclose(copied.predict(FEED), net.predict(FEED), atol=1e-5)


def test_what_does_not_fit_a_snapshot(net: pnn.Network) -> None:
    with pytest.raises(UsageError, match="engine must be 'numpy' or 'onnxruntime', not 'torch'"):
        net.session(engine="torch")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="input 'input' needs"):
        net.session().predict(FEED[:, :1])
    with pytest.raises(UsageError, match="batch_size must be a whole number from 1, not 0"):
        net.session().predict(FEED, batch_size=0)


@pytest.mark.long
def test_threads_never_leave_a_session_of_old_weights() -> None:
    """A session that takes long to make must not replace the one of later weights."""
    net = pnn.Sequential(pnn.Input(64), pnn.Dense(400), pnn.ReLU(), pnn.Dense(10), seed=0)
    x, bias = np.ones((3, 64), "float32"), net.parameters["dense_2.bias"]

    def predict() -> Any:
        return net.predict(x, engine="onnxruntime")

    predict()
    for number in range(40):
        with ThreadPoolExecutor(2) as pool:
            bias[...] = 2 * number + 1
            pool.submit(predict)
            time.sleep(0.0005 * (number % 8))
            bias[...] = 2 * number + 2
            later = pool.submit(predict)
        assert np.allclose(predict(), net.predict(x), atol=0.01)
        assert np.allclose(later.result(), net.predict(x), atol=0.01)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_a_fork_does_not_wait_for_a_thread_that_it_has_not(net: pnn.Network, engine: Any) -> None:
    expected, context = net.predict(FEED, engine=engine), multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=lambda: queue.put(net.predict(FEED, engine=engine)))
    with net._execution._lock, net.parameters._lock:  # As if other threads computed and hashed at that moment.
        process.start()
    assert np.allclose(queue.get(timeout=60), expected, atol=1e-5)
    process.join(60)
