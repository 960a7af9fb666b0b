"""The proof of a conversion: the module and the network on the same inputs, and trained for some steps."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from portable_nn.converters.conversion import compare_sides
from portable_nn.converters.torch.examples import examples, without_dropout
from portable_nn.converters.torch.program import Program, doubled, export, mode, quiet
from portable_nn.converters.torch.translation import translated
from portable_nn.core.errors import PortableNNWarning, UsageError, VerificationError, listed
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance, difference
from portable_nn.operators import Array
from portable_nn.training.losses.numbers import MeanSquaredError
from portable_nn.training.optimizers import SGD

STEPS: Final = 5
"""The steps of training that are compared."""

RATE: Final = 1e-3
"""Their learning rate."""

TOLERANCES: Final[Mapping[str, float]] = {"float32": 1e-5, "float64": 1e-8}
"""How far a parameter may be apart after the steps, absolute and relative to its largest magnitude."""


def compare_with_module(module: Any, program: Program, network: Network, tolerance: Tolerance, seed: int) -> Proof:
    """The largest differences of the outputs; the module runs in evaluation mode."""
    import torch

    def run(feeds: Mapping[str, Array]) -> dict[str, Any]:
        with quiet(), mode(module, training=False), torch.no_grad():
            return {name: each.detach().cpu().numpy() for name, each in called(module, program, feeds).items()}

    return compare_sides(network, run, "the module", tolerance=tolerance, seed=seed)


def called(module: Any, program: Program, feeds: Mapping[str, Array]) -> dict[str, Any]:
    """The tensors that the module returns, by the names of the network's outputs."""
    import torch
    from torch.utils import _pytree

    device = next((each.device for each in [*module.parameters(), *module.buffers()]), torch.device("cpu"))
    tensors = {name: torch.as_tensor(np.array(array), device=device) for name, array in feeds.items()}
    args, kwargs = program.call(tensors)
    leaves = _pytree.tree_leaves(module(*args, **kwargs))
    if len(leaves) != len(program.outputs):
        raise VerificationError(
            f"the module returns {len(leaves)} values, and {len(program.outputs)} when it was exported"
        )
    pairs = zip(program.outputs, leaves, strict=True)
    return {name: leaf for name, leaf in pairs if isinstance(leaf, torch.Tensor)}


def compare_training(module: Any, program: Program, network: Network, seed: int) -> str:
    """Train copies of both sides with plain SGD on the same examples, without dropout, and compare all parameters.

    The loss is the mean squared error of each output of floats from random numbers. Where parameters in float32 are too
    far apart, roundings may be why: the module in float64 is converted and trained as well, and must agree to 1e-8.

    Returns a note that says so. Raises ``VerificationError`` that lists the parameters that differ.
    """
    if not any(value.trainable for value in network.graph.parameters):
        return "training was not compared: nothing is trained"
    apart, far = _differences(module, program, network, seed)
    text = f"after {STEPS} steps of training here and there, {len(apart)} parameters differ by at most"
    if not far:
        return f"{text} {max(apart.values(), default=0.0):.1e}"
    heading = f"after {STEPS} steps of training both sides differ"
    if any(array.dtype == np.float64 for array in network.parameters.values()):
        raise VerificationError(listed(far, heading))
    other = copy.deepcopy(module).double()
    double = export(other, doubled(program.example), program.dynamic, training=program.trains)
    exact, wrong = _differences(other, double, translated(other, double, seed).network, seed)
    if wrong:
        raise VerificationError(listed([*far, *(f"in float64 {each}" for each in wrong)], heading))
    return (
        f"{text} {max(exact.values(), default=0.0):.1e} in float64; in float32 {len(far)} of them are more than 1e-5 "
        f"apart, up to {max(apart.values()):.1e}: roundings grow in training"
    )


def _differences(module: Any, program: Program, network: Network, seed: int) -> tuple[dict[str, float], list[str]]:
    """How far each parameter is apart after the steps, and texts on those that are too far."""
    ours = without_dropout(network)
    rng = np.random.default_rng(seed)
    feeds = examples(ours, rng)
    results = ours.compute("numpy", feeds)
    size = len(next(iter(feeds.values())))
    targets = {
        name: np.asarray(rng.standard_normal(result.shape), result.dtype)
        for name, result in results.items()
        if result.dtype.kind == "f" and result.shape[:1] == (size,)
    }
    if not targets:
        raise UsageError("training cannot be compared: no output of floats has the batch first")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PortableNNWarning)
        losses = dict.fromkeys(targets, MeanSquaredError())
        options: dict[str, Any] = {"optimizer": SGD(RATE), "batch_size": size, "shuffle": False, "progress": False}
        ours.fit(feeds, targets, loss=losses, epochs=STEPS, **options)
    state = _trained(module, program, feeds, targets)
    apart, far = dict[str, float](), list[str]()
    for name, array in ours.parameters.items():
        if name not in state or array.dtype.kind != "f":
            continue
        apart[name] = difference(array, state[name]).max_abs_error
        allowed = TOLERANCES.get(array.dtype.name, 1e-2) * (1 + float(np.abs(state[name]).max(initial=0)))
        if not apart[name] <= allowed:
            far.append(f"'{name}' differs by {apart[name]:.3g}, where {allowed:.3g} is allowed")
    return apart, far


def _trained(
    module: Any, program: Program, feeds: Mapping[str, Array], targets: Mapping[str, Array]
) -> dict[str, Array]:
    """The state of a copy of the module after the steps in training mode, without dropout."""
    import torch

    module = copy.deepcopy(module)
    weights = [each for each in module.parameters() if each.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=RATE)
    for each in module.modules():
        if isinstance(each, torch.nn.modules.batchnorm._BatchNorm):
            _count_as_onnx(each)
        elif isinstance(each, (torch.nn.RNNBase, torch.nn.MultiheadAttention)):
            each.dropout = 0.0
    with quiet(), mode(module, training=True), _no_dropout():
        for _ in range(STEPS):
            optimizer.zero_grad()
            made = called(module, program, feeds)
            losses = [
                torch.nn.functional.mse_loss(made[name], torch.as_tensor(target, device=made[name].device))
                for name, target in targets.items()
            ]
            total: Any = sum(losses[1:], losses[0])
            total.backward()
            optimizer.step()
    return {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}


def _count_as_onnx(norm: Any) -> None:
    """Let running variances follow Σ(x - mean)² / n, as they do here."""
    old: dict[str, Any] = {}

    def before(_: Any, inputs: Any) -> None:
        if norm.running_var is not None:
            old["variance"] = norm.running_var.clone()

    def after(_: Any, inputs: Any, __: Any) -> None:
        if norm.training and norm.running_var is not None and norm.momentum is not None:
            count, share = inputs[0].numel() / inputs[0].shape[1], norm.momentum
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
