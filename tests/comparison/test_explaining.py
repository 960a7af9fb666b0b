"""``diff`` with a picture: the difference of two preparations is named, and none where there is none.

The other side is written here, with Pillow, OpenCV, PyTorch and numpy, without the preparation of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw, ImageOps

import portable_nn as pnn
from portable_nn.prediction.keeping import keep_preprocessing

Pixels = np.ndarray
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@cache
def scene() -> Image.Image:
    """Gradients, noise of several sizes, and shapes in colour, 410 x 300."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(0, 1, 410), np.linspace(0, 1, 300))
    slopes = np.stack([200 * x, 160 * y + 40 * x, 220 * (1 - x) * y], axis=-1)
    grains = sum(
        np.asarray(
            Image.fromarray(rng.integers(0, 80, (300 // n, 410 // n, 3), dtype=np.uint8)).resize((410, 300), 2), float
        )
        for n in (2, 5, 21)
    )
    found = Image.fromarray(((slopes + grains) * 0.6).clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(found)
    for _ in range(25):
        left, top, size = rng.integers(0, 380), rng.integers(0, 280), rng.integers(8, 50)
        pen.ellipse((left, top, left + size, top + size * 0.7), fill=tuple(map(int, rng.integers(0, 255, 3))))
        pen.line((left, top, top, left), fill=tuple(map(int, rng.integers(0, 255, 3))), width=3)
    return found


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene as a camera stores it that was held upright: on its side, with EXIF."""
    path, exif = tmp_path_factory.mktemp("photo") / "photo.jpg", Image.Exif()
    exif[0x0112] = 6
    scene().rotate(90, expand=True).save(path, quality=93, exif=exif)
    return path


def pillow(method: int) -> Callable[[Pixels, int, int], Pixels]:
    return lambda x, h, w: np.asarray(Image.fromarray(x).resize((w, h), method))


BILINEAR = pillow(2)


def opencv(method: str) -> Callable[[Pixels, int, int], Pixels]:
    def resize(x: Pixels, h: int, w: int) -> Pixels:
        cv2 = pytest.importorskip("cv2")
        return cv2.resize(x, (w, h), interpolation=getattr(cv2, f"INTER_{method}"))

    return resize


def pytorch(**options: Any) -> Callable[[Pixels, int, int], Pixels]:
    def resize(x: Pixels, h: int, w: int) -> Pixels:
        torch = pytest.importorskip("torch")
        t = torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1), np.float32))[None]
        return torch.nn.functional.interpolate(t, size=(h, w), **options)[0].numpy().transpose(1, 2, 0)

    return resize


@dataclass(frozen=True)
class Theirs:
    """A preparation of the other side."""

    size: tuple[int, int]
    fit: str = "stretch"
    side: int = 0
    resize: Callable[[Pixels, int, int], Pixels] = BILINEAR
    exif: bool = True
    mirrored: bool = False
    order: tuple[int, ...] = (0, 1, 2)
    grey: bool = False
    white: float = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    fill: int = 114
    layout: str = "first"

    def levels(self, path: Path) -> Pixels:
        picture = Image.open(path)
        x = np.asarray((ImageOps.exif_transpose(picture) if self.exif else picture).convert("RGB"))
        x = np.ascontiguousarray(x[:, ::-1] if self.mirrored else x)
        (h, w), (height, width) = x.shape[:2], self.size
        if self.fit == "stretch":
            return self.resize(x, height, width)
        if self.fit in ("crop", "corner"):
            h, w = (self.side, int(self.side * w / h)) if h < w else (int(self.side * h / w), self.side)
            top, left = (round((h - height) / 2), round((w - width) / 2)) if self.fit == "crop" else (0, 0)
            return self.resize(x, h, w)[top : top + height, left : left + width]
        if self.fit == "square":
            side = min(h, w)
            top, left = (h - side) // 2, (w - side) // 2
            return self.resize(np.ascontiguousarray(x[top : top + side, left : left + side]), height, width)
        ratio = min(height / h, width / w)
        small = self.resize(x, round(h * ratio), round(w * ratio))
        top, left = (height - len(small)) // 2, (width - small.shape[1]) // 2
        if self.fit == "letterbox at the top left":
            top, left = 0, 0
        found = np.full((height, width, 3), self.fill, small.dtype)
        found[top : top + len(small), left : left + small.shape[1]] = small
        return found

    def __call__(self, path: Path, channels: int = 3) -> Pixels:
        x = self.levels(path).astype(np.float32)
        x = x[..., self.order]
        if self.grey or channels == 1:
            x = np.repeat((x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], channels, axis=2)
        x = (x / np.float32(self.white) - np.float32(self.mean)) / np.float32(self.std)
        if self.layout == "last":
            return x[None]
        return (x.reshape(channels, *self.size) if self.layout == "reshaped" else x.transpose(2, 0, 1))[None]


KERNELS = {
    "no antialias": {"resize": pytorch(mode="bilinear")},
    "OpenCV nearest": {"resize": opencv("NEAREST")},
    "Pillow bicubic": {"resize": pillow(3)},
    "OpenCV bicubic": {"resize": opencv("CUBIC")},
    "OpenCV area": {"resize": opencv("AREA")},
    "Pillow Lanczos": {"resize": pillow(1)},
    "corners aligned": {"resize": pytorch(mode="bilinear", align_corners=True)},
}
COLOURS = {"BGR": {"order": (2, 1, 0)}, "grey": {"grey": True}}
TURNS = {"EXIF ignored": {"exif": False}, "mirrored": {"mirrored": True}}
LAYOUTS = {"layout": {"layout": "last"}, "reshaped": {"layout": "reshaped"}}
CAUSES = {
    **dict.fromkeys(KERNELS, "kernel"),
    **dict.fromkeys(COLOURS, "colours"),
    **dict.fromkeys(TURNS, "orientation"),
    **dict.fromkeys(LAYOUTS, "layout"),
}
NUMBERS = {
    "0 to 255": {"white": 1.0, "mean": (0.0,), "std": (1.0,)},
    "0 to 1": {"white": 255.0, "mean": (0.0,), "std": (1.0,)},
    "-1 to 1": {"white": 255.0, "mean": (0.5,), "std": (0.5,)},
    "ImageNet": {"white": 255.0, "mean": IMAGENET[0], "std": IMAGENET[1]},
    "ImageNet the other way": {"white": 255.0, "mean": IMAGENET[0][::-1], "std": IMAGENET[1][::-1]},
    "own": {"white": 255.0, "mean": (0.3, 0.31, 0.36), "std": (0.2, 0.25, 0.22)},
    "one": {"white": 255.0, "mean": (0.1307,), "std": (0.3081,)},
}


@dataclass(frozen=True)
class Model:
    """A model, its own preparation written anew, and faults by their cause."""

    theirs: Theirs
    preprocess: dict[str, Any]
    faults: dict[str, tuple[str, dict[str, Any]]]
    channels: int = 3
    kept: bool = False


def faults(
    numbers: str, frames: dict[str, dict[str, Any]], colours: bool = True
) -> dict[str, tuple[str, dict[str, Any]]]:
    found = {name: (CAUSES[name], fault) for name, fault in (KERNELS | TURNS).items()}
    if colours:
        found |= {name: (CAUSES[name], fault) for name, fault in (COLOURS | LAYOUTS).items()}
        found["BGR, 0 to 255"] = (
            "colours, numbers",
            COLOURS["BGR"] | NUMBERS["0 to 255" if numbers != "0 to 255" else "0 to 1"],
        )
    found |= {
        name: ("numbers", fault)
        for name, fault in NUMBERS.items()
        if name != numbers and (colours or len(fault["mean"]) == 1)
    }
    return found | {name: (fault.pop("what", "size"), fault) for name, fault in frames.items()}


CROPS = {
    "stretched": {"fit": "stretch"},
    "side of 96": {"side": 96},
    "at a corner": {"fit": "corner"},
    "square": {"fit": "square"},
}
MODELS = {
    "crop": Model(
        Theirs((96, 96), "crop", 110, mean=IMAGENET[0], std=IMAGENET[1]),
        {"name": "imagenet"},
        faults("ImageNet", CROPS),
        kept=True,
    ),
    "letterbox": Model(
        Theirs((128, 128), "letterbox"),
        {"name": "yolo"},
        faults(
            "0 to 1",
            {
                "stretched": {"fit": "stretch"},
                "at the top left": {"fit": "letterbox at the top left"},
                "fill 0": {"fill": 0, "what": "fill"},
                "square": {"fit": "square"},
            },
        ),
    ),
    "channels last": Model(
        Theirs((96, 128), "stretch", resize=pillow(0), mean=(0.5,), std=(0.5,), layout="last"),
        {"name": "keras-tf"},
        faults("-1 to 1", {"letterbox": {"fit": "letterbox"}, "no EXIF": {"exif": False, "what": "orientation"}})
        | {"layout": ("layout", {"layout": "first"}), "bilinear": ("kernel", {"resize": pillow(2)})},
    ),
    "grey": Model(
        Theirs((64, 64)),
        {"fit": "stretch"},
        faults(
            "0 to 1",
            {"letterbox": {"fit": "letterbox"}, "square": {"fit": "square"}, "crop": {"fit": "crop", "side": 73}},
            colours=False,
        )
        | {
            "grey of BGR": ("colours", COLOURS["BGR"]),
            "box": ("kernel", {"resize": pillow(4)}),
            "OpenCV bilinear": ("kernel", {"resize": opencv("LINEAR")}),
            "mirrored, 0 to 255": ("numbers, orientation", {"mirrored": True} | NUMBERS["0 to 255"]),
            "stretched, -1 to 1": ("kernel, numbers", {"resize": pillow(3)} | NUMBERS["-1 to 1"]),
        },
        channels=1,
    ),
}


def network(model: Model) -> onnx.ModelProto:
    """Two convolutions and a product, with weights that are drawn."""
    rng, (height, width), channels = np.random.default_rng(1), model.theirs.size, model.channels
    last = model.theirs.layout == "last"
    shape = (height, width, channels) if last else (channels, height, width)
    weights = {
        "a": rng.normal(size=(8, channels, 5, 5)) / 5,
        "b": rng.normal(size=(12, 8, 5, 5)) / 12,
        "c": rng.normal(size=(12 * (((height - 5) // 4 + 1 - 5) // 4 + 1) * (((width - 5) // 4 + 1 - 5) // 4 + 1), 10))
        / 20,
    }
    nodes = [
        *([helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2])] if last else []),
        helper.make_node("Conv", ["first" if last else "x", "a"], ["u"], strides=[4, 4]),
        helper.make_node("Relu", ["u"], ["v"]),
        helper.make_node("Conv", ["v", "b"], ["w"], strides=[4, 4]),
        helper.make_node("Tanh", ["w"], ["z"]),
        helper.make_node("Flatten", ["z"], ["flat"]),
        helper.make_node("MatMul", ["flat", "c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("models")
    for name, model in MODELS.items():
        onnx.save(network(model), found / f"{name}.onnx")
        if model.kept:
            keep_preprocessing(found / f"{name}.onnx", found / "kept.onnx", model.preprocess)
            (found / "kept.onnx").replace(found / f"{name}.onnx")
    return found


def _by_fault() -> Iterator[Any]:
    """Each fault of each model; of a fault that several have, all but the first are sweeps."""
    seen = set[str]()
    for name, model in MODELS.items():
        for fault in model.faults:
            yield pytest.param(name, fault, marks=[pytest.mark.sweep] * (fault in seen))
            seen.add(fault)


def asked(folder: Path, photo: Path, name: str, **given: Any) -> Any:
    preprocess = None if MODELS[name].kept else MODELS[name].preprocess
    return pnn.diff(folder / f"{name}.onnx", inputs=photo, preprocess=preprocess, **given)


def causes(found: Any) -> str:
    return (
        ", ".join(sorted(decision.what for decision in found.preparation))
        if found.verdict == "prepared"
        else found.verdict
    )


@pytest.mark.quick("crop")
@pytest.mark.parametrize(("name", "fault"), list(_by_fault()))
def test_the_cause_is_named_by_what_went_in(folder: Path, photo: Path, name: str, fault: str) -> None:
    model = MODELS[name]
    cause, change = model.faults[fault]
    x = replace(model.theirs, **change)(photo, model.channels)
    found = asked(folder, photo, name, inputs_b=x)
    assert causes(found) == cause
    assert found.options


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_the_same_preparation_is_not_accused(folder: Path, photo: Path, name: str) -> None:
    model = MODELS[name]
    x = model.theirs(photo, model.channels)
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
    answers = session.run(None, {"x": x})[0]
    assert asked(folder, photo, name, inputs_b=x).verdict == "same"
    assert asked(folder, photo, name, answers_b=answers).verdict == "same"
    softmax = np.exp(answers) / np.exp(answers).sum()
    assert causes(asked(folder, photo, name, answers_b=softmax)) == "answers"


@pytest.mark.long
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.sweep] * (name != "grey")) for name in MODELS])
def test_answers_name_most_causes_and_accuse_none_wrongly(folder: Path, photo: Path, name: str) -> None:
    model = MODELS[name]
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
    wrong, right = [], 0
    shape = model.theirs(photo, model.channels).shape
    arrays = {
        fault: replace(model.theirs, **change)(photo, model.channels) for fault, (_, change) in model.faults.items()
    }
    given = {fault: x for fault, x in arrays.items() if x.shape == shape}  # Another layout does not go in.
    for fault, x in given.items():
        cause, answers = model.faults[fault][0], session.run(None, {"x": x})[0]
        found = causes(asked(folder, photo, name, answers_b=answers))
        right += found == cause
        if found not in (cause, "undecided"):
            wrong.append((fault, found))
    assert not wrong
    assert right >= 0.85 * len(given)


# -- the shipped digits, which find a drawing in a picture


@cache
def digit() -> Image.Image:
    """A three, written with a thick pen on light paper."""
    found = Image.new("L", (300, 260), 235)
    pen = ImageDraw.Draw(found)
    pen.line((90, 60, 190, 60, 120, 120), fill=20, width=18)
    pen.arc((80, 110, 200, 220), -100, 150, fill=20, width=18)
    noise = np.random.default_rng(0).normal(size=(260, 300)) * 3
    return Image.fromarray((np.asarray(found) + noise).clip(0, 255).astype(np.uint8))


def stretched(method: int) -> Pixels:
    return np.asarray(digit().resize((28, 28), method), np.float64)


def opencv_stretched(method: str) -> Pixels:
    return opencv(method)(np.asarray(digit()), 28, 28).astype(np.float64)


ON_DIGITS: dict[str, tuple[str, Callable[[Pixels], Pixels]]] = {
    "0 to 1": ("numbers", lambda x: x / 255),
    "-1 to 1": ("numbers", lambda x: x / 127.5 - 1),
    "MNIST": ("numbers", lambda x: (x / 255 - 0.1307) / 0.3081),
    "the book": ("numbers", lambda x: x / 255 * 0.99 + 0.01),
    "dark on light": ("numbers", lambda x: 255 - x),
    "dark on light, 0 to 1": ("numbers", lambda x: 1 - x / 255),
    "two of everything": ("numbers", lambda x: 2 * x),
    "a mean of one's own": ("numbers", lambda x: (x - 33.3) / 71),
    "EMNIST": ("orientation", lambda x: x.T),
    "mirrored": ("orientation", lambda x: x[:, ::-1]),
    "upside down": ("orientation", lambda x: x[::-1]),
    "on its side": ("orientation", lambda x: np.rot90(x)),
    "on its side, 0 to 1": ("numbers, orientation", lambda x: np.rot90(x) / 255),
    "EMNIST, MNIST": ("numbers, orientation", lambda x: (x.T / 255 - 0.1307) / 0.3081),
    "stretched": ("numbers, size", lambda x: 255 - stretched(2)),
    "stretched, nearest": ("numbers, size", lambda x: 255 - stretched(0)),
    "stretched, bicubic": ("numbers, size", lambda x: 255 - stretched(3)),
    "stretched, dark on light": ("numbers, size", lambda x: stretched(2) / 255),
    "stretched, OpenCV": ("numbers, size", lambda x: 1 - opencv_stretched("LINEAR") / 255),
    "stretched, area": ("numbers, size", lambda x: 255 - opencv_stretched("AREA")),
}


@pytest.mark.quick("MNIST")
@pytest.mark.parametrize("name", ["digits-cnn", pytest.param("digits-mlp", marks=pytest.mark.sweep)])
@pytest.mark.parametrize("fault", ON_DIGITS)
def test_the_cause_is_named_with_shipped_digits(name: str, fault: str) -> None:
    cause, change = ON_DIGITS[fault]
    own = pnn.prepare(name, digit()).reshape(28, 28).astype(np.float64)
    assert pnn.diff(name, inputs=digit(), inputs_b=own).verdict == "same"
    assert causes(pnn.diff(name, inputs=digit(), inputs_b=change(own))) == cause


# -- what cannot be said


UNEXPLAINED: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "rough": lambda x, rng: x + rng.normal(size=x.shape) * 3 / 255,
    "constant": lambda x, rng: np.ones_like(x),
    "random": lambda x, rng: rng.random(x.shape),
    "squares": lambda x, rng: np.flip(x) * x,
}


@pytest.mark.long
@pytest.mark.parametrize("name", ["grey", pytest.param("letterbox", marks=pytest.mark.sweep)])
@pytest.mark.parametrize("what", UNEXPLAINED)
def test_nothing_is_accused_where_nothing_explains(folder: Path, photo: Path, name: str, what: str) -> None:
    x = MODELS[name].theirs(photo, MODELS[name].channels)
    theirs = UNEXPLAINED[what](x, np.random.default_rng(0))
    assert asked(folder, photo, name, inputs_b=theirs).verdict == "undecided"


def test_colours_cannot_be_told_apart_in_grey(folder: Path) -> None:
    grey, theirs = scene().convert("L").convert("RGB"), MODELS["letterbox"].theirs
    levels = np.asarray(ImageOps.pad(grey, theirs.size, Image.Resampling.BILINEAR, (114,) * 3), np.float32)
    x = levels.transpose(2, 0, 1)[::-1] / 255
    found = pnn.diff(folder / "letterbox.onnx", inputs=grey, preprocess="yolo", inputs_b=x)
    assert found.verdict == "same"


def test_filters_that_give_the_same_stand_beside_each_other(folder: Path) -> None:
    picture = scene().resize((192, 192))
    x = opencv("AREA")(np.asarray(picture), 96, 96).astype(np.float32) / 255
    preprocess = {"fit": "stretch"}
    found = pnn.diff(folder / "crop.onnx", inputs=picture, preprocess=preprocess, inputs_b=x.transpose(2, 0, 1))
    [decision] = found.preparation
    assert {"area", "box", "bilinear without antialias"} <= {*decision.b.split(" or ")}


@pytest.mark.long
def test_a_picture_that_hardly_varies_decides_nothing(folder: Path) -> None:
    flat = Image.new("RGB", (100, 80), (90, 91, 92))
    x = np.asarray(flat.resize((96, 96)), np.float32).transpose(2, 0, 1)
    found = pnn.diff(folder / "crop.onnx", inputs=flat, preprocess={"fit": "stretch"}, inputs_b=x)
    assert (found.verdict, found.preparation) == ("undecided", ())
    assert pnn.diff(folder / "crop.onnx", inputs=flat, preprocess="unit", inputs_b=x / 255).verdict == "same"
