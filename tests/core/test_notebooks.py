"""What notebooks show of results and reports: the values of the same objects, whole, escaped, and without scripts."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from core.test_html import Cells

import portable_nn as pnn
from portable_nn import sizes
from portable_nn.adversarial import compare, simulate
from portable_nn.analysis.report import Finding, Report
from portable_nn.catalog import find_model
from portable_nn.converters.conversion import Imported, Written
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.errors import DataError
from portable_nn.core.html import html_of
from portable_nn.core.text import fields, size, table
from portable_nn.onnx.verification.differences import Difference
from portable_nn.onnx.verification.proof import Proof
from portable_nn.outputs.reports import check, size_net
from portable_nn.prediction.prediction import Prediction, prediction_rows

HOSTILE = "</td><script>alert(1)</script>&amp;"


class Words(Cells):
    """All the text of an element."""

    def __init__(self, text: str) -> None:
        self.text = ""
        super().__init__(text)

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"
        super().handle_data(data)


def words(text: str) -> list[str]:
    return sorted(re.findall(r"\S+", text))


def shown(found: Any) -> Words:
    """What a notebook shows of an object; it has no script."""
    html = Words(found._repr_html_())
    assert not html.tags & {"script", "style", "link", "img", "iframe"}
    return html


def test_a_text_with_tables_becomes_html_with_the_same_words() -> None:
    def text() -> str:
        cells = table(("name", ">count"), [(HOSTILE, "1"), ("y", "2")])
        return f"A title {HOSTILE}\n{cells}\n{fields([('one', 'a value'), ('none', ''), ('two', HOSTILE)])}the end\n"

    found = Words(html_of(text))
    assert found.rows == [["name", "count"], [HOSTILE, "1"], ["y", "2"], ["one", "a value"], ["two", HOSTILE]]
    assert words(found.text) == words(text())
    assert "script" not in found.tags
    assert text() == text()  # Text is text again afterwards.


def test_marks_of_tables_cannot_be_written_by_others() -> None:
    assert Words(html_of(lambda: "0:0;\n" + table(("a",), [("x",)]))).rows == [["a"], ["x"]]


def test_reports_show_the_words_of_their_text() -> None:
    comparison = compare(methods=["extragradient", "optimistic"], evaluations=200)
    assert words(shown(comparison).text) == words(repr(comparison))
    run = simulate(steps=50)
    assert words(html_of(run.__repr__)) != []
    assert set(words(repr(run))) <= set(words(shown(run).text))


def test_findings_of_a_check() -> None:
    report = Report("m", 3, (Finding("error", "conv", HOSTILE, "a hint"), Finding("note", "", "something")))
    found = shown(report)
    assert found.rows[:2] == [["level", "node", "message"], ["error", "conv", HOSTILE]]
    assert "1 error, 1 note in 3 nodes" in found.text
    assert "2 notes in 5 nodes" in shown(check("digits-mlp")).text
    assert words(shown(Report("m", 3, ())).text) == words("nothing found in 3 nodes")


def test_sizes_of_every_node() -> None:
    net = size_net("digits-cnn")
    rows = shown(net).rows
    assert [row[0] for row in rows[1 : 1 + len(net.nodes)]] == [node.name for node in net.nodes if not node.constant]
    assert f"{net.parameters:,}" in shown(net).text


def test_options_of_a_convolution() -> None:
    convt = sizes.convt((3, 5), stride=2, padding=((0, 1), (0, 0)), groups=2)
    found = shown(convt)
    assert found.title == "convt, groups 2"
    assert found.rows == [
        ["option", "axis 0", "axis 1"],
        ["kernel", "3", "5"],
        ["stride", "2", "2"],
        ["pad_end", "1", "0"],
    ]
    assert shown(sizes.pool(2, ceil=True)).title == "pool, ceil True"


def test_a_proof() -> None:
    proof = Proof(["y"])
    proof["y"] = Difference(1e-7, 2e-6)
    proof.sizes, proof.notes = {"n": (1, 3)}, (f"not all: {HOSTILE}",)
    found = shown(proof)
    assert found.rows == [["output", "abs. error", "rel. error"], ["y", "1.0e-07", "2.0e-06"], ["sizes", "n 1, 3"]]
    assert HOSTILE in found.text


def test_the_path_of_a_run() -> None:
    run = simulate("bilinear", "extragradient", steps=2500)
    html = run._repr_html_()
    [points] = re.findall(r'points="([^"]*)"', html)
    places = np.array([[float(number) for number in pair.split(",")] for pair in points.split()])
    assert 800 < len(places) <= 1000
    reach = np.abs(run.z[::3]).max() * 1.05
    assert np.allclose(places, 120 + 120 * run.z[::3] / reach * (1, -1), atol=0.06)
    assert "svg" not in simulate("rock-paper-scissors", steps=5)._repr_html_()
    assert "svg" not in simulate(learning_rate=[0.1, 0.2], steps=5)._repr_html_()


def test_predictions_show_what_is_computed_and_compute_nothing() -> None:
    images = sorted(find_model("digits-mlp").samples.glob("*.png"))[:3]
    predictions = pnn.predict("digits-mlp", images, top=3)
    before = shown(predictions)
    assert (predictions.made, before.rows[1:]) == (0, [])
    assert before.title.startswith("Predictions by digits-mlp: none is computed yet")
    kept = list(predictions[:])
    found = shown(predictions)
    assert found.rows[0][:3] == ["input", "label", "probability"]
    assert [row[:2] for row in found.rows[1:]] == [[each.input, each.label] for each in kept]
    bars = re.findall(r'<meter value="([\d.]+)">', predictions._repr_html_())
    assert [float(bar) for bar in bars] == pytest.approx([each.probability for each in kept], abs=1e-4)
    first = shown(kept[0])
    assert [row[0] for row in first.rows] == ["class", *(name for name, _ in kept[0].top)]
    assert first.title == f"{kept[0].input}: {kept[0].label}"


def test_quantities_of_one_name_are_shown_one_by_one() -> None:
    headings, rows = prediction_rows([Prediction("a", values=(1.0, 2.0)), Prediction("b", error="bad")], ["x", "x"])
    assert headings == ["input", ">x", ">x", "error"]
    assert rows == [["a", "1", "2", ""], ["b", "", "", "bad"]]


def test_predictions_that_are_shown_are_not_lost_nor_doubled(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=0)
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    predictions = pnn.predict(net, x, batch_size=8)
    first = next(predictions)
    assert len(shown(predictions).rows) == 2
    values = [each.values for each in [first, *predictions]]
    assert np.allclose(values, net.predict(x), rtol=1e-5)
    found = shown(predictions)
    assert found.title.endswith("50 so far; the first 20 are shown")
    assert [row[1] for row in found.rows[1:]] == [f"{first:.6g}" for first, _ in values[:20]]
    (tmp_path / "t.csv").write_text("1,2,3\n4,5,6\nx,8,9\n")
    bad = pnn.predict(net, tmp_path / "t.csv", batch_size=1)
    assert len([next(bad), next(bad)]) == 2
    with pytest.raises(DataError):
        next(bad)
    assert len(shown(bad).rows) == 3


def test_what_export_has_written_is_shown_with_its_proof(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(3), pnn.Dense(2, name="y"), seed=0)
    report = export_onnx(net, tmp_path / "m.onnx", opset=17)
    found = shown(report)
    assert str(tmp_path / "m.onnx") in found.text
    assert f"opset 17, IR version {report.ir_version}" in " ".join(found.text.split())


def test_a_prediction_of_numbers_and_one_that_failed() -> None:
    found = shown(pnn.Prediction("a.csv:2", values=(0.5, 1e-7)))
    assert (found.title, found.rows) == ("a.csv:2", [["value 0", "value 1"], ["0.5", "1e-07"]])
    failed = shown(pnn.Prediction(HOSTILE, error="it is no picture"))
    assert (failed.title, failed.rows) == (HOSTILE, [["error"], ["it is no picture"]])


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the output of a cell shows, one after the other, in a notebook."""
    pages: list[str] = []

    def display(page: Any, *, display_id: bool) -> Any:
        assert display_id
        pages.append(page._repr_html_())
        return SimpleNamespace(update=lambda page: pages.append(page._repr_html_()))

    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return pages


def fitted(**options: Any) -> pnn.History:
    net = pnn.Sequential(pnn.Input(2, name="x"), pnn.Dense(1), seed=0)
    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(16, 2)
    return net.fit(x, x[:, :1], loss="mean_squared_error", epochs=12, batch_size=4, **options)


def test_a_training_shows_a_bar_in_a_notebook(cell: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    history = fitted()
    last = Words(cell[-1])
    assert '<progress value="0" max="48"' in cell[0]
    assert '<progress value="48" max="48"' in cell[-1]
    assert last.title == "12 of 12 epochs"
    assert last.rows[0] == list(history.rows[0])
    assert last.rows[1:] == [[f"{value:.6g}" for value in row.values()] for row in history.rows[-10:]]
    assert capsys.readouterr() == ("", "")


def test_a_training_shows_no_bar_where_none_is_asked_for(cell: list[str]) -> None:
    fitted(progress=False)
    assert cell == []


def test_a_terminal_with_ipython_is_no_notebook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace()))
    fitted()
    assert "epoch 12 of 12" in capsys.readouterr().err


def test_what_was_imported_and_written_shows_the_proof_and_the_notes(tmp_path: Path) -> None:
    proof = Proof([HOSTILE])
    proof[HOSTILE] = Difference(1e-7, 2e-6)
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(2, name="last"), seed=0)
    found = shown(Imported(network, proof, (HOSTILE,)))
    assert ["last", "Gemm", "(batch, 3)", "(batch, 2)", "8"] in [row[:5] for row in found.rows]
    assert [HOSTILE, "1.0e-07", "2.0e-06"] in found.rows
    assert HOSTILE in found.text
    (tmp_path / "m.bin").write_bytes(bytes(2_000))
    written = shown(Written(tmp_path / "m.py", 1_500, proof, (HOSTILE,), (tmp_path / "m.bin",)))
    assert written.rows[:3] == [
        ["file", "size"],
        [str(tmp_path / "m.py"), "1.5 kB"],
        [str(tmp_path / "m.bin"), "2.0 kB"],
    ]
    assert [HOSTILE, "1.0e-07", "2.0e-06"] in written.rows
    assert "differences" not in shown(Written(tmp_path / "m.py", 1_500, Proof([]), ())).text
    exported = export_onnx(network, tmp_path / "m.onnx")
    assert [str(tmp_path / "m.onnx"), size(exported.bytes)] in shown(exported).rows
