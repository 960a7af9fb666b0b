"""The state of optimizers, to PyTorch and back: a training goes on there or here with the same numbers.

This package keeps the running sums Σ₁ = m / (1 - β₁) and Σ₂ = v / (1 - β₂) of Adam's moments, and the sum of gradients
of momentum; PyTorch keeps m, v and the same sum. The optimizers compute the same steps but for rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from portable_nn.converters.torch.execution import executed, tensor
from portable_nn.converters.torch.source import source_of
from portable_nn.converters.torch.source_scene import Entry
from portable_nn.core.errors import ShapeError, UsageError, listed
from portable_nn.format import load as load_file
from portable_nn.format import save as save_file
from portable_nn.format.training import STATE
from portable_nn.network import Network
from portable_nn.operators import Array, NamedArrays
from portable_nn.training.checkpoint import newest
from portable_nn.training.optimizers import SGD, Adam, AdamW, AMSGrad, Optimizer, RMSProp


class Pair(NamedTuple):
    """An optimizer on both sides.

    Attributes:
        name: PyTorch's class.
        options: the arguments of that class.
        states: for each array here its name there, and the factor from here to there.
    """

    name: str
    options: Mapping[str, Any]
    states: Mapping[str, tuple[str, float]]


def _pair(optimizer: Optimizer) -> Pair:
    """The optimizer in PyTorch. Raises ``UsageError`` for one that PyTorch has not."""
    common = {"lr": optimizer.learning_rate, "weight_decay": optimizer.weight_decay}
    if type(optimizer) in (Adam, AdamW, AMSGrad):
        assert isinstance(optimizer, Adam)
        states = {"first": ("exp_avg", 1 - optimizer.beta1), "second": ("exp_avg_sq", 1 - optimizer.beta2)}
        options = {**common, "betas": (optimizer.beta1, optimizer.beta2), "eps": optimizer.epsilon}
        if isinstance(optimizer, AMSGrad):
            states["largest"] = ("max_exp_avg_sq", 1 - optimizer.beta2)
            return Pair("Adam", {**options, "amsgrad": True}, states)
        return Pair(type(optimizer).__name__, options, states)
    if isinstance(optimizer, RMSProp):
        options = {**common, "alpha": optimizer.alpha, "eps": optimizer.epsilon}
        return Pair("RMSprop", options, {"square": ("square_avg", 1.0)})
    if isinstance(optimizer, SGD):
        options = {**common, "momentum": optimizer.momentum, "nesterov": optimizer.nesterov}
        return Pair("SGD", options, {"velocity": ("momentum_buffer", 1.0)} if optimizer.momentum else {})
    raise UsageError(
        f"the state of {type(optimizer).__name__} is not exchanged with PyTorch: those of SGD, RMSProp, Adam, AdamW "
        "and AMSGrad are"
    )


def optimizer_to_torch(state: NamedArrays, optimizer: Optimizer, network: Network, module: Any, *, step: int) -> Any:
    """PyTorch's optimizer of a module, with the state of a training of this package.

    Args:
        state: the arrays that the optimizer keeps here, by ``parameter/state``, as in a checkpoint.
        optimizer: the optimizer here, with its options; the learning rate is taken as it is.
        network: the network that was trained.
        module: the module that ``to_torch`` made of it.
        step: the number of steps taken.

    Raises ``UsageError`` for an optimizer that PyTorch computes in another way, or a state of another one.
    """
    import torch

    pair, trained = _pair(optimizer), _trained(network, module)
    made = getattr(torch.optim, pair.name)([each for each in module.parameters() if each.requires_grad], **pair.options)
    if not step:
        return made
    faults = [
        f"'{entry.parameter}/{name}' is missing"
        for entry in trained
        for name in pair.states
        if f"{entry.parameter}/{name}" not in state
    ]
    if faults:
        raise UsageError(listed(faults, f"this is no state of {pair.name}"))
    for entry, parameter in trained.items():
        kept = made.state[parameter]
        for name, (theirs, factor) in pair.states.items():
            array = entry.of(state[f"{entry.parameter}/{name}"])
            kept[theirs] = tensor(array * np.asarray(factor, array.dtype))
        if pair.name != "SGD":
            kept["step"] = torch.tensor(float(step), dtype=torch.float32)
    return made


def _trained(network: Network, module: Any) -> dict[Entry, Any]:
    """The tensors that training changes, and the module's parameters that they are."""
    parameters = {name: each for name, each in module.named_parameters(remove_duplicate=False) if each.requires_grad}
    return {entry: parameters[entry.key] for entry in source_of(network).entries if entry.key in parameters}


def optimizer_from_torch(
    theirs: Any, optimizer: Optimizer, network: Network, module: Any
) -> tuple[dict[str, Array], int]:
    """The state of PyTorch's optimizer as this package keeps it, and the number of steps taken.

    Args:
        theirs: PyTorch's optimizer of the module's parameters.
        optimizer: the optimizer here; its options but the learning rate, which is a schedule, must be those of
            ``theirs``.
        network, module: as for ``optimizer_to_torch``.

    Raises ``UsageError`` that lists options that differ, ``ShapeError`` where a parameter has no state.
    """
    pair, steps = _pair(optimizer), set[int]()
    _check_options(theirs, pair)
    found = dict[str, Array]()
    faults = []
    for entry, parameter in _trained(network, module).items():
        kept = theirs.state.get(parameter, {})
        for name, (key, factor) in pair.states.items():
            if kept.get(key) is None:
                faults.append(f"'{entry.key}' has no {key}")
                continue
            whole = found.setdefault(
                f"{entry.parameter}/{name}", np.zeros_like(network.parameters.arrays[entry.parameter])
            )
            array = kept[key].detach().cpu().numpy()
            whole[entry.index or ...] = array / np.asarray(factor, array.dtype)
        steps |= {int(kept["step"])} if "step" in kept else set()
    if faults:
        raise ShapeError(listed(faults, "the optimizer has no state for all parameters"))
    if len(steps) > 1:
        raise UsageError(f"the parameters have taken different numbers of steps: {sorted(steps)}")
    return found, steps.pop() if steps else 0


def _check_options(theirs: Any, pair: Pair) -> None:
    """Raise ``UsageError`` unless an optimizer of PyTorch is the same as ours."""
    if type(theirs).__name__ != pair.name:
        raise UsageError(f"expected an optimizer {pair.name}, not {type(theirs).__name__}")
    unused = {"amsgrad": False, "maximize": False, "centered": False, "dampening": 0}
    if pair.name == "RMSprop":
        unused["momentum"] = 0
    faults = [
        f"{name} is {group[name]!r} there and {value!r} here"
        for group in theirs.param_groups
        for name, value in {**unused, **pair.options}.items()
        if name in group and name != "lr" and group[name] != value
    ]
    if faults:
        raise UsageError(listed(faults, "the optimizers differ"))


def checkpoint_to_torch(folder: str | Path, optimizer: Optimizer, network: Network) -> tuple[Any, Any]:
    """The module and PyTorch's optimizer where the newest checkpoint in a folder stands: ``(module, optimizer)``.

    Raises as ``to_torch`` and ``optimizer_to_torch``; ``FileError`` and ``FormatError`` for the checkpoint.
    """
    contents = load_file(newest(folder), allow_nonfinite=True)
    training = contents.manifest.training
    assert training is not None
    tensors = {value.name: np.array(contents.tensors[value.name]) for value in contents.manifest.graph.parameters}
    there = Network.from_graph(network.graph, tensors, inputs=network.inputs, outputs=network.outputs)
    state = {
        n.removeprefix(STATE): np.array(contents.tensors[n])
        for n in (v.name for v in training.tensors)
        if n.startswith(STATE)
    }
    module = executed(source_of(there), there).train()
    return module, optimizer_to_torch(state, optimizer, there, module, step=training.step)


def torch_to_checkpoint(theirs: Any, optimizer: Optimizer, network: Network, module: Any, folder: str | Path) -> Path:
    """Write what PyTorch has trained into the newest checkpoint of a folder, from which ``fit(resume=True)`` goes on.

    The weights and the optimizer's state are PyTorch's; what remains of the training, its settings, the order of the
    examples and the finished epochs, is that of the checkpoint.

    Raises as ``optimizer_from_torch``; ``FileError`` and ``FormatError`` for the checkpoint.
    """
    path, source = newest(folder), source_of(network)
    contents = load_file(path, allow_nonfinite=True)
    training = contents.manifest.training
    assert training is not None
    state, step = optimizer_from_torch(theirs, optimizer, network, module)
    weights = {key: each.detach().cpu().numpy() for key, each in module.state_dict().items()}
    tensors = {name: np.array(array) for name, array in contents.tensors.items()}
    tensors |= source.parameters(weights, network)
    tensors |= {f"{STATE}{name}": array for name, array in state.items()}
    manifest = replace(
        contents.manifest, training=replace(training, step=step or training.step), digests={}, checksums={}
    )
    save_file(path, manifest, tensors, allow_nonfinite=True)
    return path
