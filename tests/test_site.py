"""The site of the documentation is built without a warning, and asks no other server for anything."""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KEPT = (
    "docs",
    "portable_nn",
    "converters",
    "models",
    "mkdocs.yml",
    "pyproject.toml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
)


@pytest.mark.long
def test_it_is_built_without_a_warning_and_needs_no_other_server(tmp_path: Path) -> None:
    for package in ("mkdocs", "material", "mkdocstrings_handlers"):
        pytest.importorskip(package, reason="MkDocs builds the site: pip install 'portable-nn[docs]'")
    for name in KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=tmp_path, capture_output=True, text=True, env=alone | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert "WARNING" not in done.stderr
    assert done.returncode == 0, done.stderr
    site = tmp_path / "build/site"
    pages = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert {"index.html", "api/index.html", "specification/index.html", "commands/train/index.html"} <= set(pages)
    for page, name in (("adversarial", "game"), ("sizes", "kernel")):  # Pages within pages, which need no network.
        assert f'<iframe src="../shown/{name}.html"' in pages[f"{page}/index.html"]
        assert (site / f"shown/{name}.html").stat().st_size > 20_000
    assert "<table>" in re.findall(r"<details>.*?</details>", pages["scale/index.html"], re.DOTALL)[0]
    loaded = r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"(https?:[^\"]*)\""
    assert {name: found for name, page in pages.items() if (found := re.findall(loaded, page))} == {}
    for name in ("Network", "Dense", "Adam", "export_onnx", "from_torch", "to_keras", "verify_signature"):
        [(page, place)] = re.findall(rf'href="([\w-]+/)#([\w.]+\.{name})"', pages["api/index.html"])
        assert f'id="{place}"' in pages[f"api/{page}index.html"]
    assert 'src="pictures/recording.svg"' in pages["index.html"]
    head, *sections = (site / "llms.txt").read_text(encoding="utf-8").split("\n\n## ")
    assert re.fullmatch(r"# Portable NN\n\n> [^\n]+\.", head)
    assert [each.split("\n")[0] for each in sections][:3] == ["Start", "Learn", "Use"]
    linked = [line for each in sections for line in each.rstrip().split("\n")[2:]]
    places = re.findall(r"^- \[[^]\n]+\]\(([\w./-]+)\)(?:: \S.*)?$", "\n".join(linked), re.MULTILINE)
    assert len(places) == len(linked)
    assert {posixpath.normpath(f"{place}/index.html") for place in places} == {
        page for page in pages if not page.startswith(("shown/", "404"))
    }
    assert "for-assistants/" in places
