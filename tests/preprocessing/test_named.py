from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

import portable_nn as pnn
from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.graph import Value
from portable_nn.core.names import PREPARATIONS
from portable_nn.preprocessing.applying import apply, result_shape
from portable_nn.preprocessing.named import NAMED, Preparation, preparation_of, prepared
from portable_nn.preprocessing.placement import placement

SIZES = [(300, 400), (401, 300), (224, 224), (100, 70), (257, 343), (256, 999)]
"""Heights and widths: landscape, portrait, square, small, odd rests."""


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth colours with noise, so that each filter and each shift makes other numbers."""
    rng = np.random.default_rng([height, width])
    waves = np.sin(np.linspace(0, 9, height)[:, None, None] + np.linspace(0, 7, width)[:, None] * np.arange(1, 4))
    levels = 127 + 90 * waves[..., :channels] + rng.normal(0, 20, (height, width, channels))
    return levels.clip(0, 255).astype(np.uint8)


def taken(*shape: int | str, dtype: str = "float32") -> Value:
    return Value("x", dtype, ("batch", *shape))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "weights"),
    [("imagenet", "ResNet18_Weights.IMAGENET1K_V1"), ("imagenet-v2", "ResNet50_Weights.IMAGENET1K_V2")],
)
def test_imagenet_is_that_of_torchvision(name: str, weights: str, size: tuple[int, int]) -> None:
    models = pytest.importorskip("torchvision.models")
    made = models.get_weight(weights).transforms(antialias=True)
    found = apply(prepared(Preparation(name), taken(3, 224, 224)).steps, pixels := picture(*size))
    np.testing.assert_allclose(found, made(Image.fromarray(pixels)).numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_segmentation_and_detection_are_those_of_torchvision(size: tuple[int, int]) -> None:
    presets = pytest.importorskip("torchvision.transforms._presets")
    pixels = picture(*size)
    for name, made in (
        ("segmentation", presets.SemanticSegmentation(resize_size=520)),
        ("detection", presets.ObjectDetection()),
    ):
        steps = prepared(Preparation(name), taken(3, "height", "width")).steps
        np.testing.assert_allclose(apply(steps, pixels), made(Image.fromarray(pixels)).numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_clip_is_its_own_transform(size: tuple[int, int]) -> None:
    """The transform of the publication, written with torchvision's parts."""
    t = pytest.importorskip("torchvision.transforms")
    made = t.Compose(
        [
            t.Resize(224, interpolation=t.InterpolationMode.BICUBIC),
            t.CenterCrop(224),
            t.ToTensor(),
            t.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    found = apply(prepared(Preparation("clip"), taken(3, 224, 224)).steps, pixels := picture(*size))
    np.testing.assert_allclose(found, made(Image.fromarray(pixels)).numpy(), rtol=0, atol=1e-6)


def test_keras_and_siglip_by_their_formulas() -> None:
    pixels = picture(224, 224)
    levels = pixels.astype(np.float64)
    half = levels / 255
    wanted = {
        "keras-tf": levels / 127.5 - 1,
        "keras-caffe": levels[..., ::-1] - [103.939, 116.779, 123.68],
        "keras-torch": (half - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "siglip": (half - 0.5) / 0.5,
        "vit": (half - 0.5) / 0.5,
        "unit": half,
        "levels": levels,
    }
    for name, expected in wanted.items():
        for shape, axes in (((224, 224, 3), (0, 1, 2)), ((3, 224, 224), (2, 0, 1))):
            found = apply(prepared(Preparation(name), taken(*shape)).steps, pixels)
            np.testing.assert_allclose(found, expected.transpose(axes), rtol=1e-6, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (300, 300), (321, 640), (37, 500)])
def test_yolo_is_a_letterbox(size: tuple[int, int]) -> None:
    """The publication's arithmetic of sizes, with Pillow's filter; a scale of 1 leaves the pixels as they are."""
    height, width = size
    ratio = min(640 / height, 640 / width)
    inner = round(width * ratio), round(height * ratio)
    rest = [(640 - side) / 2 for side in inner]
    left, top = (round(side - 0.1) for side in rest)
    pixels = picture(height, width)
    framed = Image.new("RGB", (640, 640), (114, 114, 114))
    framed.paste(Image.fromarray(pixels).resize(inner, Image.Resampling.BILINEAR), (left, top))
    found = apply(prepared(Preparation("yolo"), taken(3, 640, 640)).steps, pixels)
    np.testing.assert_allclose(found, np.asarray(framed).transpose(2, 0, 1) / 255, rtol=0, atol=1e-6)


def test_named_preparations_have_sources_and_shapes() -> None:
    for name, named in NAMED.items():
        assert named.source
        shape = (1, 28, 28) if named.fit == "digit" else (3, 96, 96)
        made = prepared(Preparation(name), taken(*shape)).steps
        assert result_shape(made) == shape, name


# -- what is changed of a named one


def test_bgr_turns_the_published_numbers_as_well() -> None:
    pixels = picture(224, 224)
    plain, turned = (
        apply(prepared(Preparation("imagenet", bgr=bgr), taken(3, 224, 224)).steps, pixels) for bgr in (False, True)
    )
    np.testing.assert_array_equal(turned, plain[::-1])


@pytest.mark.parametrize(
    ("mean", "std", "white"),
    [
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1),
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 255),
        ((0.5,), (0.5,), 1),
        ((127.5,), (127.5,), 255),
        ((0.0,), (255.0,), 255),
    ],
)
def test_mean_and_std_say_what_white_is(mean: tuple[float, ...], std: tuple[float, ...], white: int) -> None:
    pixels = picture(32, 32)
    made = prepared(Preparation(mean=mean, std=std), taken(32, 32, 3))
    expected = (pixels / (255 if white == 1 else 1) - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(apply(made.steps, pixels), expected, rtol=0, atol=2e-6)
    assert any(note.endswith(f"they are for 0 to {white}") for note in made.notes)


def test_sizes_follow_the_input_and_are_reported() -> None:
    made = prepared(Preparation("imagenet"), taken(3, 299, 299))
    assert str(made.steps[2]) == "scale the shorter side to 342 pixels (bilinear), and cut 299x299 out of the middle"
    assert "the shorter side is scaled to 342, in the proportion of 256 for 224 pixels" in made.notes
    own = prepared(Preparation("imagenet", size=300, crop=299), taken(3, 299, 299))
    assert str(own.steps[2]) == "scale the shorter side to 300 pixels (bilinear), and cut 299x299 out of the middle"
    free = prepared(Preparation("imagenet"), taken(3, "h", "w"))
    assert result_shape(free.steps) == (3, 224, 224)
    assert "the input takes any size: 224x224 are cut out" in free.notes
    assert result_shape(prepared(Preparation(size=(48, 64)), taken(3, "h", "w")).steps) == (3, 48, 64)


@pytest.mark.parametrize(
    ("shape", "nhwc", "made"),
    [
        ((3, 20, 30), None, (3, 20, 30)),
        ((20, 30, 3), None, (20, 30, 3)),
        ((1, 20, 30), None, (20, 30)),
        ((20, 30, 1), None, (20, 30)),
        ((20, 30), None, (20, 30)),
        ((3, 20, 3), None, (3, 20, 3)),  # Ambiguous: colours first, as most models have them.
        ((3, 20, 3), True, (3, 20, 3)),
        (("a", "b", "c"), True, (24, 24, 3)),
        (("a", "b", "c"), None, (3, 24, 24)),
    ],
)
def test_layouts(shape: tuple[int | str, ...], nhwc: bool | None, made: tuple[int, ...]) -> None:
    given = Preparation(nhwc=nhwc, size=24 if isinstance(shape[0], str) else None)
    assert result_shape(prepared(given, taken(*shape)).steps) == made


def test_bytes_are_neither_scaled_nor_normalised() -> None:
    made = prepared(Preparation("imagenet"), taken(224, 224, 3, dtype="uint8"))
    found = apply(made.steps, picture(224, 300))
    np.testing.assert_array_equal(found, np.round(found))
    assert found.max() > 200
    assert "the input takes bytes: pictures are neither scaled nor normalised" in made.notes


REFUSED = [
    ({"name": "resnet"}, (3, 8, 8), "preprocess must be one of imagenet, imagenet-v2, .*, not 'resnet'"),
    ({"colour": 1}, (3, 8, 8), "preprocess has no 'colour': it may have name, fit, size"),
    ({"std": 0}, (3, 8, 8), "std must be one finite number above 0 or one for each colour, not 0"),
    ({"mean": (0.1, 0.2)}, (3, 8, 8), "mean has 2 numbers, and the input 3 colours"),
    ({"mean": float("nan")}, (3, 8, 8), "mean must be one finite number"),
    ({"mean": "red"}, (3, 8, 8), "mean must be one finite number or one for each colour, not 'red'"),
    ({"mean": 1.5}, (3, 8, 8), "white must be given, 1 or 255: mean and std up to 1.5 may be for either"),
    ({"name": "imagenet", "mean": (103.9, 116.8, 123.7)}, (3, 8, 8), "mean and std must both be given"),
    ({"white": 256}, (3, 8, 8), "white must be 1 or 255, not 256"),
    ({"size": 0}, (3, 8, 8), "size must be a number of pixels"),
    ({"size": 9}, (3, 8, 8), "size must be that of the input, 8x8, not 9x9"),
    ({"crop": 7}, (3, 8, 8), "crop must be what the input takes, 8x8, not 7x7"),
    ({"name": "imagenet", "size": 7}, (3, 8, 8), "crop must fit in the shorter side, 7, not 8x8"),
    ({"fit": "letterbox", "crop": 7}, (3, 8, 8), "crop must be left out: with the fit 'letterbox'"),
    ({"fit": "none", "size": 7}, (3, "h", "w"), "size must be left out"),
    ({"fit": "wide"}, (3, 8, 8), "fit must be one of crop, stretch"),
    ({}, (3, "h", "w"), "its height and width are not fixed: --size"),
    ({}, (4, 8, 8), "pictures have 1 or 3 colours, and it takes 4"),
    ({"name": "imagenet"}, (1, 224, 224), "mean has 3 numbers, and the input 1 colours"),
    ({}, (10,), r"pictures need \(batch, colours, height, width\)"),
    ({"name": "mnist"}, (3, 224, 224), "digits in the layout of MNIST"),
]


@pytest.mark.parametrize(("given", "shape", "reason"), REFUSED, ids=[reason for _, _, reason in REFUSED])
def test_what_is_refused(given: dict[str, object], shape: tuple[int | str, ...], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        prepared(preparation_of(given), taken(*shape))


def test_other_types_are_refused() -> None:
    with pytest.raises(UsageError, match=re.escape("pictures are prepared as bytes (uint8) or as floating-point")):
        prepared(Preparation(), taken(3, 8, 8, dtype="int8"))


def test_a_strip_does_not_become_gigabytes() -> None:
    with pytest.raises(DataError, match="a picture of 1x100000 pixels would become 520x52000000"):
        apply(prepared(Preparation("segmentation"), taken(3, "h", "w")).steps, np.zeros((1, 100000), np.uint8))


# -- places


@pytest.mark.parametrize("name", ["imagenet", "clip", "yolo", "siglip", "segmentation", "detection"])
@pytest.mark.parametrize("size", [(300, 400), (401, 300)])
def test_a_mark_is_found_where_the_placement_says(name: str, size: tuple[int, int]) -> None:
    """A white rectangle in a picture is where the placement puts it, and its box comes back."""
    box = np.array([[size[1] * 0.4, size[0] * 0.45, size[1] * 0.6, size[0] * 0.65]]).round()
    left, top, right, bottom = box[0].astype(int)
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[top:bottom, left:right] = 255
    steps = prepared(Preparation(name), taken(3, "h", "w") if name != "yolo" else taken(3, 320, 640)).steps
    frame = apply([step for step in steps if step.__class__.__name__ not in ("NormaliseStep", "ScaleStep")], pixels)
    where = placement(steps, *size)
    assert where.frame == frame.shape[1:]
    bright = frame[0] > 180
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    seen = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]])
    np.testing.assert_allclose(where.back(seen), box, atol=1.0 / min(where.scale) + 0.01)


def test_no_place_where_a_drawing_is_found() -> None:
    with pytest.raises(UsageError, match="nothing has a place"):
        placement(prepared(Preparation("mnist"), taken(784)).steps, 100, 100)


def test_the_names_that_commands_offer() -> None:
    assert tuple(NAMED) == PREPARATIONS


@pytest.mark.parametrize(
    ("first", "factor"), [([], 0.99 / 255), ([pnn.Rescaling(0.99 / 255, 0.01)], None)], ids=["0.01 to 1", "0 to 255"]
)
def test_digits_are_scaled_as_the_model_takes_them(first, factor) -> None:
    """Two strokes on a sheet are two drawings; one that nothing is said of gets what the book has."""
    sheet = np.full((200, 300), 255, np.uint8)
    sheet[50:150, 60:75] = sheet[50:150, 200:215] = 0
    net = pnn.Sequential(pnn.Input(784), *first, pnn.Dense(10), seed=0)
    drawings = pnn.prepare(net, Image.fromarray(sheet), preprocess="digits")
    assert drawings.shape == (2, 784)
    assert drawings.max() == pytest.approx(255 if factor is None else 1, rel=1e-3)
    assert drawings.min() == pytest.approx(0 if factor is None else 0.01)
