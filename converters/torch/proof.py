"""The proof of a conversion: a module and a network on the same inputs, and trained for some steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from portable_nn.converters.conversion import compare_sides
from portable_nn.converters.torch.program import kept, mode, quiet
from portable_nn.converters.training import NOTHING, STEPS, Apart, Batch, drawn, plain, train_both, trains
from portable_nn.core.errors import UsageError
from portable_nn.core.text import said
from portable_nn.core.tolerances import TRAINED
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.operators import Array, NamedArrays

Call: TypeAlias = Callable[[Any, NamedArrays], Mapping[str, Any]]
"""The call of a module with arrays by the names of a network's inputs: tensors by the names of its outputs."""


@dataclass(frozen=True)
class Theirs:
    """The module that a network is compared with.

    Attributes:
        module: the module.
        call: how it is called.
        parameters: makes parameters of the network of the arrays of a state dict.
        to_train: the module to train, where dropout is part of the code that was written for it.
        admit: makes of drawn inputs such as the module takes, where it takes less than the network.
    """

    module: Any
    call: Call
    parameters: Callable[[NamedArrays], NamedArrays] = dict
    to_train: Callable[[], Any] | None = None
    admit: Callable[[NamedArrays], NamedArrays] = dict


def compare_with_module(theirs: Theirs, network: Network, tolerance: Tolerance, seed: int) -> Proof:
    """The largest differences of the outputs; the module runs in evaluation mode."""
    return compare_sides(
        network, partial(computed_by, theirs), "the module", tolerance=tolerance, seed=seed, admit=theirs.admit
    )


def computed_by(theirs: Theirs, feeds: NamedArrays) -> dict[str, Array]:
    """The outputs of the module in evaluation mode, as arrays."""
    import torch

    with quiet(), mode(theirs.module, training=False), torch.no_grad(), kept(theirs.module):
        return {name: each.detach().cpu().numpy() for name, each in theirs.call(theirs.module, feeds).items()}


def compare_training(
    network: Network, theirs: Theirs, in_float64: Callable[[], tuple[Network, Theirs]], seed: int
) -> str:
    """Train copies of both sides with plain SGD on the same examples, without dropout, and compare all parameters.

    The loss is the mean squared error of each output of floats from random numbers. Where parameters in float32 are too
    far apart, roundings may be why: both sides are trained in float64 as well, and must agree to 1e-8.

    Returns a note that says so. Raises ``VerificationError`` that lists the parameters that differ.
    """
    if not trains(network):
        return NOTHING
    found = train_with_module(network, theirs, seed)
    if not found.far or any(array.dtype == np.float64 for array in network.parameters.values()):
        return found.check()
    exact = train_with_module(*in_float64(), seed)
    if exact.far:
        return found.check(*(f"in float64 {each}" for each in exact.far))
    return (
        f"{exact.check()}; in float32 {len(found.far)} of them are more than {TRAINED['float32']:.0e} apart, up to "
        f"{max(found.largest.values()):.1e}: roundings grow in training"
    )


def train_with_module(network: Network, theirs: Theirs, seed: int) -> Apart:
    """Train both sides on drawn examples, and compare all parameters."""

    def side(batch: Batch, rate: float) -> NamedArrays:
        module = theirs.to_train() if theirs.to_train else theirs.module
        try:
            return theirs.parameters(trained(module, theirs.call, batch, rate))
        except (RuntimeError, ValueError) as error:
            raise UsageError(
                f"training cannot be compared, as PyTorch cannot train the module {said(error)}"
            ) from error

    ours = plain(network)
    return train_both(ours, side, drawn(ours, seed, theirs.admit), "PyTorch")


def trained(
    module: Any, call: Callable[[Any, NamedArrays], Mapping[str, Any]], batch: Batch, rate: float
) -> dict[str, Array]:
    """The state of a copy of the module after steps of gradient descent on the squared errors.

    Args:
        module: the module.
        call: what the module computes, by name.
        batch: the examples and targets of every step.
        rate: the learning rate.
    """
    import torch

    module = copy.deepcopy(module)
    weights = [each for each in module.parameters() if each.requires_grad]
    for each in module.modules():
        if isinstance(each, torch.nn.modules.batchnorm._BatchNorm):
            _count_as_onnx(each)
        elif isinstance(each, (torch.nn.RNNBase, torch.nn.MultiheadAttention)):
            each.dropout = 0.0
    with quiet(), mode(module, training=True), _no_dropout():
        for _ in range(STEPS):
            made = call(module, batch.feeds)
            losses = [
                torch.nn.functional.mse_loss(made[name], torch.as_tensor(target, device=made[name].device))
                for name, target in batch.targets.items()
            ]
            slopes = torch.autograd.grad(sum(losses[1:], losses[0]), weights, allow_unused=True)
            with torch.no_grad():
                for weight, slope in zip(weights, slopes, strict=True):
                    if slope is not None:
                        weight -= rate * slope
    return {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}


def _count_as_onnx(norm: Any) -> None:
    """Let running variances follow Σ(x - mean)² / n, as here, and not Σ(x - mean)² / (n - 1)."""
    old: dict[str, Any] = {}

    def before(_: Any, inputs: Any) -> None:
        if norm.running_var is not None:
            old["variance"] = norm.running_var.clone()

    def after(_: Any, inputs: Any, __: Any) -> None:
        count, share = inputs[0].numel() / inputs[0].shape[1], norm.momentum
        if norm.training and norm.running_var is not None and share and count > 1:
            batch = (norm.running_var - (1 - share) * old["variance"]) * (count - 1) / count
            norm.running_var.data.copy_((1 - share) * old["variance"] + batch)

    norm.register_forward_pre_hook(before)
    norm.register_forward_hook(after)


def _no_dropout() -> Any:
    """A mode in which the functions of dropout return what goes in, and random zeros and ones their mean."""
    from torch.overrides import TorchFunctionMode

    class NoDropout(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name, options = getattr(function, "__name__", ""), dict(kwargs or {})
            if name.rstrip("_").rstrip("123d") in {"dropout", "feature_dropout", "native_dropout"}:
                return args[0] if args else options["input"]
            if name == "bernoulli_":
                return args[0].fill_(args[1] if len(args) > 1 else options.get("p", 0.5))
            if "dropout_p" in options:
                options["dropout_p"] = 0.0
            elif name == "scaled_dot_product_attention" and len(args) > 4:
                args = (*args[:4], 0.0, *args[5:])
            return function(*args, **options)

    return NoDropout()
