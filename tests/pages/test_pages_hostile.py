"""Pages whose model fails, whose names are scripts or very long, and whose inputs take numbers of other types."""

from __future__ import annotations

import base64
import gzip
import re
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from pages.browsers import browse, runtime_folder
from PIL import Image

import portable_nn as pnn
from portable_nn.core.errors import PortableNNError
from portable_nn.preprocessing.steps import ColourStep, ResizeStep, ScaleStep, TransposeStep

pytestmark = pytest.mark.long

IMAGE: Final = "<img src=x onerror=\"document.title='owned'\">"
SCRIPT: Final = '</script><script>document.title = "owned"</script>'
LONG: Final = "a kind of animal with long hair, wide ears and short legs that lives in the mountains"
VALUES: Final = (1, 0.5, 300, -1, 70000, 0.1)
TYPES: Final = ("float64", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")


def save(
    path: Path, nodes: list[onnx.NodeProto], kind: int, given: list[Any], made: list[Any], **constants: Any
) -> None:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, made)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def generator(path: Path, noise: int, last: str) -> None:
    """A model that turns noise into pictures by ``last``."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node(last, ["h"], ["l"]),
        helper.make_node("Reshape", ["l", "s"], ["y"]),
    ]
    weights, shape = np.random.default_rng(0).uniform(0, 1, (noise, 64)).astype(np.float32), np.array([-1, 1, 8, 8])
    save(path, nodes, TensorProto.FLOAT, ["N", noise], ["N", 1, 8, 8], w=weights, s=shape)


def with_model(page: Path, content: bytes) -> str:
    """The text of a page, with another model in it."""
    packed = base64.b64encode(gzip.compress(content)).decode()
    found, count = re.subn(r'(id="model">)[^<]*', lambda start: start[1] + packed, page.read_text(encoding="utf-8"))
    assert count == 1
    return found


def table() -> pnn.Network:
    rng = np.random.default_rng(0)
    width = rng.uniform(1, 4, 90)
    kind = np.where(width > 2, IMAGE, LONG)
    data = {SCRIPT: width, IMAGE: rng.uniform(0, 1, 90), "colour": rng.choice(["blue", SCRIPT], 90), "kind": kind}
    return pnn.train_table("auto-8-auto", data, units={SCRIPT: SCRIPT}, epochs=2, progress=False).network


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    to_html = partial(pnn.to_html, runtime=runtime_folder())
    for kind in TYPES:
        cast = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
        element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        save(folder / f"{kind}.onnx", cast, element, ["N", 3], ["N", 3])
        to_html(folder / f"{kind}.onnx", folder / f"{kind}.html")
    generator(folder / "infinite.onnx", 4, "Log")
    generator(folder / "good.onnx", 4, "Tanh")
    generator(folder / "other.onnx", 5, "Tanh")
    for name in ("infinite", "good"):
        assert to_html(folder / f"{name}.onnx", folder / f"{name}.html").kind == "generator"
    text = with_model(folder / "good.html", (folder / "other.onnx").read_bytes())
    (folder / "throws.html").write_text(text, encoding="utf-8")
    to_html("digits", folder / "digits.html")
    (folder / "damaged.html").write_text(with_model(folder / "digits.html", b"no model"), encoding="utf-8")
    to_html(table(), folder / "names.html")
    labels = [f"{place}: {LONG}" for place in range(1000)]
    network = pnn.Sequential(pnn.Input(3, 8, 8), pnn.Flatten(), pnn.Dense(1000), labels=labels, seed=0)
    steps = (ColourStep(), ResizeStep(8, 8), ScaleStep(1 / 255), TransposeStep((2, 0, 1)))
    to_html(network, folder / "many.html", preprocess=steps)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(folder / "picture.png")
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Any:
    return browse("hostile.cjs", folder, " ".join(map(str, VALUES)), *TYPES)


def test_all_of_it_is_accessible_and_fits_on_a_phone(found: Any) -> None:
    assert found["axe"] == []


def shown(number: float) -> str:
    """Five digits; in threes from a thousand on."""
    text = f"{number:.5g}"
    return f"{float(text):,.10g}" if 1e3 <= abs(number) < 1e9 else text


@pytest.mark.parametrize("kind", TYPES)
def test_numbers_of_other_types_go_in_as_they_are_or_are_refused(found: Any, kind: str) -> None:
    """Numpy says which numbers a type has; ``predict`` refuses the same ones."""
    page = found[kind]
    assert page["status"].startswith("Checked when this page was opened: the same")
    for value in VALUES:
        with np.errstate(all="ignore"):
            held = np.float32(value).astype(kind)
        if kind.startswith("float"):
            wanted = shown(held) if np.isfinite(held) else "the model gives NaN or infinity"
        else:
            wanted = shown(value) if held == value else f"input 'x' takes {kind}, and {value} is none"
        assert page["found"][str(value)] == wanted


def test_types_that_pages_have_not_are_refused_by_name(tmp_path: Path) -> None:
    for kind in ("BFLOAT16", "STRING", "INT4", "FLOAT8E4M3FN", "COMPLEX64"):
        node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
        save(tmp_path / "model.onnx", [node], getattr(TensorProto, kind), ["N", 3], ["N", 3])
        with pytest.raises(PortableNNError, match=rf"(?i)\b{kind}\b"):
            pnn.to_html(tmp_path / "model.onnx", tmp_path / "page.html", runtime=runtime_folder())
        assert not (tmp_path / "page.html").exists()


def test_a_generator_that_fails_says_so_and_shows_no_picture(found: Any) -> None:
    words = "the model refuses x of float32 (1, 4): a number or the shape does not fit what it computes"
    assert found["throws"] == {"said": words, "raw": found["throws"]["raw"], "pictures": 0}
    assert "index: 1 Got: 4 Expected: 5" in found["throws"]["raw"]
    assert found["infinite"] == {"said": "the model gives NaN or infinity", "pictures": 0}


def test_a_page_whose_model_is_damaged_says_so_in_plain_words(found: Any) -> None:
    words = (
        "the model in this page does not open: the file is damaged, the browser too old, or there is too little memory"
    )
    assert found["damaged"] == {"said": words, "status": f"digits: {words}"}


def test_names_are_text_whatever_they_say(found: Any) -> None:
    page = found["names"]
    assert page["scripts"] == 0
    assert page["title"] == "network \N{MIDDLE DOT} Portable NN"
    assert page["labels"] == [f"{SCRIPT} [{SCRIPT}]", IMAGE, "colour"]
    assert all(words.endswith(" in training") for words in page["hints"])
    assert sorted(page["shares"]) == sorted([IMAGE, LONG])


def test_a_row_of_a_spreadsheet_with_decimal_commas_is_taken_when_that_is_said(found: Any) -> None:
    page = found["names"]
    assert "expected a number, found '1,5'; if these are numbers with decimal commas, say so" in page["comma"]
    assert page["pasted"] == ["1,5", "2,5"]


def test_of_a_thousand_classes_the_likeliest_are_shown_and_it_says_so(found: Any) -> None:
    assert found["many"] == {"note": "The 12 likeliest of 1,000 classes", "rows": 12}
