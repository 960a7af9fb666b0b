"""Training equivalence: five steps of gradient descent in scikit-learn and here, from the same weights."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np

from portable_nn.converters.sklearn.outputs import Output, dense
from portable_nn.converters.training import STEPS, Batch, train_both
from portable_nn.core.errors import UsageError
from portable_nn.layers import Input
from portable_nn.network import Network

ROWS: Final = 32

TRAINED: Final = {
    "cross_entropy": "MLPClassifier",
    "binary_cross_entropy": "MLPClassifier",
    "mean_squared_error": "MLPRegressor",
}
"""The losses that scikit-learn trains by gradients, and what does so."""


def prove_steps(network: Network, output: Output, seed: int) -> str:
    """Train both sides by five steps on the features before the first layer; a note on how far apart they end.

    scikit-learn's side is a perceptron with the same layers, one without hidden layers for a linear model.

    Raises ``UsageError`` where scikit-learn has no gradient descent for it, ``VerificationError`` where they part.
    """
    if output.loss not in TRAINED or not output.layers or output.method == "decision_function":
        what = f"the loss {output.loss}" if output.loss else "this"
        raise UsageError(
            f"prove_training: scikit-learn trains {what} in no steps of gradient descent that can be compared: "
            "leave it out"
        )
    dtype = network.graph.inputs[0].dtype
    rng = np.random.default_rng(seed)
    inputs, outputs = output.layers[0][0].shape[0], output.layers[-1][0].shape[1]
    x = rng.normal(size=(ROWS, inputs)).astype(dtype)
    y = _targets(output, outputs, rng, dtype)
    entry = Input(inputs, dtype=dtype)
    network = Network(entry, dense(entry, output.layers, output.activation), seed=0)
    [name] = network.graph.outputs
    # scikit-learn's gradients are those of half the squared error, summed over the outputs, and of log losses likewise.
    share = 1 if output.loss == "cross_entropy" else outputs / 2 if output.loss == "mean_squared_error" else outputs

    def side(_: Batch, rate: float) -> dict[str, Any]:
        return _trained(output, dtype, x, y, rate / share)

    batch = Batch({network.graph.inputs[0].name: x}, {name: y})
    return train_both(network, side, batch, "scikit-learn", loss=output.loss).check()


def _targets(output: Output, outputs: int, rng: np.random.Generator, dtype: str) -> Any:
    if output.loss == "cross_entropy":
        return np.arange(ROWS) % outputs
    if output.loss == "binary_cross_entropy":
        found = rng.integers(0, 2, (ROWS, outputs))
        found[:2] = [[0] * outputs, [1] * outputs]
        return found.astype(dtype)
    return rng.normal(size=(ROWS, outputs)).astype(dtype)


def _trained(output: Output, dtype: str, x: Any, y: Any, rate: float) -> dict[str, Any]:
    from sklearn import neural_network

    sizes = tuple(weight.shape[1] for weight, _ in output.layers[:-1])
    perceptron = getattr(neural_network, TRAINED[output.loss])(
        hidden_layer_sizes=sizes, activation=output.activation, solver="sgd", learning_rate_init=rate, momentum=0.0,
        nesterovs_momentum=False, alpha=0.0, batch_size=ROWS, shuffle=False, random_state=0, max_iter=1,
    )  # fmt: skip
    labels = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
    is_softmax_of_two = output.loss == "cross_entropy" and output.layers[-1][0].shape[1] == 2
    if is_softmax_of_two:  # scikit-learn has one output for two classes, and two of their own for two labels.
        labels = np.eye(2, dtype=int)[y]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        perceptron.fit(x, labels)  # For its shapes; the weights are replaced.
        # The optimizer holds these very arrays: they are written into.
        perceptron = perceptron.set_params(warm_start=True)
        if is_softmax_of_two:
            perceptron.out_activation_ = "softmax"
        for place, (weight, bias) in enumerate(output.layers):
            perceptron.coefs_[place] = weight.astype(dtype)
            perceptron.intercepts_[place] = bias.astype(dtype)
        del perceptron._optimizer
        for _ in range(STEPS):
            perceptron.partial_fit(x, labels)
    pairs = enumerate(zip(perceptron.coefs_, perceptron.intercepts_, strict=True), 1)
    return {
        f"dense_{place}.{kind}": each.T
        for place, pair in pairs
        for kind, each in zip(("weight", "bias"), pair, strict=True)
    }
