"""One HTML file from a built page and its data."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any, Final

from portable_nn.core.html import html_document

_BODY: Final = """<noscript><p>This page computes in the browser: it needs JavaScript.</p></noscript>
<main id="page"></main>
<script type="application/json" id="data">{data}</script>
{files}<script>{script}</script>"""


def fill(page: str, title: str, data: Mapping[str, Any], binary: Mapping[str, bytes] | None = None) -> bytes:
    """The page ``src/{page}.ts`` as one HTML file, which loads nothing from anywhere.

    Whatever the data say, they stay data: ``<`` is escaped in the JSON, and the page's Content Security Policy runs
    one script alone, by its SHA-256, and opens no connection.

    Args:
        page: the name of a source: ``model`` for ``src/model.ts``.
        title: the title of the browser's window.
        data: what the script reads as ``data()``: anything JSON can say. Numbers are finite.
        binary: what it reads as ``await binary(name)``, by name; stored as the base64 of gzip.

    Raises:
        ValueError: a number in the data is not finite.
    """
    script, style = _built(f"{page}.js"), _built("style.css") + _built(f"{page}.css")
    return html_document(
        title,
        _policy(script, style),
        f'<link rel="icon" href="data:,">\n<style>{style}</style>',
        _BODY.format(
            data=as_json(data),
            files="".join(map(_embedded, *zip(*binary.items(), strict=True))) if binary else "",
            script=script,
        ),
    )


def as_json(data: Mapping[str, Any]) -> str:
    """JSON that may stand in a script element: nothing in it begins or ends an element or a comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # U+2028 and U+2029 would end a line of JavaScript, and the lone halves of characters have no bytes.
    for character, escaped in (("<", "\\u003c"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029")):
        text = text.replace(character, escaped)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _embedded(name: str, content: bytes) -> str:
    packed = base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
    return f'<script type="application/octet-stream" id="{escape(name)}">{packed}</script>\n'


def _policy(script: str, style: str) -> str:
    """Nothing is loaded but what the page itself makes (``blob:``, ``data:``); no other script of the file runs."""
    rules = (
        "default-src 'none'",
        f"script-src {_digest(script)} 'wasm-unsafe-eval' blob:",
        f"style-src {_digest(style)}",
        "img-src data: blob:",
        "connect-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(rules)


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _built(name: str) -> str:
    """A built file; empty for a page without a style of its own."""
    found = files("portable_nn.pages").joinpath("built", name)
    return found.read_text(encoding="utf-8") if found.is_file() or name.endswith(".js") else ""
