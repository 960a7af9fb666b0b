"""The program that ``torch.export`` makes of a module: the exported graph, and the names of its inputs and outputs."""

from __future__ import annotations

import inspect
import io
import logging
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields, is_dataclass
from textwrap import shorten
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.converters.torch.backwards import detached, nothing_decided, own_backwards
from portable_nn.converters.torch.padded import recurrent_layers
from portable_nn.core.errors import UsageError, VerificationError, listed
from portable_nn.core.graph import Dim
from portable_nn.core.text import quantity, said

Dynamic: TypeAlias = Mapping[str, Mapping[int, str | None] | Sequence[str | None]]
"""Names of open sizes by input and axis; ``None`` for one that stays as it is in the example."""

BATCH: Final = "batch"


_SIZE: Final = re.compile(r"L\[.*\]\.size\(\)\[\d+\] (==|!=|<=?|>=?) \d+")
"""PyTorch's text for the comparison of a size with a number."""


class Given(NamedTuple):
    """An argument of the module that is a tensor: its name, the example, and the wanted names of its open sizes.

    ``asked`` has the axes that were named by the user, and not by default.
    """

    name: str
    example: Any
    open: Mapping[int, str]
    asked: Collection[int] = ()


@dataclass(frozen=True)
class Program:
    """An exported module.

    Attributes:
        exported: the ``ExportedProgram``.
        trains: whether the module was in training mode.
        inputs: for each argument in the order of the graph, its name, or ``None`` for one that is no tensor.
        dims: the names of the symbols of sizes, ``s77``, that PyTorch has for them.
        outputs: the names of the outputs in the order of the graph.
        call: makes positional and named arguments of tensors by the names of the inputs.
        notes: what could not be kept.
        differs: what trains otherwise here.
        example: what it was exported with.
        dynamic: the open sizes that were asked for.
    """

    exported: Any
    trains: bool
    inputs: Sequence[str | None]
    wanted: Mapping[str, Mapping[int, str]]
    dims: Mapping[str, Dim]
    outputs: Sequence[str]
    call: Callable[[Mapping[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]
    notes: tuple[str, ...]
    differs: tuple[str, ...]
    example: Any
    dynamic: Dynamic | None


@contextmanager
def mode(module: Any, *, training: bool) -> Iterator[None]:
    """The module in training or evaluation mode for the time being; parts that are kept from training stay so."""
    flags = {each: each.training for each in module.modules()}
    if training != module.training:
        module.train(training)
    elif not training:
        module.eval()
    try:
        yield
    finally:
        for each, flag in flags.items():
            each.training = flag


@contextmanager
def kept(module: Any) -> Iterator[None]:
    """Gives the module its buffers back afterwards: those that it changed in place, and those that it set anew."""
    held = [
        (part, name, buffer, buffer._version, buffer.clone())
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        for part, name, buffer, version, copy in held:
            part._buffers[name] = buffer
            if buffer._version != version:
                buffer.copy_(copy)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what PyTorch warns of and logs, and without its shortcuts of transformers, which no export has."""
    import torch

    fast = torch.backends.mha.get_fastpath_enabled()
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.mha.set_fastpath_enabled(False)
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(disabled)
            torch.backends.mha.set_fastpath_enabled(fast)


def arguments_of(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments: of one value, a tuple of values, or a dict by name."""
    if isinstance(example, Mapping):
        return (), {name: _tensors(value) for name, value in example.items()}
    if (
        isinstance(example, tuple)
        and len(example) == 2
        and isinstance(example[0], tuple)
        and isinstance(example[1], dict)
    ):
        return _tensors(example[0]), _tensors(example[1])
    return (_tensors(example) if isinstance(example, tuple) else (_tensors(example),)), {}


def _tensors(value: Any) -> Any:
    """Arrays of numpy as tensors, wherever they are."""
    import torch
    from torch.utils import _pytree

    return _pytree.tree_map(lambda each: torch.as_tensor(each) if isinstance(each, np.ndarray) else each, value)


def doubled(value: Any) -> Any:
    """An example with its floats in float64."""
    from torch.utils import _pytree

    def one(each: Any) -> Any:
        return each.double() if getattr(each, "is_floating_point", bool)() else each

    return _pytree.tree_map(one, _tensors(value))


def called(program: Program, module: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors that the module returns for arrays by name, by the names of the outputs."""
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


def export(module: Any, example: Any, dynamic: Dynamic | None, *, training: bool) -> Program:
    """Export a module. Raises ``UsageError`` where PyTorch cannot, with what it says."""
    import torch
    from torch.utils import _pytree

    args, kwargs = arguments_of(example)
    names = _names(module, args, kwargs)
    leaves, spec = _pytree.tree_flatten((args, kwargs))
    leaves = _apart(leaves)
    given = _opened(names, leaves, dynamic or {})
    tensors = [isinstance(leaf, torch.Tensor) for leaf in leaves]
    if not any(tensors):
        raise UsageError("the example has no tensor: give the arguments of a call, such as torch.randn(2, 3)")
    open_axes = [dict.fromkeys(each.open, torch.export.Dim.AUTO) if each else None for each in given]
    wide = [_widened(each) if each else leaf for each, leaf in zip(given, leaves, strict=True)]
    shapes = _pytree.tree_unflatten(open_axes, spec)
    refused: Exception | None = None
    for values in (wide, leaves) if any(a is not b for a, b in zip(wide, leaves, strict=True)) else (leaves,):
        each_args, each_kwargs = _pytree.tree_unflatten(values, spec)
        printed = io.StringIO()  # PyTorch prints the graph where it fails.
        with (
            quiet(), mode(module, training=training), redirect_stdout(printed), redirect_stderr(printed),
            own_backwards() as own, recurrent_layers() as cut, nothing_decided(), torch.enable_grad(),
        ):  # fmt: skip
            try:
                exported = torch.export.export(
                    module, each_args, each_kwargs, dynamic_shapes=_dynamic_shapes(module, *shapes)
                )
                break
            except UsageError:
                raise
            except Exception as error:
                refused = refused or error
    else:
        assert refused is not None
        said = f"{type(refused).__name__}: {_beginning(refused)}{_hint(refused)}"
        raise UsageError(f"torch.export cannot export the module: {said}") from refused
    detached(exported)
    placed = [names[place] if is_tensor else None for place, is_tensor in enumerate(tensors)]
    dims, notes = _dims(exported, given)
    notes += dict.fromkeys(cut)

    def call(feeds: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        values = [leaf if name is None else feeds[name] for name, leaf in zip(placed, leaves, strict=True)]
        found: tuple[tuple[Any, ...], dict[str, Any]] = _pytree.tree_unflatten(values, spec)
        return found

    wanted = {each.name: each.open for each in given if each}
    outputs = _output_names(exported)
    return Program(exported, training, placed, wanted, dims, outputs, call, tuple(notes), tuple(own), example, dynamic)


def _apart(leaves: Sequence[Any]) -> list[Any]:
    """The leaves, with copies of tensors that are there already: PyTorch takes those for one input."""
    import torch

    seen, found = set[int](), list[Any]()
    for leaf in leaves:
        found.append(leaf.clone() if id(leaf) in seen and isinstance(leaf, torch.Tensor) else leaf)
        seen.add(id(leaf))
    return found


def _beginning(error: Exception) -> str:
    """The first paragraph of what PyTorch says."""
    return shorten(str(error).strip().partition("\n\n")[0], 400, placeholder=" …")


def _hint(error: Exception) -> str:
    """A suggestion that follows PyTorch's message."""
    if type(error).__name__ != "GuardOnDataDependentSymNode":
        return ""
    return (
        ". A size or a branch depends on numbers in a tensor: torch.where chooses without a branch, and sizes may come "
        "from shapes"
    )


def _names(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
    """The name of each leaf of the arguments: that of the parameter of ``forward``, and the way inside it."""
    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
    except TypeError as error:
        raise UsageError(f"the example does not fit {type(module).__name__}.forward {said(error)}") from None
    found: list[str] = []
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            for key in value:
                found += paths(value[key], key)
        else:
            found += paths(value, name)
    return found


def paths(value: Any, name: str) -> list[str]:
    """The name of each leaf, in the order of PyTorch: keys and places behind ``name``, with dots."""
    return [path for path, _ in _walk(value, name)]


def _walk(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        items: Any = value.items()
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        items = zip(value._fields, value, strict=True)
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    elif is_dataclass(value) and not isinstance(value, type):
        items = [(each.name, getattr(value, each.name)) for each in fields(value)]
    else:
        yield name, value
        return
    for key, each in items:
        yield from _walk(each, f"{name}.{key}" if name else str(key))


def _opened(names: Sequence[str], leaves: Sequence[Any], dynamic: Dynamic) -> list[Given | None]:
    """The tensors among the leaves with the wanted names of their open sizes: the first is the batch by default."""
    import torch

    if unknown := [name for name in dynamic if name not in names]:
        raise UsageError(f"dynamic: the module has no input {', '.join(unknown)}; it has {', '.join(names)}")
    found: list[Given | None] = []
    for name, leaf in zip(names, leaves, strict=True):
        if not isinstance(leaf, torch.Tensor):
            found.append(None)
            continue
        own = dynamic.get(name, {})
        axes = dict(own) if isinstance(own, Mapping) else dict(enumerate(own))
        if beyond := [axis for axis in axes if not -leaf.dim() <= axis < leaf.dim()]:
            raise UsageError(f"dynamic: '{name}' has {quantity(leaf.dim(), 'axis')}, and none {beyond[0]}")
        whole: dict[int, str | None] = {0: BATCH} if leaf.dim() else {}
        whole |= {axis % leaf.dim(): dim for axis, dim in axes.items()}
        asked = {axis % leaf.dim() for axis, dim in axes.items() if dim is not None}
        found.append(Given(name, leaf, {axis: dim for axis, dim in whole.items() if dim is not None}, asked))
    return found


def _widened(given: Given) -> Any:
    """The example with two in place of one along open axes: PyTorch takes a 1 for a size that is never another."""
    repeats = [2 if axis in given.open and size == 1 else 1 for axis, size in enumerate(given.example.shape)]
    return given.example.repeat(repeats) if 2 in repeats else given.example


def _dynamic_shapes(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """In the form that ``torch.export`` takes: by the names of the parameters of ``forward``."""
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    return dict(bound.arguments)


def _dims(exported: Any, given: Sequence[Given | None]) -> tuple[dict[str, Dim], list[str]]:
    """The names of PyTorch's symbols, and notes on sizes that could not stay open.

    Raises ``UsageError`` for those that were asked for.
    """
    placeholders = {node.name: node for node in exported.graph.nodes if node.op == "placeholder"}
    dims: dict[str, Dim] = {}
    notes, faults = list[str](), list[str]()
    for each, name in zip(given, exported.graph_signature.user_inputs, strict=True):
        if each is None:
            continue
        shape = placeholders[name].meta["val"].shape
        for axis, wanted in each.open.items():
            size = fixed(shape[axis])
            if isinstance(size, int):
                notes.append(f"axis {axis} of '{each.name}' is always {size}: the module fixes it, or branches on it")
                faults += [f"{notes[-1]}, and '{wanted}' was asked for"] if axis in each.asked else []
            elif size.node.expr.is_Symbol:
                dims.setdefault(str(size.node.expr), wanted)
    if faults:
        raise UsageError(
            listed(
                [f"{each}: forward can take sizes from x.shape; without the name, it is kept" for each in faults],
                "dynamic: these sizes cannot be open",
            )
        )
    return dims, notes


def fixed(size: Any) -> Any:
    """A size as a number where it is always the same: PyTorch keeps some of those as symbols."""
    return size if isinstance(size, int) or not size.node.expr.is_number else int(size)


def branches(exported: Any) -> list[str]:
    """The conditions on the sizes of inputs, as PyTorch writes them, so that the module computes what was exported."""
    return [code for code in getattr(exported, "_guards_code", None) or () if _SIZE.fullmatch(code)]


def _output_names(exported: Any) -> list[str]:
    """The names of the outputs: the keys of a dict, the fields of a class, or numbers."""
    from torch.utils import _pytree

    spec = exported.call_spec.out_spec
    made = _pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    if not isinstance(made, (Mapping, tuple, list)) and not is_dataclass(made):
        return ["output"]
    found = [""] * spec.num_leaves
    for path, place in _walk(
        made, "" if isinstance(made, Mapping) or hasattr(made, "_fields") or is_dataclass(made) else "output"
    ):
        found[place] = path.replace("output.", "output_", 1) if path.startswith("output.") else path
    return found
