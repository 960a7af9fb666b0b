"""What pages read: numbers as text and files of numpy, as Python reads them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pages.browsers import HERE, PAGES, need_packages

from portable_nn.data.columns import encoded
from portable_nn.data.frames import read_frame
from portable_nn.format.meaning import Column

SPELLED = json.loads((HERE / "numbers.json").read_text(encoding="utf-8"))
"""Decimal mark, text, and its number or the words of its fault: ``model.test.ts`` reads the same list."""


@pytest.mark.parametrize("others", ["", "wide,x\n"], ids=["alone", "beside a word"])
@pytest.mark.parametrize(("mark", "text", "wanted"), SPELLED)
def test_numbers_are_spelled_and_refused_as_in_pages(
    mark: str, text: str, wanted: float | str, others: str, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f'width;y\n"{text}";x\n{others.replace(",", ";")}', encoding="utf-8")
    rows, faults = encoded(read_frame(path, decimal=mark, header=True), (Column("width"),))
    if isinstance(wanted, str):
        assert faults[0].startswith(f"column 'width': {wanted}")
        assert wanted.endswith("so: ") or faults[0] == f"column 'width': {wanted}"
    else:
        assert 0 not in faults
        assert rows[0, 0] == np.float32(wanted)


def run(script: str, folder: Path) -> dict[str, Any]:
    """What a script beside this file reads in the files of a folder, by their names."""
    need_packages("esbuild", "typescript", "@types/node")
    names = sorted(path.name for path in folder.iterdir())
    (folder / "cases.json").write_text(json.dumps(names))
    subprocess.run(["node", PAGES / "build.cjs", "--run", HERE / script, folder], check=True)
    return dict(zip(names, json.loads((folder / "read.json").read_text()), strict=True))


# -- files of numpy


def arrays() -> dict[str, NDArray[Any]]:
    """Arrays of all types of real numbers, with their extremes, in both orders of bytes and of axes."""
    found: dict[str, NDArray[Any]] = {}
    for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"):
        values = np.arange(24).reshape(2, 3, 4).astype(kind)
        if kind[0] in "iu":
            values[0, 0, :2] = np.iinfo(kind).min, np.iinfo(kind).max
        elif kind[0] == "f":
            values[0, 0] = np.finfo(kind).max, np.finfo(kind).smallest_subnormal, -np.inf, np.nan
        for order in "<>":
            for axes in "CF":
                found[f"{kind}{'big' * (order == '>')}{axes}"] = np.asarray(
                    values, values.dtype.newbyteorder(order), order=axes
                )
    return found | {"scalar": np.float32(3), "one": np.arange(3.0), "none": np.zeros((0, 4), "f4")}


OTHERS = {
    "complex": (np.zeros(2, "c8"), "expected an array of real numbers, found one of '<c8'"),
    "words": (np.array(["a"]), "expected an array of real numbers, found one of '<U1'"),
    "fields": (np.zeros(2, [("a", "f4")]), r"expected an array of real numbers, found one of [('a', '<f4')]"),
    "dates": (np.zeros(2, "M8[s]"), "expected an array of real numbers, found one of '<M8[s]'"),
}


@pytest.mark.long
def test_pages_read_all_arrays_of_numpy(tmp_path: Path) -> None:
    given = arrays()
    for name, array in (given | {name: array for name, (array, _) in OTHERS.items()}).items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "f8C.npy").read_bytes()[:-8])
    (tmp_path / "text.npy").write_text("1,2,3,4,5,6,7")
    read = run("npy.ts", tmp_path)
    for name, array in given.items():
        back = np.load(tmp_path / f"back-{name}.npy")
        wanted = np.asarray(array).astype(
            "f4" if array.dtype.kind == "f" and array.itemsize == 2 else array.dtype.newbyteorder("=")
        )
        assert read[f"{name}.npy"] == {"dtype": str(wanted.dtype), "shape": list(wanted.shape)}
        assert back.dtype == wanted.dtype
        np.testing.assert_array_equal(back, wanted, err_msg=name)
    for name, (_, words) in OTHERS.items():
        assert read[f"{name}.npy"]["error"] == words
    assert read["cut.npy"]["error"] == "expected 192 bytes of numbers for the shape (2, 3, 4), found 184"
    assert read["text.npy"]["error"] == "expected an array of numpy (.npy), found another kind of file"
