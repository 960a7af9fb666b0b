"""What the site needs beyond the pages here: the package as it is installed, and files that pages link to elsewhere."""

from __future__ import annotations

import inspect
import logging
import posixpath
import re
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
log = logging.getLogger("mkdocs.site")
BESIDE = {
    "specification.md": "portable_nn/format/SPEC.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
"""Pages of the site that are files of the repository, which pages here link to as ``../SECURITY.md`` and so on."""

HEAD = re.compile(r"# ([^\n]+)\n*(?:([^#:!<|`\n].*?|`[^`].*?)(?:\n\n|\Z))?", re.DOTALL)
"""The heading of a page, and its first paragraph."""

LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
"""A link, and its text."""

INSTALLED = ROOT / "build/package/portable_nn"
"""Where ``mkdocs.yml`` lets docstrings be read: converters and models are within the package, as in an installation."""


def on_startup(command: str, dirty: bool) -> None:
    """Lay out the package as it is installed, and find it to make pages."""
    sys.path.insert(0, str(ROOT))
    shutil.rmtree(INSTALLED, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "samples", "*.safetensors", "*.onnx")
    shutil.copytree(ROOT / "portable_nn", INSTALLED, ignore=ignored)
    for name in ("converters", "models"):
        shutil.copytree(ROOT / name, INSTALLED / name, ignore=ignored)


def digits() -> bytes:
    """A page that reads digits, where its runtime is on this machine (``export --runtime fetch``); else nothing."""
    import portable_nn as pnn
    from portable_nn.core.errors import UsageError

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "digits.html")
        try:
            pnn.to_html("digits", path)
        except UsageError as error:
            log.info("The first page has no digits to draw: %s", error)
            return b""
        return path.read_bytes()


def game() -> bytes:
    """The game of the lesson, to play with."""
    from portable_nn.lessons.game import game_page

    return game_page()


def kernel() -> bytes:
    """A kernel to move over its input."""
    from portable_nn.lessons.size import size_page
    from portable_nn.sizes import conv

    return size_page(conv(3, stride=2), 7)


SHOWN = {"digits": (digits, 1000), "game": (game, 1200), "kernel": (kernel, 1000)}
"""Pages that are shown within others, where ``<!-- page: NAME -->`` stands: what makes them, and their height."""

MARK = re.compile(r"^<!-- page: (\w+)(?:: (.*))? -->$", re.MULTILINE)
"""The place of such a page, and the sentence above it."""

SECTION = re.compile(r"^## (.+)\n\n((?:::: .+\n)+)", re.MULTILINE)
"""A subject of ``api.md`` and its modules, which become a page."""


def on_config(config: MkDocsConfig) -> None:
    """Add a page for each subject of the reference to the navigation."""
    [pages] = [each["Reference"] for each in config.nav or [] if "Reference" in each]
    pages += [_reference(title) for title, _ in SECTION.findall((ROOT / "docs/api.md").read_text(encoding="utf-8"))]


def _reference(title: str) -> str:
    """The page of a subject."""
    return f"api/{'-'.join(re.findall(r'[a-z]+', title.lower()))}.md"


def _names(section: re.Match[str]) -> str:
    """A subject as a list of its names, each with the first sentence about it."""
    lines = [f"## [{section[1]}]({_reference(section[1])})", ""]
    for path in re.findall(r"^::: (.+)$", section[2], re.MULTILINE):
        module: Any = import_module(path)
        own = [name for name, each in vars(module).items() if getattr(each, "__module__", "") == path]
        for name in getattr(module, "__all__", [each for each in own if each[0] != "_"]):
            found = getattr(module, name)
            if inspect.isclass(found) or inspect.isfunction(found):
                about = " ".join((inspect.getdoc(found) or "").replace("``", "`").split("\n\n")[0].split())
                first = re.split(r"(?<=[.]) ", about)[0].rstrip(".:")
                lines.append(f"- [`{name}`]({_reference(section[1])}#{path}.{name}): {first}")
    return "\n".join([*lines, "", ""])


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the repository that are pages, and the pages that are made."""
    for name, (make, _) in SHOWN.items():
        if content := make():
            files.append(File.generated(config, f"shown/{name}.html", content=content))
    for title, modules in SECTION.findall((ROOT / "docs/api.md").read_text(encoding="utf-8")):
        files.append(File.generated(config, _reference(title), content=f"# {title}\n\n{modules}"))
    for page, path in BESIDE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    files.append(File.generated(config, "llms.txt", content=_for_assistants(config, files)))
    return files


def _for_assistants(config: MkDocsConfig, files: Files) -> str:
    """The pages by their headings in the navigation, each with its first sentence, as llmstxt.org has it."""
    lines = [f"# {config.site_name}", "", f"> {config.site_description}"]
    for section in config.nav or []:
        [(title, entries)] = section.items()
        lines += ["", f"## {title}", ""]
        for path in _paths(entries):
            file = files.get_file_from_path(path)
            assert file
            found = HEAD.match(file.content_string)
            assert found
            about = " ".join(LINK.sub(r"\1", found[2] or "").split())
            first = re.split(r"(?<=[^A-Z][.]) ", about)[0].rstrip(".")
            lines.append(f"- [{found[1]}]({file.url or '.'}){': ' * bool(first)}{first}")
    return "\n".join([*lines, ""])


def _paths(entries: Any) -> list[str]:
    """The pages of a part of the navigation."""
    if isinstance(entries, str):
        return [entries]
    parts = entries.values() if isinstance(entries, dict) else entries
    return [path for part in parts for path in _paths(part)]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of this folder, and those of the pages from there, to where these pages are on the site."""
    up = "../" * page.file.src_uri.count("/")

    def frame(match: re.Match[str]) -> str:
        if not files.get_file_from_path(f"shown/{match[1]}.html"):
            return ""
        source = posixpath.relpath(f"shown/{match[1]}.html", page.url or ".")
        height = SHOWN[match[1]][1]
        style = f"width:100%;height:{height}px;border:1px solid #8884;border-radius:8px"
        return f'{match[2] or ""}\n\n<iframe src="{source}" title="{match[1]}" style="{style}" loading="lazy"></iframe>'

    markdown = MARK.sub(frame, markdown)
    if page.file.src_uri == "api.md":
        markdown = SECTION.sub(_names, markdown)
    for name, path in BESIDE.items():
        for link in (f"../{up}{path}", path) if page.file.src_uri in BESIDE else (f"../{up}{path}",):
            markdown = markdown.replace(f"]({link}", f"]({up}{name}")
    if page.file.src_uri in BESIDE:
        markdown = markdown.replace("](docs/", f"]({up}")
    return markdown
