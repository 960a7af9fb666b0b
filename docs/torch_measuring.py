"""What ``torch_models.py`` measures of one model, in a process of its own."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 - what is measured
from torch import nn  # noqa: TID253
from torch.utils import _pytree  # noqa: TID253
from torch_modules import Model, built

from portable_nn.converters.onnx import read_onnx
from portable_nn.converters.torch import read_torch, to_torch
from portable_nn.converters.torch.proof import Theirs, computed_by, train_with_module, trained
from portable_nn.converters.training import Apart, Batch, drawn, plain, rate_of
from portable_nn.network import Network

WAYS = ("from_torch", "dynamo", "torchscript")


class Named(nn.Module):  # type: ignore[misc]
    """A model that takes its inputs one after the other, and returns its tensors so: the exporters need that."""

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *given: Any) -> Any:
        """The tensors of what the model returns."""
        return tuple(tensors_of(self.model(**dict(zip(self.names, given, strict=True)))))


def tensors_of(made: Any) -> list[Any]:
    """The tensors in what a module returns."""
    return [each for each in _pytree.tree_leaves(made) if isinstance(each, torch.Tensor)]


def imported(way: str, model: Model, module: Any, inputs: dict[str, Any]) -> tuple[Network, Theirs]:
    """The network that a module is, and the module as the other side."""
    names = tuple(inputs)
    if way == "from_torch":
        network = read_torch(
            module, inputs, dynamic=dict.fromkeys(names, model.axes), verify=False, training="evaluation"
        ).network
        return network, Theirs(module, partial(called, network, by_name=True))
    wrapped = Named(module, names).eval()
    outputs = [f"output_{place}" for place in range(len(wrapped(*inputs.values())))]
    options: dict[str, Any] = {"input_names": [*names], "output_names": outputs}
    if way == "dynamo":
        axes = {axis: torch.export.Dim(name, min=1, max=4096) for axis, name in model.axes.items()}
        options |= {"dynamic_shapes": (tuple(axes for _ in names),), "external_data": False, "optimize": False}
    else:
        mode = torch.onnx.TrainingMode.PRESERVE
        options |= {"dynamic_axes": {name: dict(model.axes) for name in names}, "training": mode}
        options |= {"do_constant_folding": False, "opset_version": 18}
    frozen = [name for name, each in wrapped.named_parameters() if not each.requires_grad]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        torch.onnx.export(wrapped, tuple(inputs.values()), str(path), dynamo=way == "dynamo", verbose=False, **options)
        network = read_onnx(path, verify=False).network
    if frozen:
        network.freeze(*frozen)
    return network, Theirs(wrapped, partial(called, network, by_name=False))


def called(network: Network, module: Any, feeds: Mapping[str, Any], *, by_name: bool) -> dict[str, Any]:
    """The tensors that a module makes of arrays, by the names of the network's outputs."""
    given = {name: torch.as_tensor(np.array(array)) for name, array in feeds.items()}
    made = module(**given) if by_name else module(*(given[value.name] for value in network.graph.inputs))
    return dict(zip(network.graph.outputs, tensors_of(made), strict=True))


def apart(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """The largest difference, relative to the largest magnitude of its output, or to 1."""
    return max(float(np.abs(ours[name] - theirs[name]).max() / max(1.0, np.abs(theirs[name]).max())) for name in theirs)


def measured(way: str, model: Model) -> dict[str, Any]:
    """What is kept of one way of one model."""
    module = built(model)
    network, theirs = imported(way, model, module, model.inputs(*model.sizes[1]))
    back = to_torch(network, verify=False)
    is_open = all(isinstance(value.shape[axis], str) for value in network.graph.inputs for axis in model.axes)
    sizes = model.sizes if is_open else [(batch, model.sizes[1][1]) for batch, _ in model.sizes]
    feeds = [{name: each.numpy() for name, each in model.inputs(*size).items()} for size in sizes]
    wanted = [computed_by(theirs, each) for each in feeds]
    found = [network.compute("numpy", each) for each in feeds]
    again = [computed_by(Theirs(back, partial(called, network, by_name=False)), each) for each in feeds]
    here, there = shapes(back), shapes(theirs.module)
    steps = train_with_module(network, replace(theirs, admit=seeing), 0)
    cell: dict[str, Any] = {
        "open": [*model.axes.values()] if is_open else ["batch"],
        "outputs": max(map(apart, found, wanted)),
        "back": max(map(apart, again, wanted)),
        "keys": len(there),
        "missing": [name for name in there if here.get(name) != there[name]],
        "more": [name for name in here if there.get(name) != here[name]],
        "steps": {**summary(steps), "far": len(steps.far)},
    }
    return cell


def in_float64(way: str, model: Model) -> dict[str, Any]:
    """Five steps in float64."""
    inputs = model.inputs(*model.sizes[1])
    double = {name: each.double() if each.is_floating_point() else each for name, each in inputs.items()}
    network, theirs = imported(way, model, built(model).double(), double)
    return summary(train_with_module(network, replace(theirs, admit=seeing), 0))


def rounding(way: str, model: Model) -> dict[str, Any]:
    """How far PyTorch in float32, with oneDNN and without, is from PyTorch in float64 after the same steps."""
    module = built(model)
    network, theirs = imported(way, model, module, model.inputs(*model.sizes[1]))
    ours = plain(network)
    batch = drawn(ours, 0, seeing)
    rate = rate_of(ours, batch)
    with torch.backends.mkldnn.flags(enabled=False):
        without = trained(theirs.module, theirs.call, batch, rate)
    single = trained(theirs.module, theirs.call, batch, rate)
    double = trained(copy.deepcopy(theirs.module).double(), theirs.call, Batch(*map(in_double, batch)), rate)
    floats = [name for name, array in double.items() if array.dtype == np.float64]
    far = [max(apart({name: each[name]}, {name: double[name]}) for name in floats) for each in (single, without)]
    return dict(zip(("apart", "plain"), far, strict=True))


def in_double(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays with their floats in float64."""
    return {name: each.astype(np.float64) if each.dtype.kind == "f" else each for name, each in arrays.items()}


def seeing(feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Examples in which every query sees a key: what the exporters write of others has another gradient, or NaN."""
    if "attention_mask" in feeds:
        feeds["attention_mask"][:, 0] = 1
    return dict(feeds)


CELLS = {"row": measured, "float64": in_float64, "rounding": rounding}
"""What a process of its own measures, by its first word."""


def summary(steps: Apart) -> dict[str, Any]:
    """What is kept of five steps."""
    return {"apart": max(steps.largest.values()), "moved": steps.moved, "parameters": len(steps.largest)}


def shapes(module: Any) -> dict[str, tuple[int, ...]]:
    """The state dict."""
    return {name: tuple(each.shape) for name, each in module.state_dict().items()}
