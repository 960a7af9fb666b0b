"""Other models that compute the same, for ``faults.py``: what optimisers, converters and exporters make of a model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from zlib import crc32

import numpy as np
import onnx
from fault_kinds import DRAWS, Pair, distances
from fault_models import copied, graphs, inner, inputs, nodes, run, tidied
from onnx import NodeProto, TensorProto, helper, numpy_helper

os.environ["ONNXSIM_CERTIFY"] = "0"
Rng = np.random.Generator
Rewrite = Callable[[onnx.ModelProto, Rng], onnx.ModelProto | None]
"""Changes a model or makes another one; None where it does not apply."""

ROUNDED = "float16 storage of weights"
"""The rewrite of which it is right to say that weights differ."""

LIMITS = {ROUNDED: 0.1}
"""Shares of an output's spread by which a rewrite may differ, other than 1e-4."""


# -- programs of others, and ours


def simplified(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto:
    import onnxsim

    found: onnx.ModelProto = onnxsim.simplify(model)[0]
    return found


def slimmed(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto:
    import onnxslim

    found: onnx.ModelProto = onnxslim.slim(model)
    return found


def optimised(level: str) -> Rewrite:
    def rewrite(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.log_severity_level = 4
        with tempfile.TemporaryDirectory() as folder:
            options.optimized_model_filepath = f"{folder}/a.onnx"
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            return onnx.load(f"{folder}/a.onnx")

    return rewrite


def converted(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto:
    from onnx import version_converter

    return version_converter.convert_version(model, int(rng.integers(19, 23)))


def exported(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto:
    import portable_nn as pnn

    network = pnn.import_onnx(model, verify=False)
    with tempfile.TemporaryDirectory() as folder:
        pnn.export_onnx(network, f"{folder}/a.onnx", verify=False, opset=int(rng.integers(17, 23)))
        return onnx.load(f"{folder}/a.onnx")


# -- names, order, constants


def renamed(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto:
    """Other names for all values and nodes within."""
    kept, names = {"", *(each.name for each in (*model.graph.input, *model.graph.output))}, dict[str, str]()

    def other(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"v{len(names)}_{rng.integers(1000)}")

    for graph in graphs(model.graph):
        for each in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
            each.name = other(each.name)
        for place, node in enumerate(graph.node):
            node.name = f"n{place}_{rng.integers(10**6)}"
            node.input[:], node.output[:] = map(other, node.input), map(other, node.output)
    return model


def reads(node: NodeProto) -> set[str]:
    """What a node reads, in its branches too."""
    return {*node.input, *(name for graph in inner(node) for each in graph.node for name in each.input)}


def reordered(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto:
    waiting, ordered = list(model.graph.node), list[NodeProto]()
    while waiting:
        missing = {name for node in waiting for name in node.output}
        ready = [node for node in waiting if not reads(node) & missing]
        ordered.append(waiting.pop(waiting.index(ready[rng.integers(len(ready))])))
    replace_nodes(model, ordered)
    return model


def replace_nodes(model: onnx.ModelProto, ordered: list[NodeProto]) -> None:
    copies = [NodeProto.FromString(each.SerializeToString()) for each in ordered]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def as_nodes(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto:
    """Half of the stored numbers as Constant nodes."""
    moved = [each for each in model.graph.initializer if rng.random() < 0.5]
    made = [helper.make_node("Constant", [], [each.name], f"{each.name}_constant", value=each) for each in moved]
    for each in moved:
        model.graph.initializer.remove(each)
    replace_nodes(model, [*made, *model.graph.node])
    return model


def as_initializers(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto | None:
    constants = [node for node in model.graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]
    for node in constants:
        array = numpy_helper.to_array(node.attribute[0].t)
        model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
        model.graph.node.remove(node)
    return model if constants else None


def halved(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto | None:
    """Weights as float16, and a Cast back behind each."""
    made = []
    for each in model.graph.initializer:
        if each.data_type == TensorProto.FLOAT and np.prod(each.dims) >= 8:
            name, array = each.name, numpy_helper.to_array(each)
            each.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_half"))
            made.append(helper.make_node("Cast", [each.name], [name], f"{name}_cast", to=TensorProto.FLOAT))
    replace_nodes(model, [*made, *model.graph.node])
    return model if made else None


# -- nodes

Build = Callable[[NodeProto, int], list[NodeProto] | None]
"""What takes the place of a node, which has this place; None leaves it."""


def rebuilt(model: onnx.ModelProto, rng: Rng, build: Build, share: float = 0.7) -> onnx.ModelProto | None:
    """The model with some nodes replaced by what ``build`` makes of them; None if it makes something of none."""
    made, changed = list[NodeProto](), False
    for place, node in enumerate(model.graph.node):
        found = build(node, place) if rng.random() < share else None
        changed, made = changed or found is not None, [*made, *([node] if found is None else found)]
    replace_nodes(model, made)
    return model if changed else None


def with_identities(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto | None:
    def build(node: NodeProto, place: int) -> list[NodeProto] | None:
        at = [at for at, name in enumerate(node.input) if name]
        if not at or node.op_type == "DequantizeLinear":
            return None
        chosen, name = at[rng.integers(len(at))], f"same_{place}"
        before = helper.make_node("Identity", [node.input[chosen]], [name], f"identity_{place}")
        node.input[chosen] = name
        return [before, node]

    return rebuilt(model, rng, build, 0.3)


def split_gemm(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto | None:
    """A MatMul and an Add for each Gemm, and a Transpose if it has one."""

    def build(node: NodeProto, place: int) -> list[NodeProto] | None:
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        simple = given.get("alpha", 1) == given.get("beta", 1) == 1 and not given.get("transA") and len(node.input) == 3
        if node.op_type != "Gemm" or not simple:
            return None
        x, weight, bias = node.input
        turned, product = f"turned_{place}" if given.get("transB") else weight, f"product_{place}"
        made = [
            helper.make_node("Transpose", [weight], [turned], f"turn_{place}", perm=[1, 0]),
            helper.make_node("MatMul", [x, turned], [product], f"matmul_{place}"),
            helper.make_node("Add", [product, bias], node.output, f"add_{place}"),
        ]
        return made if turned != weight else made[1:]

    return rebuilt(model, rng, build)


def readers(model: onnx.ModelProto, name: str) -> list[NodeProto]:
    return [node for node in model.graph.node if name in reads(node)]


def joined_gemm(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto | None:
    """A Gemm for each MatMul of matrices with an Add of a stored row after it."""
    values, stored = run(model, inputs(model, 0), every=True), {each.name: each for each in model.graph.initializer}
    dropped = set[str]()

    def build(node: NodeProto, place: int) -> list[NodeProto] | None:
        if node.output[0] in dropped:
            return []
        after = readers(model, node.output[0])
        if node.op_type != "MatMul" or len(after) != 1 or after[0].op_type != "Add" or node.input[1] not in stored:
            return None
        [row] = {*after[0].input} - {node.output[0]} or {""}
        if np.ndim(values[node.output[0]]) != 2 or row not in stored or len(stored[row].dims) > 2:
            return None
        dropped.add(after[0].output[0])
        return [helper.make_node("Gemm", [*node.input, row], [after[0].output[0]], f"gemm_{place}")]

    return rebuilt(model, rng, build, 1)


def folded(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto | None:
    """Normalisations as weights of the convolutions before them, computed in double precision."""
    stored = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    made = {node.output[0]: node for node in model.graph.node if node.op_type == "Conv"}
    gone = list[NodeProto]()
    for node in model.graph.node:
        before = made.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if (
            before is None
            or len(readers(model, before.output[0])) != 1
            or not {*node.input[1:], *before.input[1:]} <= {*stored}
        ):
            continue
        scale, shift, mean, variance = (stored[name].astype(float) for name in node.input[1:])
        given = {each.name: each.f for each in node.attribute}
        scale = scale / np.sqrt(variance + given.get("epsilon", 1e-5))
        weight = stored[before.input[1]] * scale.reshape(-1, *[1] * (stored[before.input[1]].ndim - 1))
        bias = shift + ((stored[before.input[2]] if len(before.input) > 2 else 0) - mean) * scale
        names = [f"{before.output[0]}_{each}" for each in ("weight", "bias")]
        for name, array in zip(names, (weight, bias), strict=True):
            model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
        before.input[:], before.output[0] = [before.input[0], *names], node.output[0]
        gone.append(node)
    for node in gone:
        model.graph.node.remove(node)
    read = {name for node in nodes(model) for name in node.input}
    for each in [each for each in model.graph.initializer if each.name not in read]:
        model.graph.initializer.remove(each)
    return model if gone else None


POINTWISE = {
    "Relu", "LeakyRelu", "Elu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Clip", "Erf", "Add", "Mul", "Sub",
}  # fmt: skip


def channels_last(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto | None:
    """Pointwise nodes with channels at the end, between transposes."""
    values = {**inputs(model, 0), **run(model, inputs(model, 0), every=True)}

    def build(node: NodeProto, place: int) -> list[NodeProto] | None:
        shape = np.shape(values.get(node.output[0], 0))
        large = [name for name in node.input if np.shape(values.get(name, 0)) == shape]
        small = [name for name in node.input if name not in large]
        if node.op_type not in POINTWISE or len(shape) != 4 or (small and node.op_type != "Clip"):
            return None
        turned = [f"last_{place}_{at}" for at in range(len(large))]
        made = [
            helper.make_node("Transpose", [name], [to], f"to_{to}", perm=[0, 2, 3, 1])
            for name, to in zip(large, turned, strict=True)
        ]
        back = helper.make_node("Transpose", [f"last_{place}"], [node.output[0]], f"back_{place}", perm=[0, 3, 1, 2])
        node.input[:], node.output[0] = [*turned, *small], f"last_{place}"
        return [*made, node, back]

    return rebuilt(model, rng, build, 0.5)


def several(model: onnx.ModelProto, rng: Rng) -> onnx.ModelProto:
    for each in (split_gemm, folded, with_identities, as_nodes, renamed, reordered):
        model = each(copied(model), rng) or model
    return model


REWRITES: dict[str, Rewrite] = {
    "onnxsim": simplified,
    "onnxslim": slimmed,
    "onnxruntime, basic": optimised("BASIC"),
    "onnxruntime, extended": optimised("EXTENDED"),
    "another opset": converted,
    "exported again": exported,
    ROUNDED: halved,
    "other names": renamed,
    "another order": reordered,
    "constants as nodes": as_nodes,
    "constants as initializers": as_initializers,
    "identities": with_identities,
    "Gemm as MatMul and Add": split_gemm,
    "MatMul and Add as Gemm": joined_gemm,
    "normalisation folded": folded,
    "channels last": channels_last,
    "several at once": several,
}


def rewritten(name: str, model: onnx.ModelProto, seed: int = 0) -> Iterator[Pair]:
    """Distinct rewrites of a model that compute the same, one of each kind after another, until a round has none.

    They run in onnxruntime with its optimiser as well, which ends some with an error.
    """
    rng, seen = np.random.default_rng(crc32(name.encode()) + seed), {model.SerializeToString()}
    given = [inputs(model, seed) for seed in range(DRAWS)]
    wanted, kinds, before = [run(model, each) for each in given], {**REWRITES}, 0
    while len(seen) > before:
        before = len(seen)
        for kind, rewrite in tuple(kinds.items()):
            try:
                found = rewrite(copied(model), rng)
                assert found is not None
                found = tidied(found)
                run(found, given[0], optimised=True)
                apart = max(distances(*each) for each in zip(wanted, (run(found, x) for x in given), strict=True))
            except Exception:  # it does not apply, or a program cannot do it
                kinds.pop(kind)
                continue
            if found.SerializeToString() not in seen and apart <= LIMITS.get(kind, 1e-4):
                seen.add(found.SerializeToString())
                yield Pair(found, kind)


def under_other_names(pair: Pair, number: int) -> Pair:
    """About every second pair, by its number, with other names of values and nodes."""
    rng = np.random.default_rng(number)
    if rng.random() < 0.5:
        return pair
    before = [node.name for node in nodes(pair.model)]
    model = renamed(pair.model, rng)
    now = dict(zip(before, (node.name for node in nodes(model)), strict=True))
    return pair._replace(model=model, nodes=tuple(now[name] for name in pair.nodes), renamed=True)
