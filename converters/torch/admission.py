"""Modules and examples that cannot be converted whatever they compute: refused before PyTorch exports them."""

from __future__ import annotations

import re
from typing import Any, Final

from portable_nn.converters.torch.program import arguments_of
from portable_nn.core.errors import UsageError

_QUANTIZED: Final = re.compile(r"torch\.(ao\.)?nn\.(intrinsic\.)?quantized\b")
"""The places of PyTorch's modules whose weights are whole numbers."""


def check_convertible(module: Any, example: Any) -> None:
    """Refuse compiled and quantized modules, and tensors without numbers or of complex ones.

    Raises ``UsageError`` that names the part, what was expected, and what to do.
    """
    import torch
    from torch.utils import _pytree

    for path, part in module.named_modules():
        name = f"'{path}'" if path else "the module"
        kind = type(part)
        if isinstance(part, torch.jit.ScriptModule):
            raise UsageError(
                f"{name} is a {kind.__name__}, which is compiled already: expected the torch.nn.Module that it was "
                "made of; build that, and load this one's state_dict() into it"
            )
        if _QUANTIZED.match(kind.__module__):
            raise UsageError(
                f"{name} is quantized ({kind.__module__}.{kind.__name__}): expected layers of floats; convert the "
                "module as it was before quantize_dynamic or convert"
            )
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, tensor in state.items():
        _check(f"'{name}'", tensor, "module.to_empty(device='cpu'), and load_state_dict fills it")
    arguments = arguments_of(example)
    packed = torch.nn.utils.rnn.PackedSequence
    if any(
        isinstance(each, packed)
        for each in _pytree.tree_leaves(arguments, is_leaf=lambda each: isinstance(each, packed))
    ):
        raise UsageError(
            "the example has a PackedSequence, which is no tensor: give the padded tensor and the lengths, and let "
            "forward pack them (pack_padded_sequence)"
        )
    for leaf in _pytree.tree_leaves(arguments):
        if isinstance(leaf, torch.Tensor):
            _check("a tensor of the example", leaf, "torch.zeros_like(x, device='cpu') is one that has")


def _check(name: str, tensor: Any, filling: str) -> None:
    """Refuse a tensor that holds no numbers that a network can."""
    if tensor.is_meta:
        raise UsageError(f"{name} is on the meta device, and has no numbers: {filling}")
    if tensor.is_complex():
        raise UsageError(
            f"{name} holds complex numbers ({tensor.dtype}), which networks do not have: give real and imaginary part "
            "as an axis of size 2, which torch.view_as_real makes"
        )
