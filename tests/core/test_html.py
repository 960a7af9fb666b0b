"""What notebooks show: HTML that is whole, escaped, and has the numbers."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.html import LONG, html_table


class Cells(HTMLParser):
    """The texts of a table, row by row; fails where a tag is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.title, self.folded, self.tags = "", False, set[str]()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "details":
            self.folded = ("open", None) not in attributes
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["summary"]:
            self.title += data
        elif self.open[-1:] in (["td"], ["th"]):
            self.rows[-1][-1] += data


def test_a_table() -> None:
    found = Cells(html_table("a\nb", ("name", ">count"), [("x", "1"), ("y", "2")], ("2 names", "3")))
    assert found.title == "a\nb"
    assert found.rows == [["name", "count"], ["x", "1"], ["y", "2"], ["2 names", "3"]]
    assert not found.folded


def test_a_table_without_rows() -> None:
    assert Cells(html_table("nothing", (), [])).rows == [[]]


def test_long_tables_are_folded_up() -> None:
    assert not Cells(html_table("", ("a",), [("x",)] * LONG)).folded
    assert Cells(html_table("", ("a",), [("x",)] * (LONG + 1))).folded


def test_names_are_escaped() -> None:
    bad = "<script>alert('&')</script>\x1b"
    text = html_table(bad, (bad,), [(bad,)], (bad,))
    found = Cells(text)
    assert found.tags == {"details", "summary", "table", "thead", "tbody", "tfoot", "tr", "th", "td"}
    assert {found.title, *(cell for row in found.rows for cell in row)} == {bad.replace("\x1b", "\\x1b")}
    assert "\x1b" not in text


def test_a_network() -> None:
    net = pnn.Sequential(
        pnn.Input(4, name="<i>"), pnn.Dense(5, name="a&b"), pnn.Tanh(), pnn.Dense(3), labels="xyz", seed=0
    )
    found = Cells(net._repr_html_())
    assert found.title == repr(net)
    assert found.title.splitlines() == [
        "Network 'network': 3 nodes, 43 parameters (172 B)",
        "  input <i>: float32(batch, 4)",
        "  output dense_1: float32(batch, 3), logits",
    ]
    assert found.rows == [
        ["node", "operator", "input", "output", "parameters", "bytes"],
        ["a&b", "Gemm", "(batch, 4)", "(batch, 5)", "25", "100"],
        ["tanh_1", "Tanh", "(batch, 5)", "(batch, 5)", "", ""],
        ["dense_1", "Gemm", "(batch, 5)", "(batch, 3)", "18", "72"],
        ["3 nodes", "", "", "", "43", "172"],
    ]


def test_a_history() -> None:
    rng = np.random.default_rng(0)
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), seed=0)
    x, y = rng.random((40, 2)), rng.integers(0, 2, 40)
    history = net.fit(x, y, epochs=12, validation=0.25, metrics="accuracy", early_stopping=pnn.EarlyStopping(20))
    title, headings, *lines = repr(history).splitlines()
    assert title == f"History: 12 epochs, finished, best epoch {history.best_epoch} (the last 10 are shown)"
    assert headings.split() == ["epoch", "loss", "learning_rate", "val_loss", "val_accuracy"]
    assert [int(line.split()[0]) for line in lines] == [*range(3, 13)]
    assert [float(line.split()[1]) for line in lines] == pytest.approx(history["loss"][-10:], rel=1e-5)
    found = Cells(history._repr_html_())
    assert found.title == title
    assert found.rows == [headings.split(), *(line.split() for line in lines)]
    assert repr(pnn.History()) == "History: 0 epochs, finished"
    assert repr(pnn.History([{"epoch": 1, "loss": 0.5}], "interrupted")).splitlines() == [
        "History: 1 epoch, interrupted",
        "epoch  loss",
        "    1   0.5",
    ]


def test_predictions(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.eye(4)[:, None, :3], y=[0, 1, 2, 0])
    net = pnn.Sequential(pnn.Input(1, 3), pnn.Flatten(), pnn.Dense(3, bias=False), labels="abc")
    net.parameters["dense_1.weight"][...] = np.eye(3)
    net.save(tmp_path / "m.safetensors")
    found = pnn.predict(tmp_path / "m.safetensors", tmp_path / "d.npz", engine="numpy")
    where = f"Predictions by {tmp_path / 'm.safetensors'}: "
    assert repr(found) == f"{where}none is computed yet; list(predictions) computes them"
    first = next(found)
    assert repr(found).splitlines() == [
        f"{where}1 so far; 1 of 1 with a known class right",
        f"{'input':{len(first.input)}}  label  probability  expected",
        f"{first.input}  a      57.6 %       a",
    ]
    assert repr(first) == (
        f"Prediction(input={first.input!r}, label='a', index=0, probability={first.probability!r}, "
        f"top=(('a', {first.probability!r}),), expected='a')"
    )
    assert eval(repr(first), {"Prediction": pnn.Prediction}) == first
    assert len(list(found)) == 3
    title, _, *rows = repr(found).splitlines()
    assert title == f"{where}4 so far; 4 of 4 with a known class right"
    assert [row.split()[1] for row in rows] == ["a", "b", "c", "a"]
