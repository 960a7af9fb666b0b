"""Models that onnxruntime optimised for one kind of processor, in plain operators.

At level ALL it writes convolutions and pools of ``com.microsoft.nchwc``. Between them, 8 or 16 channels of a position
lie side by side, and so do those of weights, with zeros where the last block lacks channels: O/b, I/b, H, W, b, b, as
its ``MlasReorderFilterOIHWBiBo`` has them; O/b, I, H, W, b, as ``MlasReorderFilterOIHWBo``, where each output reads one
channel, or the convolution an array without blocks. How many a block has is not in the file, but may follow from what
sizes and paddings can be. onnxruntime takes what the processor at hand has: of the file of another one it computes
something else, without a word.

This is ``ModelProto`` to ``ModelProto``, as weights are written anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper, parser

from portable_nn.core.errors import FormatError, UnsupportedError
from portable_nn.core.tensors import Array
from portable_nn.core.text import said
from portable_nn.onnx.opsets import microsoft
from portable_nn.onnx.opsets.support import STANDARD, all_nodes, label, names_in, opset_in, set_nodes
from portable_nn.onnx.session import Session
from portable_nn.onnx.storage.tensors import from_tensor
from portable_nn.operators.registry import find
from portable_nn.rewrites.program import Names

DOMAIN: Final = "com.microsoft.nchwc"

BLOCKS: Final = (8, 16)
"""The channels that a block may have."""

STEP: Final = 4
"""The number that channels between convolutions are a multiple of: so many zeros at least fill a block."""

_ADVICE: Final = "save the optimised model at level EXTENDED, or give the original"


def has_blocks(model: ModelProto) -> bool:
    """True if onnxruntime wrote it for one kind of processor."""
    return any(node.domain == DOMAIN for node in model.graph.node)


def unblocked(model: ModelProto, where: str) -> tuple[ModelProto, int]:
    """``model`` in plain operators, and the channels of a block, 0 where it has none; never changed in place.

    Raises:
        UnsupportedError: it is not known how many channels a block has, or a node is not supported.
        FormatError: nodes do not fit each other.
    """
    for place, node in all_nodes(model.graph):
        if node.domain == DOMAIN and node is not model.graph.node[place]:
            what = f"node '{label(node)}' is in the body of another one, and has channels in blocks"
            raise UnsupportedError(where, f"{what}, for one kind of processor: {_ADVICE}")
    if not has_blocks(model):
        return model, 0
    made = ModelProto()
    made.CopyFrom(model)
    try:
        return made, _Blocked(made.graph, where).write(opset_in(model))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise FormatError(where, f"its nodes of {DOMAIN} do not fit each other {said(error)}") from error


def block_here() -> int:
    """The channels of a block as onnxruntime has them on this processor."""
    found = Session(parser.parse_model(_REORDERED).SerializeToString()).run({"x": np.zeros((1, 4, 1, 1), np.float32)})
    return len(found["y"][0])


_REORDERED: Final = f"""
<ir_version: 8, opset_import: ["": 13, "{DOMAIN}": 1]>
one (float[1, 4, 1, 1] x) => (float[n, c, h, w] y) {{ y = {DOMAIN}.ReorderInput(x) }}
"""


class _Convolution(NamedTuple):
    """A convolution whose output is in blocks: the sizes of its weight, and whether its input is in blocks, too."""

    node: NodeProto
    dims: tuple[int, ...]
    groups: int
    reads_blocks: bool

    @property
    def mixes(self) -> bool:
        """Its weight has blocks of input channels as well."""
        return self.reads_blocks and (self.groups == 1 or self.dims[1] > 1)

    def fits(self, block: int) -> bool:
        """True if blocks may have so many channels."""
        rows, columns, *_ = self.dims
        fits = columns % block == 0 or not self.mixes if self.reads_blocks else columns < block and self.groups == 1
        return fits and rows % block == 0

    def plain(self, weight: Array, block: int) -> Array:
        """Its weight, whose channels are in such blocks, in the order O, I, H, W."""
        (rows, columns, *window), inner = self.dims, block if self.mixes else 1
        apart = weight.reshape(rows // block, columns // inner, *window, inner, block)
        return apart.transpose(0, 5, 1, 4, 2, 3).reshape(self.dims)


class _Blocked:
    """A graph, the values of it that have channels in blocks, and what its nodes say of them.

    Attributes:
        graph, where: the graph, and the file that messages name.
        tensors: the stored tensors by name.
        same: leads from each of these values to one with the same channels, the last to itself.
        convolutions: those of the nodes.
        wide: numbers of channels with those that fill the last block, by value.
        known: values, and their numbers of channels without those.
        full: values whose last block has no such channels.
        splits: channels of a block that shapes say.
    """

    def __init__(self, graph: GraphProto, where: str) -> None:
        self.graph, self.where = graph, where
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.same, self.wide, self.known = dict[str, str](), dict[str, int](), list[tuple[str, int]]()
        self.convolutions, self.full, self.splits = list[_Convolution](), list[str](), set[int]()
        self.taken, self.stored = Names(names_in(graph)), dict[tuple[str | int, ...], str]()
        for node in filter(self._is_touched, graph.node):
            self._take(node)

    def _is_touched(self, node: NodeProto) -> bool:
        return node.domain == DOMAIN or not self.same.keys().isdisjoint(node.input)

    def _array(self, name: str) -> Array:
        return from_tensor(self.tensors[name], self.where)

    def _first(self, name: str) -> str:
        """The value that stands for all with the same channels."""
        while (other := self.same[name]) != name:
            name = other
        return name

    def _take(self, node: NodeProto) -> None:
        """Take in a node and its facts."""
        kind, read, made = _kind(node), [*filter(None, node.input)], node.output[0]
        if kind == "Reshape":
            batch, _, *window = self._array(read.pop()).tolist()
            self.splits.update(window[2:])
            if any([batch, *window[:2]]):
                raise ValueError("a Reshape of blocks changes other axes than that of channels")
        if not kind or (kind not in {"Conv", "ReorderInput"} and not self.same.keys() >= {*read}):
            what = f"node '{label(node)}' ({node.op_type}) reads channels in blocks, for one kind of processor"
            raise UnsupportedError(self.where, f"{what}: {_ADVICE}")
        if kind == "ReorderOutput":
            self.known.append((read[0], _options(node)["channels"]))
            return
        self.same[made] = made
        if kind == "Concat":  # Blocks that are not full cannot be joined.
            self.full += [*read, made]
        elif kind != "ReorderInput":
            for each in self._take_convolution(node) if kind == "Conv" else read:
                self.same[self._first(each)] = self._first(made)

    def _take_convolution(self, node: NodeProto) -> list[str]:
        """The inputs of a convolution that have the channels of its output."""
        (x, weight), made = node.input[:2], node.output[0]
        found = _Convolution(node, tuple(self.tensors[weight].dims), _options(node).get("group", 1), x in self.same)
        self.convolutions.append(found)
        self.wide[made] = found.dims[0]
        if found.mixes:
            self.wide[x] = found.dims[1] * found.groups
            self.full += [x, made] if found.groups > 1 else []
        return [*node.input[3:], *([x] if found.reads_blocks and not found.mixes else [])]

    def _wide(self) -> dict[str, int]:
        """The number of channels with those that fill blocks, of the values that stand for all, where it is known."""
        return {self._first(name): count for name, count in self.wide.items()}

    def _used(self, weights: list[Array]) -> dict[str, int]:
        """The number of channels up to the last that is not zero in all weights that write and read it."""
        wide, found = self._wide(), dict.fromkeys(map(self._first, self.same), 0)
        ends = [*self.known, *((name, wide.get(self._first(name), 0)) for name in self.full)]
        for each, weight in zip(self.convolutions, weights, strict=True):
            biases = map(self._array, filter(None, each.node.input[2:3]))
            ends.append((each.node.output[0], _last(weight.any((1, 2, 3)), *biases)))
            if each.mixes:
                ends.append((each.node.input[0], _last(weight.any((0, 2, 3)))))
        for name, count in ends:
            found[self._first(name)] = max(found[self._first(name)], count)
        return found

    def _weights(self, block: int) -> list[Array]:
        """The plain weights of the convolutions, read with blocks of so many channels."""
        return [each.plain(self._array(each.node.input[1]), block) for each in self.convolutions]

    def block(self) -> int:
        """The channels of a block: the only number that sizes allow, or with which zeros fill a block."""
        wide = self._wide()
        rests = [wide.get(self._first(name), count) - count for name, count in self.known]
        found = [
            block
            for block in BLOCKS
            if self.splits <= {block}
            and all(0 <= rest < block for rest in rests)
            and all(each.fits(block) for each in self.convolutions)
        ]
        if not found:
            raise ValueError("channels are in blocks neither of 8 nor of 16")
        if len(found) > 1:
            used = [(block, self._used(self._weights(block))) for block in found]
            found = [block for block, each in used if any(0 < each[name] <= wide[name] - STEP for name in wide)]
        if len(found) != 1:
            what = "onnxruntime wrote it for one kind of processor, with channels in blocks of 8 or of 16: both fit it"
            raise UnsupportedError(self.where, f"{what}; {_ADVICE}")
        return found[0]

    def write(self, opset: int) -> int:
        """Write nodes and weights plainly; the channels of a block."""
        block = self.block()
        weights = self._weights(block)
        counts = self._used(weights)
        for name, wide in self._wide().items():  # Zeros in a whole block are no filling.
            counts[name] = max(counts[name], wide - block + 1)
        if any(counts[self._first(name)] != count for name, count in self.known):
            raise ValueError("a ReorderOutput leaves out channels that are used")
        gone = {name for each in self.convolutions for name in each.node.input[1:3]}
        for each, weight in zip(self.convolutions, weights, strict=True):
            self._crop(each, weight, counts)
        names = self._names()
        nodes = [
            made
            for node in self.graph.node
            for made in (self._written(node, names, opset) if self._is_touched(node) else [node])
        ]
        set_nodes(self.graph, nodes)
        gone.difference_update(name for node in nodes for name in node.input)
        for place in reversed([place for place, each in enumerate(self.graph.initializer) if each.name in gone]):
            del self.graph.initializer[place]
        return block

    def _crop(self, each: _Convolution, weight: Array, counts: Mapping[str, int]) -> None:
        """Give a convolution its plain weight, and both without the channels that fill blocks."""
        node, rows = each.node, counts[self._first(each.node.output[0])]
        columns = counts[self._first(node.input[0])] if each.mixes and each.groups == 1 else each.dims[1]
        node.input[1] = self._stored(node.input[1], weight[:rows, :columns], f"{_stem(node)}.weight")
        if any(node.input[2:3]) and rows < each.dims[0]:
            node.input[2] = self._stored(node.input[2], self._array(node.input[2])[:rows], f"{_stem(node)}.bias")
        for option in node.attribute:
            if option.name == "group" and each.reads_blocks and not each.mixes:
                option.i = rows

    def _stored(self, name: str, array: Array, wish: str) -> str:
        """The new name of a tensor that is stored as ``array``, once for all that read it so."""
        key = name, *array.shape[:2]
        if key not in self.stored:
            self.stored[key] = self.taken.fresh(wish)
            self.graph.initializer.append(numpy_helper.from_array(array, self.stored[key]))
        return self.stored[key]

    def _names(self) -> dict[str, str]:
        """Names of the values without blocks: those that they are reordered from or to, unless that is turned."""
        found = {node.input[0]: node.output[0] for node in self.graph.node if _is_copy(node, "ReorderOutput")}
        for node in filter(self._is_touched, self.graph.node):
            if (made := node.output[0]) in self.same and made not in found:
                is_copy = _is_copy(node, "ReorderInput") or _kind(node) == "Reshape"
                found[made] = found.get(node.input[0], node.input[0]) if is_copy else self.taken.fresh(_stem(node))
        return found

    def _written(self, node: NodeProto, names: Mapping[str, str], opset: int) -> Iterator[NodeProto]:
        """The plain nodes for one."""
        kind, options = _kind(node), _options(node)
        (x, *others), made = ([names.get(name, name) for name in side] for side in (node.input, node.output))
        if options.get("channels_last"):
            yield helper.make_node("Transpose", [x], made, node.name, perm=_TURNS[kind])
        elif kind in {*_TURNS, "Reshape"}:
            yield from [] if made == [x] else [helper.make_node("Identity", [x], made, node.name)]
        elif kind == "Upsample":
            factors = self._stored(made[0], np.array(options.pop("scales"), np.float32), f"{_stem(node)}.scales")
            read, name = [x, *[""] * (opset > 10), factors], "Resize" if opset > 9 else "Upsample"
            options = {**options, "nearest_mode": "floor"} if opset > 10 else {"mode": options["mode"]}
            yield helper.make_node(name, read, made, node.name, **options)
        else:
            node.input[:], node.output[:] = [x, *others], made
            if node.domain == DOMAIN:
                fused = kind == "Conv" and ("activation" in options or others[2:])
                node.domain, node.op_type = (microsoft.DOMAIN, "FusedConv") if fused else ("", kind)
            yield node


_TURNS: Final = {"ReorderInput": (0, 3, 1, 2), "ReorderOutput": (0, 2, 3, 1)}
"""The orders of axes into blocks and out of them, where channels are last outside."""


def _kind(node: NodeProto) -> str:
    """The operator of a node, or an empty text where it is none that reads or makes blocks."""
    name = node.op_type
    if node.domain == DOMAIN:
        return name if name in {*_TURNS, "Conv", "Upsample"} or name.endswith("Pool") else ""
    if node.domain not in STANDARD:
        return name if node.domain == microsoft.DOMAIN and name.endswith("Gelu") else ""
    operator = find(name)
    is_known = name == "Reshape" or (name == "Concat" and _options(node)["axis"] == 1)
    return name if is_known or (operator and operator.elementwise) else ""


def _is_copy(node: NodeProto, kind: str) -> bool:
    """True if a node is of the kind, and leaves the order of axes."""
    return _kind(node) == kind and not _options(node).get("channels_last")


def _stem(node: NodeProto) -> str:
    """The name of a node as it was: onnxruntime calls it by its output and a suffix."""
    return label(node).removesuffix("_nchwc")


def _options(node: NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _last(*parts: Any) -> int:
    """The number of channels up to the last that is not zero in all arrays."""
    return max(int(np.flatnonzero(part).max(initial=-1)) + 1 for part in parts)
