"""Normalizations, dropout, attention and losses in PyTorch."""

from __future__ import annotations

from typing import Final

from portable_nn.converters.torch.source_use import Use, option
from portable_nn.core.dims import static
from portable_nn.layers.pytorch import options


def momentum(use: Use) -> float:
    """PyTorch's momentum: the share of the new statistics."""
    return round(1 - use.float("momentum"), 12)


def is_frozen(use: Use) -> bool:
    """True if a batch normalization keeps its running statistics: they are computed, or neither weight is trained."""
    scale, bias, *statistics = map(use.writer.parameter, use.node.inputs[1:5])
    return not all(statistics) or bool(scale and bias and not (scale.trainable or bias.trainable))


def batch_norm(use: Use) -> list[str]:
    """By running statistics, or those of the batch."""
    if use.is_read(1) and use.int("training_mode") and (use.known(3) is None or use.known(4) is None):
        use.refuse("running statistics as outputs of a node")
    statistics = "None, None" if use.int("training_mode") else f"{use.x(3)}, {use.x(4)}"
    way = "True" if use.int("training_mode") else "False"
    if way == "False" and not is_frozen(use):
        way = f"self.training, momentum={momentum(use)!r}"
    return [use.text(f"F.batch_norm({{0}}, {statistics}, {{1}}, {{2}}, training={way}, eps={{epsilon}})")]


def normalized_shape(use: Use) -> tuple[int, ...]:
    """The sizes of the axes that a layer normalization is over."""
    shape = static(use.type().shape[use.attribute_axis() :])
    if shape is None:
        use.refuse("a normalization over axes of open sizes")
    return shape


def _ones(use: Use, index: int, value: float) -> bool:
    """True if an input is constant, and changes nothing."""
    found = use.known(index)
    return found is not None and set(found) == {value}


LAST: Final = {"LayerNormalization": "LayerNorm", "RMSNormalization": "RMSNorm"}
"""The classes of the normalizations over the last axes."""


def norm_of_last_axes(use: Use) -> str:
    """With its weights, where they have the shape of what is normalised; else the weights after it."""
    if use.is_read(1) or use.is_read(2):
        use.refuse("mean and deviation as outputs")
    kind = LAST[use.operator.name]
    function, eps = kind.lower().replace("norm", "_norm"), options(kind, eps=use.float("epsilon"))
    shape, given = normalized_shape(use), [index for index in (1, 2) if use.has(index)]
    if given == [1] and _ones(use, 1, 1):
        return f"F.{function}({use.x()}, {shape}, None{eps})"
    if all(use.type(index).shape == shape for index in given):
        return f"F.{function}({use.x()}, {shape}, {', '.join(use.x(index) for index in given)}{eps})"
    bias = f" + {use.x(2)}" if use.has(2) else ""
    return f"F.{function}({use.x()}, {shape}, None{eps}) * {use.x(1)}{bias}"


def group_norm(use: Use) -> str:
    """Of groups of channels, or of each channel."""
    groups = use.int("num_groups") if use.operator.name == "GroupNormalization" else use.type().shape[1]
    if not isinstance(groups, int):
        use.refuse("an open number of channels")
    weights = "" if _ones(use, 1, 1) and _ones(use, 2, 0) else f", {use.x(1)}, {use.x(2)}"
    return f"F.group_norm({use.x()}, {groups}{weights}{options('GroupNorm', eps=use.float('epsilon'))})"


def response_norm(use: Use) -> str | None:
    """Of an odd number of channels."""
    is_usual = use.int("size") % 2 and use.rank > 2
    return use.text("F.local_response_norm({0}, {size}, {alpha}, {beta}, {bias})") if is_usual else None


def dropout_ratio(use: Use) -> float:
    """The constant ratio of a dropout that drops while the module is in training mode."""
    if use.is_read(1):
        use.refuse("a mask as an output")
    known = use.known(1) if use.has(1) else (0.5,)
    if use.has(2) and use.known(2) not in ((0,), (False,)):
        use.refuse("a training_mode of its own")
    if known is None:
        use.refuse("a ratio that is computed")
    return float(f"{known[0]:.7g}")


def dropout(use: Use) -> str:
    """While the module is in training mode."""
    return f"F.dropout({use.x()}, {dropout_ratio(use)!r}, self.training)"


def attention(use: Use) -> str:
    """PyTorch's function, which takes heads as an axis."""
    further = any(map(use.has, (4, 5, 6))) or any(map(use.is_read, (1, 2, 3)))
    window = use.int("left_window_size") != -1 or use.int("right_window_size") != -1
    both = use.int("is_causal") and use.has(3)
    if further or window or both or use.float("softcap") or use.rank not in (3, 4):
        use.refuse("a cache, a window, a soft cap, or a mask beside is_causal")
    more = _mask(use) if use.has(3) else ""
    more += option("is_causal", bool(use.int("is_causal")), False) + option("scale", use.attributes.get("scale"), None)
    is_flat = use.rank == 3
    names = ("q_num_heads", "kv_num_heads", "kv_num_heads")
    heads = [use.attributes[name] if is_flat else use.type(i).shape[1] for i, name in enumerate(names)]
    more += "" if heads[0] == heads[1] else ", enable_gqa=True"
    if not is_flat:
        return use.text(f"F.scaled_dot_product_attention({{0}}, {{1}}, {{2}}{more})")
    parts = ", ".join(f"{use.x(i)}.unflatten(2, ({each}, -1)).transpose(1, 2)" for i, each in enumerate(heads))
    return f"F.scaled_dot_product_attention({parts}{more}).transpose(1, 2).flatten(2)"


def _mask(use: Use) -> str:
    shape = use.type(3).shape
    if shape[-1:] != use.type(1).shape[-2:-1]:
        use.refuse("a mask that is shorter than the keys")
    return f", attn_mask={use.x(3)}{'' if len(shape) > 1 else '.unsqueeze(0)'}"


def loss(use: Use) -> list[str]:
    """The loss of labels, and for scores the logarithms of probabilities."""
    is_scored = use.operator.name == "SoftmaxCrossEntropyLoss"
    weight = f", weight={use.x(2)}" if use.has(2) else ""
    more = option("ignore_index", use.attributes.get("ignore_index"), None)
    more += f', reduction="{use.string("reduction")}"'
    name = "cross_entropy" if is_scored else "nll_loss"
    return [f"F.{name}({use.x()}, {use.x(1)}.long(){weight}{more})", f"F.log_softmax({use.x()}, dim=1)"]
