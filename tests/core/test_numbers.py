"""Numbers without sense are refused where they are given, by name; what is taken has a meaning.

The table says for every public parameter that is a number which of eight values it takes, by what its documentation
says it is; which networks, optimizers, losses and schedules come of these is computed.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, get_origin

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core import numbers
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.data.augment import RandomAffine
from portable_nn.training.fit import fit as fit_of_the_package
from portable_nn.training.losses import Loss
from portable_nn.training.optimizers import Optimizer

NAN, INF = math.nan, math.inf
VALUES: Final = (NAN, INF, -1, 0, 1.5, True, "3", None)

TAKES: Final[Mapping[str, tuple[Any, ...]]] = {
    # Optimizers and what surrounds them.
    "learning_rate": (0, 1.5), "weight_decay": (0, 1.5), "epsilon": (0, 1.5), "momentum": (0,), "beta1": (0,),
    "beta2": (0,), "RMSProp.alpha": (0,), "clip_norm": (1.5, None), "average": (0, None),
    # Losses.
    "weight": (0, 1.5), "label_smoothing": (0,), "ignore_index": (-1, 0, None), "class_axis": (-1, None),
    "gamma": (0, 1.5), "margin": (1.5,),
    "delta": (1.5,),
    # Schedules and early stopping.
    "every": (), "early_stopping": (0, None), "patience": (),
    "cooldown": (0,), "min_delta": (0, 1.5), "smallest": (0,), "StepDecay.factor": (1.5,),
    "ExponentialDecay.factor": (1.5,), "ReduceOnPlateau.factor": (), "final": (0, 1.5), "OneCycle.start": (0, 1.5),
    "rise": (), "Warmup.start": (0,), "Warmup.length": (1.5,),
    # Counts.
    "units": (), "filters": (), "groups": (), "layers": (), "heads": (), "entries": (), "features": (), "length": (),
    "num_parameters": (), "p": (), "factor": (), "LocalResponseNorm.size": (), "ahead": (), "epochs": (),
    "batch_size": (), "window": (None,), "accumulate": (), "truncate": (None,), "keep": (), "steps_per_epoch": (None,),
    "fit.every": (None,), "height": (), "width": (),
    # Windows.
    "kernel": (), "stride": (), "dilation": (), "padding": (0,), "output_padding": (0,),
    **{f"{kind}Pool{axes}d.stride": (None,) for kind in ("Avg", "LP", "Max") for axes in (1, 2, 3)},
    "Pad.padding": (-1, 0), "Pad.value": (INF, -1, 0, 1.5), "Upsample.size": (), "scale_factor": (1.5,),
    # Shares, axes and other numbers of layers.
    "ratio": (0,), "dropout": (0,), "eps": (0, 1.5), "RMSNorm.eps": (0, 1.5, None), "axis": (-1, 0),
    "Normalization.axis": (-1, None), **{f"BatchNorm{axes}d.momentum": (0,) for axes in (1, 2, 3)},
    "alpha": (-1, 0, 1.5), "CELU.alpha": (-1, 1.5), "LocalResponseNorm.alpha": (0, 1.5), "beta": (-1, 0, 1.5),
    "k": (1.5,), "Softshrink.lambd": (0, 1.5), "lambd": (-1, 0, 1.5), "min": (-1, 0, 1.5, None),
    "max": (-1, 0, 1.5, None), "min_val": (-1, 0, 1.5), "max_val": (-1, 0, 1.5), "init": (-1, 0, 1.5),
    "Rescaling.scale": (-1, 1.5), "offset": (-1, 0, 1.5), "scale": (0,), "rotation": (0, 1.5), "shift": (0, 1.5),
    "fill": (-1, 0, 1.5, None),
    # Pictures.
    "Preparation.size": (None,), "crop": (None,), "mean": (-1, 0, 1.5, None), "std": (1.5, None), "white": (None,),
}  # fmt: skip
"""By the name of the parameter, or of what it belongs to as well."""

NEEDED: Final = {
    "filters": 3, "kernel": 2, "units": 3, "heads": 2, "entries": 5, "features": 3, "groups": 1, "size": 3, "length": 3,
    "scale": 2.0, "factor": 2, "p": 2, "every": 2, "padding": 1, "items": [], "height": 3, "width": 3,
}  # fmt: skip

NO_NUMBERS: Final = {"fit.validation", "Input.batch"}
APART: Final = {
    "Calibration", "ClassEvaluation", "ClassFigures", "Columns", "ExportReport", "History", "Imported", "Layer",
    "Network", "NumberEvaluation", "NumberFigures", "Prediction", "Predictions", "Sequential",
    "Snapshot", "Stream", "Symbol",
}  # fmt: skip
"""Results, and what is made of arrays and symbols."""


def fit(**options: Any) -> object:
    network = pnn.Sequential(pnn.Input(4), pnn.Dense(3), seed=0)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    return network.fit(x, np.arange(8) % 3, **{"epochs": 1, "progress": False, **options})


def public() -> dict[str, Any]:
    """Constructors, functions that make a layer, and ``fit``."""
    found = {name: getattr(pnn, name) for name in pnn.__all__ if name[0].isupper() and name not in APART}
    made = {
        name: each
        for name, each in found.items()
        if callable(each) and not (inspect.isclass(each) and issubclass(each, Exception | Warning))
    }
    return {**made, "RandomAffine": RandomAffine, "fit": fit}


PUBLIC: Final = public()


def parameters() -> list[tuple[str, str]]:
    """Every parameter that is annotated as a number, or as several."""
    ranges = [name for name, kind in vars(numbers).items() if get_origin(kind) is Annotated]
    kinds = {"int", "float", "PerAxis", "Padding", "Size", *ranges}
    found = []
    for name, target in PUBLIC.items():
        source = inspect.signature(fit_of_the_package if name == "fit" else target).parameters.values()
        found += [
            (name, each.name)
            for each in source
            if each.kind is not each.VAR_POSITIONAL
            if kinds & set(re.findall(r"\w+", str(each.annotation))) and f"{name}.{each.name}" not in NO_NUMBERS
        ]
    return found


def made(name: str, option: str, value: Any) -> Any:
    target = PUBLIC[name]
    needed = [each.name for each in inspect.signature(target).parameters.values() if each.default is each.empty]
    others = {key: NEEDED[key] for key in needed if key in NEEDED and name != "Upsample"}
    return target(**{**others, option: value})


def takes(name: str, option: str) -> tuple[Any, ...]:
    return TAKES[f"{name}.{option}"] if f"{name}.{option}" in TAKES else TAKES[option]


@pytest.mark.parametrize(("name", "option"), parameters(), ids=map(".".join, parameters()))
def test_a_number_without_sense_is_refused_where_it_is_given(name: str, option: str) -> None:
    for value in VALUES:
        if any(value is each or (type(value) is type(each) and value == each) for each in takes(name, option)):
            made(name, option, value)
            continue
        with pytest.raises(UsageError) as raised:
            made(name, option, value)
        said = str(raised.value)
        assert option in said, f"{value!r}: {said}"
        assert "must " in said or "needs " in said, f"{value!r}: {said}"
        assert str(value) in said or "None" in repr(value), f"{value!r}: {said}"


def layers() -> list[tuple[str, str, Any]]:
    return [
        (name, option, value)
        for name, option in parameters()
        for value in takes(name, option)
        if value is not None and pnn.__all__ and PUBLIC[name].__module__.startswith("portable_nn.layers")
    ]


@pytest.mark.parametrize(("name", "option", "value"), layers(), ids=str)
def test_a_layer_of_numbers_that_are_taken_computes_numbers(name: str, option: str, value: Any) -> None:
    """On examples of one to three axes, or its error says what does not fit."""
    for shape in ((8,), (4, 8), (4, 8, 8), (4, 8, 8, 8)):
        try:
            network = pnn.Sequential(pnn.Input(*shape), made(name, option, value), seed=0)
        except PortableNNError:
            continue
        x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
        found = network.predict(x)
        assert np.isfinite(found).all() or (option == "value" and value == INF and not np.isnan(found).any())


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        (name, option, value)
        for name, option in parameters()
        if inspect.isclass(PUBLIC[name]) and issubclass(PUBLIC[name], Loss | Optimizer)
        for value in takes(name, option)
    ],
    ids=str,
)
def test_a_step_with_numbers_that_are_taken_leaves_numbers(name: str, option: str, value: Any) -> None:
    given = made(name, option, value)
    network = pnn.Sequential(pnn.Input(4), pnn.Dense(4), seed=0)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    y = np.eye(4, dtype=np.float32)[np.arange(8) % 4]
    if name == "GaussianLikelihood":
        y = y[:, :2]
    network.fit(x, y, epochs=2, **{"loss" if isinstance(given, Loss) else "optimizer": given},
                **({"loss": "mean_squared_error"} if isinstance(given, Optimizer) else {}), progress=False)  # fmt: skip
    assert all(np.isfinite(array).all() for array in network.parameters.values())


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        (name, option, value)
        for name, option in parameters()
        if name in {"CosineDecay", "ExponentialDecay", "OneCycle", "StepDecay", "Warmup"}
        for value in takes(name, option)
    ],
    ids=str,
)
def test_factors_of_numbers_that_are_taken_are_numbers_from_0(name: str, option: str, value: Any) -> None:
    schedule = made(name, option, value)
    assert all(0 <= schedule(epoch / 4, 10) < INF for epoch in range(41))


@pytest.mark.parametrize("value", [10**400, np.float32(0.5), np.float64(2), np.int8(3), np.int64(3)])
def test_numbers_of_numpy_and_of_any_size(value: Any) -> None:
    if isinstance(value, np.integer):
        assert pnn.Dense(value).units == 3
        assert pnn.EarlyStopping(value).patience == 3
    else:
        assert pnn.Adam(value).learning_rate == value
        with pytest.raises(UsageError, match=r"^patience must be a whole number from 1, not "):
            pnn.EarlyStopping(value if isinstance(value, float) else -value)  # type: ignore[arg-type]
