"""JSON of strangers is a value or a ``ValueError``; and nothing but this function parses theirs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from portable_nn.core.jsons import parsed_json, typed_json

ROOT = Path(__file__).parents[2]

OWN = {
    "portable_nn/core/jsons.py": "the one function",
    "portable_nn/runtimes/side.py": "tasks of the process that started it",
    "portable_nn/runtimes/processes.py": "answers of a process that this one started",
    "portable_nn/runtimes/web.py": "what a program in a temporary folder wrote",
}
"""The files that parse JSON otherwise, and whose JSON that is."""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "'a' stands in it twice"),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"\xff\xfe1\x00", "it cannot be read as JSON in UTF-8"),
        (b"1" * 5000, "it cannot be read as JSON"),
        (b"", "it cannot be read as JSON"),
        (b"{} {}", "it cannot be read as JSON"),
    ],
)
def test_what_is_no_json_is_a_value_error(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parsed_json(text)


@pytest.mark.parametrize("before", ["", "3, "])
def test_what_is_nested_too_deeply_beside_a_misfit(before: str) -> None:
    """Only where the misfit is looked for, the parser meets the depth."""
    with pytest.raises(ValueError, match=r"nested too deeply|^a cannot be"):  # Python 3.13 goes deeper.
        typed_json(f'{{"a": [{before}{"[" * 1100}{"]" * 1100}]}}'.encode(), dict[str, list[int]])


def test_json_is_read() -> None:
    assert parsed_json('{"a": [1, 2.5, null, "\u65e5"]}'.encode()) == {"a": [1, 2.5, None, "日"]}
    assert parsed_json("[Infinity]", nan=True) == [float("inf")]


def test_nothing_else_parses_json_of_strangers() -> None:
    files = [*(ROOT / "portable_nn").rglob("*.py"), *(ROOT / "converters").rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in files if re.search(r"\bjson\.loads?\(", path.read_text("utf-8"))}
    assert found - {"portable_nn/core/jsons.py"} == OWN.keys() - {"portable_nn/core/jsons.py"}
