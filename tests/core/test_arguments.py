"""Arguments of a wrong kind are named, for every public function that looks at kinds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.arguments import accepts, check_kinds, described
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.prediction.predictions import predict

X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
Y = np.arange(8) % 3


def network() -> pnn.Sequential:
    return pnn.Sequential(pnn.Input(4), pnn.Dense(3), seed=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net(X), "a network is called with symbols, and is then a layer of another one; predict"),
        (lambda net: net.fit(X, Y, validation=float("nan")), "validation must be a share from above 0 to below 1, or"),
        (lambda net: net.fit(X, Y, validation=1.5), "validation must be a share from above 0 to below 1, or"),
        (lambda net: net.fit(X, Y, metrics=7), "metrics must be text, a function of 2 arguments, of the type Metric"),
        (lambda net: net.fit(X, Y, early_stopping=True), "early_stopping must be of the type EarlyStopping, a whole"),
        (lambda net: net.fit([[1, 2], [3]], Y), "input 'input' must be an array of numbers, with as many in each row"),
        (lambda net: net.fit(X, [[1, 2], [3]]), "y must be an array of numbers, with as many in each row, not"),
        (lambda net: net.fit(X, Y, sample_weight="ab"), "sample_weight must be an array of numbers, not a path"),
        (lambda net: net.fit(X, Y, schedule=lambda epoch: 1.0), "schedule must be a function of 2 arguments, of"),
        (lambda net: net.fit(X, Y, augment=3), "augment must be a function of 2 arguments or None, not 3"),
        (lambda net: net.fit(X, Y, checkpoint=3), "checkpoint must be text, a path or None, not 3"),
        (lambda net: net.predict([[1, 2], [3]]), "input 'input' must be an array of numbers, with as many in each row"),
        (lambda net: net.predict(X, batch_size="all"), "batch_size must be a whole number from 1, not 'all'"),
        (lambda net: net.freeze(3), "patterns must be text, not 3"),
        (lambda net: net.save(3), "path must be text or a path, not 3"),
        (lambda net: pnn.load(3), "path must be text or a path, not 3"),
        (lambda net: pnn.load(Random(0)), "path must be text or a path, not an object of random.Random"),
        (lambda net: pnn.Sequential(pnn.Input(4), pnn.Dense(2), labels="abc"), "output 'dense_1' has"),
        (lambda net: pnn.Sequential(pnn.Input(4), pnn.Dense(2), labels=3), "labels must be a list of text, not 3"),
        (lambda net: pnn.Sequential(pnn.Input(4), pnn.Dense(2), seed="x"), "seed must be a whole number from 0 or"),
        (lambda net: pnn.Sequential(pnn.Input(4), pnn.Dense(2), seed=-1), "seed must be a whole number from 0 or"),
        (lambda net: pnn.Adam("fast"), "learning_rate must be a finite number from 0, not 'fast'"),
        (lambda net: pnn.StepDecay(None), "every must be a whole number from 1, not None"),
        (lambda net: pnn.EarlyStopping(patience="long"), "patience must be a whole number from 1, not 'long'"),
        (lambda net: predict("digits", "x.png", top="all"), "top must be a whole number from 1, not 'all'"),
    ],
)  # fmt: skip
def test_the_argument_is_named(call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        call(network())
    assert str(raised.value).startswith(message)


ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2.5, float("nan"), "", "ab", b"x", [], [1], [[1], [1, 2]], (1, 2), {}, {"a": 1}, np.zeros(3),
    np.array("x"), np.array([None]), object(), int, len, lambda: 1, 1j, set(),
)  # fmt: skip
OPTIONS = (
    "x", "y", "loss", "optimizer", "epochs", "batch_size", "shuffle", "validation", "sample_weight", "schedule",
    "early_stopping", "metrics", "augment", "metrics_csv", "progress", "checkpoint", "every", "keep", "resume",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("option", OPTIONS)
def test_whatever_fit_is_given_its_errors_are_those_of_the_package(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for value in ODD:
        try:
            network().fit(**{"x": X, "y": Y, "epochs": 1, option: value})
        except PortableNNError as error:
            assert str(error)  # noqa: PT017 - most are refused, and some are fine
        except ValueError as error:  # A function that fails when it is called, which is not the package's fault.
            assert value is int, error  # noqa: PT017
        except TypeError as error:
            assert value is int, error  # noqa: PT017


METHODS = ("predict", "__call__", "until", "freeze", "unfreeze", "save", "load_weights")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS)
def test_whatever_a_method_is_given_its_errors_are_those_of_the_package(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for value in ODD:
        try:
            getattr(network(), method)(value)
        except PortableNNError as error:
            assert str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("hint", "good", "bad", "words"),
    [
        (int, [3, np.int8(3)], [True, 2.5, "3", None], "a whole number"),
        (float, [3, 2.5, np.float32(1)], [True, "3"], "a number"),
        (bool, [True, np.True_], [1, 0.0, "yes"], "True or False"),
        (str | Path, ["a", Path("a")], [b"a", 3], "text or a path"),
        (str | None, ["a", None], [3], "text or None"),
        (Sequence[str], ["ab", ["a", "b"], ("a",)], [[1], 3, {"a"}], "a list of text"),
        (Mapping[str, int], [{"a": 1}, {}], [{"a": "b"}, {1: 1}, []], "a dict of a whole number by name"),
        (Literal["a", "b"], ["a"], ["c", 1, []], "'a' or 'b'"),
        (Callable[[int, int], int], [max, lambda a, b: a], [abs, lambda a: a, 3], "a function of 2 arguments"),
        (Any, [1, None, object()], [], "of the type Any"),
        (tuple[int, int], [(1, 2)], [(1,), (1, "a"), 3], "a list of a whole number"),
    ],
)
def test_what_annotations_accept(hint: Any, good: list[Any], bad: list[Any], words: str) -> None:
    assert [value for value in good if not accepts(hint, value)] == []
    assert [value for value in bad if accepts(hint, value)] == []
    assert described(hint) == words


def test_an_error_with_right_arguments_stays_what_it_is() -> None:
    @check_kinds
    def broken(count: int, *, name: str = "") -> int:
        return int("no number") + count

    with pytest.raises(ValueError, match="invalid literal") as raised:
        broken(3)
    assert not isinstance(raised.value, UsageError)
    with pytest.raises(UsageError, match="name must be text, not 3"):
        broken(3, name=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="missing 1 required"):
        broken()  # type: ignore[call-arg]


ROOMS = {"layers", "training", "operators", "opening", "prediction", "outputs", "network"}


def public() -> list[tuple[str, str]]:
    """The parameters of every public layer, optimizer, schedule and function that makes a part of a network."""
    found: list[tuple[str, str]] = []
    for name in sorted(set(dir(pnn)) - {"Network", "Sequential", "Predictions", "Layer", "PortableNNError"}):
        target = getattr(pnn, name)
        if not callable(target) or name.startswith("_") or getattr(target, "__module__", "").startswith("typing"):
            continue
        if target.__module__.split(".")[1] not in ROOMS:
            continue
        parameters = inspect.signature(target).parameters.values()
        found += [(name, each.name) for each in parameters if each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}]
    return found


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "option"), public(), ids=".".join)
def test_whatever_a_public_name_is_given_its_errors_are_those_of_the_package(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = getattr(pnn, name)
    needed = inspect.signature(target).parameters.values()
    others = {each.name: 1 for each in needed if each.default is each.empty and each.kind < each.VAR_POSITIONAL}
    for value in ODD:
        try:
            target(**{**others, option: value})
        except PortableNNError as error:
            assert str(error)  # noqa: PT017
