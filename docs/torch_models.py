"""Models of PyTorch, here and back: ``python docs/torch_models.py [MODEL]…`` measures and writes torch-models.md.

Without names, all models are measured; with names, these alone, and the rows of the others stay. ``table`` prints what
was measured, which is kept in ``torch-models.json``. The models are in ``torch_modules``, what is measured of each in
``torch_measuring``, and the page in ``torch_table``.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import torch  # noqa: TID253 - what this program measures
from torch_measuring import CELLS, WAYS
from torch_modules import MODELS, Model
from torch_table import MEASURED, refresh, table

from portable_nn.core.errors import PortableNNError


def alone(*words: str) -> dict[str, Any]:
    """What a process of its own prints: a second export of one process may fail where the first did not."""
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        return {"refused": f"ended by {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # PyTorch prints graphs that it cannot export.
    return found


def printed(function: Callable[[str, Model], dict[str, Any]], name: str, way: str) -> None:
    """Print what was measured, or why it could not be."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(sys.stderr):
            cell = function(way, MODELS[name])
    except Exception as error:
        said = str(error) if isinstance(error, PortableNNError) else f"{type(error).__name__}: {error}"
        cell = {"refused": " ".join(said.split())[-300:]}
    print(json.dumps(cell))


def measure(names: list[str]) -> dict[str, Any]:
    """The rows of some models, added to what was measured before."""
    kept: dict[str, Any] = json.loads(MEASURED.read_bytes()) if MEASURED.exists() else {}
    for name in names:
        for way in WAYS:
            begin, cell = time.monotonic(), alone("row", name, way)
            if "refused" not in cell:
                cell["steps64"] = alone("float64", name, way)
                if cell["steps"]["far"]:
                    cell["rounding"] = alone("rounding", name, way)
            about = {"seconds": round(time.monotonic() - begin), "date": time.strftime("%Y-%m-%d")}
            kept[f"{name}|{way}"] = {**cell, **about, "torch": torch.__version__}
            MEASURED.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(f"{name}, {way}: {cell}", file=sys.stderr, flush=True)
    return kept


if __name__ == "__main__":
    if sys.argv[1:] == ["table"]:
        print(table(json.loads(MEASURED.read_bytes())))
    elif sys.argv[1:2] in ([name] for name in CELLS):
        printed(CELLS[sys.argv[1]], *sys.argv[2:4])
    else:
        measure(sys.argv[1:] or [*MODELS])
        refresh()
