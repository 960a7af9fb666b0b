"""The features of a network as fitted steps of scikit-learn, side by side and one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from portable_nn.converters.sklearn.encoders import groups
from portable_nn.converters.sklearn.made_up import Rows, fitted, named, stand_in
from portable_nn.converters.sklearn.steps import STEPS, Step
from portable_nn.converters.sklearn.values import Value, taken


def pipeline_steps(x: Value, rows: Rows) -> list[Step]:
    """The fitted steps that make the features ``x`` of ``rows``; none where they are the rows themselves.

    Where columns have names, the first step finds them by these: it takes frames with other columns beside them, and
    in another order. Raises ``UsageError`` that names what scikit-learn has no step for.
    """
    chain = _chain(x, None)
    row, *chain = chain
    if rows.names and chain and chain[0].kind not in ("taken", "joined"):
        first = chain[0]
        inner = _steps([row, first], rows)
        name = (first.title.split(".") or [""])[min(1, first.title.count("."))] or inner[0][0]
        part = (name, inner[0][1] if len(inner) == 1 else _pipeline(inner), range(row.width))
        return named([("columns", _columns([part], [first.width], row, rows)), *_steps(chain, rows)])
    return named(_steps([row, *chain], rows))


def _pipeline(steps: list[Step]) -> Any:
    from sklearn.pipeline import Pipeline

    return Pipeline(named(steps))


# -- the way from the rows to the features


def _below(x: Value) -> Value | None:
    """What a value is computed from: of values side by side, the last that all of them are; ``None`` for the rows."""
    if x.kind == "row":
        return None
    if x.kind == "joined":
        ways = [[each for each in _chain(part, None) if each.kind != "taken"] for part in x.bases]
        return next(each for each in reversed(ways[0]) if all(each in way for way in ways))
    if x.kind == "encoded":
        return taken(x.base, [entry.place for entry in x.of["entries"]])
    return taken(x.base, x.of["places"]) if x.kind == "flags" else x.base


def _chain(x: Value, start: Value | None) -> list[Value]:
    """``start``, or the rows, and each value after it up to ``x``."""
    found = [x]
    while found[-1] is not start and (below := _below(found[-1])) is not None:
        found.append(below)
    return found[::-1]


def _steps(chain: Sequence[Value], rows: Rows) -> list[Step]:
    """The steps from the first value of a chain to its last."""
    found = list[Step]()
    for before, x in pairwise(chain):
        if x.kind == "taken":
            found.append(("taken", _columns([("taken", "passthrough", x.of["places"])], [x.width], before, rows)))
        elif x.kind == "joined":
            found.append(("columns", _side_by_side(x, before, rows)))
        elif x.kind == "encoded" and len(parts := groups(x, before, rows)) > 1:
            found.append(("columns", _side_by_side(Value("joined", x.width, tuple(parts)), before, rows)))
        else:
            found += STEPS[x.kind](x, before, rows)
    return found


def _side_by_side(x: Value, start: Value, rows: Rows) -> Any:
    """A ColumnTransformer with a part for each value."""
    parts, titles, widths = list[tuple[Any, Sequence[int]]](), list[str](), list[int]()
    for base in x.bases:
        for part in groups(base, start, rows) if base.kind == "encoded" else [base]:
            places: Sequence[int] = range(start.width)
            chain = _chain(part, start)
            titles.append(next((each.title for each in reversed(chain) if each.title), ""))
            if len(chain) > 1 and chain[1].kind == "taken":
                places, chain = chain[1].of["places"], chain[1:]
            steps = _steps(chain, rows)
            made = "passthrough" if not steps else steps[0][1] if len(steps) == 1 else _pipeline(steps)
            parts.append((made, places))
            widths.append(part.width)
    names = _part_names(titles, [made for made, _ in parts])
    found = named([(name, (made, places)) for name, (made, places) in zip(names, parts, strict=True)])
    return _columns([(name, *each) for name, each in found], widths, start, rows)


def _part_names(titles: Sequence[str], made: Sequence[Any]) -> list[str]:
    """The names of the parts of a ColumnTransformer: where the names of their steps differ."""
    paths = [title.split(".") for title in titles]
    known = [path for path, title in zip(paths, titles, strict=True) if title]
    same = next((place for place, each in enumerate(zip(*known, strict=False)) if len(set(each)) > 1), None)
    found = []
    for path, part in zip(paths, made, strict=True):
        kind = type(part).__name__
        usual = {"str": "taken", "MissingIndicator": "missing"}.get(kind, "numbers")
        usual = "categories" if kind.endswith("Encoder") else usual
        if same is not None and len(path) > same and path[same]:
            usual = path[same]
        elif len(known) == 1 and len(path) > 1:
            usual = path[-2] if kind == "Pipeline" else path[-1]
        found.append(usual)
    return found


def _columns(parts: Sequence[tuple[str, Any, Sequence[int]]], widths: Sequence[int], start: Value, rows: Rows) -> Any:
    """A fitted ColumnTransformer of fitted parts, ``(name, transformer, places)``, and how many features they make."""
    from sklearn.base import clone
    from sklearn.compose import ColumnTransformer

    x = rows.made_up(start)
    names = None if isinstance(x, np.ndarray) else list(rows.names)
    columns = [[int(each) if names is None else names[each] for each in places] for _, _, places in parts]
    shapes = [
        made if isinstance(made, str) else stand_in(width) for (_, made, _), width in zip(parts, widths, strict=True)
    ]
    given = [(name, shape, cells) for (name, _, _), shape, cells in zip(parts, shapes, columns, strict=True)]
    found = fitted(ColumnTransformer(given), x)
    made = [each for _, each, _ in parts]
    found.transformers_ = [
        (name, shape if isinstance(each, str) else each, cells)
        for (name, shape, cells), each in zip(found.transformers_[: len(parts)], made, strict=True)
    ] + found.transformers_[len(parts) :]
    found.transformers = [
        (name, each if isinstance(each, str) else clone(each), cells)
        for (name, each, _), cells in zip(parts, columns, strict=True)
    ]
    return found
