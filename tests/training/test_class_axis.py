"""Classes along another axis than the second, as language models have them: PyTorch is the other side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import ShapeError, UsageError

torch: Any = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 11, (12, 7))
NEXT = RNG.integers(0, 11, (12, 7))


def language_model(steps: int | str = 7, classes: int = 11) -> pnn.Sequential:
    layers = pnn.Embedding(11, 8, name="words"), pnn.Dense(classes, name="logits")
    return pnn.Sequential(pnn.Input(steps, dtype="int64"), *layers, seed=0)


def in_torch(y: Any, mask: Any = None, epochs: int = 3, **options: Any) -> tuple[list[float], dict[str, Any]]:
    """The losses and the weights of gradient descent on cross-entropy, whose classes are the second axis in PyTorch."""
    start = language_model().parameters
    weights = {name: torch.tensor(array, requires_grad=True) for name, array in start.items()}
    optimizer, losses = torch.optim.SGD(weights.values(), 0.5), []
    for _ in range(epochs):
        logits = weights["words.weight"][torch.tensor(IDS)] @ weights["logits.weight"].T + weights["logits.bias"]
        target = torch.tensor(y).transpose(1, 2) if y.ndim == 3 else torch.tensor(y)
        if mask is None:
            loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), target, **options)
        else:
            each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), target, reduction="none")
            loss = (each * torch.tensor(mask)).sum() / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: array.detach().numpy() for name, array in weights.items()}


CLASS_WEIGHT = np.linspace(0.5, 2, 11).astype(np.float32)
SHARES = RNG.dirichlet(np.ones(11), (12, 7)).astype(np.float32)
MASK = (RNG.random((12, 7)) < 0.6).astype(np.float32)
CASES: dict[str, tuple[Any, Any, dict[str, Any], dict[str, Any]]] = {
    "plain": (NEXT, None, {}, {}),
    "weights of classes": (NEXT, CLASS_WEIGHT.tolist(), {}, {"weight": torch.tensor(CLASS_WEIGHT)}),
    "smoothing": (NEXT, None, {"label_smoothing": 0.1}, {"label_smoothing": 0.1}),
    "ignored": (np.where(MASK > 0, NEXT, -1), None, {"ignore_index": -1}, {"ignore_index": -1}),
    "probabilities": (SHARES, None, {}, {}),
}


@pytest.mark.parametrize("steps", [7, "steps"])
@pytest.mark.parametrize("case", CASES)
def test_a_language_model_learns_as_in_pytorch(case: str, steps: int | str, tmp_path: Path) -> None:
    y, class_weight, options, theirs = CASES[case]
    losses, weights = in_torch(y, **theirs)
    net = language_model(steps)
    given = {"optimizer": pnn.SGD(0.5), "batch_size": 12, "shuffle": False, "progress": False}
    loss: Any = pnn.CrossEntropy(class_weight, **options) if class_weight or options else None
    history = net.fit(IDS, y, loss=loss, epochs=2, **given)
    net.save(tmp_path / "m.safetensors")  # The file notes the axis, and training goes on with it.
    loaded = pnn.load(tmp_path / "m.safetensors")
    assert "class_axis=-1" in loaded.outputs[0].loss
    history.rows += loaded.fit(IDS, y, epochs=1, **given).rows
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    for name, array in loaded.parameters.items():
        np.testing.assert_allclose(array, weights[name], atol=1e-5, err_msg=name)


def test_weights_of_steps_and_accuracy() -> None:
    net = language_model()
    losses, _ = in_torch(NEXT, MASK)
    given = {"optimizer": pnn.SGD(0.5), "batch_size": 12, "shuffle": False, "progress": False, "metrics": "accuracy"}
    history = net.fit(IDS, NEXT, sample_weight=MASK, validation=(IDS, NEXT, MASK), epochs=3, **given)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    right = net.predict(IDS).argmax(-1) == NEXT
    assert history["val_accuracy"][-1] == pytest.approx((right * MASK).sum() / MASK.sum())
    np.testing.assert_allclose(history["val_loss"][:-1], losses[1:], rtol=1e-5)


@pytest.mark.parametrize("loss", [pnn.Focal, pnn.Hinge, pnn.KLDivergence, pnn.CrossEntropy])
def test_every_loss_of_classes_is_that_of_the_transposed_output(loss: Any) -> None:
    y = SHARES if loss is pnn.KLDivergence else NEXT
    one = language_model()
    x = pnn.Input(7, dtype="int64")
    logits = pnn.Dense(11, name="logits")(pnn.Embedding(11, 8, name="words")(x))
    other = pnn.Network(x, pnn.emit("Transpose", logits, perm=[0, 2, 1]), seed=0)
    given = {"optimizer": pnn.SGD(0.5), "epochs": 3, "batch_size": 5, "progress": False}
    history = one.fit(IDS, y, loss=loss(), **given)
    turned = y.transpose(0, 2, 1) if y.ndim == 3 else y
    assert history["loss"] == pytest.approx(other.fit(IDS, turned, loss=loss(), **given)["loss"], rel=1e-5)


def test_maps_of_pixels_and_pictures_with_their_channels_last() -> None:
    pixels, y = RNG.normal(size=(4, 3, 6, 6)).astype(np.float32), RNG.integers(0, 5, (4, 6, 6))
    first = pnn.Sequential(pnn.Input(3, 6, 6), pnn.Conv2d(5, 1), seed=0)
    x = pnn.Input(6, 6, 3)
    conv = pnn.Conv2d(5, 1)(pnn.emit("Transpose", x, perm=[0, 3, 1, 2]))
    last = pnn.Network(x, pnn.emit("Transpose", conv, perm=[0, 2, 3, 1]), seed=0)
    found = [
        net.fit(given, y, epochs=2, shuffle=False, metrics="accuracy", progress=False)
        for net, given in ((first, pixels), (last, pixels.transpose(0, 2, 3, 1)))
    ]
    assert first.outputs[0].loss == "cross_entropy"
    for name in ("loss", "accuracy"):
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-5)


def test_where_two_axes_fit_the_axis_is_asked_for() -> None:
    message = (
        r"^y is int64 \(12, 7\), and the output \(batch, 7, 7\) may have the classes along axis 1 \(7\) or axis 2 "
    )
    with pytest.raises(UsageError, match=message + r"\(7\): class_axis= .* loss=pnn.CrossEntropy\(class_axis=-1\)$"):
        language_model(7, 7).fit(IDS, NEXT % 7, progress=False)
    history = language_model(7, 7).fit(IDS, NEXT % 7, loss=pnn.CrossEntropy(class_axis=-1), progress=False)
    again = language_model(7, 7).fit(IDS, NEXT % 7, loss="cross_entropy(class_axis=2)", progress=False)
    assert history["loss"] == again["loss"]
    other = language_model(7, 7).fit(IDS, NEXT % 7, loss=pnn.CrossEntropy(class_axis=1), progress=False)
    assert other["loss"] != history["loss"]
    language_model("steps", 7).fit(IDS, NEXT % 7, epochs=1, progress=False)  # An open size is no number of classes.


def test_what_fits_no_axis_is_told_which_shapes_do() -> None:
    with pytest.raises(ShapeError, match=r"needs \(n, 7, 11\) or whole numbers \(n, 11\) or \(n, 7\), the classes$"):
        language_model().fit(IDS, NEXT[:, :5])
    for axis in (3, -3):
        with pytest.raises(UsageError, match=rf"^class_axis must be 1 to 2 for an output .*, not {axis}$"):
            language_model().fit(IDS, NEXT, loss=pnn.CrossEntropy(class_axis=axis))


def test_probabilities_that_sum_to_1_along_no_axis_tell_none() -> None:
    message = r"^y is float32 \(12, 7, 11\), .* may have the classes along axis 1 \(7\) or axis 2 \(11\): "
    with pytest.raises(UsageError, match=message):
        language_model().fit(IDS, np.full((12, 7, 11), 0.2, np.float32), loss="cross_entropy")
