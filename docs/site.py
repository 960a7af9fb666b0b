"""What the site needs beyond the pages here: the package as it is installed, and files that pages link to elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
BESIDE = {
    "specification.md": "portable_nn/format/SPEC.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
"""Pages of the site that are files of the repository, which pages here link to as ``../SECURITY.md`` and so on."""

INSTALLED = ROOT / "build/package/portable_nn"
"""Where ``mkdocs.yml`` lets docstrings be read: converters and models are within the package, as in an installation."""


def on_startup(command: str, dirty: bool) -> None:
    """Lay out the package as it is installed."""
    shutil.rmtree(INSTALLED, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "samples", "*.safetensors", "*.onnx")
    shutil.copytree(ROOT / "portable_nn", INSTALLED, ignore=ignored)
    for name in ("converters", "models"):
        shutil.copytree(ROOT / name, INSTALLED / name, ignore=ignored)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the repository that are pages."""
    for page, path in BESIDE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of this folder, and those of the pages from there, to where these pages are on the site."""
    up = "../" * page.file.src_uri.count("/")
    for name, path in BESIDE.items():
        for link in (f"../{up}{path}", path) if page.file.src_uri in BESIDE else (f"../{up}{path}",):
            markdown = markdown.replace(f"]({link}", f"]({up}{name}")
    if page.file.src_uri in BESIDE:
        markdown = markdown.replace("](docs/", f"]({up}")
    return markdown
