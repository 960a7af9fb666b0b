"""Files of pictures in pages: the pixels that Python reads in them, whatever their format says of colours and sides."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pages.browsers import browse, in_firefox
from pages.picture_files import LOW, other_files, png_files, refused_files

from portable_nn.core.errors import DataError
from portable_nn.data.images import read_image
from portable_nn.preprocessing.pixels import WHITE, on_white

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decoding")
    (folder / "pictures").mkdir()
    for name, content in (*png_files(np.random.default_rng(0)), *other_files(np.random.default_rng(1))):
        (folder / "pictures" / name).write_bytes(content)
    for name, (content, _) in refused_files(np.random.default_rng(2)).items():
        (folder / "pictures" / f"refused-{name}").write_bytes(content)
    return folder


def shown(found: Any) -> NDArray[np.float32]:
    """The pixels of a picture in JavaScript, on white."""
    read = np.frombuffer(base64.b64decode(found["data"]), np.float32).reshape(found["height"], found["width"], 4)
    colours, opacity = read[..., :3], read[..., 3:] / WHITE
    composed: NDArray[np.float32] = np.where(opacity == 1, colours, WHITE + (colours - WHITE) * opacity)
    return composed


def check(found: dict[str, Any], folder: Path) -> None:
    good = {name: each for name, each in found.items() if not name.startswith("refused-")}
    assert len(good) > 400
    assert {name: each["error"] for name, each in good.items() if "error" in each} == {}
    for name, each in good.items():
        ours, theirs = on_white(read_image(folder / "pictures" / name)), shown(each)
        if name.startswith(("png", "jpeg")):
            assert each["grey"] == (ours.ndim == 2), name
        ours = ours if ours.ndim == 3 else np.repeat(ours[..., np.newaxis], 3, axis=2)
        assert theirs.shape == ours.shape, name
        np.testing.assert_array_equal(theirs, ours, err_msg=name)
    for name, (_, words) in refused_files(np.random.default_rng(2)).items():
        assert words in found[f"refused-{name}"]["error"], name


def test_chromium_sees_the_pixels_that_python_sees(folder: Path) -> None:
    check(browse("chromium_decoding.cjs", folder), folder)


def test_firefox_sees_the_pixels_that_python_sees(folder: Path) -> None:
    check(in_firefox("firefox_decoding.cjs", folder), folder)


def test_what_is_cut_short_or_empty_in_a_page_is_so_in_python(folder: Path) -> None:
    for name in (
        "cut.png",
        "cut.jpg",
        "cut.webp",
        "cut.gif",
        "cut.bmp",
        "empty.png",
        "words.png",
        "none.png",
        "start.jpg",
    ):
        with pytest.raises(DataError):
            read_image(folder / "pictures" / f"refused-{name}")
    with pytest.raises(ValueError, match=LOW):
        on_white(read_image(folder / "pictures" / "refused-low.png"))
