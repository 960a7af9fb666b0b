"""Five steps of training here and in PyTorch: both must end with the same parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from portable_nn.converters.torch.examples import examples, without_dropout
from portable_nn.converters.torch.execution import executed, tensor
from portable_nn.converters.torch.source import source_of
from portable_nn.core.errors import VerificationError, listed
from portable_nn.network import Network
from portable_nn.onnx.verification.conditioning import as_declared, widened
from portable_nn.operators import FLOATS, Array
from portable_nn.training.fit import fit
from portable_nn.training.optimizers import SGD

STEPS: Final = 5
RATE: Final = 0.01
"""The learning rate, which is divided by the largest gradient where that is more than 1."""

EXACT: Final = {"float64": 1e-8}
"""How far a parameter may be apart, relative to its largest number or to 1, by its type; 1e-5 for all others."""


def check_training(network: Network, seed: int) -> tuple[str, ...]:
    """Train copies of both sides on the same examples by gradient descent on the squared error, without dropout.

    Where parameters in float32 are too far apart, roundings may be why: both sides are trained in float64 as well, and
    must agree to 1e-8.

    Returns a note where nothing can be trained. Raises ``VerificationError`` that lists the parameters that differ.
    """
    outputs = [name for name in network.graph.outputs if network.types[name].dtype in FLOATS]
    if not outputs or not any(value.trainable for value in network.graph.parameters):
        return ("training was not compared: nothing is trained",)
    faults, heading = _faults(network, outputs, seed), f"after {STEPS} steps of training here and in PyTorch"
    if not faults:
        return ()
    if any(value.dtype == "float64" for value in network.graph.parameters):
        raise VerificationError(listed(faults, heading))
    wide = widened(network.graph)
    exact = Network.from_graph(
        wide, as_declared(wide.parameters, network.parameters.arrays), inputs=network.inputs, metadata=network.metadata
    )
    if wrong := _faults(exact, outputs, seed):
        raise VerificationError(listed([*faults, *(f"in float64 {each}" for each in wrong)], heading))
    return (f"{heading}, {len(faults)} parameters in float32 are more than 1e-5 apart, and none in float64: roundings",)


def _faults(network: Network, outputs: Sequence[str], seed: int) -> list[str]:
    """Train copies of both sides, and list what differs."""
    ours = without_dropout(network)
    rng = np.random.default_rng(seed)
    feeds = examples(ours, rng)
    found = ours.compute("numpy", feeds)
    targets = {name: np.asarray(rng.standard_normal(found[name].shape), found[name].dtype) for name in outputs}
    source = source_of(ours)
    module = executed(source, ours).train()
    with _running_variances_as_here(module):
        rate = _train(module, [tensor(feeds[value.name]) for value in ours.graph.inputs], ours.graph.outputs, targets)
    count = len(next(iter(feeds.values())))
    options: dict[str, Any] = {"optimizer": SGD(rate), "epochs": STEPS, "batch_size": count, "shuffle": False}
    fit(ours, feeds, targets, loss=dict.fromkeys(outputs, "mean_squared_error"), progress=False, **options)
    state = {key: each.detach().numpy() for key, each in module.state_dict().items()}
    return [*_differences(ours, source.parameters(state, ours))]


def _differences(ours: Network, theirs: Mapping[str, Array]) -> Iterator[str]:
    for name, array in theirs.items():
        mine = ours.parameters[name]
        if mine.dtype.name not in FLOATS:
            continue
        apart = float(np.abs(array - mine).max(initial=0))
        allowed = EXACT.get(mine.dtype.name, 1e-5) * max(1.0, float(np.abs(mine).max(initial=0)))
        if not apart <= allowed:
            yield f"'{name}' differs by {apart:.3g}; {allowed:.3g} would be allowed"


def _train(module: Any, inputs: list[Any], names: tuple[str, ...], targets: Mapping[str, Array]) -> float:
    """Train the module; the learning rate."""
    import torch

    weights = [each for each in module.parameters() if each.requires_grad]
    wanted, rate = {name: tensor(array) for name, array in targets.items()}, 0.0
    for step in range(STEPS):
        found = module(*inputs)
        results = dict(zip(names, found if isinstance(found, tuple) else (found,), strict=True))
        loss = torch.stack([torch.mean((results[name] - target) ** 2) for name, target in wanted.items()]).sum()
        slopes = torch.autograd.grad(loss, weights, allow_unused=True)
        if step == 0:
            rate = RATE / max([1.0, *(float(each.abs().max()) for each in slopes if each is not None and each.numel())])
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                if slope is not None:
                    weight -= rate * slope
    return rate


@contextmanager
def _running_variances_as_here(module: Any) -> Iterator[None]:
    """Let running variances follow Σ(x - mean)² / n, as here, and not Σ(x - mean)² / (n - 1)."""
    from torch import nn

    hooks: list[Any] = []
    kept = dict[Any, Any]()

    def before(layer: Any, given: Any) -> None:
        kept[layer] = layer.running_var.clone()

    def after(layer: Any, given: Any, made: Any) -> None:
        count = given[0].numel() // given[0].shape[1]
        first, share = kept[layer], layer.momentum
        if share and count > 1:
            layer.running_var = (1 - share) * first + (layer.running_var - (1 - share) * first) * (count - 1) / count

    for each in module.modules():
        if isinstance(each, nn.modules.batchnorm._BatchNorm) and each.running_var is not None:
            hooks += [each.register_forward_pre_hook(before), each.register_forward_hook(after)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
