"""Normalizations, dropout, attention and losses in PyTorch."""

from __future__ import annotations

from portable_nn.converters.torch.source_use import Use, option, row
from portable_nn.core.dims import static


def momentum(use: Use) -> float:
    """PyTorch's momentum: the share of the new statistics."""
    return round(1 - use.float("momentum"), 12)


def is_frozen(use: Use) -> bool:
    """True if a batch normalization keeps its running statistics: they are computed, or neither weight is trained."""
    if not all(use.writer.is_parameter(use.node.inputs[index]) for index in (3, 4)):
        return True
    scales = use.node.inputs[1:3]
    return all(use.writer.is_parameter(name) and not use.writer.is_trained(name) for name in scales)


@row("BatchNormalization")
def _batch_norm(use: Use) -> str:
    if use.is_read(1) and use.int("training_mode") and (use.known(3) is None or use.known(4) is None):
        use.refuse("running statistics as outputs of a node")
    scale, bias = (f"{use.x(index)}" for index in (1, 2))
    eps = use.float("epsilon")
    if use.int("training_mode"):
        return f"F.batch_norm({use.x()}, None, None, {scale}, {bias}, training=True, eps={eps!r})"
    training = "False" if is_frozen(use) else f"self.training, momentum={momentum(use)!r}"
    return f"F.batch_norm({use.x()}, {use.x(3)}, {use.x(4)}, {scale}, {bias}, training={training}, eps={eps!r})"


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


@row("LayerNormalization")
def _layer_norm(use: Use) -> str:
    if use.is_read(1) or use.is_read(2):
        use.refuse("mean and deviation as outputs")
    return _scaled(use, "layer_norm", option("eps", use.float("epsilon"), 1e-5))


@row("RMSNormalization")
def _rms_norm(use: Use) -> str:
    return _scaled(use, "rms_norm", f", eps={use.float('epsilon')!r}")


def _scaled(use: Use, function: str, eps: str) -> str:
    """A normalization with its weights, where they have the shape of what is normalised; else the weights after it."""
    shape, given = normalized_shape(use), [index for index in (1, 2) if use.has(index)]
    if given == [1] and _ones(use, 1, 1):
        return f"F.{function}({use.x()}, {shape}, None{eps})"
    if all(use.type(index).shape == shape for index in given):
        return f"F.{function}({use.x()}, {shape}, {', '.join(use.x(index) for index in given)}{eps})"
    bias = f" + {use.x(2)}" if use.has(2) else ""
    return f"F.{function}({use.x()}, {shape}, None{eps}) * {use.x(1)}{bias}"


@row("GroupNormalization")
def _group_norm(use: Use) -> str:
    weights = "" if _ones(use, 1, 1) and _ones(use, 2, 0) else f", {use.x(1)}, {use.x(2)}"
    return f"F.group_norm({use.x()}, {use.int('num_groups')}{weights}{option('eps', use.float('epsilon'), 1e-5)})"


@row("InstanceNormalization")
def _instance_norm(use: Use) -> str:
    given = "" if _ones(use, 1, 1) and _ones(use, 2, 0) else f", {use.x(1)}, {use.x(2)}"
    channels = use.type().shape[1]
    if not isinstance(channels, int):
        use.refuse("an open number of channels")
    return f"F.group_norm({use.x()}, {channels}{given}{option('eps', use.float('epsilon'), 1e-5)})"


@row("LRN")
def _response_norm(use: Use) -> str:
    size, names = use.int("size"), ("alpha", "beta", "bias")
    alpha, beta, bias = (use.float(name) for name in names)
    if size % 2 and use.rank() > 2:
        return f"F.local_response_norm({use.x()}, {size}, {alpha!r}, {beta!r}, {bias!r})"
    return use.call("response_normalized", use.x(), size, repr(alpha), repr(beta), repr(bias))


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


@row("Dropout")
def _dropout(use: Use) -> str:
    return f"F.dropout({use.x()}, {dropout_ratio(use)!r}, self.training)"


@row("Attention")
def _attention(use: Use) -> str:
    more = [index for index in (4, 5, 6) if use.has(index)] or [index for index in (1, 2, 3) if use.is_read(index)]
    windows = use.int("left_window_size") != -1 or use.int("right_window_size") != -1
    both = use.int("is_causal") and use.has(3)
    if more or windows or both or use.float("softcap") or use.rank() not in (3, 4):
        use.refuse("a cache, a window, a soft cap, or a mask beside is_causal")
    if use.has(3) and use.type(3).shape[-1:] != use.type(1).shape[-2:-1]:
        use.refuse("a mask that is shorter than the keys")
    scale = use._attribute("scale")
    options = f", attn_mask={use.x(3)}{'' if use.rank(3) > 1 else '.unsqueeze(0)'}" if use.has(3) else ""
    options += option("is_causal", bool(use.int("is_causal")), False) + option("scale", scale, None)
    heads = use._attribute("q_num_heads"), use._attribute("kv_num_heads")
    if use.rank() == 3:
        parts = [f"{use.x(i)}.unflatten(2, ({heads[min(i, 1)]}, -1)).transpose(1, 2)" for i in range(3)]
        options += ", enable_gqa=True" if heads[0] != heads[1] else ""
        return f"F.scaled_dot_product_attention({', '.join(parts)}{options}).transpose(1, 2).flatten(2)"
    options += ", enable_gqa=True" if use.type(0).shape[1] != use.type(1).shape[1] else ""
    return f"F.scaled_dot_product_attention({', '.join(use.x(i) for i in range(3))}{options})"


@row("NegativeLogLikelihoodLoss")
def _likelihood(use: Use) -> str:
    return f"F.nll_loss({_loss_arguments(use)})"


@row("SoftmaxCrossEntropyLoss")
def _cross_entropy(use: Use) -> list[str]:
    return [f"F.cross_entropy({_loss_arguments(use)})", f"F.log_softmax({use.x(0)}, dim=1)"]


def _loss_arguments(use: Use) -> str:
    ignored = use._attribute("ignore_index")
    weight = f", weight={use.x(2)}" if use.has(2) else ""
    options = option("ignore_index", ignored, None) + f', reduction="{use.string("reduction")}"'
    return f"{use.x(0)}, {use.x(1)}.long(){weight}{options}"
