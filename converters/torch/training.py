"""Some steps of training a module as a network is trained here: without dropout, and with its running variances."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from portable_nn.converters.torch.program import mode, quiet
from portable_nn.converters.training import STEPS, Batch
from portable_nn.operators import Array


def trained(
    module: Any, call: Callable[[Any, Mapping[str, Array]], Mapping[str, Any]], batch: Batch, rate: float
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
