"""The options of the public functions are one record: the same names and defaults, which all of them reach."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.prediction.options import ModelOptions
from portable_nn.scale import Predictor, evaluate_many, predict_many

CALLED = {"inputs": "dataset"}
"""What the record calls the arrays that ``evaluate`` reads beside its targets."""

OTHER = {(predict_many, "strict"): False}
"""Defaults that are others on purpose: what several processes compute goes on after a fault."""


@pytest.mark.parametrize("function", [pnn.predict, pnn.evaluate, pnn.calibrate, pnn.run, predict_many, evaluate_many])
def test_public_functions_have_the_defaults_of_the_record(function: Callable[..., Any]) -> None:
    known = {each.name: each.default for each in fields(ModelOptions)}
    given = inspect.signature(function).parameters.values()
    keywords = {CALLED.get(each.name, each.name): each.default for each in given if each.kind is each.KEYWORD_ONLY}
    shared = keywords.keys() & known
    assert len(shared) >= 6
    for name in shared:
        assert keywords[name] == OTHER.get((function, name), known[name]), name


@pytest.mark.parametrize("name", [each.name for each in fields(ModelOptions) if each.name != "labelled"])
def test_no_option_is_of_the_record_alone(name: str) -> None:
    functions = (pnn.predict, pnn.evaluate)
    assert any(name in inspect.signature(function).parameters for function in functions)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number from 1, not 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number from 1, not 2.5"),
    ],
)
def test_the_record_is_checked_where_it_is_made(options: dict[str, Any], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        ModelOptions(**options)
    with pytest.raises(UsageError, match=error):
        replace(ModelOptions(), **options)
    with pytest.raises(UsageError, match=error):
        Predictor("digits", **options)({"x": [[0.0] * 784]})
