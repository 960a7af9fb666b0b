"""A network as one file of C99 that needs no library but that of mathematics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from portable_nn.converters.conversion import Written, compare_sides, written_tolerance
from portable_nn.converters.onnx.adapting import network_of, outside, program_of
from portable_nn.converters.source.c_compiling import compiler, side_of
from portable_nn.converters.source.c_function import Function, is_known
from portable_nn.converters.source.c_operators import ALL_OUTPUTS, missing
from portable_nn.converters.source.c_operators.use import CUse
from portable_nn.converters.source.c_program import text_of
from portable_nn.converters.source.lowered import Use, in_known_operators
from portable_nn.core.arguments import check_kinds
from portable_nn.core.atomic import write_whole
from portable_nn.core.dims import names_in
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph
from portable_nn.core.text import size as in_bytes
from portable_nn.network import Network
from portable_nn.onnx.samples import SIZES
from portable_nn.onnx.verify import Proof
from portable_nn.rewrites import REWRITES
from portable_nn.rewrites.float32 import widened
from portable_nn.rewrites.sizes import fixed_sizes

LARGEST: Final = 16_000_000
"""The most bytes of weights: compilers take long for such files, and nobody reads them."""


@check_kinds
def write_c(
    network: Network,
    path: str | Path,
    *,
    sizes: Mapping[str, int] = MappingProxyType({}),
    up_to: Mapping[str, int] = MappingProxyType({}),
    dtype: Literal["float32"] | None = None,
    verify: bool = True,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> Written:
    """Write a network as one file of C99 that needs ``math.h`` alone, and compare it with the network.

    The file has one function, named after the file, that computes one example: ``net(image, digit)`` takes pointers to
    the inputs and outputs, and returns 0. There is no malloc: weights are constants, and intermediate values share one
    static array whose bytes the file states. With ``-DNET_MAIN`` it is a program that reads numbers and prints the
    outputs. The first size of the inputs, if it is symbolic, is the batch: the function takes one example.

    Args:
        network: the network.
        path: the file to write, which ends in ``.c``.
        sizes: numbers for symbolic sizes, by name.
        up_to: the largest numbers that symbolic sizes may have, such as ``{"steps": 100}``: each is then an argument
            of the function, and memory is reserved for the largest.
        dtype: ``float32`` computes in that what is float64 in the network.
        verify: whether the file is compiled, if there is a C compiler, and run on the same inputs as the network.
        atol, rtol: how far an output may differ; by default what ``core.tolerances.WRITTEN`` has for the element type.
        seed: that of the inputs.

    Raises:
        UsageError: the name does not end in ``.c``, a symbolic size has neither a number nor a largest one, or the
            weights are too large.
        UnsupportedError: some nodes have no form in C; all of them are listed.
        VerificationError: the program computes something else.
        FileError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".c":
        raise UsageError(f"{path}: the name of a C file must end in .c")
    network, changed = _in_sizes(network, sizes, up_to, dtype)
    source = source_of(network, path, up_to)
    proof, notes = Proof(), [*changed]
    if verify:
        found = compiler()
        if found is None:
            notes.append("nothing was compared: there is no C compiler (cc, gcc or clang) to compile the file with")
        else:
            tolerance = written_tolerance(network, atol, rtol)
            most = [each for each in SIZES if each <= min(up_to.values(), default=max(SIZES))] or [1]
            with side_of(source, network, list(up_to), found) as side:
                proof = compare_sides(network, side, "the C file", tolerance=tolerance, seed=seed, sizes=most)
    data = source.encode()
    write_whole(path, data)
    return Written(path, len(data), proof, (*notes, *outside(network)))


def _in_sizes(
    network: Network, sizes: Mapping[str, int], up_to: Mapping[str, int], dtype: str | None
) -> tuple[Network, tuple[str, ...]]:
    """The network with its sizes, of which only the batch and those of ``up_to`` are symbolic; and notes."""
    if low := [name for name, most in up_to.items() if most < 1]:
        raise UsageError(f"up_to: the largest '{low[0]}' must be 1 or more, not {up_to[low[0]]}")
    if both := sorted(sizes.keys() & up_to.keys()):
        raise UsageError(f"the size '{both[0]}' has a number in sizes and in up_to: leave one of them out")
    program = fixed_sizes(program_of(network), sizes)
    if dtype == "float32":
        program = REWRITES["float32"].rewrite(program)
    program = widened(program)
    found = network_of(program, network)
    batch = batch_of(found.graph)
    names = {name for value in found.graph.inputs for name in names_in(dim for dim in value.shape if dim != batch)}
    if unknown := sorted(up_to.keys() - names - {batch}):
        raise UsageError(f"no size is called '{unknown[0]}': the inputs have {', '.join(sorted(names)) or 'none'}")
    if open_sizes := sorted(names - up_to.keys()):
        listed = ", ".join(f"'{name}'" for name in open_sizes)
        raise UsageError(
            f"C needs to know how large {listed} may be: --dim {open_sizes[0]}=..100 makes it an argument of the "
            f"function, and --dim {open_sizes[0]}=100 fixes it"
        )
    stored = sum(each.nbytes for each in found.parameters.values())
    if stored > LARGEST:
        raise UsageError(f"{in_bytes(stored)} of weights are too many for C source, at most {in_bytes(LARGEST)} are")
    return found, program.notes


def batch_of(graph: Graph) -> str | None:
    """The name of the batch: the first size of all inputs, if that is the same name."""
    first = {value.shape[:1] for value in graph.inputs}
    [found] = first if len(first) == 1 else [()]
    return found[0] if found and isinstance(found[0], str) else None


def source_of(network: Network, path: Path, up_to: Mapping[str, int]) -> str:
    """The text of the file. Raises ``UnsupportedError`` as ``write_c`` does."""
    batch = batch_of(network.graph)
    kept = batch is None or batch in up_to
    single = network if kept else network_of(fixed_sizes(program_of(network), {str(batch): 1}), network)
    names = {name: name for name in up_to}
    graph = in_known_operators(single.graph, lambda use: _lacks(use, names), str(path), "as C source")
    return text_of(Function(single, graph, path, up_to))


def _lacks(use: Use, names: Mapping[str, str]) -> str | None:
    """The reason why a use cannot be written, or ``None``; sizes of values are known without a node."""
    if is_known(use) or use.is_constant:
        return None
    count = len((use.context.operator if use.node.operator in ALL_OUTPUTS else use.node).outputs)
    return missing(CUse(use, [name or "0" for name in use.node.inputs], ["y"] * count, names, {}))
