"""Gradients of a network here and in JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

import portable_nn as pnn
from portable_nn.converters.jax.variables import arrays_of, places_of
from portable_nn.engines.plan import Plan
from portable_nn.operators import FLOATS, Leaf, replay, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

Outputs = Mapping[str, Array]


def here(net: pnn.Network, inputs: Sequence[Array], seeds: Outputs) -> dict[str, Array]:
    """The gradients of Σ seeds·outputs, of all that is trained; zeros where nothing flows."""
    symbols = replay(net.graph)
    flowing = [Leaf(f"seed/{name}", str(array.dtype), symbols[name].shape) for name, array in seeds.items()]
    names = [value.name for value in net.graph.parameters if value.trainable]
    back = gradients([symbols[name] for name in seeds], flowing, [symbols[name] for name in names])
    kept = {name: symbol for name, symbol in zip(names, back, strict=True) if symbol is not None}
    feeds = dict(zip((value.name for value in net.graph.inputs), inputs, strict=True))
    leaves = [leaf for name in feeds if isinstance(leaf := symbols[name], Leaf)]
    traced = trace([*leaves, *flowing], list(kept.values()))
    feeds |= {f"seed/{name}": array for name, array in seeds.items()}
    plan = Plan(traced.graph, {name: value.shape for name, value in feeds.items()}, net.parameters)
    for name, value in feeds.items():
        plan.inputs[name][...] = value
    plan.run()
    return {
        name: plan.outputs[traced.names[kept[name]]] if name in kept else np.zeros_like(net.parameters[name])
        for name in names
    }


def there(net: pnn.Network, params: Any, apply: Callable[[Any], Any], seeds: Outputs) -> dict[str, Array]:
    """The same of a function of the tree of parameters, by the names and in the layouts of the network."""

    def total(params: Any) -> Any:
        found = apply(params)
        found = found if isinstance(found, dict) else {net.graph.outputs[0]: found}
        return sum((found[name] * seed).sum() for name, seed in seeds.items())

    slopes = jax.jit(jax.grad(total))(params)
    places = tuple(place for place in places_of(net.graph) if place.value.trainable)
    return {name: np.asarray(array) for name, array in arrays_of(places, {"params": slopes}).items()}


def compare(net: pnn.Network, inputs: Sequence[Array], params: Any, apply: Any, tolerance: float = 1e-10) -> None:
    """Both must agree, relative to the largest number of each gradient, or a thousandth of the largest of all."""
    found = net.compute("numpy", dict(zip((value.name for value in net.graph.inputs), inputs, strict=True)))
    rng = np.random.default_rng(0)
    seeds = {name: rng.standard_normal(a.shape).astype(a.dtype) for name, a in found.items() if a.dtype.name in FLOATS}
    ours, theirs = here(net, inputs, seeds), there(net, params, apply, seeds)
    assert ours.keys() == theirs.keys()
    largest = max(float(np.abs(array).max(initial=0)) for array in theirs.values())
    for name, array in theirs.items():
        limit = tolerance * max(float(np.abs(array).max(initial=0)), 1e-3 * largest)
        np.testing.assert_allclose(ours[name], array, rtol=0, atol=limit, err_msg=f"gradient of {name}")
