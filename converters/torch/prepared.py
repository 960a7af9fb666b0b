"""Modules as they are converted: without bfloat16, and without what makes weights anew in each step."""

from __future__ import annotations

import copy
from typing import Any, Final, Literal, TypeAlias

from portable_nn.converters.torch.program import quiet
from portable_nn.core.errors import UsageError

Wide: TypeAlias = Literal["float32", "float16"]
"""The type that bfloat16 is read as."""


def without_bfloat16(module: Any, example: Any, instead: Wide) -> tuple[Any, Any, tuple[str, ...]]:
    """Both with another type in place of bfloat16; and a note on it. The module is a copy then.

    Raises ``UsageError`` for numbers that float16 does not have.
    """
    import torch
    from torch.utils import _pytree

    dtype = getattr(torch, instead)

    def wide(each: Any) -> Any:
        return each.to(dtype) if getattr(each, "dtype", None) is torch.bfloat16 else each

    example = _pytree.tree_map(wide, example)
    state = dict([*module.named_parameters(), *module.named_buffers()])
    narrow = {name: each for name, each in state.items() if each.dtype is torch.bfloat16}
    if not narrow:
        return module, example, ()
    if large := [name for name, each in narrow.items() if instead == "float16" and not each.half().isfinite().all()]:
        raise UsageError(f"'{large[0]}' holds numbers beyond 65504, the largest of float16: read bfloat16 as float32")
    loses = "which loses nothing" if instead == "float32" else "in which numbers below 6e-5 are rounded more coarsely"
    return copy.deepcopy(module)._apply(wide), example, (f"bfloat16 is read as {instead}, {loses}",)


SHARE: Final = 0.1
"""PyTorch's usual momentum."""


def without_whole_averages(module: Any) -> tuple[Any, tuple[str, ...]]:
    """The module with the usual momentum in norms that average over all batches so far; and notes. A copy then."""
    import torch

    kinds = (torch.nn.modules.batchnorm._NormBase,)
    names = [path for path, part in module.named_modules() if isinstance(part, kinds) and part.momentum is None]
    if not names:
        return module, ()
    whole = copy.deepcopy(module)
    for name in names:
        whole.get_submodule(name).momentum = SHARE
    shown = [f"'{name}'" if name else "the module" for name in names]
    return whole, tuple(
        f"{each} ({type(whole.get_submodule(name)).__name__}) has momentum=None, the average over all batches so far: "
        f"here, running statistics follow the latest ones, with momentum={SHARE}"
        for each, name in zip(shown, names, strict=True)
    )


_AS_COMPUTED: Final = ("_SpectralNorm", "_Orthogonal")
"""Parametrizations of PyTorch that have no counterpart in training here."""


def without_norms(module: Any) -> tuple[Any, tuple[str, ...]]:
    """The module with weights as spectral norms and orthogonal maps have made them; and notes. It is a copy then."""
    import torch
    from torch.nn.utils import parametrize
    from torch.nn.utils.spectral_norm import SpectralNorm

    def found(whole: Any) -> list[tuple[str, Any, str, bool]]:
        rows = []
        for path, part in whole.named_modules():
            hooks = [hook for hook in part._forward_pre_hooks.values() if isinstance(hook, SpectralNorm)]
            rows += [(path, part, hook.name, True) for hook in hooks]
            lists = part.parametrizations if parametrize.is_parametrized(part) else {}
            kinds = {name: {type(each).__name__ for each in each_list} for name, each_list in lists.items()}
            rows += [(path, part, name, False) for name, kind in kinds.items() if kind & {*_AS_COMPUTED}]
        return rows

    if not found(module):
        return module, ()
    whole, notes = copy.deepcopy(module).eval(), []
    for path, part, name, old in found(whole):
        with torch.no_grad(), quiet():
            if old:
                torch.nn.utils.remove_spectral_norm(part, name)
            else:
                kind = type(part)  # A copy has the class of its original, which must keep what is removed here.
                held = {key: each for key, each in vars(kind).items() if key not in ("__dict__", "__weakref__")}
                part.__class__ = type(kind.__name__, kind.__bases__, held)
                parametrize.remove_parametrizations(part, name, leave_parametrized=True)
        full = f"{path}.{name}" if path else name
        notes.append(f"'{full}' is the weight as its parametrization has made it, and trains without it")
    return whole.train(module.training), tuple(notes)
