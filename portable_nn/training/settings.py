"""The settings of a training as text, which a checkpoint holds: they must be the same to resume."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np
import xxhash

from portable_nn.core.graph import Graph, Node, Value, format_shape
from portable_nn.core.tensors import to_bytes
from portable_nn.data.stored import Stored
from portable_nn.operators.registry import Array
from portable_nn.training.examples import Examples
from portable_nn.training.given import StoredExamples
from portable_nn.training.losses import Loss
from portable_nn.training.sources import HeldOut, InBatches
from portable_nn.training.updating import Updating

SAMPLE: Final = 256
"""The number of examples in the fingerprint of a data set."""

TOGETHER: Final = 16
"""The examples of a sample of stored ones that follow one another: each needs a chunk to be read."""

UNSET: Final = "none"
"""The text of an option that is not set."""

LONGEST: Final = 100
"""The longest text of one attribute of a node."""

ADDRESS: Final = re.compile(r"\b0x[0-9a-fA-F]+")


def describe_settings(
    losses: Mapping[str, Loss],
    train: Examples | StoredExamples,
    held_out: HeldOut | None,
    metrics: Mapping[str, Iterable[str]],
    updating: Updating,
    *,
    validation: Any,
    source: Mapping[str, str],
    iterated: bool,
    train_metrics: bool,
    callbacks: Sequence[Any],
    **others: Any,
) -> dict[str, str]:
    """All that must be the same to resume: the settings and the descriptions of the examples, by name."""
    batched = isinstance(held_out, InBatches)
    own = f"{'batches' if batched else 'examples'} of its own" if held_out else UNSET
    share = isinstance(validation, float)
    return {
        "loss": ", ".join(f"{loss} of '{name}'" for name, loss in losses.items()),
        "metrics": _metrics(metrics) + " of the training examples, too" * train_metrics,
        "optimizer": describe(updating.optimizer),
        **_where_given(updating, callbacks),
        **source,
        **{name: describe(value) for name, value in others.items()},
        "validation": f"{validation} of the examples" if share else own,
        **describe_examples(train, "first batch " if iterated else ""),
        **(describe_examples(_all_of(held_out), "validation " + "first batch " * batched) if held_out else {}),
    }


def _all_of(held_out: HeldOut) -> Examples | StoredExamples:
    return held_out if isinstance(held_out, StoredExamples) else held_out.first


def _where_given(updating: Updating, callbacks: Sequence[Any]) -> dict[str, str]:
    """Settings that are listed only where they are not the defaults."""
    found = {
        "groups": repr({name: dict(options) for name, options in updating.groups.items()}) if updating.groups else "",
        "clip_norm": "" if updating.clip_norm is None else describe(updating.clip_norm),
        "accumulate": "" if updating.accumulate == 1 else describe(updating.accumulate),
        "average": "" if updating.average is None else describe(updating.average),
        "callbacks": ", ".join(map(describe, callbacks)),
    }
    return {name: text for name, text in found.items() if text}


def _metrics(metrics: Mapping[str, Iterable[str]]) -> str:
    """``accuracy``; where outputs have different ones, ``accuracy of 'kind', r2 of 'size'``."""
    lists = {name: ", ".join(each) for name, each in metrics.items()}
    if len(set(lists.values())) == 1:
        return next(iter(lists.values())) or UNSET
    return ", ".join(f"{each or UNSET} of '{name}'" for name, each in lists.items())


def describe(value: Any) -> str:
    """``value`` as text that is the same in every process: its ``repr``, or its name where that holds an address."""
    if value is None:
        return UNSET
    if isinstance(value, np.generic):
        return repr(value.item())
    if is_dataclass(value) and not isinstance(value, type):
        parts = [f"{field.name}={describe(getattr(value, field.name))}" for field in fields(value) if field.repr]
        return f"{type(value).__qualname__}({', '.join(parts)})"
    if isinstance(value, partial):
        parts = [*map(describe, value.args), *(f"{name}={describe(each)}" for name, each in value.keywords.items())]
        return f"partial({', '.join([describe(value.func), *parts])})"
    named = value if hasattr(value, "__qualname__") else type(value)
    text = repr(value)
    return text if named is not value and not ADDRESS.search(text) else f"{named.__module__}.{named.__qualname__}"


def describe_examples(examples: Examples | StoredExamples, what: str) -> dict[str, str]:
    """The types, shapes and fingerprints of a set of examples; ``what`` comes before each name."""
    arrays: dict[str, Array | Stored] = {}
    for side, found in (("x", examples.x), ("y", examples.y)):
        arrays |= {f"{what}{side} '{name}'" if len(found) > 1 else what + side: found[name] for name in found}
    if examples.weight is not None:
        arrays[f"{what}sample_weight"] = examples.weight
    return {
        name: f"{array.dtype.name} {format_shape(array.shape)}, fingerprint {fingerprint(array)}"
        for name, array in arrays.items()
    }


def fingerprint(array: Array | Stored) -> str:
    """A hash of up to ``SAMPLE`` entries of ``array``, evenly spaced; of stored ones, in ``TOGETHER`` at a time."""
    if isinstance(array, Stored):
        together = min(len(array), TOGETHER)
        places = np.linspace(0, len(array) - together, SAMPLE // TOGETHER).astype(np.intp)
        sample = np.concatenate([array[place : place + together] for place in places.tolist()])
    else:
        sample = array[np.linspace(0, len(array) - 1, min(len(array), SAMPLE)).astype(np.intp)]
    return xxhash.xxh3_64(to_bytes(sample).data).hexdigest()


def graph_differences(before: Graph, now: Graph) -> list[str]:
    """The differences between the graph of a checkpoint and that of the present network, with both sides of each."""
    now = msgspec.convert(msgspec.to_builtins(now), Graph)  # As a reader of a file gets it.
    found = differences(_graph_text(before), _graph_text(now))
    return found if found or before == now else ["the nodes of the graph are in another order"]


def _graph_text(graph: Graph) -> dict[str, str]:
    fixed = {value.name for value in graph.parameters if not value.trainable}
    return {
        **{
            f"tensor '{value.name}'": _type(value) + " (not trained)" * (value.name in fixed)
            for value in graph.parameters
        },
        **{f"input '{value.name}'": _type(value) for value in graph.inputs},
        **{f"node '{node.name}'": _node(node) for node in graph.nodes},
        "outputs": ", ".join(graph.outputs),
        "name of the graph": graph.name,
    }


def _type(value: Value) -> str:
    return f"{value.dtype} {format_shape(value.shape)}"


def _node(node: Node) -> str:
    attributes = [f"{name}={_short(repr(value))}" for name, value in sorted(node.attributes.items())]
    return f"{node.operator}({', '.join([*node.inputs, *attributes])}) → {', '.join(node.outputs)}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}… ({xxhash.xxh3_64(text.encode()).hexdigest()})"


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The differences between the settings in a checkpoint and those of the present call, with both sides of each."""
    return [
        f"{name}: {_told(name, before)} in the checkpoint, {_told(name, now)} now"
        for name in dict.fromkeys([*now, *before])
        if before.get(name) != now.get(name)
    ]


def _told(name: str, settings: Mapping[str, str]) -> str:
    """A setting in words; an option that is not set is none, but for early stopping, which has a default."""
    found = settings.get(name, UNSET)
    return "the default" if (name, found) == ("early_stopping", UNSET) else found
