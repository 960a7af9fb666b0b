"""The training loss of an epoch, and steps of several batches, where losses divide by weights of classes: as of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from steps import classes, draw, mlp

import portable_nn as pnn
from portable_nn.operators.registry import Array

torch = pytest.importorskip("torch")
F = torch.nn.functional

N, K = 50, 3
X, Y = draw(N, 5, seed=1), np.sort(classes(N, K))
"""In order of the classes: each batch has other weights."""
WEIGHT = (1.0, 4.0, 0.25)
SAMPLE = np.random.default_rng(3).uniform(0, 2, N)
STILL: dict[str, Any] = {"optimizer": pnn.SGD(0.0), "epochs": 1, "batch_size": 7}


def of_torch(network: pnn.Network, y: Array, **options: Any) -> float:
    """PyTorch's loss of the whole set."""
    weight = torch.tensor(WEIGHT, dtype=torch.float64)
    return float(torch.nn.CrossEntropyLoss(weight=weight, **options)(torch.tensor(network.predict(X)), torch.tensor(y)))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("options", [{}, {"ignore_index": 1}, {"label_smoothing": 0.2}], ids=str)
def test_the_loss_of_an_epoch_is_that_of_the_whole_set(options: dict[str, Any], shuffle: bool) -> None:
    network = mlp()
    history = network.fit(X, Y, loss=pnn.CrossEntropy(WEIGHT, **options), shuffle=shuffle, validation=(X, Y), **STILL)
    assert history["loss"] == [pytest.approx(of_torch(network, Y, **options), rel=1e-12)]
    assert history["val_loss"] == [pytest.approx(history["loss"][0], rel=1e-12)]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_with_weights_of_the_examples(accumulate: int) -> None:
    """Some batches without any."""
    network, sample = mlp(), np.where(np.arange(N) < 15, 0, SAMPLE)
    loss = pnn.CrossEntropy(WEIGHT)
    history = network.fit(X, Y, loss=loss, sample_weight=sample, shuffle=False, accumulate=accumulate, **STILL)
    each = -torch.log_softmax(torch.tensor(network.predict(X)), 1).numpy()[np.arange(N), Y]
    count = np.take(WEIGHT, Y) * sample
    assert history["loss"] == [pytest.approx((each * count).sum() / count.sum(), rel=1e-12)]


def test_of_truths() -> None:
    network, y = mlp(), np.sort(draw(N, 3, seed=2) > 0, axis=0)
    history = network.fit(X, y, loss=pnn.BinaryCrossEntropy((0.5, 3.0)), shuffle=False, **STILL)
    each = F.binary_cross_entropy_with_logits(
        torch.tensor(network.predict(X)), torch.tensor(y).double(), reduction="none"
    ).numpy()
    count = np.where(y, 3.0, 0.5)
    assert history["loss"] == [pytest.approx((each * count).sum() / count.sum(), rel=1e-12)]


def of_two() -> pnn.Network:
    """A network with an output of classes, and one of numbers."""
    x = pnn.Input(5, dtype="float64", name="x")
    body = pnn.Tanh()(pnn.Dense(4)(x))
    return pnn.Network(x, [pnn.Dense(K, name="kind")(body), pnn.Dense(2, name="size")(body)], seed=0)


TWO: dict[str, Any] = {"loss": {"kind": pnn.CrossEntropy(WEIGHT, weight=0.5), "size": "mean_squared_error"}}
BOTH = {"kind": Y, "size": draw(N, 2, seed=5)}


def test_of_several_outputs() -> None:
    """Each is divided by what it counts: weights of classes, or examples."""
    network = of_two()
    history = network.fit(X, BOTH, **TWO, **STILL, validation=(X, BOTH))
    found = network.predict(X)
    kind = F.cross_entropy(torch.tensor(found["kind"]), torch.tensor(Y), weight=torch.tensor(WEIGHT).double())
    wanted = 0.5 * float(kind) + ((found["size"] - BOTH["size"]) ** 2).mean()
    assert history["loss"] == [pytest.approx(wanted, rel=1e-12)]
    assert history["val_loss"] == [pytest.approx(wanted, rel=1e-12)]


@pytest.mark.parametrize("sample", [None, SAMPLE], ids=["plain", "weighted"])
@pytest.mark.parametrize("loss", [pnn.CrossEntropy(WEIGHT), pnn.CrossEntropy(ignore_index=0)], ids=str)
def test_several_batches_a_step_are_one_batch_of_all(loss: Any, sample: Array | None) -> None:
    one, two = mlp(), mlp()
    options: dict[str, Any] = {"loss": loss, "sample_weight": sample, "optimizer": pnn.SGD(0.5), "shuffle": False}
    one.fit(X, Y, epochs=3, batch_size=50, **options)
    two.fit(X, Y, epochs=3, batch_size=10, accumulate=5, **options)
    for name, array in one.parameters.items():
        np.testing.assert_allclose(two.parameters[name], array, rtol=1e-11, atol=1e-14, err_msg=name)


def test_several_batches_a_step_of_several_outputs() -> None:
    one, two = of_two(), of_two()
    one.fit(X, BOTH, **TWO, epochs=3, batch_size=50, optimizer="adam", shuffle=False)
    two.fit(X, BOTH, **TWO, epochs=3, batch_size=8, accumulate=7, optimizer="adam", shuffle=False)
    for name, array in one.parameters.items():
        np.testing.assert_allclose(two.parameters[name], array, rtol=1e-9, atol=1e-12, err_msg=name)


def test_it_goes_on_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    """A checkpoint has the sums of each output."""
    whole, stopped = of_two(), of_two()
    options: dict[str, Any] = {**TWO, "epochs": 2, "batch_size": 7, "optimizer": "adam"}
    wanted = whole.fit(X, BOTH, **options)
    folder = tmp_path / "run"
    stopped.fit(X, BOTH, **options, checkpoint=folder, every=3, keep=99)
    for path in sorted(folder.glob("checkpoint-*"))[5:]:
        path.unlink()
    assert sorted(path.stem for path in folder.glob("checkpoint-*"))[-1] == "checkpoint-00000009"
    again = of_two()
    history = again.fit(X, BOTH, **options, checkpoint=folder, resume=True)
    assert history.rows == wanted.rows
    assert all((again.parameters[name] == array).all() for name, array in whole.parameters.items())
