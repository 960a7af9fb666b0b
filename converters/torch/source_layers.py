"""Layers of PyTorch in a graph: recognised by their nodes and by the names of their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from portable_nn.converters.rows import Rows
from portable_nn.converters.torch.source_normalization import LAST, dropout_ratio, is_frozen, momentum, normalized_shape
from portable_nn.converters.torch.source_scene import Found, Layer, Scene, module, roles
from portable_nn.converters.torch.source_spatial import cut_off, short, transposed, window_of
from portable_nn.converters.torch.source_use import Made, Use
from portable_nn.core.dims import static
from portable_nn.rewrites.scope import given

FINDERS: Final = Rows()
"""The functions that find layers, by the operator of their last node: ``(scene, use) → layer or None``."""


def _called(use: Use, module: str) -> Made:
    return f"{module}({use.x()})"


def _weighted(
    scene: Scene,
    use: Use,
    kind: str,
    options: Mapping[str, Any],
    call: Callable[[Use, str], Made] = _called,
    names: Sequence[str] = (),
) -> Found | None:
    """A layer whose weights are ``place.weight`` and ``place.bias``; by default its second and third input."""
    weight, bias = names or (given(use.node, 1), given(use.node, 2))
    place = scene.place(use.node, weight, "weight")
    if place is None or not scene.is_called(bias, f"{place}.bias"):
        return None
    made = module(kind, scene.types[weight].dtype, **options)
    return Found(Layer(place, made, roles(place, weight=weight, bias=bias)), call)


@FINDERS.row("Gemm")
def _dense(scene: Scene, use: Use) -> Found | None:
    plain = use.int("transB") and not use.int("transA") and use.float("alpha") == use.float("beta") == 1
    shape = static(use.type(1).shape)
    if not plain or shape is None or (use.has(2) and use.type(2).shape != shape[:1]):
        return None
    return _weighted(scene, use, "Linear", {"in_features": shape[1], "out_features": shape[0], "bias": use.has(2)})


@FINDERS.row("MatMul", "Add")
def _linear(scene: Scene, use: Use) -> Found | None:
    attention = _attention(scene, use)
    found = scene.linear(use.node.outputs[0])
    if attention or found is None:
        return attention
    x, *names = found
    outputs, inputs = scene.types[names[0]].shape
    options = {"in_features": inputs, "out_features": outputs, "bias": bool(names[1])}
    return _weighted(scene, use, "Linear", options, lambda use, module: f"{module}({use.writer.tensor(x)})", names)


def _attention(scene: Scene, use: Use) -> Found | None:
    """``MultiheadAttention``, whose inputs are Q, K and V at once: as ``pnn.MultiHeadAttention`` makes it."""
    out = scene.linear(use.node.outputs[0])
    node = scene.maker(out[0], "Attention") if out else None
    slices = [scene.maker(name, "Slice") for name in node.inputs[:3]] if node else []
    if not out or not node or not all(slices) or len({each.inputs[0] for each in slices if each}) != 1:
        return None
    joint = scene.linear(slices[0].inputs[0]) if slices[0] else None
    features, place = scene.types[out[1]].shape[0], scene.prefix(out[1], "out_weight")
    if (
        joint is None
        or place is None
        or not isinstance(features, int)
        or scene.types[joint[1]].shape != (3 * features, features)
    ):
        return None
    starts = [scene.constant(each.inputs[1]) for each in slices if each]
    names = (joint[1], joint[2], out[1], out[2])
    wanted = [f"{place}.{role}" for role in ("weight", "bias", "out_weight", "out_bias")]
    if starts != [(part * features,) for part in range(3)] or [
        n for n, w in zip(names, wanted, strict=True) if n not in ("", w)
    ]:
        return None
    more = {name for name, value in node.attributes.items() if value} - {"q_num_heads", "kv_num_heads", "is_causal"}
    masked = given(node, 3)
    if more or len(node.inputs) > 4 or bool(joint[2]) != bool(out[2]) or (masked and node.attributes.get("is_causal")):
        return None
    heads = node.attributes["q_num_heads"]
    options = {"embed_dim": features, "num_heads": heads, "bias": bool(out[2]), "batch_first": True}
    keys = dict(zip(("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"), names, strict=True))
    layer = Layer(place, module("MultiheadAttention", scene.types[out[1]].dtype, **options), roles(place, **keys))
    is_causal = bool(node.attributes.get("is_causal"))

    def call(use: Use, module: str) -> str:
        x = use.writer.tensor(joint[0])
        mask = f", attn_mask={use.call('causal_mask', x)}, is_causal=True" if is_causal else ""
        mask = f", attn_mask={use.call('hidden', use.writer.tensor(masked), x, heads)}" if masked else mask
        return f"{module}({x}, {x}, {x}, need_weights=False{mask})[0]"

    return Found(layer, call)


@FINDERS.row("Conv")
def _conv(scene: Scene, use: Use) -> Found | None:
    window, shape, group = window_of(use), static(use.type(1).shape), use.int("group")
    if shape is None:
        return None
    options = {"in_channels": shape[1] * group, "out_channels": shape[0], "kernel_size": window.of("kernel")}
    options |= window.options | {"groups": group, "bias": use.has(2)}
    kind = f"Conv{len(window.windows)}d"
    return _weighted(scene, use, kind, options, lambda use, module: f"{module}({window_of(use).x})")


@FINDERS.row("ConvTranspose")
def _conv_transposed(scene: Scene, use: Use) -> Found | None:
    spread, shape, group = transposed(use), static(use.type(1).shape), use.int("group")
    if shape is None:
        return None
    options = {"in_channels": shape[0], "out_channels": shape[1] * group, "kernel_size": short(spread.kernel)}
    options |= {**spread.options, "bias": use.has(2)}
    kind = f"ConvTranspose{len(spread.kernel)}d"
    return _weighted(scene, use, kind, options, lambda use, module: cut_off(f"{module}({use.x()})", spread.cut))


@FINDERS.row("BatchNormalization")
def _batch_norm(scene: Scene, use: Use) -> Found | None:
    axes, channels = use.rank - 2, use.type().shape[1]
    if axes > 3 or not isinstance(channels, int) or is_frozen(use):
        return None
    batch_only = bool(use.int("training_mode"))
    if batch_only and use.known(3) is None:
        return None
    affine = use.known(1) is None
    if not affine and (set(use.known(1) or ()) != {1} or set(use.known(2) or ()) != {0}):
        return None
    kept = dict(zip(("weight", "bias", "running_mean", "running_var"), use.node.inputs[1:], strict=True))
    names = {role: "" if (batch_only if "running" in role else not affine) else name for role, name in kept.items()}
    place = next((scene.prefix(name, role) for role, name in names.items() if name), None)
    if place is None or any(name not in ("", f"{place}.{role}") for role, name in names.items()):
        return None
    options = {"num_features": channels, "eps": use.float("epsilon"), "affine": affine}
    options |= {"track_running_stats": False} if batch_only else {"momentum": momentum(use)}
    made = module(f"BatchNorm{max(axes, 1)}d", use.type().dtype, **options)
    return Found(Layer(place, made, roles(place, **names)), _called)


@FINDERS.row("LayerNormalization", "RMSNormalization")
def _norm_of_last_axes(scene: Scene, use: Use) -> Found | None:
    shape, kind = normalized_shape(use), LAST[use.operator.name]
    if use.is_read(1) or use.is_read(2) or any(use.has(i) and use.type(i).shape != shape for i in (1, 2)):
        return None
    options = {"normalized_shape": shape[0] if len(shape) == 1 else shape, "eps": use.float("epsilon")}
    return _weighted(scene, use, kind, options if kind == "RMSNorm" else options | {"bias": use.has(2)})


@FINDERS.row("GroupNormalization", "InstanceNormalization")
def _norm_of_channels(scene: Scene, use: Use) -> Found | None:
    channels, axes, eps = use.type().shape[1], use.rank - 2, use.float("epsilon")
    if not isinstance(channels, int):
        return None
    if use.operator.name == "GroupNormalization":
        groups = use.int("num_groups")
        return _weighted(scene, use, "GroupNorm", {"num_groups": groups, "num_channels": channels, "eps": eps})
    options = {"num_features": channels, "eps": eps, "affine": True}
    return _weighted(scene, use, f"InstanceNorm{axes}d", options) if axes in (1, 2, 3) else None


@FINDERS.row("PRelu")
def _prelu(scene: Scene, use: Use) -> Found | None:
    """A slope for each channel, which is made to fit the axes behind; or one slope."""
    name = use.node.inputs[1]
    fitted = scene.maker(name, "Reshape") or scene.maker(name, "Unsqueeze")
    weight = fitted.inputs[0] if fitted else name
    place, shape = scene.prefix(weight, "weight"), scene.types[weight].shape
    fits = use.type(1).shape == (*shape, *(1,) * (use.rank - 2)) and use.type().shape[1:2] == shape
    if place is None or len(shape) != 1 or not (shape == (1,) or fits):
        return None
    made = module("PReLU", scene.types[weight].dtype, num_parameters=shape[0])
    return Found(Layer(place, made, roles(place, weight=weight)), _called)


@FINDERS.row("Gather")
def _embedding(scene: Scene, use: Use) -> Found | None:
    name, shape = use.node.inputs[0], use.type(0).shape
    if len(shape) != 2 or use.attribute_axis() or use.known(1) is not None:
        return None
    options = {"num_embeddings": shape[0], "embedding_dim": shape[1]}
    return _weighted(scene, use, "Embedding", options, lambda use, module: f"{module}({use.x(1)})", (name, ""))


@FINDERS.row("Dropout")
def _dropout(scene: Scene, use: Use) -> Found | None:
    return Found(Layer(use.node.name, module("Dropout", p=dropout_ratio(use)), ()), _called)
