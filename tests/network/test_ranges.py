"""Data that miss by far what a network is made for are warned of, others are not."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.engines.ranges import preparing, ranges
from portable_nn.format import InputInfo
from portable_nn.preprocessing.steps import ColourStep, GreyscaleStep, NormaliseStep, Preprocessing, ScaleStep

RNG = np.random.default_rng(0)
SHAPE = (3, 6, 5)
LEVELS = RNG.integers(0, 256, (40, *SHAPE))
DARK = np.where(RNG.random((40, *SHAPE)) < 0.95, 0, LEVELS)
IRIS = RNG.normal([5.8, 3.1, 3.8, 1.2], [0.8, 0.4, 1.8, 0.8], (120, 4))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def net(*layers: pnn.Layer, shape: tuple[int, ...] = SHAPE) -> pnn.Network:
    return pnn.Sequential(pnn.Input(*shape, name="x"), *layers, pnn.Flatten(), pnn.Dense(2), seed=0)


def warned(network: pnn.Network, x: Any, **options: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        network.predict(x, **options)
    assert all(each.category is pnn.DataWarning for each in found)
    assert all(Path(each.filename) == Path(__file__) for each in found)
    return [str(each.message) for each in found]


OF_PICTURES = {
    "rescaling": lambda: net(pnn.Rescaling(1 / 255)),
    "as in the book": lambda: net(pnn.Rescaling(0.99 / 255, 0.01)),
    "to -1 and 1": lambda: net(pnn.Rescaling(1 / 127.5, -1)),
    "inverted": lambda: net(pnn.Rescaling(-1 / 255, 1)),
    "imagenet": lambda: net(pnn.Rescaling(1 / 255), pnn.Normalization(mean=MEAN, std=STD)),
    "adapted": lambda: net(pnn.Normalization().adapt(LEVELS)),
    "one mean": lambda: net(pnn.Normalization(None).adapt(LEVELS)),
    "of flat rows": lambda: net(pnn.Flatten(), pnn.Rescaling(1 / 255)),
}


@pytest.mark.parametrize("make", OF_PICTURES.values(), ids=OF_PICTURES)
@pytest.mark.parametrize("count", [1, 2, 40])
def test_pictures_of_0_to_255_are_meant(make: Any, count: int) -> None:
    for x in (LEVELS, DARK, LEVELS // 8, LEVELS // 4 + 190, LEVELS * 0, LEVELS * 0 + 255, LEVELS % 4, LEVELS * 0 + 2):
        assert warned(make(), x[:count].astype(np.float32)) == []
    for x in (LEVELS / 255, DARK / 255, (LEVELS > 128) * 1):
        [message] = warned(make(), x[:count])
        assert re.match(r"input 'x': the examples hold numbers from [-\d.e]+ to [01][.\d]*, but the net", message)
    for x in (LEVELS * 257, DARK * 257):
        [message] = warned(make(), x[:count])
        assert "e+04, but the network is made for numbers from about " in message
        assert message.endswith("_1' scales")


def test_a_table() -> None:
    network = net(pnn.Normalization(name="norm").adapt(IRIS), shape=(4,))
    assert warned(network, IRIS) == warned(network, IRIS[:1]) == warned(network, IRIS[:7] * 1.2) == []
    outlier = IRIS.copy()
    outlier[3] *= 1000
    assert warned(network, outlier) == []
    standardised = (IRIS - IRIS.mean(axis=0)) / IRIS.std(axis=0)
    [message] = warned(net(pnn.Normalization().adapt(IRIS), shape=(4,)), standardised)
    assert re.match(
        r"input 'x': the examples hold numbers from -\d.* to \d.*, such as -?\d\S* in column 1, where 3.\d+ to 8.\d+ "
        r"is usual, but the network is made for num",
        message,
    )
    skewed = RNG.lognormal(sigma=3, size=(400, 3))
    assert warned(net(pnn.Normalization().adapt(skewed), shape=(3,)), skewed) == []
    assert len(warned(net(pnn.Normalization().adapt(IRIS), shape=(4,)), IRIS * 100)) == 1
    raw = net(pnn.Normalization().adapt(standardised), shape=(4,))
    assert warned(raw, standardised) == []
    assert len(warned(raw, IRIS[:5] * 10)) == 1


@pytest.mark.parametrize("factor", [0.001, 1000])
@pytest.mark.parametrize("count", [1, 7, 150])
def test_one_column_of_a_table_in_another_unit_is_named_and_rare_ones_are_none(factor: float, count: int) -> None:
    rng = np.random.default_rng(count)
    grams = np.column_stack([rng.normal([4200, 200, 44], [800, 14, 5], (150, 3)), np.arange(150) % 50 == 0])
    network = net(pnn.Normalization().adapt(grams), shape=(4,))
    kilograms = grams[:count].copy()
    kilograms[:, 0] *= factor
    [message] = warned(network, kilograms)
    low, high = (grams[:, 0].mean() + sign * 3 * grams[:, 0].std() for sign in (-1, 1))
    assert f"such as {kilograms[0, 0]:.3g} in column 1, where {low:.3g} to {high:.3g} is usual" in message
    ones = grams[grams[:, 3] == 1]
    assert warned(network, grams[:count]) == warned(network, ones) == warned(network, ones[:1]) == []


def test_a_row_of_standardised_numbers_near_the_mean_is_no_fault() -> None:
    network = net(pnn.Normalization().adapt(np.random.default_rng(0).normal(size=(200, 3))), shape=(3,))
    assert warned(network, np.full((1, 3), 0.01)) == []


def test_each_shape_and_later_ones_are_looked_at_in_either_engine() -> None:
    network = net(pnn.Rescaling(1 / 255))
    x = (LEVELS / 255).astype(np.float32)
    assert [len(warned(network, x[:n])) for n in (3, 3, 3, 4, 3, 3, 3, 3)] == [1, 1, 0, 1, 0, 0, 0, 1]
    good = LEVELS.astype(np.float32)
    for engine in ("numpy", "onnxruntime"):
        network = net(pnn.Rescaling(1 / 255))
        assert warned(network, good, engine=engine) == []
        assert len(warned(network, x, engine=engine)) == 1  # The second of a shape that was right at first.
    assert len(warned(net(pnn.Rescaling(1 / 255)), x, engine="onnxruntime")) == 1
    for engine in ("numpy", "onnxruntime"):
        session = net(pnn.Rescaling(1 / 255)).session(engine=engine)
        with pytest.warns(pnn.DataWarning, match="the network is made for numbers from about 0 to 255") as found:
            session.predict(x)
        assert Path(found[0].filename) == Path(__file__)


def test_fit_warns_once() -> None:
    network = net(pnn.Rescaling(1 / 255))
    with pytest.warns(pnn.DataWarning, match="^input 'x': the examples hold .* from about 0 to 255") as found:
        network.fit(LEVELS / 255, np.arange(40) % 2, epochs=1, progress=False)
    assert [Path(each.filename) for each in found] == [Path(__file__)]
    network.fit(LEVELS, np.arange(40) % 2, epochs=1, progress=False)


@pytest.mark.parametrize(
    ("steps", "good", "bad"),
    [
        ((GreyscaleStep(), ScaleStep(0.99 / 255, 0.01)), LEVELS / 255 * 0.99 + 0.01, LEVELS),
        ((ColourStep(), ScaleStep(1 / 255)), LEVELS / 255, LEVELS),
        ((NormaliseStep((120, 110, 100), (60, 61, 62)),), RNG.normal(size=(40, *SHAPE)), LEVELS),
    ],
)
def test_an_older_file_whose_steps_are_not_in_its_graph(steps: Preprocessing, good: Any, bad: Any) -> None:
    network = net()
    network.inputs = (InputInfo("x", "image", steps),)
    assert warned(network, good) == []
    [message] = warned(network, bad[:7])
    assert message.endswith(
        "the steps of preprocessing that its file lists are not part of it, and pnn.predict applies them"
    )


def test_what_says_nothing() -> None:
    """Weights that are trained, other operators, and what two nodes read."""
    x = pnn.Input(4, name="x")
    frozen = pnn.Rescaling(1 / 255)(x)
    for network in (
        net(pnn.Dense(3)),
        net(pnn.BatchNorm2d()),
        net(pnn.Sigmoid(), pnn.Rescaling(1 / 255)),
        pnn.Network(x, frozen + x, seed=0),
        pnn.Network(x, 1 / frozen, seed=0),
    ):
        assert ranges(network.graph, network.parameters) == {}
    network = net(pnn.Rescaling(1 / 255, name="r"))
    assert preparing(network.graph) == {"r.scale"}
    network.unfreeze("r.scale")
    assert ranges(network.graph, network.parameters) == {}
    assert preparing(network.graph) == set()


# -- wrong kinds


class Frame:
    """Works as a data frame does."""

    columns = ("a", "b")

    def to_numpy(self) -> Any:
        return np.zeros((2, 2))


def wrong_kinds() -> list[tuple[Any, str]]:
    image = pytest.importorskip("PIL.Image").new("L", (5, 6))
    return [
        ("photo.png", "paths: use pnn.predict(network, path)"),
        (Path("photo.png"), "paths: use pnn.predict(network, path)"),
        (["a.png", "b.png"], "paths: use pnn.predict(network, [path, …])"),
        (image, "pictures: use pnn.predict(network, picture)"),
        ((image, image), "pictures: use pnn.predict(network, [picture, …])"),
        (Frame(), "tables: use pnn.predict(network, table)"),
    ]


def test_wrong_kinds_are_told_the_right_call() -> None:
    network = net()
    for x, message in wrong_kinds():
        for take in (network.predict, network.session(engine="numpy").predict):
            with pytest.raises(
                UsageError, match=f"^{re.escape(f'Network.predict takes arrays of numbers, not {message}')}$"
            ):
                take(x)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        (SHAPE, "one example alone is x[np.newaxis]"),
        ((7, 90), "x.reshape(-1, 3, 6, 5) has this shape"),
        ((90,), "x.reshape(-1, 3, 6, 5) has this shape"),
        ((7, 6, 5, 3), "np.moveaxis(x, -1, 1) puts the channels first"),
        ((60, 50), "pnn.predict(network, picture) takes pictures of any size, as files or PIL images"),
        ((60, 50, 3), "pnn.predict(network, picture) takes pictures of any size, as files or PIL images"),
        ((7, 5, 6, 3), ""),
        ((7, 91), "pnn.predict(network, picture) takes pictures of any size, as files or PIL images"),
    ],
)
def test_wrong_shapes_are_told_what_is_near(shape: tuple[int, ...], hint: str) -> None:
    end = f"not ({', '.join(map(str, shape))}{',' * (len(shape) == 1)}){': ' * bool(hint)}{hint}"
    with pytest.raises(ShapeError, match=f"^input 'x' needs \\(batch, 3, 6, 5\\), {re.escape(end)}$"):
        net().predict(np.zeros(shape))


@pytest.mark.parametrize("column", range(28))
@pytest.mark.parametrize("dust", [0, 3e-16])
def test_a_thin_stroke_between_the_numbers_that_are_looked_at_is_meant(column: int, dust: float) -> None:
    x = np.full((1, 28, 28), dust, np.float32)
    x[0, 4:24, column] = 255
    assert warned(net(pnn.Rescaling(1 / 255), shape=(28, 28)), x) == []
