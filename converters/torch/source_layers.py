"""Layers of PyTorch in a graph: recognised by their nodes and by the names of their parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from portable_nn.converters.torch.source_normalization import dropout_ratio, is_frozen, momentum, normalized_shape
from portable_nn.converters.torch.source_scene import Entry, Found, Layer, Scene, dtype_option, given, roles
from portable_nn.converters.torch.source_spatial import cut_off, short, transposed, window_of
from portable_nn.converters.torch.source_use import Made, Use, option
from portable_nn.core.dims import static

Finder: TypeAlias = Callable[[Scene, Use], Found | None]

FINDERS: Final[dict[str, Finder]] = {}
"""The functions that find layers, by the operator of their last node."""


def finder(*names: str) -> Callable[[Finder], Finder]:
    """Register a function that finds the layers whose last nodes are of these operators."""

    def register(function: Finder) -> Finder:
        FINDERS.update(dict.fromkeys(names, function))
        return function

    return register


def _weighted(
    scene: Scene, use: Use, made: str, call: Callable[[Use, str], Made], *, weight: int = 1, bias: int = 2
) -> Found | None:
    """A layer of the inputs ``weight`` and ``bias``, which are the parameters ``place.weight`` and ``place.bias``."""
    names = [given(use.node, index) for index in (weight, bias)]
    place = scene.place(use.node, names[0], "weight")
    if place is None or not scene.is_called(names[1], f"{place}.bias"):
        return None
    dtype = dtype_option(scene.parameters[names[0]].dtype)
    return Found(Layer(place, f"{made[:-1]}{dtype})", roles(place, weight=names[0], bias=names[1])), call)


@finder("Gemm")
def _dense(scene: Scene, use: Use) -> Found | None:
    plain = use.int("transB") and not use.int("transA") and use.float("alpha") == use.float("beta") == 1
    shape = static(use.type(1).shape)
    if not plain or shape is None or (use.has(2) and use.type(2).shape != shape[:1]):
        return None
    made = f"nn.Linear({shape[1]}, {shape[0]}{option('bias', use.has(2), True)})"
    return _weighted(scene, use, made, lambda use, module: f"{module}({use.x()})")


@finder("MatMul", "Add")
def _linear(scene: Scene, use: Use) -> Found | None:
    attention = _attention(scene, use)
    found = scene.linear(use.node.outputs[0])
    if attention or found is None:
        return attention
    x, weight, bias = found
    place, (outputs, inputs) = scene.place(use.node, weight, "weight"), scene.types[weight].shape
    if place is None or not scene.is_called(bias, f"{place}.bias"):
        return None
    made = f"nn.Linear({inputs}, {outputs}{option('bias', bool(bias), True)}{dtype_option(scene.types[weight].dtype)})"
    layer = Layer(place, made, roles(place, weight=weight, bias=bias))
    return Found(layer, lambda use, module: f"{module}({use.writer.tensor(x)})")


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
    made = f"nn.MultiheadAttention({features}, {heads}{option('bias', bool(out[2]), True)}, batch_first=True"
    keys = dict(zip(("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"), names, strict=True))
    layer = Layer(place, f"{made}{dtype_option(scene.types[out[1]].dtype)})", roles(place, **keys))
    is_causal = bool(node.attributes.get("is_causal"))

    def call(use: Use, module: str) -> str:
        x = use.writer.tensor(joint[0])
        options = "need_weights=False"
        if is_causal:
            options += f", attn_mask={use.call('causal_mask', x)}, is_causal=True"
        elif masked:
            options += f", attn_mask={use.call('hidden', use.writer.tensor(masked), x, heads)}"
        return f"{module}({x}, {x}, {x}, {options})[0]"

    return Found(layer, call)


@finder("Conv")
def _conv(scene: Scene, use: Use) -> Found | None:
    window, shape, group = window_of(use), static(use.type(1).shape), use.int("group")
    if shape is None:
        return None
    options = window.options() + option("groups", group, 1) + option("bias", use.has(2), True)
    made = f"nn.Conv{len(window.windows)}d({shape[1] * group}, {shape[0]}, {window.of('kernel')}{options})"
    return _weighted(scene, use, made, lambda use, module: f"{module}({window_of(use).x})")


@finder("ConvTranspose")
def _conv_transposed(scene: Scene, use: Use) -> Found | None:
    spread, shape, group = transposed(use), static(use.type(1).shape), use.int("group")
    if shape is None:
        return None
    options = spread.options + option("bias", use.has(2), True)
    made = f"nn.ConvTranspose{len(spread.kernel)}d({shape[0]}, {shape[1] * group}, {short(spread.kernel)}{options})"
    return _weighted(scene, use, made, lambda use, module: cut_off(f"{module}({use.x()})", spread.cut))


@finder("BatchNormalization")
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
    names = {
        "weight": use.node.inputs[1] if affine else "",
        "bias": use.node.inputs[2] if affine else "",
        "running_mean": "" if batch_only else use.node.inputs[3],
        "running_var": "" if batch_only else use.node.inputs[4],
    }
    place = next((scene.prefix(name, role) for role, name in names.items() if name), None)
    if place is None or any(name not in ("", f"{place}.{role}") for role, name in names.items()):
        return None
    options = option("eps", use.float("epsilon"), 1e-5) + option("affine", affine, True)
    options += option("track_running_stats", not batch_only, True)
    options += "" if batch_only else option("momentum", momentum(use), 0.1)
    made = f"nn.BatchNorm{max(axes, 1)}d({channels}{options}{dtype_option(use.type().dtype)})"
    return Found(Layer(place, made, roles(place, **names)), lambda use, module: f"{module}({use.x()})")


@finder("LayerNormalization")
def _layer_norm(scene: Scene, use: Use) -> Found | None:
    shape = normalized_shape(use)
    if use.is_read(1) or use.is_read(2) or any(use.has(i) and use.type(i).shape != shape for i in (1, 2)):
        return None
    size = shape[0] if len(shape) == 1 else shape
    made = f"nn.LayerNorm({size}{option('eps', use.float('epsilon'), 1e-5)}{option('bias', use.has(2), True)})"
    return _weighted(scene, use, made, lambda use, module: f"{module}({use.x()})")


@finder("RMSNormalization")
def _rms_norm(scene: Scene, use: Use) -> Found | None:
    shape = normalized_shape(use)
    if use.type(1).shape != shape:
        return None
    made = f"nn.RMSNorm({shape[0] if len(shape) == 1 else shape}, eps={use.float('epsilon')!r})"
    return _weighted(scene, use, made, lambda use, module: f"{module}({use.x()})")


@finder("GroupNormalization")
def _group_norm(scene: Scene, use: Use) -> Found | None:
    channels = use.type().shape[1]
    made = f"nn.GroupNorm({use.int('num_groups')}, {channels}{option('eps', use.float('epsilon'), 1e-5)})"
    return (
        _weighted(scene, use, made, lambda use, module: f"{module}({use.x()})") if isinstance(channels, int) else None
    )


@finder("InstanceNormalization")
def _instance_norm(scene: Scene, use: Use) -> Found | None:
    channels, axes = use.type().shape[1], use.rank - 2
    if axes not in (1, 2, 3) or not isinstance(channels, int):
        return None
    made = f"nn.InstanceNorm{axes}d({channels}{option('eps', use.float('epsilon'), 1e-5)}, affine=True)"
    return _weighted(scene, use, made, lambda use, module: f"{module}({use.x()})")


@finder("PRelu")
def _prelu(scene: Scene, use: Use) -> Found | None:
    """A slope for each channel, which is made to fit the axes behind; or one slope."""
    name = use.node.inputs[1]
    fitted = scene.maker(name, "Reshape") or scene.maker(name, "Unsqueeze")
    weight = fitted.inputs[0] if fitted else name
    place, shape = scene.prefix(weight, "weight"), scene.types[weight].shape
    fits = use.type(1).shape == (*shape, *(1,) * (use.rank - 2)) and use.type().shape[1:2] == shape
    if place is None or len(shape) != 1 or not (shape == (1,) or fits):
        return None
    made = f"nn.PReLU({shape[0]}{dtype_option(scene.types[weight].dtype)})"
    layer = Layer(place, made, (Entry(f"{place}.weight", weight),))
    return Found(layer, lambda use, module: f"{module}({use.x()})")


@finder("Gather")
def _embedding(scene: Scene, use: Use) -> Found | None:
    name = use.node.inputs[0]
    place, shape = scene.place(use.node, name, "weight"), use.type(0).shape
    if place is None or len(shape) != 2 or use.attribute_axis() or use.known(1) is not None:
        return None
    made = f"nn.Embedding({shape[0]}, {shape[1]}{dtype_option(use.type(0).dtype)})"
    layer = Layer(place, made, (Entry(f"{place}.weight", name),))
    return Found(layer, lambda use, module: f"{module}({use.x(1)})")


@finder("Dropout")
def _dropout(scene: Scene, use: Use) -> Found | None:
    ratio = dropout_ratio(use)
    return Found(Layer(use.node.name, f"nn.Dropout({ratio!r})", ()), lambda use, module: f"{module}({use.x()})")
