"""Nodes of an exported graph: what they call, what they write into, and the types of what they make."""

from __future__ import annotations

import re
from typing import Any, Final

from portable_nn.converters.torch.aten import row_of
from portable_nn.converters.torch.aten.rows import Result

CHECKS: Final = re.compile(r"aten\._assert|aten\.sym_constrain|torch\._check|aten\._functional_assert")
"""Operators that compute nothing."""


def target_of(node: Any) -> str:
    """The name of what a node calls."""
    target = node.target
    return str(target) if hasattr(target, "_schema") else f"{target.__module__}.{target.__name__}"


def is_known(node: Any) -> bool:
    """True if a node has a row, or computes nothing."""
    target = target_of(node)
    return target == "_operator.getitem" or bool(CHECKS.match(target)) or row_of(target) is not None


def writes(node: Any) -> bool:
    """True if the call writes into its first argument."""
    schema = getattr(node.target, "_schema", None)
    return bool(
        schema and schema.arguments and schema.arguments[0].alias_info and schema.arguments[0].alias_info.is_write
    )


def writers_of(node: Any) -> list[Any]:
    """The nodes that write into a node or into views of it."""
    found: list[Any] = []
    for user in node.users:
        if writes(user) and user.args[0] is node:
            found.append(user)
        elif is_view(user) and user.args[0] is node:
            found += writers_of(user)
    return found


def is_view(node: Any) -> bool:
    """True if the result of the call may share memory with the first argument."""
    schema = getattr(node.target, "_schema", None)
    info = schema.returns[0].alias_info if schema and schema.returns else None
    return bool(info and not info.is_write)


def is_shared(node: Any) -> bool:
    """True if other nodes have the same memory."""
    return is_view(node) or any(is_view(user) for user in node.users)


def results_of(node: Any) -> list[Result]:
    """The types of what a node makes."""
    value = node.meta.get("val")
    values = value if isinstance(value, (list, tuple)) else [value]
    return [Result(dtype_of(each), each.dim()) if hasattr(each, "dtype") else Result("int64", 0) for each in values]


def common_type(node: Any) -> str:
    """The type that PyTorch promotes the first two arguments to."""
    import torch

    values = [each.meta.get("val") if hasattr(each, "meta") else each for each in node.args[:2]]
    tensors = [each for each in values if isinstance(each, torch.Tensor)]
    if len(values) == 2 and tensors and all(isinstance(each, (torch.Tensor, bool, int, float)) for each in values):
        return str(torch.result_type(*values)).removeprefix("torch.")
    return dtype_of(tensors[0]) if tensors else "int64"


def dtype_of(tensor: Any) -> str:
    """The element type of a tensor."""
    return str(tensor.dtype).removeprefix("torch.")


def identity_of(tensor: Any) -> Any:
    """The identity of a tensor, which two tensors share that are one."""
    if not tensor.numel():
        return id(tensor)
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def plain_path(path: str) -> str:
    """The path of a module without the number of its call."""
    return re.sub(r"@\d+", "", path)
