"""State dicts of PyTorch: into a network, and out of one, with its names, layouts and orders of gates."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.converters.conversion import KEPT, Imported
from portable_nn.converters.mapping import arranged, common_prefix, is_outside, proposal, read_map, write_map
from portable_nn.converters.torch.execution import executed
from portable_nn.converters.torch.facts import tied_in
from portable_nn.converters.torch.module import prove
from portable_nn.converters.torch.source import source_of
from portable_nn.core.arguments import check_kinds
from portable_nn.core.atomic import write_whole
from portable_nn.core.errors import FormatError, ShapeError, UsageError, listed
from portable_nn.core.graph import Parameter
from portable_nn.core.memory import aligned_array
from portable_nn.core.packages import need
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.core.text import either, printable, some
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.format import open_arrays
from portable_nn.network import Network, load, remade
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.plain import Entry
from portable_nn.plain.names import is_counter

SUFFIXES: Final = (".pt", ".pth", ".bin", ".safetensors")

INDEX: Final = ".index.json"
"""The end of the name of an index of several files, as Hugging Face's libraries write them."""

_SHARD: Final = re.compile(r"(?P<stem>.+)-\d+-of-(?P<count>\d+)(?P<ending>\.\w+)")
"""The pattern of the name of one of several files."""

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class View(NamedTuple):
    """The tensors of a network as one code base has them: what is needed, and how the parameters follow from them."""

    needed: Sequence[Parameter]
    source: Any = None

    def parameters(self, tensors: NamedArrays, network: Network) -> NamedArrays:
        """The parameters of the network."""
        found: NamedArrays = self.source.parameters(tensors, network) if self.source else tensors
        return found


def _view(network: Network, names: Sequence[str]) -> View:
    """The view of which most names are found, behind a prefix or not; where they are the network's own, at once."""
    own = View(network.graph.parameters)
    wanted = [each.name for each in own.needed]
    prefix = common_prefix(names, wanted)
    if {prefix + name for name in wanted} == {name for name in names if not is_counter(name)}:
        return own
    return max(_views(network, own), key=lambda view: _count(view, names))


def _views(network: Network, own: View) -> list[View]:
    """The network's own parameters, and the state dict of the module that it is in PyTorch, where that is another."""
    views = [own]
    try:
        source = source_of(network)
    except (UsageError, ImportError):
        return views
    shapes = {entry.key: entry.of(network.parameters.arrays[entry.parameter]) for entry in source.entries}
    if list(shapes) == [value.name for value in network.graph.parameters]:
        return views
    return [View([Parameter(key, array.dtype.name, array.shape) for key, array in shapes.items()], source), *views]


def _count(view: View, names: Sequence[str]) -> int:
    prefix = common_prefix(names, [each.name for each in view.needed])
    there = set(names)
    return sum(prefix + each.name in there for each in view.needed)


@check_kinds
def load_state(
    network: Network,
    state: str | Path | Mapping[str, Any],
    *,
    rename: Mapping[str, str] = _NONE,
    map: str | Path | None = None,
) -> tuple[str, ...]:
    """Take the weights of a network from a state dict of PyTorch: all of them, or none where any does not fit.

    Names are those of the module that ``to_torch`` makes, or of the network's own parameters; prefixes such as
    ``module.`` are left out, and ``num_batches_tracked`` is none of the tensors. Other names are never guessed: the
    error lists what is similar as ``--rename`` takes it.

    Args:
        network: the network.
        state: a ``.pt``, ``.pth``, ``.bin`` or ``.safetensors`` file, of which nothing is executed, the index of
            several, such as ``model.safetensors.index.json``, or a dict of tensors or arrays by name.
        rename: names there → names here; ``weight.T`` transposes, and an empty name leaves a tensor out.
        map: a JSON file of such names. Where it does not exist, the mapping that names and shapes suggest is written
            there, to be looked through, and nothing is loaded.

    Returns notes on what was left out.

    Raises:
        ShapeError: tensors are missing, left over, or have other shapes or types: all of them.
        UsageError: a mapping that does not fit, or was only proposed now.
        FileError, FormatError: the file cannot be read.
    """
    found, notes = _fitting(network, state, rename, map)
    network.load_weights(found)
    return notes


def _fitting(
    network: Network, state: str | Path | Mapping[str, Any], rename: Mapping[str, str], map: str | Path | None
) -> tuple[NamedArrays, tuple[str, ...]]:
    """The parameters of a network from a state dict, and notes on what was left out."""
    tensors, where, more = _read(state)
    tensors = _untied(tensors, tied_in(network), rename, where)
    view = _view(network, [*tensors])
    mapping = dict(rename)
    if map is not None:
        if not Path(map).exists():
            entries = {name: Entry(a.dtype.name, a.shape, a.nbytes) for name, a in tensors.items()}
            proposed, ordered = proposal(entries, view.needed)
            write_map(map, proposed)
            doubts = f"; nothing but their order says what {some(ordered)} are" if ordered else ""
            raise UsageError(
                f"{map} did not exist: names proposed for {len(proposed)} of {len(view.needed)} tensors are in it "
                f"now{doubts}; look through it, complete it, and load again"
            )
        mapping = read_map(map) | mapping
    others = _other_names(network, tensors, view.needed, mapping)
    found, notes = arranged(tensors, view.needed, {name: to for name, (to, _) in others.items()} | mapping, where)
    told = [f"'{name}' is '{whose}': they are tied, and one parameter here" for name, (_, whose) in others.items()]
    return view.parameters(found, network), (*more, *notes, *told)


def _other_names(
    network: Network, tensors: NamedArrays, needed: Sequence[Parameter], mapping: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """The treatment of further names of tied weights, of which networks of ONNX files have one name alone.

    Tied weights are read by several operators, as an embedding's are by a product at the end. By name there: the name
    here, empty where the tensor is there by both, and the name of the same weight.
    """
    readers = network.graph.readers()
    names = {value.name for value in needed}
    prefix = common_prefix(tensors, [*names])
    left = [
        name
        for name in tensors
        if name not in mapping and name.removeprefix(prefix) not in names and not is_outside(name, prefix)
    ]
    found = dict[str, tuple[str, str]]()
    for value in needed:
        operators = {node.operator for node in readers.get(value.name, ())}
        if len(operators) < 2 or value.name in mapping.values():
            continue
        there = tensors.get(prefix + value.name)
        same = [name for name in left if tensors[name].shape == value.shape and name not in found]
        if there is not None:
            found |= {name: ("", value.name) for name in same if np.array_equal(tensors[name], there)}
        elif len(same) == 1:
            found[same[0]] = (value.name, value.name)
    return found


def _untied(tensors: NamedArrays, tied: Mapping[str, str], rename: Mapping[str, str], where: str) -> dict[str, Array]:
    """The tensors without the further names of tied ones, which must hold the same numbers."""
    found, faults = dict(tensors), list[str]()
    prefix = common_prefix(tensors, [*tied, *tied.values()])
    for name, whose in tied.items():
        if prefix + name in found and prefix + name not in rename:
            array = found.pop(prefix + name)
            if not np.array_equal(array, found.setdefault(prefix + whose, array), equal_nan=array.dtype.kind == "f"):
                faults.append(f"'{prefix}{name}' and '{prefix}{whose}' differ, and are one parameter in the network")
    if faults:
        raise ShapeError(listed(faults, f"{where} does not fit the network"))
    return found


def _read(state: object) -> tuple[dict[str, Array], str, tuple[str, ...]]:
    """The tensors of a file or dict, its name in messages, and notes."""
    if isinstance(state, Mapping):
        return dict(_flat(state)), "the state dict", ()
    if not isinstance(state, (str, Path)):
        found = f"{type(state).__module__}.{type(state).__qualname__}"
        hint = ": its state_dict() is one" if hasattr(state, "state_dict") else ""
        raise UsageError(f"expected a state dict, or the path of its file, not a {found}{hint}")
    _check_whole(Path(state))
    if str(state).endswith(INDEX):
        return _shards(Path(state)), str(state), ()
    with open_arrays(state) as tensors:
        return {name: tensors[name] for name in tensors.entries}, str(state), tuple(tensors.notes)


def _check_whole(path: Path) -> None:
    """Refuse a folder, and one of several files that are a state together; what to give instead is looked for."""
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.name.endswith((*SUFFIXES, INDEX)))
        indexes = [each for each in found if each.name.endswith(INDEX)]
        hint = ", ".join(map(str, (indexes or found)[:3])) or f"none in it ends in {either(SUFFIXES)}"
        raise UsageError(f"{path} is a folder: expected the file of the weights, or the index of several: {hint}")
    if (shard := _SHARD.fullmatch(path.name)) and int(shard["count"]) > 1:
        index = path.with_name(f"{shard['stem']}{shard['ending']}{INDEX}")
        raise UsageError(f"{path} is one of {int(shard['count'])} files: give their index, {index}")


def _flat(state: Mapping[str, Any], front: str = "") -> Iterator[tuple[str, Array]]:
    """The tensors of a dict, and of dicts in it, with dots between the names, as those of a file."""
    for name, value in state.items():
        if hasattr(value, "shape"):
            yield f"{front}{name}", _array(value)
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{front}{name}.")


def _shards(path: Path) -> dict[str, Array]:
    """The tensors of several files, of which an index says which is where.

    Raises ``FormatError`` where it is no index, or names files that are not beside it.
    """
    places = read_map(path, "weight_map")
    names = list(dict.fromkeys(places.values()))
    if outside := [name for name in names if Path(name).name != name]:
        raise FormatError(path, f"names '{printable(outside[0])}', which is no file beside it")
    found = dict[str, Array]()
    for name in names:
        with open_arrays(path.with_name(name)) as tensors:
            found |= {key: tensors[key] for key, file in places.items() if file == name and key in tensors.entries}
    if missing := [key for key in places if key not in found]:
        raise FormatError(path, f"says that '{printable(missing[0])}' is in {places[missing[0]]}, where it is not")
    return found


def _array(value: Any) -> Array:
    """The tensor as an array; bfloat16 is read as float32, which loses nothing."""
    if not hasattr(value, "detach"):
        return np.array(value)
    tensor = value.detach().cpu()
    return np.array((tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy())


@check_kinds
def import_state(
    path: str | Path,
    *,
    into: str | Path | Network,
    rename: Mapping[str, str] = _NONE,
    map: str | Path | None = None,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    prove_training: bool = False,
    seed: int = 0,
) -> Imported:
    """A network with the weights of a state dict: graph, labels and preprocessing are those of ``into``.

    Args:
        path, rename, map: as for ``load_state``.
        into: a network, or its weight file.
        verify: whether the network and the module with these weights run on the same inputs, where PyTorch is
            installed; a note says so where it is not.
        atol, rtol, seed: the tolerances of that, and the seed of the inputs.
        prove_training: whether both are also trained for five steps, and must have the same parameters then.

    Raises as ``load_state``; ``VerificationError`` where both sides part.
    """
    network = into if isinstance(into, Network) else load(into)
    found, notes = _fitting(network, path, rename, map)
    # What was read is in memory of its own, or was copied from a dict, and nobody else has it.
    parameters = {value.name: aligned_array(found[value.name], value.dtype) for value in network.graph.parameters}
    made = remade(network, parameters)
    proof = Proof()
    if verify and find_spec("torch") is None:
        notes = (
            *notes,
            "PyTorch is not installed, so nothing was compared: names, shapes and types of all weights fit",
        )
    elif verify:
        module = executed(source_of(made), made)
        proof, more = prove(made, module, Tolerance(atol, rtol), seed, prove_training=prove_training)
        notes = (*notes, *more)
    return Imported(made, proof, (*notes, KEPT))


@check_kinds
def write_state(network: Network, path: str | Path) -> None:
    """Write the state dict of the module that a network is in PyTorch, with PyTorch's names, layouts and gate orders.

    Args:
        network: the network.
        path: the file, ``.pt``, ``.pth`` or ``.bin``, as ``torch.save`` writes it, or ``.safetensors``.

    Raises ``UsageError`` for another ending, or a network that PyTorch cannot express; ``FileError``.
    """
    need("writing a state dict", "torch", "torch", "safetensors")
    ending = Path(path).suffix.lower()
    if ending not in SUFFIXES:
        raise UsageError(f"{path}: the name of a state dict ends in {either(SUFFIXES)}")
    state = executed(source_of(network), network).state_dict()
    buffer = io.BytesIO()
    if ending == ".safetensors":
        from safetensors.torch import save

        buffer.write(save({name: each.clone() for name, each in state.items()}))  # Tied ones may not share memory.
    else:
        import torch

        torch.save(dict(state), buffer)
    write_whole(path, buffer.getvalue())
