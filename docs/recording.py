"""The recording at the top of the README: ``python docs/recording.py`` runs its commands and draws it anew."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path
from textwrap import wrap

import numpy as np

PICTURE = Path(__file__).parent / "pictures/recording.svg"
WIDTH, LINE = 54, 21
"""Characters in a line, and the height of one."""
SECONDS = (7, 8)
"""How long each screen stands, from its first line on."""
THREE = [
    *((26, 28), (36, 10), (70, 12), (68, 32), (66, 46), (52, 49), (42, 49)),
    *((60, 48), (76, 54), (70, 72), (64, 92), (36, 90), (24, 74)),
]
"""A digit in a square of 100: points of cubic Bézier curves, each of which begins where the last one ends."""

STYLE = """
text { font: 16px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
text { fill: #1f2328; white-space: pre; opacity: 0 }
.back { fill: #f6f8fa; stroke: #d0d7de } .paper { fill: #fff; stroke: #d0d7de }
.remark { fill: #59636e } .command { font-weight: 600 } .error { fill: #b3261e }
.ink { fill: none; stroke: #1f2328; stroke-width: 9; stroke-linecap: round }
.ink { stroke-dasharray: 1; animation: ink TOTALs infinite }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .back { fill: #151b23; stroke: #3d444d } .remark { fill: #9198a1 } .error { fill: #ff8a80 } }
@keyframes ink { 0% { stroke-dashoffset: 1 } 10%, 100% { stroke-dashoffset: 0 } }
@media (prefers-reduced-motion) { .ink, text { animation: none !important } .first { opacity: 1 !important } }
"""


def draw(folder: Path) -> None:
    """Draw the digit as ``three.png``, dark on white."""
    from PIL import Image, ImageDraw

    t = np.linspace(0, 1, 60)[:, None]
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    paper = Image.new("L", (400, 400), "white")
    pen = ImageDraw.Draw(paper)
    for start in range(0, len(THREE) - 1, 3):
        for x, y in sum(w * np.array(point) for w, point in zip(weights, THREE[start:], strict=False)) * 4:
            pen.ellipse((x - 18, y - 18, x + 18, y + 18), fill="black")
    paper.save(folder / "three.png")


def change(folder: Path) -> None:
    """Change one of the 214,000 weights in ``digits.onnx``."""
    import onnx

    model = onnx.load(folder / "digits.onnx")
    [tensor] = [each for each in model.graph.initializer if each.name == "shapes.weight"]
    weights = onnx.numpy_helper.to_array(tensor).copy()
    weights[7, 3, 2, 1] += 0.1
    tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))
    onnx.save(model, folder / "digits.onnx")


SCREENS: tuple[tuple[tuple[str, Callable[[Path], None] | None, str], ...], ...] = (
    (
        ("a digit, and a network of the package that reads it", draw, "predict digits three.png"),
        ("as an ONNX file, checked in onnxruntime", None, "export digits digits.onnx"),
    ),
    (
        ("onnxruntime runs that file", None, "predict digits.onnx three.png"),
        ("one weight in the file has been changed", change, "predict digits.onnx three.png"),
    ),
)
"""On each screen remarks, what is done before the command, and the command."""


def printed(command: str, folder: Path) -> str:
    """What a command prints: its result, or its error."""
    program = [sys.executable, "-m", "portable_nn", *command.split()]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else done.stdout


def lines() -> list[list[tuple[str, str]]]:
    """The lines of each screen, with their kinds; long ones are broken as in a narrow terminal."""
    screens = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for screen in SCREENS:
            found = []
            for remark, prepare, command in screen:
                if prepare:
                    prepare(folder)
                found += [("gap", ""), ("remark", f"# {remark}"), ("command", f"$ portable-nn {command}")]
                text = printed(command, folder)
                kind = "error" if text.startswith("error") else "output"
                for line in text.splitlines():
                    found += [(kind, part) for part in wrap(line, WIDTH) or [""]]
            screens.append(found[1:])
    return screens


def picture(screens: list[list[tuple[str, str]]]) -> str:
    """The recording as an SVG: a line appears after the other, and one screen after the other."""
    total, rows = sum(SECONDS), max(map(len, screens))
    width, height = round(WIDTH * 9.64) + 40, rows * LINE + 32
    frames, shown, begin = [], [], 0.0
    for screen, (found, seconds) in enumerate(zip(screens, SECONDS, strict=True)):
        end, time = begin + seconds, begin
        for row, (kind, text) in enumerate(found):
            time += {"command": 0.9, "remark": 0.7}.get(kind, 0.12) if row else 0.2
            if text:
                name = f"s{screen}r{row}"
                on, off = 100 * time / total, 100 * end / total - 0.01
                hidden = f"0%, {on - 0.01:.2f}%{f', {off + 0.01:.2f}%, 100%' if end < total else ''}"
                frames.append(
                    f"@keyframes {name} {{ {hidden} {{ opacity: 0 }} {on:.2f}%, {off:.2f}% {{ opacity: 1 }} }}"
                )
                look = f'class="{kind}{"" if screen else " first"}" style="animation: {name} {total}s infinite"'
                shown.append(f'<text x="20" y="{row * LINE + 32}" {look}>{escape(text, quote=False)}</text>')
        begin = end
    (x, y), *points = THREE
    curves = f"M{x} {y}C{' '.join(f'{x} {y}' for x, y in points)}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
            "<style>" + STYLE.replace("TOTAL", str(total)),
            *frames,
            "</style>",
            f'<rect class="back" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
            f'<g transform="translate({width - 110} 44)"><rect class="paper" width="94" height="94" rx="4"/>',
            f'<path class="ink" pathLength="1" d="{curves}"/></g>',
            *shown,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(lines()), encoding="utf-8")
