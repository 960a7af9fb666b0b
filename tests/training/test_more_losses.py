"""Losses with options against torch: values and gradients, with and without weights of the examples."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from steps import classes, draw, gradients_of

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.format import load
from portable_nn.operators.registry import Array
from portable_nn.training.losses import LOSSES, Loss, find_loss

torch = pytest.importorskip("torch")
F = torch.nn.functional

N, K = 12, 4
X = draw(N, K, seed=3) * 2
Y = draw(N, K, seed=5)
SHARES = np.random.default_rng(4).dirichlet(np.ones(K), N)
SHARES[0] = np.eye(K)[2]
NUMBERS = classes(N, K)
GAPS = np.where(np.arange(N) % 3, NUMBERS, -1)
TRUTH = classes(N * K, 2).reshape(N, K)
WEIGHTS = np.random.default_rng(9).uniform(0, 2, N)
BY_CLASS = (0.5, 2.0, 1.0, 3.0)
W = torch.tensor(BY_CLASS, dtype=torch.float64)


def identity(width: int = K, dtype: str = "float64") -> pnn.Network:
    """y = x·Wᵀ with W = 1: the gradient of W tells that of the output."""
    return pnn.Sequential(pnn.Input(width, dtype=dtype), pnn.Dense(width, bias=False, weight_initial=np.eye(width)))


def focal(x: Any, y: Any, gamma: float, weights: Any = None) -> Any:
    """As in the paper, by example."""
    p = torch.softmax(x, 1)[torch.arange(len(y)), y]
    each = -((1 - p) ** gamma) * torch.log(p)
    return each if weights is None else each * weights[y]


def sigmoid_focal(x: Any, y: Any, gamma: float) -> Any:
    p = torch.sigmoid(x)
    p_t = y * p + (1 - y) * (1 - p)
    return (-((1 - p_t) ** gamma) * torch.log(p_t)).mean(1)


def ratio(values: Any, counted: Any) -> Callable[[Any], Any]:
    """Σ w·values / Σ w·counted, for weights of the examples."""
    return lambda w: (values.reshape(len(w), -1).sum(1) * w).sum() / (counted.reshape(len(w), -1).sum(1) * w).sum()


def mean(values: Any) -> Callable[[Any], Any]:
    return ratio(values, torch.ones_like(values))


def smoothed(x: Any, y: Any) -> Callable[[Any], Any]:
    each = F.cross_entropy(x, y, weight=W, label_smoothing=0.2, ignore_index=-1, reduction="none")
    return ratio(each, torch.where(y == -1, 0.0, W[y.clamp(min=0)]))


HALF = K // 2
CASES: dict[str, tuple[Any, Array, Callable[[Any, Any], Callable[[Any], Any]]]] = {
    "l1": ("mean_absolute_error", Y, lambda x, y: mean(F.l1_loss(x, y, reduction="none"))),
    "huber": ("huber", Y, lambda x, y: mean(F.huber_loss(x, y, reduction="none"))),
    "huber 0.3": (pnn.Huber(0.3), Y, lambda x, y: mean(F.huber_loss(x, y, delta=0.3, reduction="none"))),
    "gaussian": (
        "gaussian", Y[:, :HALF],
        lambda x, y: mean(F.gaussian_nll_loss(x[:, :HALF], y, x[:, HALF:].exp(), reduction="none")),
    ),
    "class weights": (
        pnn.CrossEntropy(BY_CLASS), NUMBERS,
        lambda x, y: ratio(F.cross_entropy(x, y, weight=W, reduction="none"), W[y]),
    ),
    "class weights of probabilities": (
        pnn.CrossEntropy(BY_CLASS, 0.1), SHARES,
        lambda x, y: mean(F.cross_entropy(x, y, weight=W, label_smoothing=0.1, reduction="none")),
    ),
    "smoothing": (
        pnn.CrossEntropy(label_smoothing=0.1), NUMBERS,
        lambda x, y: mean(F.cross_entropy(x, y, label_smoothing=0.1, reduction="none")),
    ),
    "ignored": (
        pnn.CrossEntropy(ignore_index=-1), GAPS,
        lambda x, y: ratio(F.cross_entropy(x, y, ignore_index=-1, reduction="none"), (y != -1).double()),
    ),
    "all": (pnn.CrossEntropy(BY_CLASS, 0.2, -1), GAPS, smoothed),
    "focal": ("focal", NUMBERS, lambda x, y: mean(focal(x, y, 2))),
    "focal 0.5": (pnn.Focal(BY_CLASS, 0.5), NUMBERS, lambda x, y: mean(focal(x, y, 0.5, W))),
    "focal 0": (pnn.Focal(gamma=0), NUMBERS, lambda x, y: mean(F.cross_entropy(x, y, reduction="none"))),
    "binary": (
        pnn.BinaryCrossEntropy((0.5, 3)), TRUTH,
        lambda x, y: ratio(
            F.binary_cross_entropy_with_logits(x, y.double(), weight=y * 2.5 + 0.5, reduction="none"), y * 2.5 + 0.5
        ),
    ),
    "binary, smooth": (
        pnn.BinaryCrossEntropy(label_smoothing=0.2), TRUTH,
        lambda x, y: mean(F.binary_cross_entropy_with_logits(x, y.double() * 0.8 + 0.1, reduction="none")),
    ),
    "kl": ("kl_divergence", SHARES, lambda x, y: mean(F.kl_div(F.log_softmax(x, 1), y, reduction="none").sum(1))),
    "hinge of classes": ("hinge", NUMBERS, lambda x, y: mean(F.multi_margin_loss(x, y, reduction="none"))),
    "squared hinge of classes": (
        pnn.Hinge(squared=True), NUMBERS, lambda x, y: mean(F.multi_margin_loss(x, y, p=2, reduction="none")),
    ),
    "squared hinge of truths": (
        pnn.Hinge(0.5, squared=True), TRUTH * 1.0,
        lambda x, y: mean((torch.relu(0.5 - (2 * y - 1) * x) ** 2).mean(1)),
    ),
    "hinge of truths": (
        pnn.Hinge(0.5), TRUTH * 1.0,
        lambda x, y: mean(torch.relu(0.5 - (2 * y - 1) * x).mean(1)),
    ),
    "hinge of signs": (
        "hinge", TRUTH * 2.0 - 1,
        lambda x, y: mean(F.margin_ranking_loss(x, torch.zeros_like(x), y, margin=1, reduction="none")),
    ),
    "weighted": (
        pnn.Huber(weight=0.25), Y, lambda x, y: lambda w: 0.25 * mean(F.huber_loss(x, y, reduction="none"))(w)
    ),
    "a function": (
        lambda x, y: pnn.emit("Abs", x - y) ** 3, Y, lambda x, y: mean((x - y).abs() ** 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str, weights: Array | None) -> None:
    loss, y, in_torch = CASES[name]
    parameter = torch.eye(K, dtype=torch.float64, requires_grad=True)
    w = torch.ones(N, dtype=torch.float64) if weights is None else torch.tensor(weights)
    value = in_torch(torch.tensor(X) @ parameter.T, torch.tensor(y))(w)
    value.backward()
    found = gradients_of(identity(), X, y, loss=loss, sample_weight=weights)
    np.testing.assert_allclose(found["dense_1.weight"], parameter.grad.numpy(), rtol=1e-9, atol=1e-14)
    given = (X, y) if weights is None else (X, y, weights)
    history = identity().fit(
        X, y, loss=loss, sample_weight=weights, optimizer=pnn.SGD(0.0), epochs=1, validation=given, batch_size=N
    )
    assert history["loss"] == [pytest.approx(value.item(), rel=1e-12)]
    assert history["val_loss"] == [pytest.approx(value.item(), rel=1e-12)]


def test_the_loss_of_a_validation_set_in_parts_is_that_of_the_whole() -> None:
    """Each part of 512 has other weights of its classes."""
    x, y = draw(1200, K), np.sort(classes(1200, K))
    loss = pnn.CrossEntropy(BY_CLASS, ignore_index=2)
    history = identity().fit(X, NUMBERS, loss=loss, optimizer=pnn.SGD(0.0), epochs=1, validation=(x, y))
    wanted = F.cross_entropy(torch.tensor(x), torch.tensor(y), weight=W, ignore_index=2).item()
    assert history["val_loss"] == [pytest.approx(wanted, rel=1e-12)]


def test_maps_of_classes_with_pixels_that_do_not_count() -> None:
    network = pnn.Sequential(pnn.Input(3, 4, 4, dtype="float64"), pnn.Conv2d(K, 1, name="c"), seed=0)
    x, y = draw(40, 3, 4, 4), classes(40 * 16, K).reshape(40, 4, 4)
    y[::2, 1] = 255
    w = torch.tensor(network.parameters["c.weight"], requires_grad=True)
    b = torch.tensor(network.parameters["c.bias"])
    out = F.conv2d(torch.tensor(x), w, b)
    F.cross_entropy(out, torch.tensor(y), weight=W, ignore_index=255, label_smoothing=0.1).backward()
    loss = pnn.CrossEntropy(BY_CLASS, 0.1, 255, class_axis=1)
    found = gradients_of(network, x, y, loss=loss)
    np.testing.assert_allclose(found["c.weight"], w.grad.numpy(), rtol=1e-9, atol=1e-14)
    history = network.fit(x, y, loss=loss, optimizer=pnn.SGD(0.0), epochs=1, validation=(x, y), metrics="accuracy")
    right = (out.argmax(1).numpy() == y)[y != 255].mean()
    assert history["val_accuracy"] == [pytest.approx(right)]


def test_a_batch_in_which_nothing_counts_changes_nothing() -> None:
    y = np.r_[np.full(6, -1), NUMBERS[:6]]
    options: dict[str, Any] = {"epochs": 2, "batch_size": 6, "shuffle": False, "optimizer": "sgd"}
    network = identity()
    history = network.fit(X, y, loss=pnn.CrossEntropy(ignore_index=-1), **options)
    assert np.isfinite(history["loss"]).all()
    alone = identity()
    alone.fit(X[6:], y[6:], **options)
    np.testing.assert_allclose(network.parameters["dense_1.weight"], alone.parameters["dense_1.weight"], rtol=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_of_a_single_output(gamma: float) -> None:
    x, y = X[:, :1] * 3, TRUTH[:, :1]
    parameter = torch.ones((1, 1), dtype=torch.float64, requires_grad=True)
    value = sigmoid_focal(torch.tensor(x) @ parameter, torch.tensor(y), gamma).mean()
    value.backward()
    network = identity(1)
    found = gradients_of(network, x, y, loss=pnn.Focal(gamma=gamma))
    np.testing.assert_allclose(found["dense_1.weight"], parameter.grad.numpy(), rtol=1e-9)
    assert network.outputs[0].kind == "binary_logits"


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("width", [1, 2])
def test_focal_where_the_network_is_sure(width: int, gamma: float) -> None:
    """p rounds to 0 and to 1; nothing becomes NaN."""
    x = np.array([[1e4, -1e4], [-1e4, 1e4], [60.0, -60.0]], "float32")[:, :width]
    found = gradients_of(identity(width, "float32"), x, np.array([0, 0, 0]), loss=pnn.Focal(gamma=gamma))
    assert np.isfinite(found["dense_1.weight"]).all()


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    utils = pytest.importorskip("sklearn.utils.class_weight")
    y = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 3, 0])
    by_class = tuple(utils.compute_class_weight("balanced", classes=np.arange(K), y=y))
    one, two, three = (
        gradients_of(identity(), X, target, loss=pnn.CrossEntropy(weight))["dense_1.weight"]
        for weight, target in (("balanced", y), (by_class, y), ("balanced", np.eye(K)[y]))
    )
    np.testing.assert_allclose(one, two, rtol=1e-12)
    np.testing.assert_allclose(three, two, rtol=1e-12)
    by_truth = utils.compute_class_weight("balanced", classes=np.arange(2), y=(y > 0) * 1)
    one, two = (
        gradients_of(identity(1), X[:, :1], y > 0, loss=pnn.BinaryCrossEntropy(weight))["dense_1.weight"]
        for weight in ("balanced", tuple(by_truth))
    )
    np.testing.assert_allclose(one, two, rtol=1e-12)


# -- of the user's own


def test_a_function_that_gives_one_number() -> None:
    def loss(x: pnn.Symbol, y: pnn.Symbol) -> pnn.Symbol:
        return pnn.emit("ReduceMean", (x - y) ** 2, keepdims=0)

    one = gradients_of(identity(), X, Y, loss=loss)["dense_1.weight"]
    two = gradients_of(identity(), X, Y, loss="mean_squared_error")["dense_1.weight"]
    np.testing.assert_allclose(one, two, rtol=1e-12)
    history = identity().fit(X, Y, loss=loss, epochs=1, optimizer=pnn.SGD(0.0), validation=(X, Y), batch_size=N)
    assert history["val_loss"] == [pytest.approx(((X - Y) ** 2).mean())] == history["loss"]
    with pytest.raises(UsageError, match=r"loss is one number: with weights of the examples it must be one for each"):
        identity().fit(X, Y, loss=loss, sample_weight=WEIGHTS)


def test_a_function_of_class_numbers() -> None:
    def loss(x: pnn.Symbol, y: pnn.Symbol) -> pnn.Symbol:
        return pnn.emit("SoftmaxCrossEntropyLoss", x, y, reduction="none")

    one = gradients_of(identity(), X, NUMBERS, loss=loss)["dense_1.weight"]
    np.testing.assert_allclose(one, gradients_of(identity(), X, NUMBERS)["dense_1.weight"], rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda x, y: 1.0, "must return a symbol, not 1.0: it computes with symbols, as emit makes them"),
        (lambda x, y: pnn.emit("Cast", x, to=1), "is float32, but the output float64: emit('Cast', …) converts"),
        (lambda x, y: pnn.emit("ReduceSum", x, pnn.emit("Constant", value_ints=[0]), keepdims=0), "has the shape"),
    ],
)
def test_functions_that_are_no_losses(loss: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        identity().fit(X, Y, loss=loss)


# -- as text


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (pnn.Huber(), "huber"),
        (pnn.Huber(2.5), "huber(delta=2.5)"),
        (
            pnn.CrossEntropy((1, 2), 0.1, weight=2),
            "cross_entropy(weight=2, class_weight=(1.0, 2.0), label_smoothing=0.1)",
        ),
        (pnn.Focal({"a": 3.0}), "focal(class_weight={'a': 3.0})"),
        (pnn.Hinge(0.5), "hinge(margin=0.5)"),
    ],
)
def test_a_loss_is_what_its_text_says(loss: Loss, text: str) -> None:
    assert str(loss) == text
    assert find_loss(text) == loss


@pytest.mark.parametrize("name", LOSSES)
def test_a_name_is_the_loss_with_its_defaults(name: str) -> None:
    assert (find_loss(name), str(find_loss(name))) == (LOSSES[name](), name)


def test_the_file_tells_the_loss(tmp_path: Path) -> None:
    kinds = {}
    for loss, y in (
        ("huber", Y), (pnn.CrossEntropy(label_smoothing=0.1), NUMBERS), ("gaussian", Y[:, :HALF]), ("hinge", NUMBERS),
        ("kl_divergence", SHARES),
    ):  # fmt: skip
        network = identity()
        network.fit(X, y, loss=loss, epochs=1)
        network.save(tmp_path / "m.safetensors")
        [output] = load(tmp_path / "m.safetensors").manifest.outputs
        kinds[output.loss] = output.kind
    assert kinds == {
        "huber": "values",
        "cross_entropy(label_smoothing=0.1)": "logits",
        "gaussian": "gaussian",
        "hinge": "values",
        "kl_divergence": "logits",
    }


def test_labels_are_for_the_means_that_are_predicted() -> None:
    network = pnn.Sequential(pnn.Input(K, dtype="float64"), pnn.Dense(4), labels="abcd", seed=0)
    with pytest.raises(
        UsageError, match=r"has 4 labels, but with the loss 'gaussian' it predicts 2 numbers: labels are"
    ):
        network.fit(X, Y[:, :2], loss="gaussian", epochs=1)


# -- words as targets


def labelled(*labels: str, width: int = 3) -> pnn.Network:
    return pnn.Sequential(pnn.Input(K, dtype="float64"), pnn.Dense(width), labels=labels, seed=0)


WORDS = np.array(["cat", "dog", "eel"])[classes(N, 3)]


@pytest.mark.parametrize("kind", [list, np.array, lambda y: y.astype(object), tuple])
@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "hinge"])
def test_words_are_the_labels_of_the_output(kind: Callable[[Array], Any], loss: str) -> None:
    numbers = np.array([["dog", "eel", "cat"].index(word) for word in WORDS])
    one = gradients_of(labelled("dog", "eel", "cat"), X, kind(WORDS), loss=loss)
    two = gradients_of(labelled("dog", "eel", "cat"), X, numbers, loss=loss)
    np.testing.assert_array_equal(one["dense_1.weight"], two["dense_1.weight"])


def test_words_in_a_column_of_a_frame() -> None:
    pandas = pytest.importorskip("pandas")
    network = labelled("cat", "dog", "eel")
    history = network.fit(X, pandas.Series(WORDS), epochs=1, validation=(X, pandas.Series(WORDS, dtype="category")))
    assert len(history["val_loss"]) == 1


def test_two_words_for_one_output() -> None:
    network = labelled("no", "yes", width=1)
    words = np.array(["no", "yes"])[TRUTH[:, 0]]
    one = gradients_of(network, X, words, loss="binary_cross_entropy")
    two = gradients_of(network, X, TRUTH[:, 0], loss="binary_cross_entropy")
    np.testing.assert_array_equal(one["dense_1.weight"], two["dense_1.weight"])


@pytest.mark.parametrize(
    ("y", "loss", "message"),
    [
        (["cat", "dig"] * 6, "cross_entropy", "y holds 'dig', which is no label of the output: did you mean 'dog'?"),
        (
            ["x", "y"] * 6,
            "cross_entropy",
            "y holds 'x', which is no label of the output (nor are y): they are cat",
        ),
        (WORDS, "huber", "but loss 'huber' needs numbers: loss='cross_entropy' takes the labels of classes"),
    ],
)
def test_other_words(y: Any, loss: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        labelled("cat", "dog", "eel").fit(X, y, loss=loss)
