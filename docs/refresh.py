"""Run the commands that the pages show, and update their output and pictures: ``python docs/refresh.py [PAGE.md]…``.

In a block of console text, everything from a line with ``$`` to the next one is replaced by the output of the command;
likewise the text between a comment ``<!-- $ command -->`` and the next comment.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
REGION = re.compile(r"(?<=^<!-- \$ )(.*?) -->\n(.*?)(?=^<!--)", re.DOTALL | re.MULTILINE)
PROGRAM = "portable-nn "
PROMPT = f"$ {PROGRAM}"


def commands(block: str) -> list[tuple[str, str]]:
    """The commands in a block, each with the output on the page; a backslash continues a command on the next line."""
    found: list[tuple[str, str]] = []
    for part in re.split(rf"^{re.escape(PROMPT)}", block, flags=re.MULTILINE)[1:]:
        words = re.match(r"(?:.*\\\n)*.*\n", part)
        assert words
        found.append((words[0].rstrip("\n"), part[words.end() :]))
    return found


def refreshed(page: str, printed: Callable[[str], str]) -> str:
    """The page with the output of each command replaced; ``printed`` runs a command."""

    def block(match: re.Match[str]) -> str:
        shown = (f"{PROMPT}{words}\n{printed(PROGRAM + words)}".rstrip() for words, _ in commands(match[0]))
        return "\n".join([*shown, ""])

    def region(match: re.Match[str]) -> str:
        return f"{match[1]} -->\n\n{printed(match[1]).strip()}\n\n"

    return REGION.sub(region, BLOCK.sub(block, page))


def run(words: str, folder: Path) -> str:
    """The output of a command: ``portable-nn`` runs in ``folder``, ``python`` in the folder of the pages."""
    program, rest = words.split(" ", 1)
    start, where = (
        (f"{sys.executable} -m portable_nn", folder) if program == PROGRAM.strip() else (sys.executable, HERE)
    )
    done = subprocess.run(f"{start} {rest}", shell=True, capture_output=True, text=True, cwd=where, check=False)
    if done.returncode:
        raise SystemExit(f"{words}\n{done.stderr}")
    return done.stdout


def refresh(path: Path) -> None:
    """Update a page and its pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        text = refreshed(path.read_text(encoding="utf-8"), lambda words: run(words, folder))
        for picture in (folder / "pictures").iterdir():
            shutil.copyfile(picture, HERE / "pictures" / picture.name)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for page in [Path(name) for name in sys.argv[1:]] or sorted(HERE.glob("*.md")):
        refresh(page)
