"""Recurrent layers and packed sequences while PyTorch exports a module.

PyTorch exports a recurrent layer for one number of steps, and packed sequences not at all. So layers become one
operator here, whose number of steps is open, and packing keeps the padded tensor and the lengths beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, Final

from portable_nn.converters.layers.gates import TORCH
from portable_nn.core.errors import UsageError

_SCHEMA: Final = (
    "recurrent(str kind, Tensor x, Tensor? lengths, bool descending, Tensor[] states, Tensor[] params, "
    "bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first) -> Tensor[]"
)

_CUT: Final = (
    "pad_packed_sequence has as many steps as its input here, where PyTorch cuts them to the longest of the lengths: "
    "the same where one example is as long as the input; total_length says how many shall be"
)


@cache
def _operator() -> Any:
    """``portable_nn::recurrent``, with the shapes of what it makes; nothing ever computes it."""
    import torch

    library: Any = torch.library.Library("portable_nn", "FRAGMENT")  # type: ignore[no-untyped-call]
    library.define(_SCHEMA)

    def shapes(kind: str, x: Any, lengths: Any, descending: bool, states: Any, params: Any, *options: Any) -> list[Any]:
        *_, bidirectional, batch_first = options
        batch = x.shape[0 if batch_first else 1]
        if lengths is not None:
            torch._check(lengths.shape[0] == batch)  # type: ignore[no-untyped-call]
        width = states[0].shape[2] * (2 if bidirectional else 1)
        return [x.new_empty(*x.shape[:2], width), *(torch.empty_like(state) for state in states)]

    torch.library.register_fake("portable_nn::recurrent", shapes, lib=library)
    return torch.ops.portable_nn.recurrent, library  # The operator is gone with the last reference to the library.


@cache
def _kind() -> Any:
    """The class of a packed sequence that holds the padded tensor, (steps, batch, …), and the lengths."""
    from torch.nn.utils.rnn import PackedSequence

    def refuse(self: Any) -> Any:
        raise UsageError(
            "what is packed goes through recurrent layers and pad_packed_sequence only, for its data are not one step "
            "after another here: call other layers before it is packed, or behind pad_packed_sequence"
        )

    names = ("data", "batch_sizes", "sorted_indices", "unsorted_indices")
    members: dict[str, Any] = {**{name: property(refuse) for name in names}, "__iter__": refuse}
    return type("Padded", (PackedSequence,), members)


def _held(padded: Any) -> tuple[Any, Any, bool]:
    """The padded tensor, the lengths, and whether they must be in descending order."""
    x, lengths, descending, _ = (tuple.__getitem__(padded, place) for place in range(4))
    return x, lengths, descending


def _padded(x: Any, lengths: Any, descending: bool) -> Any:
    return tuple.__new__(_kind(), (x, lengths, descending, None))


def _pack(input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True) -> Any:
    """In place of ``pack_padded_sequence``."""
    import torch

    lengths = torch.as_tensor(lengths).to(torch.int64)
    return _padded(input.transpose(0, 1) if batch_first else input, lengths, enforce_sorted)


def _pad(
    notes: list[str],
    sequence: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Any, Any]:
    """In place of ``pad_packed_sequence``."""
    import torch

    x, lengths, _ = _held(sequence)
    if padding_value:
        step = torch.arange(x.shape[0]).unsqueeze(1)
        is_padding = (step >= lengths).reshape(*x.shape[:2], *[1] * (x.dim() - 2))
        x = torch.where(is_padding, torch.tensor(padding_value, dtype=x.dtype), x)
    if total_length is None:
        notes.append(_CUT)
    elif total_length != x.shape[0]:
        pads = [0, 0] * (x.dim() - 1) + [0, total_length - x.shape[0]]
        x = torch.nn.functional.pad(x, pads, value=padding_value)
    return x.transpose(0, 1) if batch_first else x, lengths


@contextmanager
def recurrent_layers() -> Iterator[list[str]]:
    """Recurrent layers are one operator, and packed sequences padded ones, for the time being; gives a list of notes.

    The functions get other code rather than others in their place, since modules hold them by names of their own.
    """
    import torch
    from torch.nn.utils import rnn

    notes, lengths, operator = list[str](), list[tuple[Any, bool]](), _operator()[0]
    layers: Any = (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN)
    before = {layer: layer.forward for layer in layers}
    codes = {function: function.__code__ for function in (rnn.pack_padded_sequence, rnn.pad_packed_sequence)}

    def run(kind: str, x: Any, states: Any, params: Any, *options: Any) -> Any:
        states = list(states) if isinstance(states, (list, tuple)) else [states]
        known, descending = lengths[-1] if lengths else (None, False)
        return tuple(operator(kind, x, known, descending, states, list(params), *options))

    def forward(self: Any, input: Any, hx: Any = None) -> Any:
        original = before[next(layer for layer in layers if isinstance(self, layer))]
        if not isinstance(input, _kind()):
            return original(self, input, hx)
        x, known, descending = _held(input)
        lengths.append((known, descending))
        try:
            y, last = original(self, x.transpose(0, 1) if self.batch_first else x, hx)
        finally:
            lengths.pop()
        return _padded(y.transpose(0, 1) if self.batch_first else y, known, descending), last

    functions = {kind: getattr(torch, kind) for kind in TORCH}
    for kind in TORCH:
        setattr(torch._VF, kind, partial(run, kind))
        setattr(torch, kind, partial(run, kind))
    for layer in layers:
        layer.forward = forward
    rnn._portable_nn = (_pack, partial(_pad, notes))  # type: ignore[attr-defined]
    rnn.pack_padded_sequence.__code__ = _calling_pack.__code__
    rnn.pad_packed_sequence.__code__ = _calling_pad.__code__
    try:
        yield notes
    finally:
        for kind, function in functions.items():
            delattr(torch._VF, kind)
            setattr(torch, kind, function)
        for layer in layers:
            layer.forward = before[layer]
        for function, code in codes.items():
            function.__code__ = code
        del rnn._portable_nn  # type: ignore[attr-defined]


def _calling_pack(input, lengths, batch_first=False, enforce_sorted=True):  # type: ignore[no-untyped-def]
    return _portable_nn[0](input, lengths, batch_first, enforce_sorted)  # type: ignore[name-defined] # noqa: F821


def _calling_pad(sequence, batch_first=False, padding_value=0.0, total_length=None):  # type: ignore[no-untyped-def]
    return _portable_nn[1](sequence, batch_first, padding_value, total_length)  # type: ignore[name-defined] # noqa: F821
