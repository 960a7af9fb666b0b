"""Single nodes that are opaque, in onnxruntime, in a process of its own: see ``core.isolated``."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.runtime import runtime
from portable_nn.operators.registry import DTYPE_CODES

Array: TypeAlias = NDArray[Any]

DTYPES: Final[Mapping[str, str]] = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    **{f"tensor({name})": name for name in ("float16", "bool")},
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
"""The element types of values: onnxruntime's names and numpy's."""

KEPT: Final = 64
"""The most sessions that are kept."""

LARGEST: Final = 2**22
"""The most elements of a sample."""

_STANDARD: Final = 21
"""The version of the standard's operators beside those of another domain, which may be defined by them."""

_REACHING: Final = frozenset({"EPContext"})
"""Operators whose attributes name files."""

_sessions: Final = OrderedDict[str, Any]()


def prepare() -> None:
    """Import the libraries."""
    import onnx  # noqa: F401

    runtime()


def opened(node: NDArray[np.uint8], *, key: str, **what: Any) -> tuple[None, list[Array]]:
    """Open a session of a node, as ``key``."""
    _sessions[key] = _session(node, **what)
    if len(_sessions) > KEPT:
        _sessions.popitem(last=False)
    return None, []


def computed(*arrays: Array, key: str) -> tuple[bool, list[Array]]:
    """True and the outputs of a node, if its session is open."""
    if key not in _sessions:
        return False, []
    _sessions.move_to_end(key)
    session = _sessions[key]
    names = [value.name for value in session.get_inputs()]
    return True, session.run(None, dict(zip(names, arrays, strict=True)))


def described(node: NDArray[np.uint8], **what: Any) -> tuple[tuple[list[Any], dict[str, Any]], list[Array]]:
    """The element type and shape of each output, ``None`` for one that is not wanted; and what runs on samples show.

    Only they may show a size (``sampled``), and say along which sizes parts are computed one by one (``apart``).

    Raises ``ValueError`` with the reason why a node cannot be run as part of a graph.
    """
    session = _session(node, **what)
    outputs, names = session.get_outputs(), _sizes_of(session.get_inputs())
    runs = list(_runs(session, names))
    if odd := [value.type for value in outputs if value.type not in DTYPES]:
        raise ValueError(f"it makes {odd[0]}, which is no array of numbers")
    seen = [[(run.sizes, run.made[place].shape) for run in runs] for place in range(len(outputs))]
    whole = what["operator"].startswith("ai.onnx.") and not what["operator"].startswith("ai.onnx.ml.")
    shapes = [_shape(value.shape, names, each, whole) for value, each in zip(outputs, seen, strict=True)]
    rows = iter([DTYPES[value.type], dims] for value, dims in zip(outputs, shapes, strict=True))
    sampled = any(list(value.shape) != dims for value, dims in zip(outputs, shapes, strict=True))
    apart = [name for name in names if _is_apart(session, name, runs, shapes)]
    facts = {"sampled": int(sampled), "apart": apart}
    return ([next(rows) if each else None for each in what["wanted"]], facts), []


def _sizes_of(values: Sequence[Any]) -> list[str]:
    """The names of the sizes of inputs."""
    return sorted({dim for value in values for dim in value.shape if isinstance(dim, str)})


class _Run(NamedTuple):
    """A run on samples: the sizes of the inputs, the inputs, and the outputs; whether the inputs were drawn."""

    sizes: Mapping[Any, int]
    feeds: Mapping[str, Array]
    made: Sequence[Array]
    is_drawn: bool


def _is_apart(session: Any, name: str, runs: Sequence[_Run], shapes: Sequence[Sequence[Any]]) -> bool:
    """True if all runs on drawn inputs show that what is left out along the size ``name`` changes nothing else."""
    inputs = [value.shape for value in session.get_inputs()]
    drawn = [(run, part) for run in runs if run.is_drawn for part in (slice(1, None), slice(-1))]
    for run, part in drawn:
        given = _cut(part, name, inputs, run.feeds.values())
        try:
            found = session.run(None, dict(zip(run.feeds, given, strict=True)))
        except Exception:  # onnxruntime's exceptions have no other class in common.
            return False
        pairs = [*zip(found, _cut(part, name, shapes, run.made), strict=True)]
        if any(one.shape != other.shape or not np.allclose(one, other, 1e-4, 1e-6, True) for one, other in pairs):
            return False
    return bool(drawn) and all(name in shape for shape in shapes)


def _cut(part: slice, name: str, shapes: Iterable[Sequence[Any]], arrays: Iterable[Array]) -> list[Array]:
    """A part of arrays along each axis of the size ``name``."""
    places = [tuple(part if dim == name else slice(None) for dim in shape) for shape in shapes]
    return [array[place] for place, array in zip(places, arrays, strict=True)]


Seen: TypeAlias = Sequence[tuple[Mapping[Any, int], tuple[int, ...]]]
"""Runs on samples: the sizes of the inputs, and the shape of an output."""


def _shape(inferred: Sequence[Any], names: Sequence[str], seen: Seen, whole: bool) -> list[Any]:
    """The shape of an output; sizes that are not inferred are those of the runs, unless the inference is ``whole``."""
    stated = list(inferred) or [None] * len(seen[0][1] if seen else ())
    dims = [dim if isinstance(dim, int) or dim in names else _size(axis, seen) for axis, dim in enumerate(stated)]
    if not dims and not seen:
        raise ValueError("its shape is not inferred, and it does not run on samples")
    if whole and dims != list(inferred):
        raise ValueError("a size of its output depends on the data")
    if any([sizes.get(dim, dim) for dim in dims] != [*shape] for sizes, shape in seen):
        raise ValueError("its shape is not the one that is inferred")
    return dims


def _size(axis: int, seen: Seen) -> int | str:
    """A size that is not inferred: one of the inputs that an output has in all runs, or a number."""
    found = [(sizes, shape[axis]) for sizes, shape in seen if axis < len(shape)]
    for name in found[0][0] if found else ():
        if all(size == sizes[name] for sizes, size in found):
            return str(name)
    if len({size for _, size in found}) != 1:
        raise ValueError("a size of its output depends on the data" if found else "it does not run on samples")
    return found[0][1]


def _runs(session: Any, names: Sequence[str]) -> Iterator[_Run]:
    """Runs on samples, if it takes them: sizes and outputs. There are two sizes for each name, and three kinds of data.

    Raises ``ValueError`` where it makes other numbers from the same inputs.
    """
    rng, inputs = np.random.default_rng(0), session.get_inputs()
    if any(math.prod(dim for dim in value.shape if isinstance(dim, int)) > LARGEST for value in inputs):
        return
    for step in (0, 1):
        sizes = {name: 3 + 2 * place + step for place, name in enumerate(names)}
        for scale, shift in ((1, 0), (0, 0), (0, 1)):
            feeds = {}
            for value in inputs:
                shape, dtype = [sizes.get(dim, dim) for dim in value.shape], DTYPES[value.type]
                drawn = rng.standard_normal(shape) if dtype.startswith("float") else rng.integers(0, 2, shape)
                feeds[value.name] = (scale * drawn + shift).astype(dtype)
            try:
                one, other = session.run(None, feeds), session.run(None, feeds)
            except Exception:  # onnxruntime's exceptions have no other class in common.
                continue
            if not all(
                np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
                for a, b in zip(one, other, strict=True)
                if isinstance(a, np.ndarray)
            ):
                raise ValueError("it makes other numbers each time")
            yield _Run(sizes, feeds, one, is_drawn=bool(scale))


def _session(
    data: NDArray[np.uint8],
    *,
    operator: str,
    version: int,
    inputs: Sequence[Any],
    wanted: Sequence[bool],
) -> Any:
    """A session of one node, whose inputs and outputs are named by their places; what is constant is in it."""
    from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

    node = _checked(data.tobytes(), operator)
    node.input[:] = [f"i{place}" if each else "" for place, each in enumerate(inputs)]
    node.output[:] = [f"o{place}" if each else "" for place, each in enumerate(node.output)]
    domain = node.domain if node.domain != "ai.onnx" else ""
    opsets = [helper.make_opsetid(domain, version)]
    opsets += [helper.make_opsetid("", _STANDARD)] if domain else []
    model = ModelProto(ir_version=helper.find_min_ir_version_for(opsets, ignore_unknown=True), opset_import=opsets)
    model.graph.name = "node"
    model.graph.node.append(node)
    for name, each in zip(node.input, inputs, strict=True):
        if each and each["constant"] is not None:
            array = np.array(each["constant"], each["dtype"]).reshape(each["shape"])
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        elif each:
            model.graph.input.append(helper.make_tensor_value_info(name, DTYPE_CODES[each["dtype"]], each["shape"]))
    model.graph.output.extend(ValueInfoProto(name=f"o{place}") for place, each in enumerate(wanted) if each)
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # Fatal errors only: the others are raised.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _checked(data: bytes, operator: str) -> Any:
    """The NodeProto, if it is of that operator and holds nothing but numbers and text. Raises ``ValueError``."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx import AttributeProto, NodeProto, TensorProto

    try:
        node = NodeProto.FromString(data)
    except DecodeError:
        raise ValueError("its bytes are no NodeProto") from None
    if f"{node.domain or 'ai.onnx'}.{node.op_type}" != operator or node.op_type in _REACHING or node.overload:
        raise ValueError(f"its bytes are those of {node.domain or 'ai.onnx'}.{node.op_type}")
    fields = {"name", "doc_string", "type", "f", "i", "s", "t", "floats", "ints", "strings"}
    for attribute in node.attribute:
        others = {field.name for field, _ in attribute.ListFields()} - fields
        if others or attribute.type == AttributeProto.UNDEFINED:
            raise ValueError(f"attribute '{attribute.name}' is none of numbers or text")
        if attribute.t.external_data or attribute.t.data_location != TensorProto.DEFAULT:
            raise ValueError(f"attribute '{attribute.name}' is in another file")
    return node


TASKS: Final = (opened, computed, described)
"""All that may be asked."""
