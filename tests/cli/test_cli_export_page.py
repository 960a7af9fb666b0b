"""``portable-nn export MODEL --html page.html``: what is refused; tests/pages has the pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--html page.txt", "must end in .html"),
        ("out.onnx --html page.html", "leave OUT out"),
        ("--html page.html --numpy net.py", "leave --numpy out"),
        ("--html page.html --opset 17", "--opset is for ONNX files and programs"),
        ("--runtime dist out.onnx", "--runtime is for a page: --html FILE.html"),
        ("--html page.html", "--fetch-runtime gets it once"),
    ],
)
def test_options_that_do_not_fit_are_named(
    run: Any, words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = run("export", "digits-mlp", *words.split())
    assert found.code == 2
    assert message in found.err
    assert not any(tmp_path.glob("*.html"))
