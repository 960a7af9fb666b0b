"""``from_sklearn``: a fitted estimator or pipeline as a network, compared with it before it is returned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace as replaced
from functools import partial
from itertools import count
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from portable_nn.converters.conversion import Imported, Side, compare_sides
from portable_nn.converters.sklearn.ensembles import Member, composed, prefixed
from portable_nn.converters.sklearn.expansions import function_of
from portable_nn.converters.sklearn.features import Features, numbers_of
from portable_nn.converters.sklearn.models import answered, own_network
from portable_nn.converters.sklearn.outputs import Output, answers, tolerance_of
from portable_nn.converters.sklearn.proving import prove_steps
from portable_nn.converters.sklearn.transformers import check_fitted, is_own, name_of, no_step, transformed, used_places
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.foreign_values import is_table
from portable_nn.core.text import quantity, some
from portable_nn.data.cells import is_words
from portable_nn.data.columns import encoded, statistics_of
from portable_nn.data.frames import Frame, read_frame
from portable_nn.data.raw import Raw
from portable_nn.format.meaning import OutputInfo
from portable_nn.layers import Input, Normalization
from portable_nn.network import Network
from portable_nn.network.answering import probabilities_inside
from portable_nn.onnx.verification.differences import largest
from portable_nn.onnx.verification.messages import check_outputs
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.operators import Leaf

__all__ = ["from_sklearn", "read_sklearn"]

Float: TypeAlias = Literal["float32", "float64"]


@check_kinds
def from_sklearn(
    estimator: Any,
    *,
    data: Any = None,
    columns: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    target: str = "",
    dtype: Float | None = None,
    verify: bool = True,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
    prove_training: bool = False,
) -> Network:
    """A fitted scikit-learn estimator or pipeline as a network that computes the same, and trains on from there.

    The steps of a pipeline become nodes. What they found, means, categories, components, is frozen; coefficients and
    weights train. The network takes the rows that the pipeline takes: names of columns and categories travel with it,
    so that ``portable-nn predict`` works on CSV files. Labels of classes are kept; probabilities are those of
    ``predict_proba``: of one number by the logistic function, of several by softmax. In arrays, a word is its place
    among the categories of its column, and a missing value is NaN.

    Args:
        estimator: a fitted classifier, regressor, transformer or pipeline; of a search, the best is taken.
        data: rows as the pipeline takes them, such as those that it was fitted on: both sides are compared on them as
            well, and the smallest and largest numbers of each column are kept, so that others are noticed.
        columns: names of the columns where the estimator was fitted without any.
        units: units by the names of columns.
        target: the name of what is predicted.
        dtype: the type of the network. By default that of the coefficients, mostly ``float64``, in which both sides
            agree to twelve digits; exports to ONNX are float32 unless told otherwise.
        verify: whether both sides run on the same inputs.
        atol, rtol: how far they may differ, absolutely and relative to the largest number: 1e-6, or 1e-5 in float32.
        seed: the seed of these inputs, and of the network's further training.
        prove_training: whether five steps of gradient descent must also give the same weights there and here, to 1e-5
            (float64: 1e-8).

    Raises:
        UsageError: an estimator that is not fitted, or with steps or options that are no nodes; ``data`` that does not
            fit; or ``prove_training`` of what scikit-learn does not train by gradients.
        VerificationError: both sides do not compute the same.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> x, y = load_iris(return_X_y=True)
    >>> network = from_sklearn(make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y))
    >>> network.outputs[0].loss
    'cross_entropy'
    """
    return read_sklearn(**locals()).network


def read_sklearn(
    estimator: Any,
    *,
    data: Any = None,
    columns: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    target: str = "",
    dtype: Float | None = None,
    verify: bool = True,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
    prove_training: bool = False,
) -> Imported:
    """The network of ``from_sklearn``, how far both sides differ, and notes; arguments and errors are its own."""
    estimator = _unwrapped(estimator)
    check_fitted(estimator)
    every, notes = _raws(estimator, columns, units or {}), list[str]()
    dtype = dtype or _dtype(estimator)
    raws = _used(estimator, every, notes)
    network, output = _network(estimator, every, raws, notes, dtype, seed, target)
    notes += output.notes
    if bad := [name for name, array in network.parameters.items() if not np.isfinite(array).all()]:
        raise UsageError(f"{type(estimator).__name__} holds NaN or infinity, in what would be {', '.join(bad)}")
    if dtype == "float64":
        network.inputs = (replace(network.inputs[0], exported="float32"),)
    if data is not None:
        _describe(raws, data)
    has_columns = bool(columns) or data is not None or _has_names(estimator)
    if has_columns or any(raw.words or raw.missing != "refuse" for raw in raws):
        network.inputs = (replace(network.inputs[0], kind="table", columns=tuple(raw.column for raw in raws)),)
    tolerance = tolerance_of(network, atol, rtol)
    proof = _proved(network, estimator, raws, output, tolerance, seed) if verify else Proof()
    if verify and data is not None:
        _check_data(network, estimator, raws, output, data, tolerance)
    if prove_training:
        notes.append(prove_steps(network, output, seed))
    return Imported(network, proof, tuple(notes))


def _used(estimator: Any, every: list[Raw], notes: list[str]) -> list[Raw]:
    """The columns that a step uses, or all where none does; a note names the others."""
    places = used_places(estimator, range(len(every))) if _has_names(estimator) else range(len(every))
    raws = [every[place] for place in sorted(set(places))] or every
    if len(raws) < len(every):
        notes.append(f"columns that no step uses are left out: {some(raw.name for raw in every if raw not in raws)}")
    return raws


def _unwrapped(estimator: Any) -> Any:
    """The best estimator of a search; the estimator itself where it is none."""
    if isinstance(estimator, type):
        raise UsageError(f"expected a fitted estimator, such as {estimator.__name__}().fit(X, y), not its class")
    return getattr(estimator, "best_estimator_", estimator)


def _first(estimator: Any, path: str = "") -> tuple[str, Any]:
    """The first step of a pipeline that does anything, and its name; the estimator itself where it is none."""
    if name_of(estimator, {"Pipeline": None}):
        for name, each in estimator.steps:
            if each is not None and not isinstance(each, str):
                return _first(each, f"{path}.{name}" if path else name)
    return path or type(estimator).__name__.lower(), estimator


def _entry(estimator: Any, name: str) -> Any:
    """An attribute about what goes in: of a pipeline, that of its first step that does anything."""
    found = getattr(estimator, name, None)
    return getattr(_first(estimator)[1], name, None) if found is None else found


def _has_names(estimator: Any) -> bool:
    return _entry(estimator, "feature_names_in_") is not None


def _raws(estimator: Any, columns: Sequence[str], units: Mapping[str, str]) -> list[Raw]:
    """The columns of what goes in."""
    count = _entry(estimator, "n_features_in_")
    if count is None:
        path, first = _first(estimator)
        if is_own(first) and not hasattr(first, "predict"):
            raise no_step(first, path)
        raise UsageError(f"{type(estimator).__name__} does not say how many features it takes (n_features_in_)")
    names = _column_names(_entry(estimator, "feature_names_in_"), columns, count)
    if strange := [name for name in units if name not in names]:
        raise UsageError(f"units: there is no column '{strange[0]}'; there are {', '.join(names)}")
    return [Raw(name, units.get(name, ""), place=place) for place, name in enumerate(names)]


def _column_names(fitted: Any, given: Sequence[str], count: int) -> list[str]:
    """Those that the estimator was fitted with, or those that are given, or ``x0`` and so on."""
    names = [] if fitted is None else [str(each) for each in fitted]
    if given and names and list(given) != names:
        raise UsageError(f"columns: it was fitted with names of its own, {', '.join(names)}")
    if given and (len(given) != count or len(set(given)) < count):
        raise UsageError(f"columns: it takes {quantity(count, 'column')} with different names, not {len(given)}")
    return list(given) or names or [f"x{place}" for place in range(count)]


def _dtype(estimator: Any) -> Float:
    """float32 if the coefficients are, else float64."""
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    if (network := own_network(last)) is not None:
        return cast("Float", network.graph.inputs[0].dtype)
    found = (getattr(last, name, None) for name in ("coefs_", "coef_", "components_"))
    types = [(each[0] if isinstance(each, list) else each).dtype for each in found if each is not None]
    return "float32" if types and all(each == np.float32 for each in types) else "float64"


def _network(
    estimator: Any, every: list[Raw], raws: list[Raw], notes: list[str], dtype: Float, seed: int, target: str
) -> tuple[Network, Output]:
    x = Input(len(raws), name="row", dtype=dtype)
    features = Features(x, tuple(raws))
    if len(raws) < len(every):
        features = Features(x, tuple(every), tuple(raws.index(raw) if raw in raws else -1 for raw in every))
    output = _answer(estimator, features, notes)
    network = _named(x, output, seed, target)
    return network, output


def _named(x: Leaf, output: Output, seed: int, target: str = "") -> Network:
    """The network of an output, and what that means."""
    network = Network(x, output.symbol, seed=seed)
    info = OutputInfo(network.graph.outputs[0], output.kind, output.labels, target=target, loss=output.loss)
    network.outputs = (info,)
    return network


def _member(notes: list[str], numbers: Iterator[int], estimator: Any, features: Features) -> Member:
    """An estimator inside another one, as a network for its features, with names of its own."""
    x = Input(int(features.symbol.shape[1]), name="features", dtype=features.symbol.dtype)
    output = _answer(_unwrapped(estimator), replaced(features, symbol=x), notes)
    return Member(prefixed(_named(x, output, 0), f"{type(estimator).__name__.lower()}_{next(numbers)}."), output)


def _answer(estimator: Any, features: Features, notes: list[str]) -> Output:
    """The answer of an estimator or pipeline."""
    steps = list(estimator.steps) if name_of(estimator, {"Pipeline": None}) else [("", estimator)]
    back = None
    if name_of(steps[-1][1], {"TransformedTargetRegressor": None}):
        check_fitted(steps[-1][1])
        back, steps[-1] = steps[-1][1].transformer_, (steps[-1][0], steps[-1][1].regressor_)
        inner = steps.pop()
        steps += inner[1].steps if name_of(inner[1], {"Pipeline": None}) else [inner]
    for name, each in steps[:-1]:
        features = transformed("passthrough" if each is None else each, features, name, notes)
    name, last = steps[-1]
    output = None
    if not isinstance(last, str) and last is not None:
        output = composed(last, features, partial(_member, notes, count(1))) or answered(
            last, partial(numbers_of, features, type(last).__name__)
        )
    if output is None:
        features = transformed(last or "passthrough", features, name or type(last).__name__.lower(), notes)
        output = Output(features.symbol, "values", "transform")
    return output if back is None else _in_units(output, back)


def _in_units(output: Output, scaler: Any) -> Output:
    """The output of a regressor whose targets were standardised."""
    if name_of(scaler, {"FunctionTransformer": None}):
        back = function_of(scaler.inverse_func, "TransformedTargetRegressor")
    elif name_of(scaler, {"StandardScaler": None}) is None or scaler.mean_ is None or scaler.scale_ is None:
        raise UsageError(
            "TransformedTargetRegressor is read where its transformer is a StandardScaler, or its functions are numpy's"
        )
    else:  # The last layer of a PortableRegressor has this name.
        name = "target_in_units" if output.symbol.origin.name == "in_units" else "in_units"
        back = Normalization(mean=scaler.mean_, std=scaler.scale_, invert=True, name=name)
    note = "the loss is now that of the target in its own units"
    return Output(back(output.symbol), "values", "predict", (), output.loss, (*output.notes, note))


# -- the comparison


def _given(raws: Sequence[Raw], rows: NDArray[Any], estimator: Any) -> Any:
    """The rows of a network as scikit-learn takes them."""
    cells = [raw.values(rows[:, place]) for place, raw in enumerate(raws)]
    if _has_names(estimator):
        import pandas as pd

        # Steps by position need the columns that no step uses, too.
        names = [str(each) for each in _entry(estimator, "feature_names_in_")]
        columns = {raw.name: pd.Series(each, dtype=each.dtype) for raw, each in zip(raws, cells, strict=True)}
        return pd.DataFrame(columns).reindex(columns=names)
    if any(raw.words for raw in raws):
        return np.stack([each.astype(object) for each in cells], axis=1)
    return rows


def _side(
    estimator: Any, raws: Sequence[Raw], method: str, network: Network, feeds: Mapping[str, Any]
) -> Mapping[str, Any]:
    name = network.graph.outputs[0]
    [rows] = feeds.values()
    found = answers(estimator, method, _given(raws, rows, estimator))
    found = found[:, 1:] if network.types[name].shape[1] == 1 and found.shape[1] == 2 else found
    return {name: found.astype(network.types[name].dtype)}


def _proved(
    network: Network, estimator: Any, raws: Sequence[Raw], output: Output, tolerance: Tolerance, seed: int
) -> Proof:
    """Compare both sides: probabilities, and the scores that they are made of where scikit-learn has both."""
    what = f"scikit-learn's {type(estimator).__name__}"
    sides = [(network, output.method)]
    if output.method == "predict_proba" and output.kind != "probabilities":
        sides = [(probabilities_inside(network)[0], "predict_proba")]
        if output.layers and hasattr(estimator, "decision_function"):
            sides.append((network, "decision_function"))
    proofs = list[Proof]()
    for each, method in sides:
        run = partial(_side, estimator, raws, method, each)
        admit = partial(_admitted, raws, run)
        proofs.append(compare_sides(each, run, what, tolerance=tolerance, seed=seed, admit=admit))
    apart = largest(dict.fromkeys(network.graph.outputs, *found.values()) for found in proofs)
    proofs[-1].clear()
    proofs[-1].update(apart)
    return proofs[-1]


def _admitted(raws: Sequence[Raw], run: Side, feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    """Drawn rows, as far as need be replaced by such that scikit-learn takes, or left out where there are others."""
    [(name, rows)] = feeds.items()
    rows = np.stack([raw.admitted(rows[:, place]) for place, raw in enumerate(raws)], axis=1)
    if _takes(run, name, rows):
        return {name: rows}
    # Steps such as a logarithm take no negative numbers, others none beyond 1.
    numbers, sizes = [not raw.words and not raw.codes for raw in raws], np.abs(rows)
    turned = [np.where(numbers, each, rows) for each in (rows, sizes, np.tanh(rows), np.tanh(sizes), 1 + sizes)]
    tried = ((each[row : row + 1] for each in turned) for row in range(len(rows)))
    taken = [found for each in tried if (found := next(filter(partial(_takes, run, name), each), None)) is not None]
    return {name: np.concatenate(taken) if taken else rows}


def _takes(run: Side, name: str, rows: NDArray[Any]) -> bool:
    try:
        run({name: rows})
    except UsageError:
        return False
    return True


def _check_data(
    network: Network, estimator: Any, raws: Sequence[Raw], output: Output, data: Any, tolerance: Tolerance
) -> None:
    """Compare both sides on rows of the user. Raises ``VerificationError`` or ``UsageError``."""
    rows = _rows(raws, data)[:1000].astype(network.graph.inputs[0].dtype)
    used = probabilities_inside(network)[0] if output.kind in ("logits", "binary_logits") else network
    used = network if output.method == "decision_function" else used
    expected = _side(estimator, raws, output.method, used, {"row": rows})
    ours, what = dict.fromkeys(expected, used.predict(rows)), f"scikit-learn's {type(estimator).__name__}"
    check_outputs(ours, expected, "the network", what, tolerance, "on the data: ")


def _frame(raws: Sequence[Raw], data: Any) -> Frame:
    if isinstance(data, np.ndarray) and data.ndim == 2:
        data = {raw.name: data[:, raw.place] for raw in raws if raw.place < data.shape[1]}
    elif is_table(data) or isinstance(data, Mapping):  # What else there is may be anything.
        names = data.columns if is_table(data) else data
        data = {raw.name: data[raw.name] for raw in raws if raw.name in names} or data
    return read_frame(data, where="data")


def _rows(raws: Sequence[Raw], data: Any) -> NDArray[Any]:
    found, faults = encoded(_frame(raws, data), [raw.column for raw in raws])
    if faults:
        row, fault = next(iter(faults.items()))
        raise UsageError(f"data: row {row}: {fault}")
    return found


def _describe(raws: Sequence[Raw], data: Any) -> None:
    """Keep the range, the mean and the standard deviation of each column of numbers."""
    frame = _frame(raws, data)
    for raw in raws:
        if raw.name not in frame.columns:
            raise UsageError(f"data: {frame.where} has no column '{raw.name}'")
        cells = frame.column(raw.name)
        if not (raw.words or is_words(cells)) and np.isfinite(cells).any():
            raw.statistics = statistics_of(cells[np.isfinite(cells)])
