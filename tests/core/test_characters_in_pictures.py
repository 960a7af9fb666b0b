"""Characters that no picture can show are named in words of this package, and nothing else is said."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from portable_nn.core.errors import PortableNNWarning
from portable_nn.core.plotting import drawn, figure, save, style


@pytest.mark.parametrize(("label", "lacking"), [("数 ü 🙂 a", "数 🙂"), ("ü ß $x_{$ é Ω я", "")])
def test_what_the_font_lacks_is_named(label: str, lacking: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with style():
            made = figure(3, 2)
            axes = made.subplots()
            axes.set_xticks([0, 1], [drawn(label), "b"])
            made.canvas.draw()
            save(made, tmp_path / "it.png")
    found = [(each.category, str(each.message).rpartition(": ")[2]) for each in caught]
    assert found == [(PortableNNWarning, lacking)] * bool(lacking)
