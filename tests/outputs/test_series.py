"""Predictions along rows: what is thinned is that of all rows, and the pictures show it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.cli import main
from portable_nn.core.errors import UsageError
from portable_nn.outputs import series
from portable_nn.outputs.series import Columns, Series
from portable_nn.outputs.series_picture import sheet

ECHOES = find_model("altimetry-swh").samples / "echoes.npy"


@pytest.mark.long
@given(counts=st.lists(st.integers(0, 70), max_size=12), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_columns_are_those_of_all_rows(counts, seed):
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal((count, 2)) for count in counts]
    for part in parts:
        part[rng.uniform(size=part.shape) < 0.2] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series, "COLUMNS", 16)
        columns = Columns(2)
        for part in parts:
            columns.add(part)
        rows = np.concatenate([np.empty((0, 2)), *parts])
        assert columns.rows == len(rows)
        assert len(columns.places) <= 16
        least, greatest = columns.span
        for place, (middle, mean) in enumerate(zip(columns.places, columns.mean, strict=True)):
            here = np.ma.masked_invalid(rows[place * columns.size : (place + 1) * columns.size])
            assert middle == place * columns.size + (columns.size - 1) / 2
            np.testing.assert_allclose(mean, here.mean(axis=0).filled(np.nan), rtol=1e-9, atol=1e-12)
            np.testing.assert_array_equal(least[place], here.min(axis=0).filled(np.nan))
            np.testing.assert_array_equal(greatest[place], here.max(axis=0).filled(np.nan))


def test_memory_is_that_of_the_columns():
    columns = Columns(1)
    for _ in range(50):
        columns.add(np.zeros((20_000, 1)))
    assert columns.rows == 1_000_000
    assert columns.total.shape == (series.COLUMNS, 1)
    assert 0.5 * series.COLUMNS < len(columns.places) <= series.COLUMNS


def drawn(model, x):
    predictions = pnn.predict(model, x, strict=False)
    found = Series(predictions)
    assert [each for batch in found.watching([list(predictions)]) for each in batch]
    return sheet(found, "title")


@pytest.mark.long
def test_quantities_have_their_units_and_uncertainty():
    page = drawn("altimetry-swh", np.load(ECHOES))
    assert [axes.get_ylabel() for axes in page.axes] == ["height [m]", "epoch [m]"]
    names = [text.get_text() for text in page.axes[0].get_legend().get_texts()]
    assert names == ["very uncertain", "± one predicted standard deviation", "predicted"]
    line = page.axes[0].lines[0].get_ydata()
    wanted = pnn.load_model("altimetry-swh").predict(np.load(ECHOES))
    sure = wanted[:, 2] < 0
    np.testing.assert_allclose(line[sure], wanted[sure, 0], atol=1e-3)
    assert np.isnan(line[wanted[:, 2] > 3]).all()
    [band] = [each for each in page.axes[0].collections if each.get_label().startswith("±")]
    drawn_rows = {round(x) for path in band.get_paths() for x in path.vertices[:, 0]}
    assert not drawn_rows & set(np.flatnonzero(wanted[:, 2] > 3))


def test_classes_are_a_strip_and_their_probabilities():
    page = drawn("altimetry-surface", np.load(ECHOES))
    assert [axes.get_ylabel() for axes in page.axes] == ["share of rows", "probability"]
    names = {text.get_text() for text in page.axes[0].get_legend().get_texts()}
    assert {"water", "land", "ice", "mixed"} <= names
    shares = pnn.load_model("altimetry-surface").predict_proba(np.load(ECHOES)).max(axis=1)
    np.testing.assert_allclose(page.axes[1].lines[0].get_ydata(), shares, atol=1e-3)


def test_numbers_without_uncertainty_are_lines_and_bad_rows_gaps():
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(6), seed=0)
    x = np.ones((9, 3), np.float32)
    x[0] = x[4] = np.nan
    page = drawn(network, x)
    assert len(page.axes) == 4
    line = page.axes[0].lines[0].get_ydata()
    assert np.flatnonzero(np.isnan(line)).tolist() == [0, 4]
    with pytest.raises(UsageError, match="nothing to draw"):
        drawn(network, np.full((2, 3), np.nan, np.float32))


@pytest.mark.long
def test_plot_at_the_command_line(tmp_path, capsys):
    picture, table = tmp_path / "track.png", tmp_path / "heights.csv"
    arguments = ["predict", "altimetry-swh", str(ECHOES), "--plot", str(picture)]
    assert main([*arguments, "--out", str(table)]) == 0
    assert "drawn" in capsys.readouterr().err
    with Image.open(picture) as image:
        assert image.width > 1000
    assert len(table.read_text().splitlines()) == 41
    first = picture.read_bytes()
    assert main([*arguments, "--force", "--out", str(tmp_path / "heights.json")]) == 0
    assert picture.read_bytes() == first
    assert main([*arguments, "--out", str(tmp_path / "heights.npz"), "--force"]) == 2
    assert main([*arguments[:-1], str(tmp_path / "none" / "track.png")]) != 0
    assert "there is no folder" in capsys.readouterr().err
