"""Every case of every operator in every code base: what it computes, its gradients where it trains, what it refuses.

``python tests/converters/code_bases.py`` writes what is refused to ``tests/golden/refusals.json``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("KERAS_BACKEND", "torch")

TESTS = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(TESTS.parent), str(TESTS)]

import numpy as np  # noqa: E402
from cases import CASES, Case  # noqa: E402

import portable_nn as pnn  # noqa: E402
from portable_nn.core.errors import GraphError, PortableNNError  # noqa: E402
from portable_nn.engines.once import run_numpy  # noqa: E402
from portable_nn.operators import FLOATS, constant, trace  # noqa: E402
from portable_nn.operators.differentiation import gradients  # noqa: E402
from portable_nn.operators.registry import Array  # noqa: E402

REFUSALS = TESTS / "golden" / "refusals.json"

Arrays = Mapping[str, Array]


class Flow(NamedTuple):
    """What flows back: from an output, with these slopes, to some inputs."""

    output: str
    slope: Array
    inputs: tuple[str, ...]


class Use(NamedTuple):
    """A case as a network, with its inputs, its outputs and the gradients that the engine computes."""

    case: Case
    network: pnn.Network
    feeds: Arrays
    outputs: Arrays
    flow: Flow | None
    slopes: Arrays


Found = tuple[Arrays, Arrays]
"""Outputs and gradients."""


def in_torch(use: Use) -> Found:
    import torch

    from portable_nn.converters.torch.execution import executed
    from portable_nn.converters.torch.source import source_of

    module = executed(source_of(use.network), use.network)
    return _backwards(module, use, {name: torch.from_numpy(np.array(x)) for name, x in use.feeds.items()})


def in_keras(use: Use) -> Found:
    import torch

    from portable_nn.converters.keras import to_keras

    model = to_keras(use.network, verify=False)
    inputs = {name: torch.from_numpy(np.array(x)) for name, x in use.feeds.items()}

    def call(*given: Any) -> Any:
        return model([*given] if len(given) > 1 else given[0])

    return _backwards(call, use, inputs)


def _backwards(call: Callable[..., Any], use: Use, inputs: dict[str, Any]) -> Found:
    """What a function of tensors gives, and its gradients by autograd."""
    import torch

    wrt = [inputs[name].requires_grad_() for name in use.flow.inputs] if use.flow else []
    found = call(*(inputs[value.name] for value in use.network.graph.inputs))
    if not isinstance(found, dict):
        found = dict(zip(use.network.graph.outputs, found if isinstance(found, tuple) else [found], strict=True))
    outputs = {name: found[name] for name in use.network.graph.outputs}
    slopes = dict[str, Array]()
    if use.flow:
        (outputs[use.flow.output] * torch.from_numpy(use.flow.slope)).sum().backward()
        backs = (torch.zeros_like(x) if x.grad is None else x.grad for x in wrt)
        slopes = {name: each.numpy() for name, each in zip(use.flow.inputs, backs, strict=True)}
    return {name: each.detach().numpy() for name, each in outputs.items()}, slopes


def in_jax(use: Use) -> Found:
    import jax

    from portable_nn.converters.jax import to_jax

    names = [value.name for value in use.network.graph.inputs]
    with jax.enable_x64(True):
        _, apply, *_ = to_jax(use.network, verify=False)

        def total(chosen: Arrays) -> tuple[Any, Any]:
            made = apply({"params": {}}, *(chosen.get(name, use.feeds[name]) for name in names))
            made = made if isinstance(made, dict) else {use.network.graph.outputs[0]: made}
            return (made[use.flow.output] * use.flow.slope).sum() if use.flow else 0.0, made

        chosen = {name: use.feeds[name] for name in use.flow.inputs} if use.flow else {}
        (_, outputs), slopes = jax.value_and_grad(total, has_aux=True)(chosen)
        return {name: np.asarray(x) for name, x in outputs.items()}, {name: np.asarray(x) for name, x in slopes.items()}


def in_numpy(use: Use) -> Found:
    from portable_nn.converters.source.numpy_module import source_of

    space: dict[str, Any] = {"__name__": "net"}
    exec(compile(source_of(use.network, "net.py", None), "net.py", "exec"), space)
    found = space["predict"](*(use.feeds[value.name] for value in use.network.graph.inputs))
    found = list(found) if isinstance(found, tuple) else [found]
    return dict(zip(use.network.graph.outputs, map(np.asarray, found), strict=True)), {}


def in_c(use: Use) -> Found:
    from portable_nn.converters.source.c_compiling import compiler, side_of
    from portable_nn.converters.source.c_file import source_of

    source = source_of(use.network, Path("net.c"), {})
    with side_of(source, use.network, (), compiler() or "", "-O0", "-Werror") as side:
        return {name: np.asarray(x) for name, x in side(use.feeds).items()}, {}


class Target(NamedTuple):
    """A code base.

    Attributes:
        run: computes a use.
        package: what must be installed, if anything.
        trains: whether it has gradients.
        forms: the precision and the batch, ``None`` for a known one, in which cases are computed.
        most: so many cases of an operator.
        fixed: by operator, inputs without a gradient.
    """

    run: Callable[[Use], Found]
    package: str = ""
    trains: bool = True
    forms: tuple[tuple[str, str | None], ...] = (("float64", None),)
    most: int | None = None
    fixed: Mapping[str, tuple[str, ...]] = {}


STATISTICS = {"BatchNormalization": ("x3", "x4")}
"""PyTorch has no gradient of running statistics, and says so."""

TARGETS: dict[str, Target] = {
    "torch": Target(in_torch, "torch", forms=(("float64", None), ("float32", "batch")), fixed=STATISTICS),
    "jax": Target(in_jax, "jax"),
    "keras": Target(in_keras, "keras", forms=(("float32", "batch"),), fixed=STATISTICS),
    "numpy": Target(in_numpy, trains=False, forms=(("float64", None), ("float32", "batch"))),
    "c": Target(in_c, trains=False, most=6),
}

DIFFERENT = {
    "torch": {"Det_3x3": "the gradient at a singular matrix is 0 in PyTorch"},
    "keras": {
        "AveragePool_2x2x6x7_kernel_shape=(3,_3),strides=(2,_2),auto_pad=SAME_UPPER": "PyTorch as its backend averages "
        "edges that it repeats",
        "AveragePool_2x2x4x3x5_kernel_shape=(3,_3,_3),strides=(2,_2,_2),auto_pad=SAME_UPPER": "the same",
        "TopK_3x90_1": "equal entries in another order",
    },
}
"""What a code base computes otherwise itself, by the name of the case."""

STANDARD = [case for case in CASES if not case.domain]
OPERATORS = sorted({case.operator for case in STANDARD})


def uses(operator: str, target: Target) -> Iterator[Use]:
    """The cases of an operator; in another precision where the standard does not have the one that is asked for."""
    for dtype, batch in target.forms:
        for case in [case for case in STANDARD if case.operator == operator][: target.most]:
            given = dtype if case.exists_in(dtype) else "float32"
            try:
                leaves, outputs = case.build(given, batch)
                graph = trace(leaves, outputs).graph
            except GraphError:  # Its batch cannot be of any size.
                continue
            if batch and any(value.shape[:1] != (batch,) for value in graph.inputs):
                continue
            network, feeds = pnn.Network.from_graph(graph, {}), case.feeds(given)
            found = run_numpy(graph, {}, feeds)
            back = _flow(case, given, graph.outputs, found, feeds, target) if target.trains else (None, {})
            yield Use(case, network, feeds, found, *back)


def _flow(
    case: Case, dtype: str, names: tuple[str, ...], found: Arrays, feeds: Arrays, target: Target
) -> tuple[Flow | None, Arrays]:
    """What flows back from the first output of floats, and the gradients of the engine."""
    leaves, outputs = case.build(dtype)
    back = next(((each, name) for each, name in zip(outputs, names, strict=True) if each.dtype in FLOATS), None)
    learning = {f"x{place}" for place in case.wrt}.difference(target.fixed.get(case.operator, ()))
    wrt = [leaf for leaf in leaves if leaf.name in learning]
    if back is None or not wrt:
        return None, {}
    output, name = back
    slope = np.random.default_rng(0).standard_normal(found[name].shape).astype(output.dtype)
    made = gradients([output], [constant(slope, output.dtype)], wrt)
    pairs = [(leaf.name, each) for leaf, each in zip(wrt, made, strict=True) if each is not None]
    graph = trace(leaves, [each for _, each in pairs]).graph
    slopes = run_numpy(graph, {}, {value.name: feeds[value.name] for value in graph.inputs})
    flow = Flow(name, slope, tuple(each for each, _ in pairs))
    return flow, dict(zip(flow.inputs, (slopes[each] for each in graph.outputs), strict=True))


def differences(use: Use, target: Target) -> Iterator[str]:
    """What a code base computes otherwise than the engine. Raises what it raises where it refuses a use."""
    outputs, slopes = target.run(use)
    for what, ours, theirs in (("", use.outputs, outputs), ("gradient of ", use.slopes, slopes)):
        for name, wanted in ours.items():
            found = theirs[name]
            # Windows of Hann, Hamming and Blackman are computed in single precision by some.
            double = wanted.dtype == np.float64 and not use.case.operator.endswith("Window")
            tolerance = (1e-9 if double else 1e-5) * max(1.0, np.abs(wanted[np.isfinite(wanted)]).max(initial=0))
            if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
                yield f"{use.case}: {what}{name} is {found.dtype} {found.shape}, not {wanted.dtype} {wanted.shape}"
            elif not np.allclose(found, wanted, 0, tolerance, equal_nan=True):
                yield f"{use.case}: {what}{name} has other numbers"


def outcome(operator: str, target: str) -> tuple[list[str], dict[str, str]]:
    """What differs in the cases of an operator, and which are refused, with the message."""
    different, refused = list[str](), dict[str, str]()
    with np.errstate(all="ignore"):
        for use in uses(operator, TARGETS[target]):
            if str(use.case) in DIFFERENT.get(target, {}):
                continue
            try:
                different += differences(use, TARGETS[target])
            except PortableNNError as error:
                refused[str(use.case)] = str(error)
    return different, refused


def main() -> None:
    """Write what is refused."""
    found = {name: sorted(case for operator in OPERATORS for case in outcome(operator, name)[1]) for name in TARGETS}
    REFUSALS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
