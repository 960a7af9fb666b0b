"""Run the commands that the pages show, and write what they print and draw: ``python refresh.py``.

Whatever stands below a ``$`` in a block of console text is replaced by what the command prints now.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
PROMPT = "$ portable-nn "


def run(words: str) -> str:
    """What ``portable-nn`` with these words prints; a backslash at the end of a line goes on in the next."""
    command = f"{sys.executable} -m portable_nn {words}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=HERE, check=False)
    if done.returncode:
        raise SystemExit(f"{command}\n{done.stderr}")
    return done.stdout


def commands(block: str) -> list[tuple[str, str]]:
    """The commands in a block, each with what the page says that it prints."""
    found: list[tuple[str, str]] = []
    for part in re.split(rf"^{re.escape(PROMPT)}", block, flags=re.MULTILINE)[1:]:
        words = re.match(r"(?:.*\\\n)*.*\n", part)
        assert words
        found.append((words[0].rstrip("\n"), part[words.end() :]))
    return found


def refreshed(page: str, printed: Callable[[str], str] = run) -> str:
    """The page with what each command prints now."""

    def block(match: re.Match[str]) -> str:
        shown = (f"{PROMPT}{words}\n{printed(words)}".rstrip() for words, _ in commands(match[0]))
        return "\n".join([*shown, ""])

    return BLOCK.sub(block, page)


if __name__ == "__main__":
    for path in [Path(name) for name in sys.argv[1:]] or sorted(HERE.glob("*.md")):
        path.write_text(refreshed(path.read_text(encoding="utf-8")), encoding="utf-8")
