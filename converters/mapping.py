"""The mapping of another code base's tensors to those of a network by names, proposed, applied, saved and read.

A mapping is a dict as ``--rename`` has it: names there → names here. ``.T`` behind a name here transposes a matrix,
``.transpose(2,3,0,1)`` any array, and an empty name leaves a tensor out. What fits whom is found by ``plain.matching``,
which ``inspect --against`` prints as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from portable_nn.core.atomic import write_whole
from portable_nn.core.errors import FormatError, ShapeError, UsageError, listed
from portable_nn.core.files import open_regular
from portable_nn.core.graph import Parameter, format_shape
from portable_nn.core.jsons import parsed_json
from portable_nn.core.text import quantity
from portable_nn.operators import Array, NamedArrays
from portable_nn.plain import Entry
from portable_nn.plain.matching import in_order, match
from portable_nn.plain.names import is_counter, set_aside

LARGEST: Final = 16 << 20
"""The most bytes of a file of a mapping."""

_TURNED: Final = re.compile(r"(.*?)(?:\.T|\.transpose\((\d+(?:,\d+)*)\))")

PREFIXES: Final = (
    "state_dict.",
    "model_state_dict.",
    "model.",
    "module.",
    "_orig_mod.",
    "network.",
    "params.",
    "net.",
    "weights.",
    "ema.",
    "model_ema.",
    "shadow.",
)
"""The prefixes of all names where a module was wrapped, or a state dict is one of several things in a file."""


WHOLE: Final = ("state_dict.", "model_state_dict.")
"""Those of a state dict that is one of several things in a file."""


class Placed(NamedTuple):
    """The place of a tensor: the name here, and the transposition as ``numpy.transpose`` takes it."""

    name: str
    axes: tuple[int, ...] = ()


def parsed(text: str, rank: int) -> Placed:
    """The place that a text of a mapping says, for a tensor with so many axes."""
    found = _TURNED.fullmatch(text)
    if found is None:
        return Placed(text)
    axes = tuple(map(int, found[2].split(","))) if found[2] else tuple(range(rank))[::-1]
    if sorted(axes) != list(range(rank)):
        raise UsageError(f"'{text}': a tensor of {quantity(rank, 'axis')} cannot be transposed by {format_shape(axes)}")
    return Placed(found[1], axes)


def read_map(path: str | Path, part: str = "") -> dict[str, str]:
    """A mapping from a JSON file, or the one that is a part of it.

    Raises ``FormatError`` for any other content, ``FileError`` where there is none.
    """
    with open_regular(path) as file:
        data = file.read(LARGEST + 1)
    try:
        found = parsed_json(data) if len(data) <= LARGEST else None
    except ValueError as error:
        raise FormatError(path, f"is no mapping in JSON: {error}") from None
    if part:
        found = found.get(part) if isinstance(found, dict) else None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise FormatError(path, 'is no mapping: expected {"name there": "name here", …}')
    return found


def write_map(path: str | Path, mapping: Mapping[str, str]) -> None:
    """Write a mapping as JSON, which ``--rename`` reads."""
    write_whole(path, (json.dumps(mapping, indent=2, ensure_ascii=False) + "\n").encode())


def common_prefix(names: Iterable[str], needed: Sequence[str]) -> str:
    """The prefix behind which most of the needed names are found; where none is, that of a state dict in a file."""
    there = set(names)
    found = [""]
    for each in there:
        rest = each
        while inner := next((prefix for prefix in PREFIXES if rest.startswith(prefix)), ""):
            rest = rest.removeprefix(inner)
            found.append(each.removesuffix(rest))
    return max(
        dict.fromkeys(sorted(found, key=len)),
        key=lambda prefix: (sum(prefix + name in there for name in needed), prefix in WHOLE),
    )


def is_outside(name: str, prefix: str) -> bool:
    """True if a tensor is of something else that stands beside the state dict in one file, such as an optimizer."""
    whole = next((each for each in WHOLE if prefix.startswith(each)), "")
    return set_aside(name) or not name.startswith(whole)


def proposal(found: Mapping[str, Entry], needed: Sequence[Parameter]) -> tuple[dict[str, str], list[str]]:
    """The mapping that names, shapes and order suggest, and the tensors there of which order alone says it."""
    result = match(found, needed)
    certain = [row for row in result.rows if row.suggestion or row.axes or row.status == "fits"]
    ordered = in_order(result, found)
    names = {row.suggestion or row.name: row.target for row in (*certain, *ordered)}
    return names, [row.suggestion for row in ordered]


def arranged(
    found: NamedArrays, needed: Sequence[Parameter], mapping: Mapping[str, str], where: str
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The tensors by their names here, and notes on what was done.

    Args:
        found: the tensors by their names there.
        needed: the tensors here.
        mapping: names there → names here; others keep their names, without a prefix that all have.
        where: how the error begins, such as the name of the file.

    Raises:
        UsageError: the mapping names tensors that there are not, or two would be one.
        ShapeError: tensors are missing or left over, or have other shapes or types: all of them, and what to try.
    """
    counted = {name: each for name, each in found.items() if not is_counter(name)}
    unknown = [f"there is no tensor '{name}' to rename" for name in mapping if name not in found]
    if unknown:
        raise UsageError(listed(unknown, where))
    prefix = common_prefix(counted, [each.name for each in needed])
    notes = [f"the prefix '{prefix}' of all names is left out"] if prefix else []
    placed, sources = _placed(counted, mapping, prefix, where)
    faults = list(_faults(placed, sources, needed))
    if faults:
        raise ShapeError(listed(faults, f"{where} does not fit the network"))
    if left := [name for name in found if is_counter(name)]:
        notes.append(f"{len(left)} counters of batches are no tensors of a network: they are left out")
    return {each.name: placed[each.name] for each in needed}, tuple(notes)


def _placed(
    found: NamedArrays, mapping: Mapping[str, str], prefix: str, where: str
) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors by their names here, and their names there. Raises ``UsageError`` where two would be one."""
    placed, sources = dict[str, Array](), dict[str, str]()
    for name, array in found.items():
        to = Placed("" if is_outside(name, prefix) else name.removeprefix(prefix))
        if name in mapping:
            to = parsed(mapping[name], array.ndim)
        if to.name in placed:
            raise UsageError(f"{where}: '{sources[to.name]}' and '{name}' would both be '{to.name}'")
        if to.name:
            placed[to.name], sources[to.name] = array.transpose(to.axes) if to.axes else array, name
    return placed, sources


def _is_finite(array: Array) -> bool:
    """True if no number is NaN or infinite: then the sum of their squares is so, or too large, without more memory."""
    flat = array.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(flat @ flat)) or bool(np.isfinite(flat).all())


def _faults(placed: NamedArrays, sources: Mapping[str, str], needed: Sequence[Parameter]) -> Iterator[str]:
    """All that does not fit, with what to try."""
    entries = {name: Entry(array.dtype.name, array.shape, array.nbytes) for name, array in placed.items()}
    result = match(entries, needed)
    for row, value in zip(result.rows, needed, strict=True):
        if row.status == "missing":
            how = f": perhaps --rename '{sources[row.suggestion]}={row.target}'" if row.suggestion else ""
            yield f"tensor '{row.name}' {format_shape(row.needed)} is missing{how}"
        elif row.status == "shape differs" and row.found is not None:
            how = f": it fits transposed, --rename '{sources[row.name]}={row.target}'" if row.axes else ""
            yield f"tensor '{row.name}' is {format_shape(row.found)}, and {format_shape(row.needed)} is needed{how}"
        elif placed[row.name].dtype.kind == "f" and not _is_finite(placed[row.name]):
            yield f"tensor '{sources[row.name]}' holds NaN or infinity, which no weight file does"
        elif placed[row.name].dtype != np.dtype(value.dtype):
            yield (
                f"tensor '{row.name}' is {placed[row.name].dtype}, and {value.dtype} is needed: convert it before, as "
                f".to(torch.{value.dtype}) and .astype(np.{value.dtype}) do"
            )
    folded = "; the network has no batch normalization of this name: it may be folded into a convolution"
    for name in result.left_over:
        more = folded if name.endswith(("running_mean", "running_var")) else ""
        drop = f"--rename '{sources[name]}=' leaves it out"
        yield f"tensor '{sources[name]}' {format_shape(placed[name].shape)} is left over: {drop}{more}"
