"""Pages: what is built is what the sources say, and nothing in the data gets out of them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pages.browsers import PAGES, need_packages

from portable_nn.pages.template import as_json, fill

HOSTILE = "</script><script>alert(1)</script><!-- <script> \u2028 \ud800 &lt; 'quoted' \"twice\""


@pytest.mark.long
def test_building_gives_the_bytes_that_are_under_version_control(tmp_path: Path) -> None:
    need_packages("esbuild", "typescript", "@types/node")
    built = subprocess.run(["node", PAGES / "build.cjs", tmp_path], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    new = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in (PAGES / "built").iterdir()}
    assert {*new} == {*kept}, "node portable_nn/pages/build.cjs builds what is missing; remove what has no source"
    assert [name for name in new if new[name] != kept[name]] == [], "run node portable_nn/pages/build.cjs"


@pytest.mark.long
def test_the_functions_of_the_pages_pass_their_own_tests() -> None:
    need_packages("esbuild", "typescript", "@types/node")
    done = subprocess.run(["node", PAGES / "build.cjs", "--test"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


class Elements(HTMLParser):
    """The elements of a page: name, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open = False
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))
        self.open = True

    def handle_endtag(self, tag: str) -> None:
        self.open = False

    def handle_data(self, data: str) -> None:
        if self.open:
            self.found[-1] = (*self.found[-1][:2], self.found[-1][2] + data)


def test_data_come_back_whatever_they_are_and_make_no_element() -> None:
    found = Elements(fill("model", HOSTILE, {"title": HOSTILE}, {"model": b"\x00<!-- bytes"}).decode()).found
    scripts = [element for element in found if element[0] == "script"]
    assert [attributes.get("id") for _, attributes, _ in scripts] == ["data", "model", None]
    assert json.loads(scripts[0][2]) == {"title": HOSTILE.replace("\ud800", "\N{REPLACEMENT CHARACTER}")}
    assert gzip.decompress(base64.b64decode(scripts[1][2])) == b"\x00<!-- bytes"


def test_the_policy_lets_the_one_script_and_style_run_and_nothing_be_loaded() -> None:
    found = Elements(fill("model", "t", {"title": "t"}).decode()).found
    policy = next(a["content"] for tag, a, _ in found if tag == "meta" and "http-equiv" in a) or ""
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert rules["default-src"] == ["'none'"]
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        text = next(text for name, attributes, text in found if name == tag and not attributes)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in rules[rule]
        assert "'unsafe-inline'" not in rules[rule]
    assert not re.search(r"https?:", " ".join(rules["script-src"] + rules["connect-src"] + rules["img-src"]))


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json({"x": float("nan")})
