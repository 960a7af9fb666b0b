"""A network as one readable module that needs numpy alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from portable_nn.converters.array import missing
from portable_nn.converters.array.use import ArrayUse
from portable_nn.converters.conversion import Side, Written, compare_sides
from portable_nn.converters.source.lowered import Use, in_known_operators
from portable_nn.converters.source.numpy_function import Function
from portable_nn.converters.source.numpy_program import text_of
from portable_nn.core.arguments import check_kinds
from portable_nn.core.atomic import all_or_none, atomic_write
from portable_nn.core.dims import names_in
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import bodies
from portable_nn.core.text import size
from portable_nn.core.tolerances import WRITTEN
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance

LARGEST: Final = 16_000_000
"""The most bytes of weights that are embedded: editors open such files."""


@check_kinds
def write_numpy(
    network: Network,
    path: str | Path,
    *,
    embedded: bool = False,
    verify: bool = True,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> Written:
    """Write a network as one readable module that needs numpy alone, and compare it with the network.

    The module has a function ``predict``, in which each operator is a line with a comment, and the helpers that these
    lines call; ``python net.py input.npy`` prints the outputs. Symbolic sizes stay open. Preprocessing of pictures that
    is no part of the graph is said in words.

    Args:
        network: the network.
        path: the file to write, which ends in ``.py``.
        embedded: whether the weights are in the module, as base64 of their bytes. By default they are in a file beside
            it, ``net.npz``, which is a weight file of this package as well.
        verify: whether the module is run on the same inputs as the network, at several sizes, before it is written.
        atol, rtol: how far an output may differ; by default what ``core.tolerances.WRITTEN`` has for the element type.
        seed: that of the inputs.

    Raises:
        UsageError: the name does not end in ``.py``, or the weights are too large to be embedded.
        UnsupportedError: some nodes have no form in numpy; all of them are listed.
        VerificationError: the module computes something else.
        FileError: a file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".py" or path.stem != path.stem.strip():
        raise UsageError(f"{path}: the name of a Python module must end in .py")
    stored = sum(each.nbytes for each in network.parameters.values())
    if embedded and stored > LARGEST:
        raise UsageError(
            f"{path}: {size(stored)} of weights are too many to be embedded, at most {size(LARGEST)} are: leave "
            "embedded=True (--external-data none) out, and they are in a file beside the module"
        )
    beside = None if embedded else path.with_suffix(".npz")
    source = source_of(network, str(path), None if beside is None else beside.name)
    proof = Proof()
    if verify:
        dtype = _widest(network)
        tolerance = Tolerance(WRITTEN[dtype] if atol is None else atol, WRITTEN[dtype] if rtol is None else rtol)
        proof = compare_sides(network, _side(source, network), "the numpy module", tolerance=tolerance, seed=seed)
    notes = tuple(
        f"not in the file, to be done before: {'; '.join(map(str, info.preprocessing))}"
        for info in network.inputs
        if info.preprocessing
    )
    data = source.encode()
    if beside is None:
        _write(path, data)
        return Written(path, len(data), proof, notes)
    with all_or_none():
        network.save(beside)
        _write(path, data)
    return Written(path, len(data), proof, notes, (beside,))


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path) as file:
        file.write(data)


def _widest(network: Network) -> str:
    """The least exact float type of its values."""
    found = {type.dtype for type in network.types.values()}
    return next((dtype for dtype in ("float16", "float32") if dtype in found), "float64")


def _side(source: str, network: Network) -> Side:
    """Runs the module in a namespace of its own, with the weights of the network."""
    space: dict[str, Any] = {"__name__": "network", "__file__": "", "weights": network.parameters}
    exec(compile(re.sub(r"(?m)^weights = .*$", "", source, count=1), "<network>", "exec"), space)

    def run(feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        with np.errstate(all="ignore"):
            found = space["predict"](*(feeds[value.name] for value in network.graph.inputs))
        several = found if len(network.graph.outputs) > 1 else (found,)
        return dict(zip(network.graph.outputs, several, strict=True))

    return run


def source_of(network: Network, where: str, beside: str | None) -> str:
    """The text of the module, whose weights are in the file ``beside``, or in itself.

    Raises ``UnsupportedError`` as ``write_numpy`` does.
    """
    sizes = {name: name for value in network.graph.inputs for name in names_in(value.shape)}

    def lacks(use: Use) -> str | None:
        functions = {name: name for name, _ in bodies(use.node)}
        return missing(ArrayUse(use.context, use.results, [name or None for name in use.node.inputs], sizes, functions))

    graph = in_known_operators(network.graph, lacks, where, "as numpy source")
    return text_of(Function(network, graph), Path(where).name, beside)
