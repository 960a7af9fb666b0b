"""Functions of which those that a network needs are copied into its source. Nothing imports this module."""

# ruff: noqa: TID253 - only the text is read
from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it
from torch import Tensor


def from_front(index: Tensor, size: int) -> Tensor:
    """Indices counted from the front, where -1 is the last."""
    return torch.where(index < 0, index + size, index).long()


def take(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """The entries of an axis that stand at the indices, in whose place their axes are."""
    found = x.index_select(axis, from_front(index, x.shape[axis]).reshape(-1))
    return found.reshape(x.shape[:axis] + index.shape + x.shape[axis + 1 :])


def take_nd(x: Tensor, index: Tensor, batch: int) -> Tensor:
    """The slices that the last axis of the indices names, behind ``batch`` axes that both have."""
    for axis in range(batch):
        shape = [1] * (index.dim() - 1)
        shape[axis] = x.shape[axis]
        place = torch.arange(x.shape[axis], device=x.device).reshape(shape).expand(index.shape[:-1])
        index = torch.cat((index[..., :axis], place.unsqueeze(-1), index[..., axis:]), dim=-1)
    return x[tuple(from_front(each, size) for each, size in zip(index.unbind(-1), x.shape, strict=False))]


def put_elements(x: Tensor, index: Tensor, updates: Tensor, axis: int, combine: str) -> Tensor:
    """``x`` with updates written, or reduced into, the entries of an axis that the indices name."""
    ways = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    index = from_front(index, x.shape[axis])
    if combine == "none":
        return x.scatter(axis, index, updates)
    return x.scatter_reduce(axis, index, updates, ways[combine])


def put_nd(x: Tensor, index: Tensor, updates: Tensor, combine: str) -> Tensor:
    """``x`` with updates written, or reduced into, the slices that the last axis of the indices names."""
    depth = index.shape[-1]
    place = torch.zeros(index.shape[:-1], dtype=torch.long, device=x.device)
    for axis in range(depth):
        place = place * x.shape[axis] + from_front(index[..., axis], x.shape[axis])
    rest = x.shape[depth:]
    rows = x.reshape((-1, *rest))
    place = place.reshape([-1] + [1] * len(rest)).expand((-1, *rest))
    return put_elements(rows, place, updates.reshape((-1, *rest)), 0, combine).reshape(x.shape)


def compressed(x: Tensor, condition: Tensor, axis: int | None) -> Tensor:
    """The entries of an axis, or of all elements, for which the condition is true."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    return x.index_select(axis, condition.nonzero().reshape(-1))


def cut(
    x: Tensor,
    starts: tuple[int, ...] | Tensor,
    ends: tuple[int, ...] | Tensor,
    axes: tuple[int, ...],
    steps: tuple[int, ...],
) -> Tensor:
    """The entries of some axes from starts to ends in steps, which may be negative."""
    bounds = [each.tolist() if isinstance(each, Tensor) else each for each in (starts, ends)]
    for start, end, axis, step in zip(*bounds, axes, steps, strict=True):
        size = x.shape[axis]
        first, last = (bound + size if bound < 0 else bound for bound in (start, end))
        low, high = (0, size) if step > 0 else (-1, size - 1)
        first, last = max(0, min(first, high)), max(low, min(last, high))
        count = max(0, -((first - last) // step))
        x = x.index_select(axis, first + step * torch.arange(count, device=x.device))
    return x


def padded(x: Tensor, pads: tuple[int, ...], mode: str) -> Tensor:
    """Any axes, the last one first, padded by reflection, with the value at the edge, or from the other end."""
    x = F.pad(x, [min(each, 0) for each in pads])
    pads = tuple(max(each, 0) for each in pads)
    for place in range(0, len(pads), 2):
        axis, size = x.dim() - 1 - place // 2, x.shape[x.dim() - 1 - place // 2]
        index = torch.arange(-pads[place], size + pads[place + 1], device=x.device)
        if mode == "circular":
            index = index % size
        elif mode == "replicate":
            index = index.clamp(0, size - 1)
        elif size > 1:
            index = index % (2 * size - 2)
            index = torch.minimum(index, 2 * size - 2 - index)
        else:
            index = index * 0
        x = x.index_select(axis, index)
    return x


def eye_like(x: Tensor, k: int, dtype: torch.dtype) -> Tensor:
    """Ones on a diagonal of a matrix of the shape of ``x``."""
    rows, columns = (torch.arange(size, device=x.device) for size in x.shape)
    return (columns == rows.unsqueeze(1) + k).to(dtype)


def size_tensor(*sizes: int) -> Tensor:
    """Sizes as a tensor of whole numbers."""
    return torch.stack([torch.scalar_tensor(size, dtype=torch.int64) for size in sizes])


def same_padded(
    x: Tensor,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    value: float,
    more: int,
) -> Tensor:
    """``x`` padded so that a window with a stride gives size / stride cells, rounded up.

    An odd cell is at the end where ``more`` is 1, at the beginning where it is 0.
    """
    pads: list[int] = []
    for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
        total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
        small, large = total // 2, total - total // 2
        pads = [small, large, *pads] if more else [large, small, *pads]
    return F.pad(x, pads, value=value)


def pooled_mean(x: Tensor, pads: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Means over windows, where what ``pads`` add does not count."""
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    counts = pool(F.pad(torch.ones_like(x), pads), kernel, stride)
    return pool(F.pad(x, pads), kernel, stride) / counts


def reversed_sequences(x: Tensor, lengths: Tensor, time: int) -> Tensor:
    """Each sequence backwards, up to its length; time and batch are the first two axes."""
    steps = torch.arange(x.shape[time], device=x.device)
    ends = lengths.to(x.device).unsqueeze(1)
    index = torch.where(steps < ends, ends - 1 - steps, steps)
    index = index if time else index.T
    return x.gather(time, index.reshape(index.shape + (1,) * (x.dim() - 2)).expand(x.shape))


def fourier(x: Tensor, length: int, axis: int, inverse: bool, onesided: bool) -> Tensor:
    """The Fourier transform of numbers whose real and imaginary parts are the last axis."""
    z = torch.complex(x[..., 0], x[..., 1]) if x.shape[-1] == 2 else x[..., 0]
    if inverse and onesided:
        real: Tensor = torch.fft.irfft(z, length, axis)
        return real.unsqueeze(-1)
    transform = torch.fft.rfft if onesided else torch.fft.ifft if inverse else torch.fft.fft
    return torch.view_as_real(transform(z, length, axis))


def frames(x: Tensor, length: int, step: int) -> Tensor:
    """Pieces of a signal, one every ``step``."""
    return x.unfold(1, length, step).transpose(2, 3)


def one_hot(index: Tensor, depth: int, off: Tensor, on: Tensor, axis: int) -> Tensor:
    """``on`` where an entry is the index, ``off`` elsewhere."""
    hot = from_front(index, depth).unsqueeze(-1) == torch.arange(depth, device=index.device)
    return torch.where(hot, on, off).movedim(-1, axis)


def top_k(x: Tensor, k: int, axis: int, largest: bool) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) entries of an axis, the first one of equal ones first, and their indices."""
    found, index = torch.sort(x, dim=axis, descending=largest, stable=True)
    return found.narrow(axis, 0, k), index.narrow(axis, 0, k)


def local_response_norm(x: Tensor, size: int, alpha: float, beta: float, bias: float) -> Tensor:
    """Divided by a power of the mean square of neighbouring channels, of which an odd one comes after."""
    before, after = (size - 1) // 2, size // 2
    squares = F.pad(x.square().unsqueeze(-1).transpose(1, -1).squeeze(1), (before, after))
    sums = squares.unfold(-1, size, 1).sum(-1)
    sums = sums.unsqueeze(1).transpose(1, -1).squeeze(-1)
    return x / (bias + alpha / size * sums) ** beta


def with_places(x: Tensor, found: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The results of a pool, and their indices into all of ``x``, from those into each of its planes."""
    first = torch.arange(x.shape[0] * x.shape[1], device=x.device) * x.shape[2:].numel()
    return found, index + first.reshape([x.shape[0], x.shape[1]] + [1] * (x.dim() - 2))


def unpooled(x: Tensor, index: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Zeros, with ``x`` at the indices."""
    count = 1
    for size in shape:
        count *= size
    return (
        torch.zeros(count, dtype=x.dtype, device=x.device).scatter(0, index.reshape(-1), x.reshape(-1)).reshape(shape)
    )


def causal_mask(x: Tensor) -> Tensor:
    """True where a position of (batch, positions, features) must not be seen: those after it."""
    return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)


def hidden(mask: Tensor, x: Tensor, heads: int) -> Tensor:
    """A mask that is true where a position is seen, or is added, as MultiheadAttention takes it for each head."""
    mask = mask.expand(x.shape[0], heads, x.shape[1], x.shape[1]).flatten(0, 1)
    return ~mask if mask.dtype == torch.bool else mask


def run_padded(
    layer: torch.nn.RNNBase,
    x: Tensor,
    lengths: Tensor,
    states: Tensor | tuple[Tensor, ...] | None,
) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
    """A recurrent layer over sequences of several lengths, whose steps come first: zeros behind each."""
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
    found, last = layer(packed, states)
    return torch.nn.utils.rnn.pad_packed_sequence(found, total_length=x.shape[0])[0], last


def run_recurrent(
    kind: str,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    lengths: Tensor | None,
    states: Tensor | tuple[Tensor, ...] | None,
) -> tuple[Tensor, ...]:
    """A recurrent layer, whose steps come first, of weights (directions, gates · units, …): z, r, h or i, o, f, c."""
    order, units = {"lstm": (0, 2, 3, 1), "gru": (1, 0, 2)}.get(kind, (0,)), r.shape[2]
    weights = [
        torch.cat([part[gate * units : (gate + 1) * units] for gate in order])
        for way in range(len(w))
        for part in (w[way], r[way], *(b[way].chunk(2) if b is not None else ()))
    ]
    if states is None:
        zero = x.new_zeros(len(w), x.shape[1], units)
        states = (zero, zero) if kind == "lstm" else zero
    run, options = getattr(torch, kind), (b is not None, 1, 0.0, True, len(w) == 2)
    if lengths is None:
        made: tuple[Tensor, ...] = run(x, states, weights, *options, False)
        return made
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
    first, back = packed.sorted_indices, packed.unsorted_indices
    states = tuple(each[:, first] for each in states) if isinstance(states, tuple) else states[:, first]
    y, *last = run(packed.data, packed.batch_sizes, states, weights, *options)
    whole = torch.nn.utils.rnn.PackedSequence(y, packed.batch_sizes, first, back)
    padded = torch.nn.utils.rnn.pad_packed_sequence(whole, total_length=x.shape[0])[0]
    return padded, *(each[:, back] for each in last)


def weighed(x: Tensor, axis: int, weights: Tensor) -> Tensor:
    """An axis resized by a matrix of weights."""
    return (x.movedim(axis, -1) @ weights.T).movedim(-1, axis)
