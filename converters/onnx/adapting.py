"""The rewrites of an export: other sizes, half precision; and the steps of an older file as nodes.

Each of these is a rewrite (see ``rewrites``), compared here with the program before it, in numpy. What results is
written and verified like any other network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from portable_nn.core.errors import PortableNNError, UsageError, VerificationError
from portable_nn.core.graph import Graph, format_shape
from portable_nn.core.names import FloatType
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.engines.once import run_numpy
from portable_nn.network import Network
from portable_nn.network.preparing import steps_inside
from portable_nn.onnx.samples import NoInputsError, varied
from portable_nn.onnx.verification.differences import differences, largest
from portable_nn.onnx.verification.messages import check_outputs, compare_runs
from portable_nn.onnx.verify import Difference, Tolerance, compare
from portable_nn.onnx.writing import to_model
from portable_nn.preprocessing.applying import apply_arithmetic
from portable_nn.preprocessing.steps import arithmetic
from portable_nn.rewrites import REWRITES, Program
from portable_nn.rewrites.sizes import batch_of, fixed_sizes


def adapted(
    network: Network,
    *,
    batch: int | None,
    sizes: Mapping[str, int | str],
    dynamic: bool,
    dtype: FloatType | None,
    float16: bool,
    verify: bool,
    tolerance: Tolerance,
    seed: int,
) -> tuple[Network, tuple[str, ...], dict[str, Difference]]:
    """``network`` after the requested rewrites, in this order: ``dynamic``, sizes, ``float16``, ``dtype``.

    The options are those of ``export_onnx``. Also returns notes on what was done, and how far the rounding of weights
    changes each output.

    Raises:
        UsageError: a rewrite is impossible; every node that prevents it is listed.
        VerificationError: the result computes other values.
    """
    program, rounding = program_of(network), dict[str, Difference]()
    if dynamic:
        before, program = program, REWRITES["any-batch"].rewrite(program)
        if verify and program.graph is not before.graph:
            _check_batches(program, before, tolerance)
    sizes = dict(sizes)
    if batch is not None:
        name = batch_of(program.graph)
        if sizes.setdefault(name, batch) != batch:
            raise UsageError(f"the batch, '{name}', is to be {batch} and {sizes[name]}")
    program = fixed_sizes(program, sizes)
    before = program
    if float16:  # First: a number that is rounded twice may not be the nearest.
        program = REWRITES["float16"].rewrite(program)
    if dtype == "float32" or (dtype is None and any(info.exported == "float32" for info in program.inputs)):
        program = REWRITES["float32"].rewrite(program)
    if verify and program.graph is not before.graph:
        rounding = _rounding(program, before, seed)
    return network_of(program, network), program.notes, rounding


def with_any_batch(network: Network) -> tuple[Network, tuple[str, ...]]:
    """``network`` with a batch of any size in place of a fixed 1, and a note; itself, with why, where it is not proved.

    In numpy several examples at once must give what each gives alone, and onnxruntime, at two sizes, what numpy gives.
    """
    if not network.inputs or any(value.shape[:1] != (1,) for value in network.graph.inputs):
        return network, ()
    before, tolerance = program_of(network), Tolerance()
    try:
        program = REWRITES["any-batch"].rewrite(before)
        _check_batches(program, before, tolerance)
        graph, arrays = program.graph, network.parameters.arrays
        compare(graph, arrays, to_model(graph, arrays), "with a batch of any size", tolerance=tolerance)
    except PortableNNError as error:
        return network, (str(error),)
    return network_of(program, network), program.notes


def outside(network: Network) -> tuple[str, ...]:
    """A note for each input on what remains to be done before the model, and how."""
    return tuple(
        f"inputs are prepared outside the file: {'; '.join(map(str, info.preprocessing))}; the file takes "
        f"{value.dtype} {format_shape(value.shape[1:])}"
        f"{'' if arithmetic(info.preprocessing) else ', levels 0 to 255'}. portable-nn predict and pnn.prepare do this"
        for info, value in zip(network.inputs, network.graph.inputs, strict=True)
        if info.preprocessing
    )


def program_of(network: Network) -> Program:
    """A network as rewrites see it; the arrays are its own."""
    return Program(network.graph, network.parameters, network.inputs, network.documentation)


def network_of(program: Program, network: Network) -> Network:
    """The network of a rewritten program, otherwise as ``network``; itself where nothing was rewritten."""
    if program.graph is network.graph:
        return network
    return Network.from_graph(
        program.graph,
        program.parameters,
        inputs=program.inputs,
        outputs=network.outputs,
        metadata=network.metadata,
        documentation=program.documentation,
        copy=False,
    )


def _check_batches(after: Program, before: Program, tolerance: Tolerance) -> None:
    """Check that several batches at once give the results of ``before`` for each of them alone."""
    drawn = _drawn(before.graph, 0)
    # Open sizes vary from one to another.
    parts = [part for part in drawn if all(part[name].shape == array.shape for name, array in drawn[1].items())]
    if not parts[0]:
        return
    alone, together = [_run(before, part) for part in parts], _joined(parts)
    size, count = (len(next(iter(feeds.values()))) for feeds in (parts[0], together))
    where = f"the batch, which is {size}, cannot be any: "
    for name in before.graph.outputs:
        if len({part[name].shape[1:] for part in alone}) > 1:
            shapes = " and ".join(sorted({format_shape(part[name].shape) for part in alone}))
            raise VerificationError(f"{where}output '{name}' has the shapes {shapes} for different inputs")
    sides = f"{count} examples at once", f"{size} at a time"
    check_outputs(_run(after, together), _joined(alone), *sides, tolerance, where)


def _joined(parts: Sequence[NamedArrays]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def with_steps(network: Network, *, verify: bool, tolerance: Tolerance, seed: int) -> tuple[Network, tuple[str, ...]]:
    """``network`` with the arithmetic steps of an older file as nodes, and notes on them; itself where it has none.

    Where the steps do not give what the network takes, it is left as it is: what remains to be done names them.

    Raises ``VerificationError`` where the nodes compute something else than the steps.
    """
    try:
        after = steps_inside(network)
    except UsageError as error:
        return network, (str(error),)
    if after is network:
        return network, ()
    if verify:
        _check_steps(program_of(after), program_of(network), tolerance, seed)
    steps = (step for info in network.inputs for step in arithmetic(info.preprocessing))
    return after, tuple(f"now a part of the model: {step}" for step in steps)


def _check_steps(after: Program, before: Program, tolerance: Tolerance, seed: int) -> None:
    """Check that ``after`` gives the results of ``before`` on inputs that this package has preprocessed."""
    given = {info.name: steps for info in before.inputs if (steps := arithmetic(info.preprocessing))}

    def prepared(feeds: NamedArrays) -> dict[str, Array]:
        return _run(before, {**feeds, **{name: apply_arithmetic(given[name], feeds[name]) for name in given}})

    sides = "the preprocessing as nodes", "its steps"
    compare_runs(_drawn(after.graph, seed), partial(_run, after), prepared, *sides, tolerance)


def _rounding(after: Program, before: Program, seed: int) -> dict[str, Difference]:
    """The largest differences between the two programs, by output."""
    return largest(differences(_run(after, feeds), _run(before, feeds)) for feeds in _drawn(after.graph, seed))


def _run(program: Program, feeds: NamedArrays) -> dict[str, Array]:
    return run_numpy(program.graph, program.parameters, feeds)


def _drawn(graph: Graph, seed: int) -> list[dict[str, Array]]:
    try:
        return varied(graph, np.random.default_rng(seed))
    except NoInputsError as error:
        raise UsageError(f"{error}; --verify none leaves the comparison out") from None
