"""Every case of every operator in every code base: what it computes, its gradients where it trains, what it refuses.

``python tests/converters/code_bases.py [TARGET]…`` writes to ``tests/golden/refusals.json`` what is refused: by target
and by what is missing, the cases.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
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
from portable_nn.core.graph import Graph  # noqa: E402
from portable_nn.engines.once import run_numpy  # noqa: E402
from portable_nn.operators import FLOATS, Symbol, constant, replay, trace  # noqa: E402
from portable_nn.operators.differentiation import gradients  # noqa: E402
from portable_nn.operators.registry import Array  # noqa: E402

REFUSALS = TESTS / "golden" / "refusals.json"

Arrays = Mapping[str, Array]


class Flow(NamedTuple):
    """What flows back: from an output, with these slopes, to some inputs."""

    output: str
    slope: Array
    inputs: tuple[str, ...]
    graph: Graph


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


def back_from_torch(use: Use) -> Found:
    """Out to PyTorch, in again, and computed here."""
    import torch

    from portable_nn.converters.torch import read_torch
    from portable_nn.converters.torch.execution import executed
    from portable_nn.converters.torch.source import source_of

    module = executed(source_of(use.network), use.network)
    arrays = [np.array(use.feeds[value.name]) for value in use.network.graph.inputs]
    fixed = {value.name: {0: None} for value in use.network.graph.inputs if value.shape}
    back = read_torch(module, tuple(map(torch.from_numpy, arrays)), dynamic=fixed, verify=False).network
    symbols = replay(back.graph)
    found = [symbols[name] for name in back.graph.outputs]
    slopes = list[Symbol | None]()
    if use.flow:
        wrt = {
            before.name: symbols[after.name]
            for before, after in zip(use.network.graph.inputs, back.graph.inputs, strict=True)
        }
        place = use.network.graph.outputs.index(use.flow.output)
        seed = constant(use.flow.slope, found[place].dtype)
        slopes = gradients([found[place]], [seed], [wrt[name] for name in use.flow.inputs])
    leaves = [symbols[value.name] for value in back.graph.inputs]
    graph = trace(leaves, [*found, *(each for each in slopes if each is not None)]).graph
    made = run_numpy(graph, back.parameters, dict(zip((value.name for value in graph.inputs), arrays, strict=True)))
    values = iter([made[name] for name in graph.outputs])
    outputs = {name: next(values) for name in use.network.graph.outputs}
    none = {name: np.zeros_like(use.feeds[name]) for name in use.slopes}
    return outputs, {
        name: none[name] if each is None else next(values) for name, each in zip(use.slopes, slopes, strict=True)
    }


def in_onnx(use: Use) -> Found:
    from portable_nn.onnx.session import Session
    from portable_nn.onnx.writing import to_bytes, to_model

    def run(graph: Graph) -> Arrays:
        given = {value.name: use.feeds[value.name] for value in graph.inputs}
        return Session(to_bytes(to_model(graph, use.network.parameters)), threads=1).run(given)

    back, names = (run(use.flow.graph), use.flow.graph.outputs) if use.flow else ({}, ())
    return run(use.network.graph), dict(zip(use.slopes, (back[name] for name in names), strict=True))


def in_keras(use: Use) -> Found:
    import torch

    from portable_nn.converters.keras import to_keras
    from portable_nn.converters.keras.installed import keras

    made = to_keras(use.network, verify=False)
    model = keras().models.model_from_json(made.to_json())  # Keras builds it again from its text alone.
    model.set_weights(made.get_weights())
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
        variables, apply, *_ = to_jax(use.network, verify=False)

        def total(chosen: Arrays) -> tuple[Any, Any]:
            made = apply(variables, *(chosen.get(name, use.feeds[name]) for name in names))
            made = made if isinstance(made, dict) else {use.network.graph.outputs[0]: made}
            return (made[use.flow.output] * use.flow.slope).sum() if use.flow else 0.0, made

        chosen = {name: use.feeds[name] for name in use.flow.inputs} if use.flow else {}
        gradient: Any = jax.value_and_grad(total, has_aux=True)
        with suppress(jax.errors.JAXTypeError):  # One compilation takes less than that of each step; some need numbers.
            gradient = jax.jit(gradient).lower(chosen).compile({"xla_backend_optimization_level": 0})
        (_, outputs), slopes = gradient(chosen)
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

    inputs = [(value.shape, use.feeds[value.name].shape) for value in use.network.graph.inputs]
    sizes = {
        name: size
        for dims, shape in inputs
        for name, size in zip(dims[1:], shape[1:], strict=True)
        if isinstance(name, str)
    }
    source = source_of(use.network, Path("net.c"), sizes)
    with side_of(source, use.network, (*sizes,), compiler() or "", "-O0", "-Werror") as side:
        return {name: np.asarray(x) for name, x in side(use.feeds).items()}, {}


class Target(NamedTuple):
    """A code base.

    Attributes:
        run: computes a use.
        package: what must be installed, if anything.
        trains: whether it has gradients.
        forms: the precision and the batch, ``None`` for a known one, in which cases are computed.
        fixed: by operator, inputs without a gradient.
    """

    run: Callable[[Use], Found]
    package: str = ""
    trains: bool = True
    forms: tuple[tuple[str, str | None], ...] = (("float64", None),)
    fixed: Mapping[str, tuple[str, ...]] = {}


STATISTICS = {"BatchNormalization": ("x3", "x4")}
"""PyTorch has no gradient of running statistics, and says so."""

TARGETS: dict[str, Target] = {
    "torch": Target(in_torch, "torch", forms=(("float64", None), ("float32", "batch")), fixed=STATISTICS),
    "torch back": Target(back_from_torch, "torch", fixed=STATISTICS),
    "jax": Target(in_jax, "jax"),
    "keras": Target(in_keras, "keras", forms=(("float32", "batch"),), fixed=STATISTICS),
    "numpy": Target(in_numpy, trains=False, forms=(("float64", None), ("float32", "batch"))),
    "onnx": Target(in_onnx, forms=(("float32", None), ("float32", "batch"))),
    "c": Target(in_c, trains=False),
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
        for case in (case for case in STANDARD if case.operator == operator):
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
    flow = Flow(name, slope, tuple(each for each, _ in pairs), graph)
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


def missing(message: str) -> str:
    """Why a case is refused: of each node, its operator and what is missing; of another refusal, its first words.

    What another library says stands in brackets, and is left out.
    """
    _, *parts = re.split(r"'[\w.]+' \((\w+)\): ", message)
    reasons = (re.split(r" \(|\n", text)[0].rstrip(" ,;") for text in parts[1::2])
    found = dict.fromkeys(f"{operator}: {reason}" for operator, reason in zip(parts[::2], reasons, strict=True))
    return "; ".join(found) or message.partition(" (")[0].replace("\n ", "")


def main(targets: Sequence[str]) -> None:
    """Write what is refused."""
    found = json.loads(REFUSALS.read_text(encoding="utf-8"))
    for target in targets or TARGETS:
        reasons = defaultdict[str, list[str]](list)
        for operator in OPERATORS:
            for case, message in outcome(operator, target)[1].items():
                reasons[missing(message)].append(case)
        found[target] = {reason: sorted(cases) for reason, cases in sorted(reasons.items())}
    REFUSALS.write_text(json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
