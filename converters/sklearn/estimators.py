"""``PortableClassifier`` and ``PortableRegressor``: networks of dense layers that are estimators of scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Final, Literal, Self

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    check_random_state,
    column_or_1d,
    validate_data,
)

from portable_nn import layers as pnn_layers
from portable_nn.converters.sklearn.outputs import labels_of
from portable_nn.core.errors import DataWarning, UsageError
from portable_nn.core.names import ACTIVATIONS
from portable_nn.evaluation.probabilities import softmax
from portable_nn.format.meaning import Column, OutputInfo
from portable_nn.layers import Dense, Input, Layer, Normalization
from portable_nn.network import Network, Sequential
from portable_nn.training.losses import find_loss
from portable_nn.training.optimizers import SGD, Adam, AdamW, Optimizer

__all__ = ["PortableClassifier", "PortableRegressor"]

BATCH: Final = 200
"""The most examples in a step, where ``batch_size`` is ``"auto"``."""

LEAST: Final = 1e-12
"""A standard deviation below this share of the mean is that of a feature that does not vary."""


class _Portable(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Shared by both estimators: their options, and the training of their network."""

    def _read(self, x: Any, y: Any, *, reset: bool = True) -> tuple[NDArray[Any], Any]:
        options = {"dtype": np.float64, "reset": reset, "multi_output": True, "y_numeric": not self._is_classifier}
        found: tuple[NDArray[Any], Any] = validate_data(self, x, y, **options)
        return found

    _is_classifier = False

    def _weighted(self, sample_weight: Any, x: NDArray[Any], y: NDArray[Any]) -> tuple[Any, Any, Any]:
        """The examples whose weight is not 0, and the weights where there are any."""
        if sample_weight is None:
            return x, y, None
        weight = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
        counted = weight > 0
        if not counted.any():
            raise ValueError("sample_weight: all examples have the weight 0")
        return x[counted], y[counted], weight[counted]

    def _body(self, x: NDArray[Any], weight: Any) -> list[Any]:
        """The input and the hidden layers."""
        sizes = [self.layers] if isinstance(self.layers, Integral) else list(self.layers)
        if self.dtype not in ("float32", "float64"):
            raise UsageError(f"dtype must be 'float64' or 'float32', not {self.dtype!r}")
        found: list[Any] = [Input(x.shape[1], name="row", dtype=self.dtype)]
        if self.standardise:
            mean, std = _moments(x, weight)
            found.append(Normalization(mean=mean, std=std, name="standardised"))
        return found + self._hidden([int(size) for size in sizes])

    def _hidden(self, sizes: Sequence[int]) -> list[Layer]:
        if self.activation == "identity":
            return [Dense(size) for size in sizes]
        if self.activation not in ACTIVATIONS:
            names = ", ".join((*ACTIVATIONS, "identity"))
            raise UsageError(f"activation must be one of {names}, not {self.activation!r}")
        name, initial = ACTIVATIONS[self.activation]
        make = getattr(pnn_layers, name)
        return [layer for size in sizes for layer in (Dense(size, weight_initial=initial), make())]

    def _last(self, count: int) -> Layer:
        initial = ACTIVATIONS[self.activation][1] if self.activation in ACTIVATIONS else "glorot_uniform"
        return pnn_layers.Dense(count, weight_initial=initial, name="answer")

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _optimizer(self) -> Optimizer:
        if isinstance(self.optimizer, Optimizer):
            return self.optimizer
        if self.optimizer == "sgd":
            return SGD(self.learning_rate, momentum=0.9, weight_decay=self.weight_decay)
        if self.optimizer != "adam":
            raise UsageError(f"optimizer must be 'adam', 'sgd' or an optimizer of portable_nn, not {self.optimizer!r}")
        if self.weight_decay:
            return AdamW(self.learning_rate, weight_decay=self.weight_decay)
        return Adam(self.learning_rate)

    def _train(self, network: Network, x: Any, y: Any, weight: Any, **options: Any) -> None:
        """Train by the options of the estimator, or by ``options`` in their place."""
        seed, held_out = self._seed(), None
        x, y = x.astype(self.dtype), y if y.dtype.kind in "iu" else y.astype(self.dtype)
        if self.validation and "epochs" not in options:
            order = np.random.default_rng(seed).permutation(len(x))
            count = round(len(x) * self.validation)
            if not 0 < count < len(x):
                raise UsageError(f"validation of {self.validation:g} leaves nothing to train on, or to watch")
            train, rest = np.sort(order[count:]), np.sort(order[:count])
            held_out = (x[rest], y[rest]) if weight is None else (x[rest], y[rest], weight[rest])
            x, y, weight = x[train], y[train], None if weight is None else weight[train]
        size = min(BATCH, len(x)) if self.batch_size == "auto" else self.batch_size
        given: dict[str, Any] = {"optimizer": self._optimizer(), "epochs": self.epochs, "batch_size": size}
        given |= {"validation": held_out, "early_stopping": held_out and self.patience} | options
        given["progress"] = bool(given.get("progress", self.progress))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            self.history_ = network.fit(x, y, loss=self._loss(), sample_weight=weight, **given)
        self.n_iter_ = getattr(self, "n_iter_", 0) * ("epochs" in options) + len(self.history_.rows)

    def _loss(self) -> str:
        raise NotImplementedError

    def _describe(self, network: Network) -> Network:
        """Keep the names of the columns, and that ONNX files are float32."""
        info = network.inputs[0]
        if self.dtype == "float64":
            info = replace(info, exported="float32")
        names = getattr(self, "feature_names_in_", None)
        if names is not None:
            info = replace(info, kind="table", columns=tuple(Column(str(name)) for name in names))
        network.inputs = (info,)
        return network

    def _outputs(self, x: Any) -> NDArray[Any]:
        check_is_fitted(self, "network_")
        rows = validate_data(self, x, dtype=np.float64, reset=False).astype(self.dtype)
        [found] = self.network_.compute("numpy", {"row": rows}).values()
        return np.asarray(found, np.float64)


class PortableClassifier(ClassifierMixin, _Portable):  # type: ignore[misc]
    """A classifier of scikit-learn that is a network of this package: ``network_`` is saved, exported, trained on.

    It works in pipelines, ``cross_val_score``, ``GridSearchCV`` and ``clone``, and can be pickled. The network takes
    the rows as they are, and has the names of the columns of a data frame, and the classes as labels.

    Args:
        layers: the sizes of the hidden layers; none, ``()``, is logistic regression.
        activation: ``"relu"``, ``"tanh"``, ``"sigmoid"`` or ``"identity"``, between the layers.
        loss: ``"cross_entropy"`` or ``"focal"``; by default the first.
        optimizer: ``"adam"``, ``"sgd"`` (with momentum 0.9), or one of ``portable_nn``, whose options then count.
        learning_rate: the size of its steps.
        weight_decay: how fast weights shrink beside that.
        epochs: how many times each example is seen.
        batch_size: the examples of a step; ``"auto"`` is all, at most 200.
        validation: the share of the examples that is held out to watch, which ``patience`` needs.
        patience: the epochs without a better loss there after which training stops; the best weights are kept. By
            default a fifth of ``epochs``, and at least 10; with 0, all are run and the last weights kept.
        standardise: whether the network begins with what brings each feature to mean 0 and standard deviation 1.
        dtype: ``"float64"``, as scikit-learn computes, or ``"float32"``, which is faster.
        random_state: the seed of weights and shuffling, as scikit-learn has it.
        progress: whether epochs are shown.

    Attributes:
        network_: the network, a ``portable_nn.Network``.
        classes_: the classes, in the order of the probabilities.
        history_: the losses by epoch.
        n_iter_: the number of epochs.
        n_features_in_, feature_names_in_: what goes in.

    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> PortableClassifier((16,), epochs=50, random_state=0).fit(x, y).score(x, y) > 0.9
    True
    """

    _is_classifier = True

    def __init__(
        self: Any,
        layers: Sequence[int] = (100,),
        *,
        activation: str = "relu",
        loss: str | None = None,
        optimizer: Literal["adam", "sgd"] | Optimizer = "adam",
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        epochs: int = 200,
        batch_size: int | Literal["auto"] = "auto",
        validation: float = 0.0,
        patience: int | None = None,
        standardise: bool = True,
        dtype: Literal["float64", "float32"] = "float64",
        random_state: Any = None,
        progress: bool = False,
    ) -> None:
        self.layers = layers
        self.activation = activation
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation = validation
        self.patience = patience
        self.standardise = standardise
        self.dtype = dtype
        self.random_state = random_state
        self.progress = progress

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train a network on examples (n, features) and their classes (n,), each with its weight.

        Raises ``ValueError`` for what is no such data, or has a single class.
        """
        return self._learn(X, y, None, sample_weight, is_first=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:  # noqa: N803
        """One more epoch on some examples. The first call names all ``classes``, and features are scaled by its own."""
        return self._learn(X, y, classes, sample_weight, is_first=not hasattr(self, "network_"), epochs=1)

    def _learn(self, x: Any, y: Any, classes: Any, weight: Any, *, is_first: bool, **options: Any) -> Self:
        x, y = self._read(x, _as_classes(y), reset=is_first)
        check_classification_targets(y)
        x, y, weight = self._weighted(weight, x, y)
        if is_first:
            self.classes_ = np.unique(y if classes is None else classes)
            if len(self.classes_) < 2:
                every = ": partial_fit is given all in classes" if options else ""
                raise ValueError(f"{type(self).__name__} needs two classes or more, and the data have one class{every}")
            self.network_ = self._made(x, weight)
        else:
            options["optimizer"] = "same"
        if strange := sorted(set(np.unique(y).tolist()) - set(self.classes_.tolist())):
            raise ValueError(f"y holds the class {strange[0]!r}, which is none of those of the first call")
        numbers = np.searchsorted(self.classes_, y)
        self._train(self.network_, x, self._targets(numbers), weight, **options)
        return self

    def predict_proba(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The probabilities of the classes, (n, classes)."""
        found = self._outputs(X)
        if found.shape[1] == 1:
            yes = 1 / (1 + np.exp(-np.clip(found, -700, 700)))
            return np.concatenate([1 - yes, yes], axis=1)
        return softmax(found)

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The most probable class of each example, (n,)."""
        places = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[places])

    def _made(self, x: NDArray[Any], weight: Any) -> Network:
        count = 1 if len(self.classes_) == 2 else len(self.classes_)
        parts = [*self._body(x, weight), self._last(count)]
        network = Sequential(*parts, labels=labels_of(self.classes_), seed=self._seed(), name="network")
        network.outputs = (replace(network.outputs[0], loss=self._loss()),)
        return self._describe(network)

    def _targets(self, numbers: NDArray[Any]) -> NDArray[Any]:
        return numbers.astype(np.float64)[:, np.newaxis] if len(self.classes_) == 2 else numbers.astype(np.int64)

    def _loss(self) -> str:
        if self.loss not in (None, "cross_entropy", "focal"):
            raise UsageError(f"loss must be 'cross_entropy' or 'focal', not {self.loss!r}")
        if self.loss == "focal":
            return "focal"
        return "binary_cross_entropy" if len(self.classes_) == 2 else "cross_entropy"


class PortableRegressor(RegressorMixin, _Portable):  # type: ignore[misc]
    """A regressor of scikit-learn that is a network of this package; one number for each example, or several.

    Options and attributes are those of ``PortableClassifier``, but for these. Targets are brought to mean 0 and
    standard deviation 1 for training, and the network gives them in their own units.

    Args:
        loss: ``"mean_squared_error"``, the default, ``"mean_absolute_error"`` or ``"huber"``.
    """

    __init__ = PortableClassifier.__init__

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train a network on examples (n, features) and their numbers, (n,) or (n, numbers), each with its weight.

        Raises ``ValueError`` for what is no such data.
        """
        return self._learn(X, y, sample_weight, is_first=True)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """One more epoch on some examples. Features and targets are scaled by those of the first call."""
        return self._learn(X, y, sample_weight, is_first=not hasattr(self, "network_"), epochs=1)

    def _learn(self, x: Any, y: Any, weight: Any, *, is_first: bool, **options: Any) -> Self:
        x, y = self._read(x, y, reset=is_first)
        x, y, weight = self._weighted(weight, x, y)
        if is_first:
            self._start(x, y, weight)
        else:
            options["optimizer"] = "same"
        self._train(self._inner, x, self._scaled(y), weight, **options)
        self._finish()
        return self

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The numbers of each example, (n,), or (n, numbers) where there were several."""
        found = self._outputs(X)
        return found[:, 0] if self._is_flat else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _start(self, x: NDArray[Any], y: NDArray[Any], weight: Any) -> None:
        self._is_flat, rows = y.ndim == 1, y.reshape(len(y), -1)
        self._mean, self._std = _moments(rows, weight)
        self._inner: Network = Sequential(
            *self._body(x, weight), self._last(rows.shape[1]), seed=self._seed(), name="network"
        )

    def _scaled(self, y: NDArray[Any]) -> NDArray[Any]:
        return np.asarray((y.reshape(len(y), -1) - self._mean) / self._std)

    def _finish(self) -> None:
        """The network that gives the numbers in their own units."""
        back = Normalization(mean=self._mean, std=self._std, invert=True, name="in_units")
        network = Sequential(self._inner, back)
        network.outputs = (OutputInfo(network.graph.outputs[0], loss=self._loss()),)
        self.network_ = self._describe(network)

    def _loss(self) -> str:
        allowed = ("mean_squared_error", "mean_absolute_error", "huber")
        if self.loss is not None and self.loss not in allowed:
            raise UsageError(f"loss must be one of {', '.join(allowed)}, not {self.loss!r}")
        return find_loss(self.loss or allowed[0]).name


def _as_classes(y: Any) -> Any:
    """Classes as (n,), which scikit-learn warns of where they are a column."""
    return y if y is None else column_or_1d(y, warn=True)


def _moments(x: NDArray[Any], weight: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """The mean and the standard deviation of each column, with the weights of the examples; 1 for what is constant."""
    mean = np.average(x, axis=0, weights=weight)
    std = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weight))
    return mean, np.where(std <= np.maximum(np.abs(mean) * LEAST, 1e-30), 1.0, std)
