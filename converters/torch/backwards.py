"""The flow of gradients in PyTorch's exported programs: functions with a backward of their own, and parts without
gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from portable_nn.converters.torch.nodes import is_view, writers_of, writes
from portable_nn.core.errors import UsageError


@contextmanager
def own_backwards() -> Iterator[list[str]]:
    """Gives a list that gets a note for each ``autograd.Function`` and each hook on a gradient in the meantime."""
    from torch import Tensor
    from torch.autograd import Function

    notes = dict[str, None]()
    found, before = list[str](), Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if not cls.__module__.startswith("torch."):  # PyTorch's own, as of checkpoints, have the usual gradient.
            notes.setdefault(
                f"the backward of {cls.__qualname__} (an autograd.Function) is not kept: training follows the "
                "derivative of what its forward computes"
            )
            found.extend(notes)
        return before.__get__(None, cls)(*args, **kwargs)

    registered = Tensor.register_hook

    def register_hook(tensor: Any, hook: Any) -> Any:
        found.append("a hook on the gradient of a tensor (register_hook) is not kept")
        return registered(tensor, hook)  # type: ignore[no-untyped-call]

    Function.apply = classmethod(apply)  # type: ignore[assignment, method-assign]
    Tensor.register_hook = register_hook  # type: ignore[method-assign]
    try:
        yield found
    finally:
        Function.apply = before  # type: ignore[method-assign]
        Tensor.register_hook = registered  # type: ignore[method-assign]


def hooked(module: Any) -> list[str]:
    """The notes on the hooks on gradients that parameters and parts of a module have."""
    parts = [(path, part) for path, part in module.named_modules() if part._backward_hooks or part._backward_pre_hooks]
    parts += [(name, tensor) for name, tensor in module.named_parameters() if tensor._backward_hooks]
    return [f"the backward hooks of '{name}' are not kept" for name, _ in parts]


def drops_always(program: Any) -> str:
    """The message on a dropout in a program of evaluation."""
    dropped = [each for each in program.exported.graph.nodes if "dropout" in str(each.target) and True in each.args[2:]]
    advice = "a dropout drops in evaluation as well, which is the default of F.dropout: expected training=self.training"
    return advice if dropped and not program.trains else ""


def detached(exported: Any) -> None:
    """Put what an exported module computes without gradients, as under ``no_grad``, among its other nodes.

    PyTorch has it as graphs of their own. What is read of their results is detached.

    Raises ``UsageError`` where such a part writes into a tensor that learns: its gradient flows back from what was
    written to what was there before.
    """
    import torch

    buffers = exported.graph_signature.inputs_to_buffers
    for module in exported.graph_module.modules():
        graph = module.graph
        for node in graph.nodes:
            for each in node.all_input_nodes:
                each.users.setdefault(node)  # PyTorch 2.13 forgets readers of what stands before such a part.
        order = {node: place for place, node in enumerate(graph.nodes)}
        for node in graph.nodes:
            if node.target is torch.ops.aten.detach_.default:
                node.target = torch.ops.aten.detach.default
                node.args[0].replace_all_uses_with(node, lambda user, node=node, order=order: order[user] > order[node])
        for node in [each for each in graph.nodes if "wrap_with_set_grad_enabled" in str(each.target)]:
            _put_among(module, node, buffers)


def _put_among(module: Any, node: Any, buffers: Mapping[str, str]) -> None:
    """Put the nodes of a part in the place of the node that calls it."""
    graph = module.graph
    enabled, part, *given = node.args
    inner = getattr(module, part.target).graph
    places = dict(zip((each for each in inner.nodes if each.op == "placeholder"), given, strict=True))
    for each in inner.nodes:
        into = places.get(_base(each)) if not enabled and writes(each) else None
        if into is not None and into.name not in buffers and into.meta["val"].is_floating_point():
            raise UsageError(
                f"{each.target} writes into a tensor under torch.no_grad(), and the gradient of what was there "
                "flows on: expected a tensor of its own, as in y = x + (f(x) - x).detach()"
            )
    with graph.inserting_before(node):
        results = graph.graph_copy(inner, places)
        results = results if enabled else [_detached(graph, each) for each in results]
    for reader in list(node.users):
        reader.replace_all_uses_with(results[reader.args[1]])
        graph.erase_node(reader)
    graph.erase_node(node)


def marked(exported: Any) -> None:
    """Put an operator of this package in place of ``detach``: PyTorch may lose that where it decomposes a program.

    Raises ``UsageError`` where something is written into a detached tensor, or into what it was made of before it is
    read: it is the same memory.
    """
    import torch

    stop, order = _stop_gradient(), {node: place for place, node in enumerate(exported.graph.nodes)}
    for node in exported.graph.nodes:
        if node.target is torch.ops.aten.detach.default:
            read = max((order[each] for each in node.users), default=0)
            if writers_of(node) or any(order[node] < order[each] < read for each in writers_of(_base(node))):
                raise UsageError(
                    "a tensor is detached and then written into, or what it was made of: expected x.detach().clone()"
                )
            node.target = stop


@cache
def _stop_gradient() -> Any:
    """An operator that PyTorch does not look into."""
    import torch

    library: Any = torch.library
    library = library.Library("portable_nn", "DEF")
    library.define("stop_gradient(Tensor x) -> Tensor")
    library.impl("stop_gradient", torch.clone, "CompositeExplicitAutograd")
    _kept.append(library)  # Its operators go with it.
    return torch.ops.portable_nn.stop_gradient.default


_kept: Final = list[Any]()


def _detached(graph: Any, value: Any) -> Any:
    """A node that returns what another one does, without its gradient."""
    import torch

    if not getattr(value, "meta", {}).get("val", torch.tensor(0)).is_floating_point():
        return value
    made = graph.call_function(torch.ops.aten.detach.default, (value,))
    made.meta["val"] = value.meta["val"]
    return made


def _base(node: Any) -> Any:
    """The first input of a node, or the node that this input is a view of."""
    node = node.args[0]
    while node.op == "call_function" and is_view(node):
        node = node.args[0]
    return node


@contextmanager
def nothing_decided() -> Iterator[None]:
    """PyTorch does not choose between ways to compute the same, which would fix sizes or depend on numbers.

    Transformers take a mask as it is, and do not look whether it is the causal one; products of several tensors are
    computed from left to right, and not in the order that is the fastest for the sizes of the example.
    """
    import torch
    from torch.nn.modules import transformer

    before, plans = transformer._detect_is_causal_mask, torch.backends.opt_einsum.enabled

    def said(mask: Any, is_causal: bool | None = None, size: int | None = None) -> bool:
        return is_causal is True

    transformer._detect_is_causal_mask = said
    torch.backends.opt_einsum.enabled = False
    try:
        yield
    finally:
        transformer._detect_is_causal_mask = before
        torch.backends.opt_einsum.enabled = plans
