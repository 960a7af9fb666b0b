"""The picture of a training: what its lines are, and what is known before the first step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from steps import copied, draw, mlp

import portable_nn as pnn
from portable_nn.core.errors import FileError, UsageError
from portable_nn.training.curves import curves

pytest.importorskip("matplotlib")
X, Y = draw(22, 5, seed=1), draw(22, 3, seed=2)


@pytest.mark.long
def test_the_lines_are_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "run.png"
    history = mlp().fit(
        X, Y, loss="huber", epochs=6, validation=0.2, metrics="r2", train_metrics=True, plot=path,
        schedule=pnn.CosineDecay(), early_stopping=pnn.EarlyStopping(9),
    )  # fmt: skip
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    panels = {axes.get_title(loc="left"): axes for axes in curves(history).axes if axes.axison}
    assert list(panels) == ["loss", "r2", "learning rate"]
    for title, columns in (
        ("loss", ["loss", "val_loss"]),
        ("r2", ["r2", "val_r2"]),
        ("learning rate", ["learning_rate"]),
    ):
        lines = panels[title].get_lines()
        for line, column in zip(lines, columns, strict=False):
            np.testing.assert_array_equal(line.get_xydata(), np.column_stack([history["epoch"], history[column]]))
    assert panels["loss"].get_lines()[-1].get_xdata() == [history.best_epoch] * 2
    assert [text.get_text() for text in panels["loss"].texts] == ["training", "validation"]


@pytest.mark.long
def test_the_same_training_gives_the_same_picture(tmp_path: Path) -> None:
    for name in "ab":
        mlp().fit(X, Y, loss="huber", epochs=2, plot=tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_picture_that_cannot_be_drawn_is_known_before_the_first_step(tmp_path: Path) -> None:
    network = mlp()
    before = copied(network)
    with pytest.raises(UsageError, match=r"run.jpeg: the name of a picture ends in .png, .svg or .pdf$"):
        network.fit(X, Y, loss="huber", plot=tmp_path / "run.jpeg")
    with pytest.raises(FileError, match=r"cannot be written: there is no folder"):
        network.fit(X, Y, loss="huber", plot=tmp_path / "no" / "run.png")
    assert all((network.parameters[name] == array).all() for name, array in before.items())
