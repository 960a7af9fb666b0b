"""Padded sequences: lengths in layers, weights of steps in losses and metrics, as PyTorch's packed sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.names import LOSSES
from portable_nn.operators import integers
from portable_nn.training.losses import find_loss

torch: Any = pytest.importorskip("torch")

BATCH, STEPS, FEATURES, UNITS, CLASSES = 6, 7, 3, 4, 5
RNG = np.random.default_rng(0)
LENGTHS = np.array([7, 3, 5, 1, 6, 2], np.int32)
MASK = np.arange(STEPS) < LENGTHS[:, np.newaxis]
X = RNG.normal(size=(BATCH, STEPS, FEATURES))
Y = {
    "classes": RNG.integers(0, CLASSES, (BATCH, STEPS)),
    "numbers": RNG.normal(size=(BATCH, STEPS, 2)),
    "one number": RNG.normal(size=(BATCH, STEPS)),
}
PADDED = np.where(MASK[..., np.newaxis], X, 1e3)
"""The same with rubbish in the padding."""


def network(width: int, kind: str) -> pnn.Network:
    """An LSTM that is told the lengths; classes are the second axis, as the loss takes them."""
    x = pnn.Input("steps", FEATURES, name="x", dtype="float64")
    lengths = pnn.Input(name="lengths", dtype="int32")
    y = pnn.Dense(width, name="head")(pnn.LSTM(UNITS, name="lstm")(x, lengths))
    if kind == "classes":
        y = pnn.emit("Transpose", y, perm=[0, 2, 1], name="out")
    if kind == "one number":
        y = pnn.emit("Squeeze", y, integers([2]), name="out")
    return pnn.Network([x, lengths], y, seed=0)


class Theirs(torch.nn.Module):  # type: ignore[misc]
    """The same by PyTorch, of packed sequences."""

    def __init__(self, net: pnn.Network, width: int) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(FEATURES, UNITS, batch_first=True)
        self.head = torch.nn.Linear(UNITS, width)
        self.double()
        weights = net.parameters
        with torch.no_grad():
            for side, role in (("ih", "weight"), ("hh", "recurrent")):
                getattr(self.lstm, f"weight_{side}_l0").copy_(_their_order(weights[f"lstm.{role}_l0"][0]))
            for side, rows in zip(("ih", "hh"), np.split(weights["lstm.bias_l0"][0], 2), strict=True):
                getattr(self.lstm, f"bias_{side}_l0").copy_(_their_order(rows))
            self.head.weight.copy_(torch.tensor(weights["head.weight"]))
            self.head.bias.copy_(torch.tensor(weights["head.bias"]))

    def forward(self) -> Any:
        packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(PADDED), LENGTHS, True, enforce_sorted=False)
        return self.head(torch.nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], True, total_length=STEPS)[0])


def _their_order(rows: Any) -> Any:
    i, o, f, c = np.split(rows, 4)
    return torch.tensor(np.concatenate([i, f, c, o]))


def _their_loss(kind: str, y: Any) -> Any:
    mask = torch.tensor(MASK)
    if kind == "classes":
        target = torch.tensor(np.where(MASK, Y[kind], -100))
        return torch.nn.functional.cross_entropy(y.transpose(1, 2), target, ignore_index=-100)
    if kind == "one number":
        y = y[..., 0]
    return torch.nn.functional.mse_loss(y[mask], torch.tensor(Y[kind])[mask])


CASES = {
    "classes": (CLASSES, "cross_entropy"),
    "numbers": (2, "mean_squared_error"),
    "one number": (1, "mean_squared_error"),
}


@pytest.mark.parametrize("batch_size", [BATCH, 4])
@pytest.mark.parametrize("kind", CASES)
def test_training_is_that_of_packed_sequences(kind: str, batch_size: int) -> None:
    """Five steps: the loss of each, and the weights after them; the mean is over the steps that are real."""
    width, loss = CASES[kind]
    net = network(width, kind)
    theirs = Theirs(net, width)
    feeds, rate = {"x": PADDED, "lengths": LENGTHS}, 0.1
    if batch_size < BATCH:  # Gradients of two batches make one step: as of all examples at once.
        options: dict[str, Any] = {"batch_size": 4, "accumulate": 2}
    else:
        options = {"batch_size": BATCH}
    history = net.fit(
        feeds, Y[kind], loss=loss, sample_weight=MASK, optimizer=pnn.SGD(rate), epochs=5, shuffle=False,
        validation=(feeds, Y[kind], MASK), **options,
    )  # fmt: skip
    optimizer, losses = torch.optim.SGD(theirs.parameters(), rate), []
    for _ in range(5):
        optimizer.zero_grad()
        value = _their_loss(kind, theirs())
        value.backward()
        optimizer.step()
        losses.append(value.item())
    np.testing.assert_allclose(history["loss"], losses, rtol=0, atol=1e-9)
    np.testing.assert_allclose(history["val_loss"][-1], _their_loss(kind, theirs()).item(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(net.parameters["head.weight"], theirs.head.weight.detach(), rtol=0, atol=1e-9)
    wanted = theirs.lstm.weight_hh_l0.detach()
    np.testing.assert_allclose(_their_order(net.parameters["lstm.recurrent_l0"][0]), wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "gaussian"])
def test_padding_changes_no_loss(loss: str) -> None:
    """Every loss, and its gradient: what stands in the padding of targets makes no difference."""
    of_classes = find_loss(loss).classes or loss == "kl_divergence"
    kind = "classes" if of_classes else "numbers"
    y: Any = Y[kind]
    if loss == "kl_divergence":
        y = np.full((BATCH, CLASSES, STEPS), 1 / CLASSES)
    elif loss == "binary_cross_entropy":
        y = (Y["numbers"] > 0).astype(float)
    real = MASK if y.ndim == 2 else MASK[:, np.newaxis] if of_classes else MASK[..., np.newaxis]
    other = np.where(real, y, 0)
    found = []
    for target in (y, other):
        net = network(CASES[kind][0], kind)
        feeds = {"x": PADDED, "lengths": LENGTHS}
        history = net.fit(feeds, target, loss=loss, sample_weight=MASK, epochs=2, shuffle=False, batch_size=3)
        found.append((history["loss"], net.parameters["head.weight"].copy()))
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_metrics_leave_padding_out() -> None:
    net = network(CLASSES, "classes")
    feeds = {"x": PADDED, "lengths": LENGTHS}
    names = ["accuracy", "f1"]
    history = net.fit(feeds, Y["classes"], sample_weight=MASK, epochs=1, metrics=names, train_metrics=True)
    answers = next(iter(net.predict(feeds).values())).argmax(1)
    sklearn = pytest.importorskip("sklearn.metrics")
    assert history["accuracy"][-1] == pytest.approx((answers == Y["classes"])[MASK].mean(), abs=1e-12)
    wanted = sklearn.f1_score(Y["classes"][MASK], answers[MASK], average="macro")
    assert history["f1"][-1] == pytest.approx(wanted, abs=1e-12)


def test_evaluate_counts_the_steps_of_a_mask() -> None:
    feeds = {"x": PADDED, "lengths": LENGTHS}
    net = network(CLASSES, "classes")
    net.fit(feeds, Y["classes"], sample_weight=MASK, epochs=1)
    found = net.evaluate(feeds, Y["classes"], mask=MASK, worst=2)
    answers = next(iter(net.predict(feeds).values())).argmax(1)
    assert found.examples == MASK.sum()
    assert found.accuracy == pytest.approx((answers == Y["classes"])[MASK].mean())
    assert found.worst[0].input.startswith("x[")

    numbers = network(2, "numbers")
    error = next(iter(numbers.predict(feeds).values())) - Y["numbers"]
    evaluation = numbers.evaluate(feeds, Y["numbers"], mask=MASK)
    assert evaluation.examples == MASK.sum()
    wanted = np.sqrt(np.mean(error[MASK] ** 2, axis=0))
    np.testing.assert_allclose([each.rmse for each in evaluation.numbers], wanted)


def test_lengths_hide_padding_from_attention() -> None:
    """As a mask of ``key_padding_mask`` does in PyTorch."""
    x = pnn.Input("steps", 4, name="x", dtype="float64")
    lengths = pnn.Input(name="lengths", dtype="int32")
    layer = pnn.TransformerEncoderLayer(2, units=8, name="t")
    net = pnn.Network([x, lengths], layer(x, lengths=lengths), seed=0)
    data = RNG.normal(size=(BATCH, STEPS, 4))
    found = next(iter(net.predict({"x": data, "lengths": LENGTHS}).values()))
    for row, length in enumerate(LENGTHS):
        alone = next(iter(net.predict({"x": data[row : row + 1, :length], "lengths": LENGTHS[row : row + 1]}).values()))
        np.testing.assert_allclose(found[row, :length], alone[0], rtol=0, atol=1e-12)


def test_weights_that_do_not_fit_are_refused() -> None:
    feeds = {"x": PADDED, "lengths": LENGTHS}
    net = network(CLASSES, "classes")
    with pytest.raises(ShapeError, match=r"sample_weight is \(6, 5\): it must be \(n,\), or .* \(n, 7\)"):
        net.fit(feeds, Y["classes"], sample_weight=np.ones((BATCH, 5)), epochs=1)
    with pytest.raises(ShapeError, match=r"it must be \(n,\), or the first axes of the loss"):
        net.fit(feeds, Y["classes"], sample_weight=np.ones((BATCH, STEPS, 2)), epochs=1)
    with pytest.raises(UsageError, match="all of the sample weights are 0"):
        net.fit(feeds, Y["classes"], sample_weight=np.zeros((BATCH, STEPS)), epochs=1)
    with pytest.raises(UsageError, match=r"mask must be bool \(6, steps\)"):
        net.evaluate(feeds, Y["classes"], mask=LENGTHS)
    with pytest.raises(UsageError, match="needs as many steps in each"):
        net.evaluate(feeds, Y["classes"], mask=MASK[:, :4])
