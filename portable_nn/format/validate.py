"""Validation of a manifest, its graph and its tensors. Each function returns all faults that it finds.

Reading raises them as a ``FormatError``, saving as a ``UsageError``: one validator for both, so that no file is written
that could not be read.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import filterfalse
from typing import Final

import numpy as np
from msgspec import UNSET

from portable_nn import operators
from portable_nn.core.dims import is_number
from portable_nn.core.errors import GraphError
from portable_nn.core.files import MAX_BYTES
from portable_nn.core.graph import INTERNAL, OPSET, Attribute, Graph, Node, Shape, Tensor, Value, bodies, format_shape
from portable_nn.core.limits import DEEPEST
from portable_nn.core.tensors import ITEM_SIZES, NamedArrays, signature, to_bytes, value_fault
from portable_nn.format.documentation import Documentation, documentation_faults, size_faults
from portable_nn.format.hashes import CHECKSUM, DIGEST, DIGITS, HASHES
from portable_nn.format.manifest import OLDEST_WRITTEN, Manifest
from portable_nn.format.meaning import InputInfo, OutputInfo, meaning_faults, texts
from portable_nn.format.meaning import size_faults as meaning_size_faults
from portable_nn.format.packed import pack, packed_fault, packed_type
from portable_nn.format.training import Signature, training_faults
from portable_nn.plain.safetensors import METADATA
from portable_nn.preprocessing.steps import check_order

MAX_TENSORS: Final = 2**14
MAX_RANK: Final = 32
HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of control, invisible and line-breaking characters: names and labels are printed."""

_NO_HEXADECIMAL: Final = str.maketrans("", "", "0123456789abcdef")
"""Deletes hexadecimal digits from a text."""

_ATTRIBUTE_DTYPES: Final[Mapping[type, str]] = {int: "int64", float: "float32"}
"""The dtypes in which ONNX stores attributes, by their Python type."""


def manifest_faults(manifest: Manifest) -> list[str]:
    """The faults of ``manifest`` by itself: no tensor is needed or allocated."""
    graph = manifest.graph
    faults = [
        *_version_faults(manifest),
        *_opset_faults(manifest.opset),
        *_name_faults(manifest),
        *_hash_form_faults(manifest),
        *_side_faults("input", [value.name for value in graph.inputs], manifest.inputs),
        *_side_faults("output", graph.outputs, manifest.outputs),
        *_preprocessing_faults(manifest.inputs),
        *meaning_faults(graph, manifest.inputs, manifest.outputs),
        *_hidden_faults(manifest),
    ]
    if isinstance(manifest.documentation, Documentation):
        faults += documentation_faults(manifest.documentation, graph)
    if manifest.training:
        faults += training_faults(manifest.training, graph.parameters)
    if unsound := [*_input_faults(graph.inputs), *_parameter_faults(manifest.tensors), *_node_faults(graph)]:
        return faults + unsound  # The operators' rules require valid types and attributes.
    try:
        types = operators.infer(graph).types
    except GraphError as error:
        return faults + [str(fault) for fault in error.faults]
    shapes = {name: found.shape for name, found in types.items()}
    meaning = meaning_size_faults(graph, manifest.inputs, manifest.outputs, shapes)
    return [*faults, *meaning, *size_faults(manifest.remarks, shapes)]


def tensor_faults(manifest: Manifest, tensors: NamedArrays, *, allow_nonfinite: bool = False) -> list[str]:
    """The faults of ``tensors`` as those of ``manifest``, apart from their hashes."""
    found = {name: signature(array) for name, array in tensors.items()}
    faults = agreement_faults(manifest, found, "in the given arrays")
    numbers = manifest.numbers
    for name, array in tensors.items():
        if fault := value_fault(array, allow_nonfinite=allow_nonfinite or name not in numbers):
            faults.append(f"tensor {name!r} {fault}")
    return faults


def hash_faults(manifest: Manifest, tensors: NamedArrays) -> dict[str, str]:
    """The faults of those ``tensors`` that do not have the hash in ``manifest``, by name; each is read once.

    Raises ``UsageError`` for numbers that a packed type does not have.
    """
    kind, faults = DIGEST if manifest.version < 2 else CHECKSUM, dict[str, str]()
    values = {value.name: value for value in manifest.tensors}
    for name, expected in expected_hashes(manifest, kind).items():
        if name in tensors:
            found = HASHES[kind](to_bytes(pack(values[name], tensors[name])).data).hexdigest()
            if found != expected:
                faults[name] = hash_fault(name, kind, expected, found)
    return faults


def expected_hashes(manifest: Manifest, kind: str) -> Mapping[str, str]:
    """The hashes of this kind in ``manifest``, by tensor."""
    return manifest.digests if kind == DIGEST else manifest.checksums


def hash_fault(name: str, kind: str, expected: str, found: str) -> str:
    """The fault of a tensor with another hash."""
    return f"tensor {name!r} is damaged or another network's: its {kind} is {found}, but the manifest says {expected}"


def agreement_faults(
    manifest: Manifest, found: Mapping[str, Signature], where: str, needed: Sequence[Value] = ()
) -> list[str]:
    """The differences between the ``found`` dtypes and shapes and ``manifest``; ``where`` is their source, in words.

    What is ``needed`` is by default the tensors as they are in memory.
    """
    needed = needed or manifest.tensors
    names = {value.name for value in needed}
    faults = [f"tensor {name!r} is {where}, but not in the graph" for name in found if name not in names]
    wrong = [value for value in needed if found.get(value.name) != (value.dtype, value.shape)]
    users = {value.name: "the graph" for value in manifest.graph.parameters} | _users(manifest.graph) if wrong else {}
    for value in wrong:
        user = users.get(value.name, "the training")
        faults.extend(_mismatches(value, found.get(value.name), where, user))
    return faults


def _users(graph: Graph) -> dict[str, str]:
    """For each input of a node, the first node that has it, in words."""
    return {name: f"node {_label(node)}" for node in reversed(graph.nodes) for name in node.inputs}


def _mismatches(parameter: Value, found: Signature | None, where: str, user: str) -> Iterator[str]:
    name, needed = parameter.name, format_shape(parameter.shape)
    if found is None:
        yield f"tensor {name!r} is missing {where}: {user} needs {parameter.dtype} {needed}"
        return
    dtype, shape = found
    if dtype != parameter.dtype:
        yield f"tensor {name!r} has dtype {dtype} {where}, but {user} needs {parameter.dtype}"
    if shape != parameter.shape:
        yield f"tensor {name!r} has shape {format_shape(shape)} {where}, but {user} needs {needed}"


def _version_faults(manifest: Manifest) -> Iterator[str]:
    found, needed = manifest.version, manifest.needed_version
    if found > needed or found < needed > OLDEST_WRITTEN:
        yield f"the file says that it has version {found} of the format, but what is in it has version {needed}"


def _opset_faults(opset: int) -> Iterator[str]:
    if opset > OPSET:
        yield f"the graph uses opset {opset}, and this portable-nn knows {OPSET}: pip install --upgrade portable-nn"
    elif opset < OPSET:
        yield f"the graph uses opset {opset}, but the format always uses {OPSET}"


def _name_faults(manifest: Manifest) -> Iterator[str]:
    graph = manifest.graph
    extra = [value.name for value in manifest.training.tensors] if manifest.training else []
    yield from _names_faults((*graph.values(), *extra), graph.nodes)
    if extra:
        own = set(graph.values())
        for name, count in Counter(extra).items():
            if count > 1 or name in own:
                yield f"the tensor {name!r} of the training has a name that another value has"


def _names_faults(values: Iterable[str], nodes: Iterable[Node]) -> Iterator[str]:
    for what, names in (("value", values), ("node", [node.name for node in nodes])):
        for name in filterfalse(_PLAIN.fullmatch, names):
            if fault := _name_fault(name):
                yield f"the name {name!r} of a {what} {fault}"


_PLAIN: Final = re.compile(r"[a-z0-9]\w*(\.\w+)*", re.ASCII)
"""The names of nearly all values, which need no further check."""


def _name_fault(name: str) -> str | None:
    """The fault of a name: names become keys, paths in HDF5 and lines on terminals, and must be unambiguous in each."""
    if not name:
        return "is empty"
    if name == METADATA:
        return "is reserved by the safetensors format"
    if hides(name):
        return "has a control or invisible character"
    if unicodedata.normalize("NFC", name) != name:
        return "is not in Unicode's normal form NFC, so that another name can look the same"
    if "\\" in name or not {".", ".."}.isdisjoint(name.split("/")):
        return "looks like a path: backslashes and the parts '.' and '..' are not allowed"
    return None


def hides(text: str) -> bool:
    """True if a text has control or invisible characters, which no name and label may have."""
    return not text.isprintable() and any(unicodedata.category(char) in HIDDEN for char in text)


def _input_faults(inputs: Sequence[Value]) -> Iterator[str]:
    for value in inputs:
        if fault := _type_fault(value.dtype, value.shape, named=True):
            yield f"input {value.name!r} {fault}"
        for name in dict.fromkeys(dim for dim in value.shape if isinstance(dim, str)):
            if not name or hides(name) or is_number(name):
                yield f"input {value.name!r} has a size named {name!r}: a name must be visible, and not a number"


def _parameter_faults(parameters: Sequence[Value]) -> Iterator[str]:
    if len(parameters) > MAX_TENSORS:
        yield f"there are {len(parameters)} tensors; at most {MAX_TENSORS} are allowed"
    total, met = 0, dict[Signature, str | int]()
    for parameter in parameters:
        kind = (parameter.dtype, parameter.shape)
        if kind not in met:
            met[kind] = _type_fault(*kind) or _size(*kind)
        if fault := packed_fault(parameter):
            yield f"tensor {parameter.name!r} {fault}"
        if isinstance(found := met[kind], str):
            yield f"tensor {parameter.name!r} {found}"
        else:
            total += found
    if total > MAX_BYTES:
        yield f"the tensors have {total} bytes together; at most {MAX_BYTES} are possible"


def _type_fault(dtype: str, shape: Shape, *, named: bool = False) -> str | None:
    """The fault of the type of a value, whose dimensions may be symbolic where ``named``."""
    if dtype not in ITEM_SIZES:
        return f"has dtype {dtype!r}; a file can hold {', '.join(ITEM_SIZES)}"
    if len(shape) > MAX_RANK:
        return f"has {len(shape)} dimensions; at most {MAX_RANK} are allowed"
    numbers = tuple(dim for dim in shape if not (named and isinstance(dim, str)))
    if not all(isinstance(dim, int) and dim >= 0 for dim in numbers):
        needed = "a whole number from 0" + (" or a name" if named else "")
        return f"has shape {format_shape(shape)}; each size must be {needed}"
    # A size of 0 must not hide a huge one beside it: numpy refuses such shapes.
    if _size(dtype, tuple(dim or 1 for dim in numbers)) > MAX_BYTES:
        return f"has shape {format_shape(shape)}, more than {MAX_BYTES} bytes"
    return None


def _size(dtype: str, shape: Shape) -> int:
    return ITEM_SIZES[dtype] * math.prod(int(dim) for dim in shape)


def _node_faults(graph: Graph, depth: int = 0) -> Iterator[str]:
    if depth > DEEPEST:
        yield f"bodies of loops and branches are in each other {depth} times; at most {DEEPEST} are allowed"
        return
    for node in graph.nodes:
        for name, body in bodies(node):
            yield from (f"{_label(node)}: in '{name}', {fault}" for fault in _body_faults(body, depth + 1))
        if node.domain == INTERNAL and not ((found := operators.find(node.operator, INTERNAL)) and found.stored):
            yield f"{_label(node)}: operator '{INTERNAL}.{node.operator}' is internal and cannot be in a file"
        for name, attribute in node.attributes.items():
            if fault := _attribute_fault(attribute):
                yield f"{_label(node)}: attribute '{name}' {fault}"


def _body_faults(body: Graph, depth: int) -> Iterator[str]:
    yield from _names_faults(body.values(), body.nodes)
    kinds = {value.name: (value.dtype, value.shape, packed_type(value)) for value in (*body.inputs, *body.parameters)}
    if typed := [name for name, kind in kinds.items() if kind != ("", (), UNSET)]:
        yield f"{typed[0]!r} has a type, which the node says"
    yield from _node_faults(body, depth)


def _label(node: Node) -> str:
    return f"{node.name!r} ({node.operator})"


def _attribute_fault(attribute: Attribute) -> str | None:
    if isinstance(attribute, Tensor):
        return _tensor_fault(attribute)
    items = attribute if isinstance(attribute, tuple) else (attribute,)
    kinds = set(map(type, items))
    if kinds == {Graph}:
        return None if len(items) == 1 else f"has {len(items)} graphs, and must have one"
    numbers = [item for item in items if not isinstance(item, Graph)]
    if len(kinds) > 1:
        return f"mixes {' and '.join(sorted(kind.__name__ for kind in kinds))}"
    dtype = _ATTRIBUTE_DTYPES.get(*kinds) if kinds else None
    return _number_fault(numbers, dtype) if dtype else None


def _tensor_fault(tensor: Tensor) -> str | None:
    if fault := _type_fault(tensor.dtype, tensor.shape):
        return fault
    if len(tensor.data) != math.prod(tensor.shape):
        return f"has {len(tensor.data)} elements, but its shape is {format_shape(tensor.shape)}"
    return _number_fault(tensor.data, tensor.dtype)


def _number_fault(numbers: Sequence[int | float | str], dtype: str) -> str | None:
    """The first number that ``dtype`` cannot hold: out of range, a float among integers, NaN or infinity."""
    low, high = _limits(dtype)
    allowed = int | float if dtype.startswith("float") else int
    wrong = [number for number in numbers if not (isinstance(number, allowed) and low <= number <= high)]
    return f"has the value {wrong[0]}, which {dtype} cannot hold" if wrong else None


@cache
def _limits(dtype: str) -> tuple[float, float]:
    if dtype == "bool":
        return 0, 1
    if dtype.startswith("float"):
        largest = np.finfo(dtype).max
        high = max(float(largest), float(str(largest)))  # Its shortest decimal, 3.4028235e+38, is slightly larger.
        return -high, high
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _hash_form_faults(manifest: Manifest) -> Iterator[str]:
    names = {value.name for value in manifest.tensors}
    for kind in HASHES if manifest.version > 1 else [DIGEST]:
        stored = expected_hashes(manifest, kind)
        if stored.keys() == names and _are_hexadecimal(stored.values(), DIGITS[kind]):
            continue
        yield from (f"tensor {name!r} has no {kind} in the manifest" for name in sorted(names - stored.keys()))
        for name, text in stored.items():
            if name not in names:
                yield f"the manifest has the {kind} of {name!r}, which is not a tensor of the network"
            if not _are_hexadecimal([text], DIGITS[kind]):
                yield f"tensor {name!r} has the {kind} {text!r}, not {DIGITS[kind]} hexadecimal digits"


def _are_hexadecimal(texts: Collection[str], digits: int) -> bool:
    """True if each text is that many digits of 0 to 9 and a to f."""
    return not any(len(text) != digits for text in texts) and not "".join(texts).translate(_NO_HEXADECIMAL)


def _side_faults(side: str, names: Sequence[str], infos: Sequence[InputInfo] | Sequence[OutputInfo]) -> Iterator[str]:
    """The manifest must describe each input or output of the graph once, in the graph's order."""
    described = [info.name for info in infos]
    if described != list(names):
        found, needed = (", ".join(each) or "none" for each in (described, names))
        yield f"the manifest describes the {side}s {found}, but the graph's are {needed}"
    yield from (f"{side} {name!r} stands {count} times" for name, count in Counter(names).items() if count > 1)


def _preprocessing_faults(inputs: Sequence[InputInfo]) -> Iterator[str]:
    for info in inputs:
        try:
            check_order(info.preprocessing)
        except ValueError as error:
            yield f"input {info.name!r}: preprocessing: {error}"


def _hidden_faults(manifest: Manifest) -> Iterator[str]:
    """Control and invisible characters in columns, labels, units and names of dimensions."""
    read = list(texts(manifest.inputs, manifest.outputs))
    read += [
        (f"value {name!r}: the name of a size", size)
        for name, each in manifest.remarks.values.items()
        for size in each.sizes
    ]
    yield from (f"{what} {text!r} has a control or invisible character" for what, text in read if hides(text))
