"""Words in the numpy module and the C file of a table: both have the words, and refuse what the network refuses."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.source import write_c, write_numpy
from portable_nn.converters.source.c_compiling import STRICT, compiler
from portable_nn.format.meaning import Column, InputInfo

WORDS = ("ja", "nein, nie", "007", "Größe", "日本", "a'b\"c\\d", " ", "what??/", "NA", "%d {x}", "*/ /*")
COLUMNS = (
    Column("Größe in m²"),
    Column("kind", categories=WORDS),
    Column("number_of", categories=("x", "y"), unknown="other", missing="mean"),
    Column("rooms", missing="median"),
)


def network() -> pnn.Network:
    rows = np.stack([np.random.default_rng(0).integers(0, len(each.categories) or 9, 50) for each in COLUMNS], axis=1)
    found = pnn.Sequential(pnn.Input(4, name="rows_of"), pnn.Columns(COLUMNS, rows), pnn.Dense(2, name="CELLS"), seed=0)
    found.inputs = (InputInfo("rows_of", "table", columns=COLUMNS),)
    return found


CELLS: list[tuple[dict[str, str], list[float] | None]] = [
    *(({"kind": word}, [3.5, place, 0, 2]) for place, word in enumerate(WORDS)),
    ({"number_of": "y", "rooms": ""}, [3.5, 0, 1, np.nan]),
    ({"number_of": "z"}, [3.5, 0, -1, 2]),
    ({"number_of": ""}, [3.5, 0, np.nan, 2]),
    ({"number_of": "n/a"}, [3.5, 0, np.nan, 2]),
    ({"kind": "Ja"}, None),
    ({"kind": ""}, None),
    ({"Größe in m²": ""}, None),
]
"""Changes of a line of a table, and the row of numbers that it is, or None where the network refuses it."""


@pytest.mark.parametrize(("changed", "row"), CELLS, ids=str)
def test_numpy_takes_lines_of_words(changed: dict[str, str], row: list[float] | None, tmp_path: Path) -> None:
    net, space = network(), dict[str, Any](__name__="net")
    write_numpy(net, tmp_path / "net.py", embedded=True, verify=False)
    exec((tmp_path / "net.py").read_text(encoding="utf-8"), space)
    line = {"Größe in m²": "3.5", "kind": "ja", "number_of": "x", "rooms": "2", "more": "?"} | changed
    if row is None:
        with pytest.raises(ValueError, match="is refused"):
            space["rows_of"]([line])
    else:
        np.testing.assert_array_equal(space["rows_of"]([line]), np.array([row], np.float32))
        np.testing.assert_allclose(space["predict"](space["rows_of"]([line])), net.predict([row]), rtol=1e-5)


def test_a_csv_file_goes_through_the_numpy_module(tmp_path: Path) -> None:
    """In a process with the module alone, which cannot import this package."""
    write_numpy(network(), tmp_path / "net.py", embedded=True)
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[each.name for each in COLUMNS], [3.5, "nein, nie", "", 2], [1, "日本", "y", ""]])
    script = "import sys; sys.modules['portable_nn'] = None; import csv, net; print(net.predict(net.rows_of("
    script += "csv.DictReader(open('t.csv', newline='', encoding='utf-8')))).ravel().tolist())"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = network().predict([[3.5, 1, np.nan, 2], [1, 4, 1, np.nan]])
    assert [float(each) for each in done.stdout.strip("[]\n").split(",")] == pytest.approx(expected.ravel(), rel=1e-4)


@pytest.mark.parametrize("cell", ["01067", "1067.0", 1067, 1067.0])
def test_codes_are_numbers_however_they_are_written(cell: object, tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(1, name="row"), pnn.Dense(1), seed=0)
    net.inputs = (InputInfo("row", "table", columns=(Column("zip", categories=("10115", "1067")),)),)
    space = dict[str, Any](__name__="net")
    write_numpy(net, tmp_path / "net.py", embedded=True, verify=False)
    exec((tmp_path / "net.py").read_text(encoding="utf-8"), space)
    assert space["rows_of"]([{"zip": cell}]).tolist() == [[1.0]]
    with pytest.raises(ValueError, match=r"^zip: 1068.0 is refused$"):
        space["rows_of"]([{"zip": "1068"}])


MAIN = """
#include <stdio.h>
#include <stdlib.h>
int main(int count, char **texts)
{
    for (int i = 1; i < count; i += 4) {
        float cells[4] = {strtof(texts[i], 0), 0, 0, *texts[i + 3] ? strtof(texts[i + 3], 0) : NAN}, answer[2];
        if (NAME_word(1, texts[i + 1], cells) || NAME_word(2, texts[i + 2], cells)) {
            puts("refused");
            continue;
        }
        NAME(cells, answer);
        printf("%g %g %.9g %.9g\\n", cells[1], cells[2], answer[0], answer[1]);
    }
    return NAME_word(0, "ja", 0) == 3 && NAME_word(-1, "ja", 0) == 3 && NAME_word(4, "ja", 0) == 3 ? 0 : 1;
}
"""


@pytest.mark.parametrize("name", ["net", "missing"])
def test_c_takes_words(name: str, tmp_path: Path) -> None:
    command = compiler()
    if command is None:
        pytest.skip("there is no C compiler")
    net, path = network(), tmp_path / f"{name}.c"
    write_c(net, path)
    path.write_text(path.read_text(encoding="utf-8") + MAIN.replace("NAME", name), encoding="utf-8")
    options = [each for each in STRICT if each != "-DNET_MAIN"]
    subprocess.run([command, *options, "-Werror", str(path), "-lm", "-o", str(tmp_path / "net")], check=True)
    cells = [(changed, row) for changed, row in CELLS if "Größe in m²" not in changed]
    base = {"Größe in m²": "3.5", "kind": "ja", "number_of": "x", "rooms": "2"}
    texts = [text for changed, _ in cells for text in (base | changed).values()]
    done = subprocess.run([tmp_path / "net", *texts], capture_output=True, text=True, check=True)
    for line, (_, row) in zip(done.stdout.splitlines(), cells, strict=True):
        if row is None:
            assert line == "refused"
        else:
            assert [float(each) for each in line.split()] == pytest.approx(
                [*row[1:3], *net.predict([row])[0]], rel=1e-5, nan_ok=True
            )


def test_a_table_of_numbers_has_no_words(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(2, name="row"), pnn.Dense(1), seed=0)
    net.inputs = (InputInfo("row", "table", columns=(Column("a"), Column("b"))),)
    write_numpy(net, tmp_path / "net.py", embedded=True, verify=False)
    write_c(net, tmp_path / "net.c", verify=False)
    assert "rows_of" not in (tmp_path / "net.py").read_text()
    assert "net_word" not in (tmp_path / "net.c").read_text()
