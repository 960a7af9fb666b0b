from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.jsons import JsonError, typed_json
from portable_nn.preprocessing.applying import apply, apply_arithmetic, lay_out, picture_shape
from portable_nn.preprocessing.defaults import default_preprocessing
from portable_nn.preprocessing.steps import (
    CentreCropStep,
    ColourStep,
    FitDigitStep,
    GreyscaleStep,
    NormaliseStep,
    PolarityStep,
    Preprocessing,
    ReshapeStep,
    ResizeStep,
    ScaleStep,
    TransposeStep,
    check_order,
    describe,
    with_polarity,
)

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (8, 10, 3), dtype=np.uint8)
EVERY_STEP: Preprocessing = (
    GreyscaleStep(),
    ColourStep(),
    PolarityStep("light"),
    PolarityStep("dark", "light"),
    FitDigitStep(),
    ResizeStep(32, 48, "lanczos"),
    CentreCropStep(24, 24),
    ScaleStep(0.99 / 255, 0.01),
    NormaliseStep((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 2),
    TransposeStep((2, 0, 1)),
    ReshapeStep((3, 24, 24)),
)


# Pictures to grey and colour


def test_grey_is_pillows_grey() -> None:
    found = GreyscaleStep()(RGB)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.asarray(Image.fromarray(RGB).convert("F")), abs=1e-4)


def test_grey_of_black_and_white_is_exact() -> None:
    assert GreyscaleStep()(np.array([[False, True]])).tolist() == [[0, 255]]
    assert GreyscaleStep()(np.full((1, 1, 3), 255, np.uint8)) == pytest.approx(255, abs=1e-4)


def test_sixteen_bits_are_rescaled_by_their_range() -> None:
    assert GreyscaleStep()(np.array([[0, 257, 65535]], np.uint16)) == pytest.approx(np.array([[0, 1, 255]]))


def test_floats_reach_one_or_255() -> None:
    assert GreyscaleStep()(np.array([[0, 0.5, 1.0]])).tolist() == [[0, 127.5, 255]]
    assert GreyscaleStep()(np.array([[0, 0.5, 200.0]])).tolist() == [[0, 0.5, 200]]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_lies_on_white_as_in_pillow(mode: str) -> None:
    image = Image.fromarray(RNG.integers(0, 256, (8, 10, 4), dtype=np.uint8), "RGBA").convert(mode)
    white = Image.new("RGBA", image.size, "white")
    expected = np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
    assert ColourStep()(np.asarray(image)) == pytest.approx(expected, abs=1)


def test_black_on_transparency_is_black_on_white() -> None:
    picture = np.zeros((1, 2, 4), np.uint8)
    picture[0, 1, 3] = 255
    assert GreyscaleStep()(picture) == pytest.approx(np.array([[255, 0]]), abs=1e-4)


def test_grey_pictures_have_three_equal_channels() -> None:
    assert ColourStep()(np.array([[0, 7]], np.uint8)).tolist() == [[[0, 0, 0], [7, 7, 7]]]
    assert ColourStep()(np.array([[[9]]], np.uint8)).tolist() == [[[9, 9, 9]]]


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (np.zeros((4, 4), np.int64), "bool, unsigned integers or floats, found int64"),
        (np.zeros((0, 4), np.uint8), r"no pixels: its shape is \(0, 4\)"),
        (np.full((4, 4), np.nan), "from 0 to 255, found nan to nan"),
        (np.full((4, 4), -1.0), "from 0 to 255, found -1 to -1"),
        (np.zeros((4, 4, 5), np.uint8), r"found \(4, 4, 5\)"),
        (np.zeros((4, 4, 3, 1), np.uint8), r"found \(4, 4, 3, 1\)"),
    ],
)
def test_what_is_no_picture(picture: np.ndarray, reason: str) -> None:
    with pytest.raises(DataError, match=r"^photo\.png: .*" + reason):
        apply((GreyscaleStep(),), picture, name="photo.png")


# Other picture steps


@pytest.mark.parametrize("ink", ["light", "dark"])
@pytest.mark.parametrize("given_ink", ["light", "dark"])
def test_polarity_guesses_and_reports(ink: str, given_ink: str) -> None:
    paper = 0 if given_ink == "light" else 255
    picture = np.full((30, 40), paper, np.uint8)
    picture[10:20, 15:18] = 255 - paper
    notes: list[str] = []
    found = apply((GreyscaleStep(), PolarityStep(ink)), picture, name="a.png", notes=notes)
    assert found[15, 16] == (255 if ink == "light" else 0)
    assert found[0, 0] == (0 if ink == "light" else 255)
    assert notes == [f"a.png: the ink is taken to be {given_ink}, judged by the border of the picture"]


def test_polarity_that_is_forced_reports_nothing() -> None:
    notes: list[str] = []
    found = apply((GreyscaleStep(), PolarityStep("light", "light")), np.full((9, 9), 200, np.uint8), notes=notes)
    assert found.min() == found.max() == 200
    assert notes == []


def test_polarity_survives_a_dark_corner_and_works_in_colour() -> None:
    picture = np.full((60, 60, 3), 180, np.uint8)
    picture[20:40, 28:32] = 30
    picture[:20, :20] = 90
    assert apply((ColourStep(), PolarityStep("light")), picture)[30, 30].tolist() == [225, 225, 225]


@pytest.mark.parametrize("method", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
def test_resize_is_pillows(method: str) -> None:
    resample = Image.Resampling[method.upper()]
    # Away from 0 and 255, where Pillow clips between its two passes over 8-bit pictures.
    picture = RGB // 2 + 64
    expected = np.asarray(Image.fromarray(picture).resize((7, 5), resample))
    assert apply((ColourStep(), ResizeStep(5, 7, method)), picture) == pytest.approx(expected, abs=1.01)


def test_resize_averages_and_does_not_alias() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert apply((GreyscaleStep(), ResizeStep(8, 8)), stripes) == pytest.approx(127.5, abs=20)


def test_centre_crop() -> None:
    picture = np.arange(30, dtype=np.uint8).reshape(5, 6)
    assert apply((GreyscaleStep(), CentreCropStep(3, 2)), picture).tolist() == picture[1:4, 2:4].tolist()
    with pytest.raises(DataError, match="expected at least 6x6 pixels to crop, found 5x6"):
        apply((GreyscaleStep(), CentreCropStep(6, 6)), picture)


# Arithmetic


def test_scale_is_the_books() -> None:
    pixels = np.arange(256, dtype=np.uint8)[np.newaxis]
    expected = np.arange(256) / 255.0 * 0.99 + 0.01
    found = apply_arithmetic((ScaleStep(0.99 / 255, 0.01),), pixels)
    assert found.dtype == np.float32
    assert found[0] == pytest.approx(expected, abs=1e-7)


@given(st.permutations(range(3)), st.integers(0, 2))
def test_normalise_and_transpose_are_numpys(axes: list[int], axis: int) -> None:
    batch = np.random.default_rng(1).normal(size=(2, 3, 3, 3))
    mean, std = np.array([1.0, -2.0, 3.0]), np.array([0.5, 1.0, 2.0])
    aligned = np.moveaxis(batch, axis + 1, -1)
    expected = np.moveaxis((aligned - mean) / std, -1, axis + 1).transpose(0, *(a + 1 for a in axes))
    steps = (NormaliseStep(tuple(mean), tuple(std), axis), TransposeStep(tuple(axes)))
    assert apply_arithmetic(steps, batch) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shape", [(784,), (28, 28), (1, 28, 28), (28, 28, 1)])
@pytest.mark.parametrize("result", [(784,), (1, 28, 28)])
def test_rows_and_pictures_enter_alike(shape: tuple[int, ...], result: tuple[int, ...]) -> None:
    rows = RNG.integers(0, 256, (5, 784), dtype=np.uint8)
    found = apply_arithmetic(default_preprocessing(result), rows.reshape(5, *shape))
    assert found.shape == (5, *result)
    assert found.reshape(5, 784) == pytest.approx(rows / 255 * 0.99 + 0.01, abs=1e-6)


def test_a_batch_is_its_examples_one_by_one() -> None:
    steps = (
        ColourStep(),
        ResizeStep(6, 6),
        NormaliseStep((1.0, 2.0, 3.0), (1.0, 2.0, 4.0), 2),
        TransposeStep((2, 0, 1)),
    )
    pictures = [apply(steps[:2], picture) for picture in (RGB, RGB[::-1])]
    expected = [apply(steps, picture) for picture in (RGB, RGB[::-1])]
    assert np.array_equal(apply_arithmetic(steps, np.stack(pictures)), expected)


@pytest.mark.parametrize(
    ("steps", "shape", "reason"),
    [
        ((ReshapeStep((784,)),), (783,), r"reshape cannot make \(784,\) of \(783,\)"),
        ((TransposeStep((1, 0)),), (4,), r"transpose needs 2 axes, found shape \(4,\)"),
        ((NormaliseStep((0.0,), (1.0,), 0),), (4,), r"normalise needs 1 channels in axis 0, found \(4,\)"),
        ((NormaliseStep((0.0,), (1.0,), 1),), (4,), r"normalise needs 1 channels in axis 1, found \(4,\)"),
        (default_preprocessing((784,)), (27, 29), r"expected examples of shape \(28, 28\), found \(27, 29\)"),
        ((ColourStep(), ResizeStep(4, 4)), (3, 4, 4), r"expected examples of shape \(4, 4, 3\), found \(3, 4, 4\)"),
    ],
)
def test_arrays_that_do_not_fit(steps: Preprocessing, shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(DataError, match="^rows.npy: " + reason):
        apply_arithmetic(steps, np.zeros((2, *shape)), name="rows.npy")


def test_lay_out_never_guesses() -> None:
    with pytest.raises(ValueError, match=r"expected examples of shape \(3, 4, 4\), found \(4, 4, 3\)"):
        lay_out(np.zeros((2, 4, 4, 3)), (3, 4, 4))


# Steps as records in an untrusted file


@pytest.mark.parametrize("step", EVERY_STEP, ids=lambda step: type(step).__name__)
def test_json_round_trip_is_exact(step: object) -> None:
    data = msgspec.json.encode((step,))
    (found,) = msgspec.json.decode(data, type=Preprocessing)
    assert found == step
    assert type(found) is type(step)
    assert msgspec.json.encode((found,)) == data


@given(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30))
def test_json_keeps_every_bit_of_a_float(factor: float, offset: float) -> None:
    (found,) = msgspec.json.decode(msgspec.json.encode((ScaleStep(factor, offset),)), type=Preprocessing)
    assert (found.factor.hex(), found.offset.hex()) == (factor.hex(), offset.hex())


def test_json_is_what_the_files_have() -> None:
    assert msgspec.json.encode(default_preprocessing((784,))) == (
        b'[{"step":"greyscale"},{"step":"polarity","ink":"light","found":"auto"},'
        b'{"step":"fit_digit","size":28,"box":20},{"step":"scale","factor":0.0038823529411764705,"offset":0.01},'
        b'{"step":"reshape","shape":[784]}]'
    )


MUTANTS = [
    ('{"step":"os.system"}', r"\[0\] cannot be "),
    ('{"step":"greyscale","extra":1}', "has the unknown field 'extra'"),
    ('{"factor":1.0}', r"\[0\] cannot be "),
    ('{"step":"scale"}', "lacks the field 'factor'"),
    ('{"step":"scale","factor":"1"}', r'\[0\].factor cannot be "1"'),
    ('{"step":"scale","factor":1e31}', "factor must be finite, at most 1e.30 in size, not 1e.31"),
    ('{"step":"scale","factor":1.0,"offset":-1e31}', "offset must be finite"),
    ('{"step":"scale","factor":null}', r"\[0\].factor cannot be null"),
    ('{"step":"polarity","ink":"blue"}', r'\[0\].ink cannot be "blue"'),
    ('{"step":"polarity","ink":"light","found":"?"}', r'\[0\].found cannot be "\?"'),
    ('{"step":"fit_digit","size":0}', "size must be from 1 to 8192 pixels, not 0"),
    ('{"step":"fit_digit","size":8193}', "size must be from 1 to 8192 pixels, not 8193"),
    ('{"step":"fit_digit","size":28,"box":29}', "box must fit in size, 28, not 29"),
    ('{"step":"fit_digit","size":28.0}', r"\[0\].size cannot be 28.0"),
    ('{"step":"resize","height":-1,"width":1}', "height must be from 1 to 8192"),
    ('{"step":"resize","height":1,"width":1,"method":"eval"}', r'\[0\].method cannot be "eval"'),
    ('{"step":"centre_crop","height":1,"width":99999}', "width must be from 1 to 8192 pixels, not 99999"),
    ('{"step":"levels","bits":16}', "has the unknown field 'bits'"),
    ('{"step":"bgr","axis":1}', "has the unknown field 'axis'"),
    ('{"step":"shorter_side","size":0}', "size must be from 1 to 8192 pixels, not 0"),
    ('{"step":"shorter_side","size":9,"method":"best"}', r'\[0\].method cannot be "best"'),
    ('{"step":"shorter_side","size":9,"crop":[9]}', r"\[0\].crop cannot be \[9\]"),
    ('{"step":"shorter_side","size":9,"crop":[0,9]}', "height must be from 1 to 8192 pixels, not 0"),
    ('{"step":"shorter_side","size":9,"crop":[9,10]}', "crop must fit in the shorter side, 9, not 9x10"),
    ('{"step":"letterbox","height":1,"width":9000}', "width must be from 1 to 8192 pixels, not 9000"),
    ('{"step":"letterbox","height":1,"width":1,"fill":256}', "fill must be from 0 to 255, not 256"),
    ('{"step":"letterbox","height":1,"width":1,"fill":1.5}', r"\[0\].fill cannot be 1.5"),
    ('{"step":"normalise","mean":[0.0],"std":[0.0]}', "std must be positive"),
    ('{"step":"normalise","mean":[0.0],"std":[-1.0]}', "std must be positive"),
    ('{"step":"normalise","mean":[0.0],"std":[1e-40]}', "std must be positive"),
    ('{"step":"normalise","mean":[],"std":[]}', "one value a channel, not 0 and 0"),
    ('{"step":"normalise","mean":[0.0],"std":[1.0,1.0]}', "one value a channel, not 1 and 2"),
    ('{"step":"normalise","mean":[0.0],"std":[1.0],"axis":-1}', "axis must be from 0 to 7, not -1"),
    ('{"step":"transpose","axes":[0,0]}', r"axes must be a permutation of 0, 1, 2 and so on, not \(0, 0\)"),
    ('{"step":"transpose","axes":[]}', "axes must be a permutation"),
    ('{"step":"transpose","axes":[0,2]}', "axes must be a permutation"),
    ('{"step":"reshape","shape":[]}', "shape must have 1 to 8 positive sizes"),
    ('{"step":"reshape","shape":[-1]}', "shape must have 1 to 8 positive sizes"),
    ('{"step":"reshape","shape":[9223372036854775807,2]}', "shape must have 1 to 8 positive sizes"),
]


@pytest.mark.parametrize(("text", "reason"), MUTANTS, ids=[text for text, _ in MUTANTS])
def test_mutants_are_refused(text: str, reason: str) -> None:
    with pytest.raises(JsonError, match=reason):
        typed_json(f"[{text}]".encode(), Preprocessing)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_floats_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match="factor must be finite"):
        ScaleStep(value)
    with pytest.raises(ValueError, match="mean must be finite"):
        NormaliseStep((value,), (1.0,))


def test_choices_are_checked_in_python_too() -> None:
    with pytest.raises(ValueError, match="ink must be one of light, dark, not 'red'"):
        PolarityStep("red")
    with pytest.raises(ValueError, match="method must be one of nearest, box, bilinear, bicubic, lanczos, not 'best'"):
        ResizeStep(1, 1, "best")


# Steps together


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((GreyscaleStep(), ScaleStep(1.0), FitDigitStep()), "must stand before steps of arithmetic"),
        ((FitDigitStep(), ScaleStep(1.0)), "must begin with greyscale or colour"),
        ((GreyscaleStep(), ColourStep()), "and have it once"),
    ],
)
def test_order(steps: Preprocessing, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_order(steps)
    with pytest.raises(ValueError, match=reason):
        apply(steps, RGB)


def test_orders_that_are_right() -> None:
    check_order(())
    check_order((ScaleStep(1.0),))
    check_order(default_preprocessing((784,)))


def test_fit_digit_needs_grey() -> None:
    with pytest.raises(DataError, match=r"fit_digit needs a grey picture \(height, width\), found shape \(8, 10, 3\)"):
        apply((ColourStep(), FitDigitStep()), RGB)


def test_picture_shape() -> None:
    assert picture_shape(default_preprocessing((784,))) == (28, 28)
    assert picture_shape((ColourStep(), ResizeStep(9, 9), CentreCropStep(5, 6))) == (5, 6, 3)
    assert picture_shape((ColourStep(), ScaleStep(1.0))) is None


def test_describe_has_a_plain_line_for_every_step() -> None:
    lines = describe(EVERY_STEP)
    assert len(lines) == len(EVERY_STEP)
    assert lines[4] == "find the drawing, scale it to fit 20x20 pixels and centre its mass in 28x28"
    assert lines[7] == "multiply by 0.00388235 and add 0.01"
    assert all(line and "\n" not in line and "(step" not in line for line in lines)


@pytest.mark.parametrize("shape", [(784,), (28, 28), (1, 28, 28)])
def test_default_for_digits(shape: tuple[int, ...]) -> None:
    assert default_preprocessing(shape) == default_preprocessing(shape)


def test_default_for_colour() -> None:
    found = apply(default_preprocessing((3, 8, 10)), RGB)
    assert found == pytest.approx(RGB.transpose(2, 0, 1) / 255, abs=1e-6)


def test_no_default_for_anything_else() -> None:
    with pytest.raises(UsageError, match=r"examples of shape \(13,\) and does not say how pictures become that"):
        default_preprocessing((13,))


def test_with_polarity() -> None:
    assert with_polarity(default_preprocessing((784,)), "dark")[1] == PolarityStep("light", "dark")
    with pytest.raises(UsageError, match="polarity must be one of auto, light, dark, not 'grey'"):
        with_polarity(default_preprocessing((784,)), "grey")
    with pytest.raises(UsageError, match="has no polarity step"):
        with_polarity((GreyscaleStep(),), "dark")
