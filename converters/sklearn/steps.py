"""The steps of pipelines by kind, each fitted, and with the numbers of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from portable_nn.converters.sklearn.encoders import encoder
from portable_nn.converters.sklearn.made_up import Rows, fitted
from portable_nn.converters.sklearn.values import Array, Operation, Value
from portable_nn.core.errors import UsageError

Step = tuple[str, Any]


def _name(x: Value, made: Any) -> str:
    return x.title.split(".")[-1] or type(made).__name__.lower()


# -- scales


def _arithmetic(x: Value, before: Value, rows: Rows) -> list[Step]:
    """Scalers that do one operation after the other."""
    found, left = list[Step](), list[Operation](x.of["steps"])
    given = rows.made_up(before)
    while left:
        made = next(made for make in (_min_max, _max_abs, _standard, _clip) if (made := make(left, given)) is not None)
        found.append((_name(x, made), made))
    return found


def _taken(left: list[Operation], *operators: str) -> dict[str, Array]:
    """The numbers of the next operations, as far as they are these, which are then done."""
    found = dict[str, Array]()
    for operator in operators:
        if left and left[0].operator == operator:
            found[operator] = np.array(left.pop(0).numbers, np.float64)
    return found


def _min_max(left: list[Operation], given: Any) -> Any:
    from sklearn.preprocessing import MinMaxScaler

    if left[0].operator != "Mul":
        return None
    of = _taken(left, "Mul", "Add", "Clip")
    low, high = of.get("Clip", np.array([0.0, 1.0])).tolist()
    made = fitted(MinMaxScaler(feature_range=(low, high), clip="Clip" in of), given)
    made.scale_, made.min_ = of["Mul"], of.get("Add", np.zeros_like(of["Mul"]))
    with np.errstate(divide="ignore", invalid="ignore"):
        made.data_min_, made.data_max_ = (low - made.min_) / made.scale_, (high - made.min_) / made.scale_
        made.data_range_ = (high - low) / made.scale_
    return made


def _max_abs(left: list[Operation], given: Any) -> Any:
    from sklearn.preprocessing import MaxAbsScaler

    if left[0].operator != "Div" or left[0].role != "largest":
        return None
    of = _taken(left, "Div", "Clip")
    made = fitted(MaxAbsScaler(**({"clip": True} if "Clip" in of else {})), given)
    made.scale_, made.max_abs_ = of["Div"], of["Div"].copy()
    return made


def _standard(left: list[Operation], given: Any) -> Any:
    """StandardScaler, or RobustScaler where the numbers have its names."""
    from sklearn.preprocessing import RobustScaler, StandardScaler

    if left[0].operator == "Clip":
        return None
    is_robust = left[0].role in ("center", "scale")
    of = {"Sub": -_taken(left, "Add")["Add"]} if left[0].operator == "Add" else _taken(left, "Sub", "Div")
    options = {"with_centering" if is_robust else "with_mean": "Sub" in of}
    options["with_scaling" if is_robust else "with_std"] = "Div" in of
    made = fitted((RobustScaler if is_robust else StandardScaler)(**options), given)
    if is_robust:
        made.center_, made.scale_ = of.get("Sub"), of.get("Div")
        return made
    if "Sub" in of:
        made.mean_ = of["Sub"]
    if "Div" in of:
        made.scale_, made.var_ = of["Div"], of["Div"] ** 2
    return made


def _clip(left: list[Operation], given: Any) -> Any:
    from sklearn.preprocessing import FunctionTransformer

    low, high = left.pop(0).numbers.tolist()
    limits = {"a_min": low, "a_max": high}
    return fitted(FunctionTransformer(np.clip, kw_args=limits, feature_names_out="one-to-one"), given)


# -- missing values


def _filled(x: Value, before: Value, rows: Rows) -> list[Step]:
    """SimpleImputer. Raises ``UsageError`` where values are missing in several ways."""
    from sklearn.impute import SimpleImputer

    origins = rows.origins(before)
    words = [() if origin is None else rows.words[origin] for origin in origins]
    nothing = [np.nan if origin is None else rows.gaps[origin] for origin in origins]
    gaps = [
        missing if code != code and len(each) else _cell(code, each)
        for code, each, missing in zip(x.of["gaps"], words, nothing, strict=True)
    ]
    fills = [_cell(fill, each) for fill, each in zip(x.of["fills"], words, strict=True)]
    if len({"nan" if gap != gap else gap for gap in gaps}) > 1:
        raise UsageError(f"{x.title or 'missing values'}: SimpleImputer has one mark of missing values, not {gaps}")
    is_text = any(map(len, words))
    options = {"strategy": _strategy(x, origins, rows, is_text), "missing_values": gaps[0]}
    if options["strategy"] == "constant" and len(set(fills)) == 1:
        options["fill_value"] = fills[0]
    indicators = x.of.get("indicators", ())
    given = rows.made_up(before)
    given = (
        given.copy()
        if isinstance(given, np.ndarray)
        else given.astype({name: object for name, each in zip(given.columns, words, strict=True) if len(each)})
    )
    for place in indicators:
        if isinstance(given, np.ndarray):
            given[0, place] = gaps[place]
        else:
            given.isetitem(place, [gaps[place], *given.iloc[1:, place]])
    made = fitted(SimpleImputer(**options, add_indicator=bool(indicators)), given)
    made.statistics_ = np.array(fills, object if is_text else np.float64)
    return [(_name(x, made), made)]


def _cell(code: float, words: Any) -> Any:
    return words[int(code)] if len(words) and code == code else float(code)


STRATEGIES: Final = ("mean", "median", "most_frequent", "constant")


def _strategy(x: Value, origins: list[int | None], rows: Rows, is_text: bool) -> str:
    """How values are filled: what the numbers are called says so, or the columns."""
    named = str(x.of["strategy"])
    if named in STRATEGIES and not (is_text and named in ("mean", "median")):
        return named
    if is_text:
        return "most_frequent"
    kinds = {rows.columns[origin].missing for origin in origins if origin is not None}
    return "median" if "median" in kinds else "mean"


def _flags(x: Value, before: Value, rows: Rows) -> list[Step]:
    from sklearn.impute import MissingIndicator

    made = fitted(MissingIndicator(features="all", error_on_new=False), rows.made_up(before))
    return [(_name(x, made), made)]


# -- others


def _projected(x: Value, before: Value, rows: Rows) -> list[Step]:
    """PCA, or TruncatedSVD where no mean is subtracted; what is not known of the variances is NaN."""
    from sklearn.decomposition import PCA, TruncatedSVD

    components = x.of["components"]
    count, given = len(components), rows.made_up(before, len(components) + 2)
    if "mean" not in x.of:
        made = fitted(TruncatedSVD(min(count, before.width), random_state=0), given).set_params(random_state=None)
        made.components_ = components
        made.explained_variance_ = made.explained_variance_ratio_ = made.singular_values_ = np.full(count, np.nan)
        return [(_name(x, made), made)]
    sizes = np.linalg.norm(components, axis=1)
    whiten = bool((sizes > 0).all() and not np.allclose(sizes, 1, atol=1e-5))
    made = fitted(PCA(count, whiten=whiten), given)
    made.mean_ = x.of["mean"]
    made.components_ = components / sizes[:, np.newaxis] if whiten else components
    unknown = np.full(count, np.nan)
    made.explained_variance_ = sizes**-2.0 if whiten else unknown
    made.explained_variance_ratio_, made.singular_values_, made.noise_variance_ = unknown, unknown.copy(), np.nan
    return [(_name(x, made), made)]


def _function(x: Value, before: Value, rows: Rows) -> list[Step]:
    from scipy import special
    from sklearn.preprocessing import FunctionTransformer

    name = x.of["name"]
    made = FunctionTransformer(getattr(np, name, None) or getattr(special, name), feature_names_out="one-to-one")
    return [(_name(x, made), fitted(made, rows.made_up(before)))]


def _greater(x: Value, before: Value, rows: Rows) -> list[Step]:
    from sklearn.preprocessing import Binarizer

    if len(set(x.of["threshold"].tolist())) > 1:
        raise UsageError(f"{x.title or 'thresholds'}: Binarizer has one threshold, not {x.of['threshold'].tolist()}")
    made = fitted(Binarizer(threshold=float(x.of["threshold"][0])), rows.made_up(before))
    return [(_name(x, made), made)]


def _normalised(x: Value, before: Value, rows: Rows) -> list[Step]:
    from sklearn.preprocessing import Normalizer

    made = fitted(Normalizer(x.of["norm"]), rows.made_up(before))
    return [(_name(x, made), made)]


STEPS: Final[Mapping[str, Callable[[Value, Value, Rows], list[Step]]]] = {
    "arithmetic": _arithmetic,
    "encoded": encoder,
    "filled": _filled,
    "flags": _flags,
    "function": _function,
    "greater": _greater,
    "normalised": _normalised,
    "projected": _projected,
}
"""What makes the steps of a value ``(value, what it is computed from, rows) → steps``, by its kind."""
