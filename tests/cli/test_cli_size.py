"""``size conv``, ``size convt`` and ``size pool``."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from PIL import Image

LAST_COLUMN = """\
Convolution: 5x5 -> 2x2

Rows and columns: 5 -> 2
step                  formula                      numbers          result
span of the kernel    dilation * (kernel - 1) + 1  1 * (2 - 1) + 1       2
padded input          begin + input + end          0 + 5 + 0             5
room to move          padded - span                5 - 2                 3
steps, rounded down   floor(room / stride)         floor(3 / 2)          1
left over at the end  room mod stride              3 mod 2               1
output                steps + 1                    1 + 1                 2

PyTorch   torch.nn.Conv2d(1, 1, kernel_size=2, stride=2)
ONNX      Conv(kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
coverage  16 of 25 cells of the input are read, once each
warning   never read: row 4 (the last of 5) and column 4 (the last of 5)
change    kernel 2 → 3: output 2x2 as now
or        padding 0 → 1: output 3x3 instead of 2x2
or        kernel 2 → 5: output 1x1 instead of 2x2
"""

TRANSPOSED = """\
Transposed convolution: 3x3 -> 4x4

Rows and columns: 3 -> 4
step                                 formula                      numbers          result
span of the kernel                   dilation * (kernel - 1) + 1  1 * (2 - 1) + 1       2
grid: the input cells, stride apart  stride * (input - 1) + 1     2 * (3 - 1) + 1       5
span - 1 rings added around it       grid + 2 * (span - 1)        5 + 2 * (2 - 1)       7
padding: rings taken away            grid - begin - end           7 - 1 - 1             5
output: positions, moved by 1        grid - span + 1              5 - 2 + 1             4

PyTorch   torch.nn.ConvTranspose2d(1, 1, kernel_size=2, stride=2, padding=1)
ONNX      ConvTranspose(kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1])
coverage  all 16 cells of the output have taps of the kernel on them, 1 each
"""

RECTANGLE = """\
Pool: 6x7 -> 3x3

Rows: 6 -> 3
step                  formula                      numbers          result
span of the kernel    dilation * (kernel - 1) + 1  1 * (2 - 1) + 1       2
padded input          begin + input + end          0 + 6 + 0             6
room to move          padded - span                6 - 2                 4
steps, rounded down   floor(room / stride)         floor(4 / 2)          2
left over at the end  room mod stride              4 mod 2               0
output                steps + 1                    2 + 1                 3

Columns: 7 -> 3
step                  formula                      numbers          result
span of the kernel    dilation * (kernel - 1) + 1  1 * (3 - 1) + 1       3
padded input          begin + input + end          0 + 7 + 0             7
room to move          padded - span                7 - 3                 4
steps, rounded down   floor(room / stride)         floor(4 / 2)          2
left over at the end  room mod stride              4 mod 2               0
output                steps + 1                    2 + 1                 3

PyTorch   torch.nn.AvgPool2d(kernel_size=(2, 3), stride=2)
ONNX      AveragePool(kernel_shape=[2, 3], strides=[2, 2], pads=[0, 0, 0, 0])
coverage  all 42 cells of the input are read, 1 to 2 times each
"""

BACKWARDS = """\
28x28 -> 14x14, best first

kernel  stride  padding  PyTorch
3       2       1        torch.nn.Conv2d(1, 1, kernel_size=3, stride=2, padding=1)
2       2       0        torch.nn.Conv2d(1, 1, kernel_size=2, stride=2)
5       2       2        torch.nn.Conv2d(1, 1, kernel_size=5, stride=2, padding=2)

# The channels 1, 1 are placeholders: replace them, or give --channels IN:OUT.
"""

# By hand: the seven examples of the article, kernel 2. Its code for the third says padding=2, which gives 5.
ARTICLE = [
    ("conv", 6, [], 5),
    ("conv", 6, ["--stride", "2"], 3),
    ("conv", 6, ["--stride", "2", "--padding", "1"], 4),
    ("conv", 5, ["--stride", "2"], 2),
    ("convt", 3, ["--stride", "2"], 6),
    ("convt", 5, [], 6),
    ("convt", 3, ["--stride", "2", "--padding", "1"], 4),
]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("conv --in 5 --kernel 2 --stride 2", LAST_COLUMN),
        ("convt --in 3 --kernel 2 --stride 2 --padding 1", TRANSPOSED),
        ("pool --in 6x7 --kernel 2x3 --stride 2 --mode average", RECTANGLE),
        ("conv --in 28 --to 14 --top 3", BACKWARDS),
    ],
)
def test_the_text(run, arguments, text):
    assert run("size", *arguments.split()) == (0, text, "")


@pytest.mark.long
@pytest.mark.parametrize(("kind", "size", "options", "output"), ARTICLE)
def test_the_examples_of_the_article(run, tmp_path, kind, size, options, output):
    pytest.importorskip("matplotlib")
    for done, suffix in (("drawn", "png"), ("animated", "gif")):
        code, out, err = run("size", kind, "--in", size, "--kernel", "2", *options, "--plot", f"p.{suffix}")
        assert (code, err) == (0, "")
        assert f"{size}x{size} -> {output}x{output}\n" in out
        assert 14 <= out.count("\n") <= 25
        assert re.search(rf"^{done} +p\.{suffix} \(\d+ kB\)$", out, re.MULTILINE)
    with Image.open(tmp_path / "p.png") as picture:
        picture.load()
        assert picture.format == "PNG"
    with Image.open(tmp_path / "p.gif") as animation:
        assert animation.n_frames == output**2


def test_json(run):
    found = run("size", "conv", "--in", "5x6", "--kernel", "2", "--stride", "2", "--format", "json").json
    assert list(found) == [
        "schema",
        "kind",
        "input",
        "output",
        "options",
        "auto_pad",
        "torch",
        "onnx",
        "coverage",
        "steps",
        "cautions",
        "fixes",
        "pictures",
    ]
    assert (found["schema"], found["kind"], found["input"], found["output"]) == (1, "conv", [5, 6], [2, 3])
    assert found["options"] == {
        "kernel": [2, 2],
        "stride": [2, 2],
        "dilation": [1, 1],
        "padding": [[0, 0], [0, 0]],
        "groups": 1,
    }
    rows, columns = found["coverage"]
    assert rows == {
        "axis": "rows",
        "of": "input",
        "counts": [1, 1, 1, 1, 0],
        "uncovered": [4],
        "holes": [],
        "idle": [],
        "phases": [1, 1],
        "uneven": False,
    }
    assert (columns["axis"], columns["counts"], columns["uncovered"]) == ("columns", [1] * 6, [])
    assert [line["result"] for line in found["steps"][0]] == [2, 5, 3, 1, 1, 2]
    assert found["steps"][1][1] == {
        "what": "padded input",
        "formula": "begin + input + end",
        "numbers": "0 + 6 + 0",
        "result": 6,
    }
    assert [caution["about"] for caution in found["cautions"]] == ["uncovered"]
    best = found["fixes"][0]
    assert (best["changes"], best["output"], best["options"]["kernel"]) == (["kernel 2 → 3 for rows"], [2, 3], [3, 2])
    assert found["pictures"] == []


def test_json_backwards(run):
    found = run("size", "convt", "--in", "7", "--to", "14", "--top", "2", "--format", "json").json
    assert list(found) == ["schema", "kind", "input", "output", "chain", "solutions", "pictures"]
    assert (found["input"], found["output"]) == ([7, 7], [14, 14])
    best, second = found["solutions"]
    assert best["options"] == {
        "kernel": [2, 2],
        "stride": [2, 2],
        "dilation": [1, 1],
        "output_padding": [0, 0],
        "padding": [[0, 0], [0, 0]],
        "groups": 1,
    }
    assert best["torch"] == "torch.nn.ConvTranspose2d(1, 1, kernel_size=2, stride=2)"
    assert second["output"] == [14, 14]
    assert [axis["of"] for axis in second["coverage"]] == ["output", "output"]


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ("conv --in 28 --kernel 3", [26, 26]),
        ("conv --in 28 --kernel 3 --axes 1", [26]),
        ("conv --in 28 --kernel 3 --axes 3", [26, 26, 26]),
        ("conv --in 28x32 --kernel 3", [26, 30]),
        ("conv --in 28 --kernel 3x5", [26, 24]),
        ("conv --in 28 --kernel 3 --stride 1x2x3", [26, 13, 9]),
        ("conv --in 28 --kernel 3 --padding 0:1", [27, 27]),
        ("conv --in 28 --kernel 3 --padding 1x0", [28, 26]),
        ("conv --in 28 --kernel 3 --padding 1:2x0:1", [29, 27]),
        ("conv --in 28 --kernel 3 --padding same", [28, 28]),
        ("conv --in 28 --kernel 3 --padding valid --dilation 2", [24, 24]),
        ("conv --in 28 --kernel 3 --padding SAME_LOWER --stride 3", [10, 10]),
        ("convt --in 4 --kernel 3 --stride 2 --output-padding 1x0", [10, 9]),
        ("pool --in 7 --kernel 2", [3, 3]),
        ("pool --in 7 --kernel 2 --ceil", [4, 4]),
        ("pool --in 7 --kernel 3 --stride 1", [5, 5]),
    ],
)
def test_how_numbers_are_written(run, arguments, output):
    assert run("size", *arguments.split(), "--format", "json").json["output"] == output


@pytest.mark.parametrize(
    ("arguments", "spelling"),
    [
        ("conv --in 28 --kernel 3 --channels 3:8", "torch.nn.Conv2d(3, 8, kernel_size=3)"),
        ("conv --in 28 --kernel 3 --channels ::4", "torch.nn.Conv2d(4, 4, kernel_size=3, groups=4)"),
        ("conv --in 9 --kernel 3 --axes 1", "torch.nn.Conv1d(1, 1, kernel_size=3)"),
        ("conv --in 9 --kernel 3 --padding same", "torch.nn.Conv2d(1, 1, kernel_size=3, padding='same')"),
        (
            "conv --in 9 --kernel 2 --padding 0:1 --axes 1",
            "torch.nn.Sequential(torch.nn.ZeroPad1d((0, 1)), torch.nn.Conv1d(1, 1, kernel_size=2))",
        ),
        ("pool --in 9 --kernel 3 --dilation 2 --mode average", "has no such layer"),
    ],
)
def test_how_pytorch_writes_it(run, arguments, spelling):
    lines = run("size", *arguments.split()).out.splitlines()
    assert f"PyTorch   {spelling}" in lines


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            "convt --in 4 --kernel 3 --stride 2",
            "coverage  all 81 cells of the output have taps of the kernel on them, 1 to 4 each",
        ),
        (
            "convt --in 2 --kernel 1 --stride 2 --axes 1",
            "coverage  2 of 3 cells of the output have taps of the kernel on them, 1 each",
        ),
        ("conv --in 1 --kernel 1 --stride 2 --padding 1 --axes 1", "coverage  none of 1 cell"),
        (
            "conv --in 28 --kernel 3 --stride 2 --padding same",
            "          use explicit pads: Conv(kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])",
        ),
    ],
)
def test_coverage_and_advice(run, arguments, line):
    found = run("size", *arguments.split())
    assert (found.code, found.err) == (0, "")
    assert line in found.out.splitlines()


@pytest.mark.parametrize("size", ["28x28x3", "224x196x1", "28x28x8", "3x28x28"])
def test_channels_that_are_taken_for_an_axis_are_named(run, size):
    said = run("size", "pool", "--in", size, "--kernel", "1").err
    meant = size.rpartition("x")[0] if size.endswith(("x3", "x1")) else None
    assert said == (
        f"--in {size} has three spatial axes; of a picture, leave the channels out: --in {meant}\n" if meant else ""
    )


def test_backwards_keeps_what_is_given(run):
    found = run("size", "pool", "--in", "112", "--to", "56", "--kernel", "3", "--format", "json").json
    assert {tuple(one["options"]["kernel"]) for one in found["solutions"]} == {(3, 3)}
    found = run("size", "conv", "--in", "28x30", "--to", "14x10", "--padding", "1", "--format", "json").json
    assert all(one["options"]["padding"] == [[1, 1], [1, 1]] for one in found["solutions"])
    assert all(one["output"] == [14, 10] for one in found["solutions"])
    assert len(found["solutions"]) == 10
    found = run("size", "conv", "--in", "28", "--to", "14", "--channels", "::3", "--top", "1").out
    assert "torch.nn.Conv2d(3, 3, kernel_size=3, stride=2, padding=1, groups=3)" in found


def test_a_chain_of_layers_comes_before_a_single_one(run):
    arguments = ("--channels", "64:3", "--top", "1")
    text = run("size", "convt", "--in", "4", "--to", "32", *arguments).out
    assert text.splitlines()[:15] == [
        "4x4 -> 8x8 -> 16x16 -> 32x32, a chain of 3 layers",
        "",
        "input  kernel  stride  padding  output",
        "4x4    4       2       1        8x8",
        "8x8    4       2       1        16x16",
        "16x16  4       2       1        32x32",
        "",
        "torch.nn.Sequential(",
        "    torch.nn.ConvTranspose2d(64, 32, kernel_size=4, stride=2, padding=1),",
        "    torch.nn.ConvTranspose2d(32, 16, kernel_size=4, stride=2, padding=1),",
        "    torch.nn.ConvTranspose2d(16, 3, kernel_size=4, stride=2, padding=1),",
        ")",
        "",
        "4x4 -> 32x32, in one layer, best first",
        "",
    ]
    found = run("size", "conv", "--in", "64", "--to", "4", "--axes", "1", "--format", "json").json
    assert [one["output"] for one in found["chain"]] == [[32], [16], [8], [4]]
    assert [one["input"] for one in found["chain"]] == [[64], [32], [16], [8]]
    groups = ("--channels", "6:64:2", "--top", "1")
    assert (
        "Conv2d(6, 16, kernel_size=4, stride=2, padding=1, groups=2)"
        in run("size", "conv", "--in", "64", "--to", "8", *groups).out
    )


@pytest.mark.parametrize(
    "arguments", ["conv --in 28 --to 14", "convt --in 7 --to 28 --stride 4", "pool --in 64 --to 4"]
)
def test_no_chain_where_one_layer_is_usual_or_asked_for(run, arguments):
    assert run("size", *arguments.split(), "--top", "1", "--format", "json").json["chain"] == []


def test_a_chain_where_no_single_layer_is_found_and_none_where_there_is_none(run):
    found = run("size", "conv", "--in", "34", "--to", "23", "--format", "json").json
    assert (found["chain"][-1]["output"], found["solutions"]) == ([23, 23], [])
    text = run("size", "convt", "--in", "40", "--to", "60", "--top", "1").out
    assert text.splitlines()[-1].startswith("no chain of convt layers that double a size")


def test_a_chain_keeps_given_options_where_no_single_layer_reaches_the_size(run):
    found = run("size", "convt", "--in", "7", "--to", "56", "--kernel", "4", "--stride", "2", "--padding", "1")
    assert found.out.startswith("7x7 -> 14x14 -> 28x28 -> 56x56, a chain of 3 layers\n")
    assert found.out.count("torch.nn.ConvTranspose2d(1, 1, kernel_size=4, stride=2, padding=1),\n") == 3
    assert "# The channels 1, 1 are placeholders" in found.out
    found = run("size", "convt", "--in", "7", "--to", "64", "--kernel", "3", "--stride", "2", "--channels", "64:3")
    assert "overlap" in found.out
    assert "placeholders" not in found.out
    found = run("size", "convt", "--in", "7", "--to", "64", "--kernel", "4", "--stride", "2", "--padding", "1")
    assert found.code == 1
    assert "a chain of such layers, of dilation 1, was not found either" in found.err


@pytest.mark.parametrize("arguments", ["convt --in 7 --to 64", "net digits-cnn"])
def test_a_page_of_many_layers(run, tmp_path, arguments):
    found = run("size", *arguments.split(), "--html", "page.html")
    assert (found.code, found.err) == (0, "")
    page = (tmp_path / "page.html").read_text()
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert "<script" not in page
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    if "net" in arguments:
        assert [
            "strokes",
            "Conv 5x5 p2",
            "batch,1,28,28",
            "batch,16,28,28",
            "5/1",
            "416",
            "314 k",
            "50 kB",
            "",
        ] in cells
    else:
        assert [row[1:4] for row in cells if row and row[0].startswith("conv")] == [
            ["ConvTranspose 4x4/2", "batch,1,7,7", "batch,1,16,16"],
            ["ConvTranspose 4x4/2 p1", "batch,1,16,16", "batch,1,32,32"],
            ["ConvTranspose 4x4/2 p1", "batch,1,32,32", "batch,1,64,64"],
        ]


def test_backwards_shows_the_columns_that_tell_something(run):
    text = run("size", "conv", "--in", "9", "--to", "4", "--kernel", "2", "--dilation", "3", "--top", "1").out
    # By hand: 2 taps 3 apart, by 2 from -1 on: -1 2, 1 4, 3 6, 5 8. Neither 0 nor 7: 9² - 7² = 32 cells are not read.
    assert text.splitlines()[-5:-2] == [
        "",
        "kernel  stride  padding  dilation  PyTorch"
        "                                                                faults",
        "2       2       1        3         torch.nn.Conv2d(1, 1, kernel_size=2, stride=2, padding=1, dilation=3)"
        "  32 of 81 cells are never read",
    ]
    arguments = ["--kernel", "3", "--stride", "2", "--padding", "1", "--axes", "1"]
    heading, row = run("size", "convt", "--in", "4", "--to", "8", *arguments, "--top", "1").out.splitlines()[2:4]
    assert heading.split() == ["kernel", "stride", "padding", "output", "padding", "PyTorch", "faults"]
    assert row.startswith("3       2       1        1               torch.nn.ConvTranspose1d(1, 1, kernel_size=3, ")
    assert row.endswith("  uneven overlap")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("conv --in 28 --to 300", "no conv with kernel 1 to 11"),
        (
            "pool --in 8 --to 3 --kernel 3 --stride 1 --padding 0",
            "no pool with kernel 3, stride 1, padding 0 and dilation",
        ),
    ],
)
def test_nothing_found_is_exit_code_1_and_says_what_is_nearest(run, arguments, message):
    for format in ("table", "json"):
        code, out, err = run("size", *arguments.split(), "--format", format)
        assert (code, out) == (1, "")
        assert err.startswith(f"error: {message}")
        assert "; the nearest that they reach " in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("conv --kernel 3", "missing option '--in' (see portable-nn size conv --help)"),
        ("conv --in 28", "--kernel is missing: the size of the kernel; or --to, to find one"),
        ("conv --in 28,32 --kernel 3", "--in must be a number, or several such as 28x32, not '28,32'"),
        ("conv --in -3 --kernel 3", "--in must be a number, or several such as 28x32, not '-3'"),
        ("conv --in 28 --kernel three", "--kernel must be a number, or several such as 28x32, not 'three'"),
        (
            "conv --in 28 --kernel 3 --padding 1:2:3",
            "--padding must be such as 1, 1x2, 0:1 or 1:2x0:1, or same or valid, not '1:2:3'",
        ),
        ("conv --in 28 --kernel 3 --padding SAME", "--padding must be such as 1, 1x2, 0:1"),
        ("conv --in 28x28x3 --kernel 3x4", "--kernel has numbers for 2 axes, not for 3"),
        ("conv --in 28x28 --kernel 3 --axes 1", "--in has numbers for 2 axes, not for 1"),
        ("conv --in 28 --kernel 3 --axes 4", "there can be 1 to 3 axes, not 4"),
        ("conv --in 28x28x28x28 --kernel 3", "there can be 1 to 3 axes, not 4"),
        ("conv --in 28 --kernel 3 --axes 0", "there can be 1 to 3 axes, not 0"),
        ("conv --in 28 --to 14 --top 0", "--top must be at least 1, not 0"),
        ("conv --in 28 --kernel 3 --stride 0", "--stride must be at least 1, not 0"),
        ("conv --in 0 --kernel 3", "input size must be at least 1, not 0"),
        ("conv --in 5 --kernel 7", "2 faults\n  axis 0: kernel 7 spans 7 cells, but the input has only 5"),
        ("conv --in 5 --kernel 7 --axes 1", "kernel 7 spans 7 cells, but the input has only 5"),
        ("conv --in 28 --kernel 3 --channels :6:4", "groups must divide out_channels: 6 channels"),
        ("conv --in 28 --to 14 --channels :6:4", "groups must divide out_channels: 6 channels"),
        ("conv --in 100001 --kernel 3", "--in must be at most 100,000 along an axis, not 100001"),
        (f"conv --in {10**30} --kernel 3", f"--in must be at most 100,000 along an axis, not {10**30}"),
        (
            "convt --in 100000 --kernel 3 --stride 2",
            "the output would be 200001x200001: at most 100,000 cells along an axis are supported",
        ),
        ("convt --in 3 --kernel 2 --stride 2 --output-padding 2", "--output-padding must be smaller than stride 2"),
        (
            "convt --in 7 --out 64",
            "--out 64: the name must end in .txt or .json, which sets the format; size takes the size ",
        ),
        ("pool --in 6 --kernel 2 --padding 2", "padding of a pool must be at most half its kernel 2, not 2"),
        ("pool --in 6 --kernel 2 --channels 2:2", "no such option: --channels"),
        ("conv --in 28 --to 14 --padding VALID", "--padding VALID cannot be used with --to, which finds the padding"),
        ("conv --in 28 --to 14 --padding same", "--padding must be numbers to solve with, not 'same'"),
        ("conv --in 28 --kernel 3 --plot p.jpg", "p.jpg: the name of a picture ends in .png, .svg, .pdf or .gif"),
        ("conv --in 9 --kernel 3 --axes 3 --plot p.png", "a picture has one or two axes, not 3"),
        ("conv --in 90 --kernel 20 --dilation 3 --plot p.png", "a side of 90 cells is too long"),
    ],
)
def test_errors(run, tmp_path, arguments, message):
    code, out, err = run("size", *arguments.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert not list(tmp_path.iterdir())


def test_pictures_in_a_folder_that_is_not_there(run):
    pytest.importorskip("matplotlib")
    code, out, err = run("size", "conv", "--in", "5", "--kernel", "2", "--plot", "no/p.png")
    assert (code, out) == (3, "")
    assert err.startswith("error: no/p.png: cannot be written: there is no folder")


def test_without_matplotlib(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    arguments = ["size", "conv", "--in", "5", "--kernel", "2"]
    assert run(*arguments).code == 0
    assert run(*arguments, "--plot", "p.png") == (
        4,
        "",
        "error: a picture needs the package 'matplotlib': pip install 'portable-nn[plot]'\n",
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_the_picture_of_what_is_found_is_that_of_the_best(run, tmp_path):
    pytest.importorskip("matplotlib")
    found = run("size", "conv", "--in", "9", "--to", "5", "--plot", "best.svg", "--format", "json").json
    assert found["pictures"] == ["best.svg"]
    run("size", "conv", "--in", "9", "--kernel", "3", "--stride", "2", "--padding", "1", "--plot", "same.svg")
    assert (tmp_path / "best.svg").read_bytes() == (tmp_path / "same.svg").read_bytes()


@pytest.mark.long
def test_a_picture_of_what_pytorch_does_not_have(run, tmp_path):
    pytest.importorskip("matplotlib")
    arguments = ["--kernel", "3", "--dilation", "2", "--mode", "average", "--to", "2", "--plot", "p.png"]
    code, out, err = run("size", "pool", "--in", "9", *arguments)
    assert (code, err) == (0, "")
    assert "has no such layer" in out
    assert (tmp_path / "p.png").exists()


@pytest.mark.long
def test_in_a_process_of_its_own(shell, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, err = shell("size", "conv", "--in", "5", "--kernel", "2", "--stride", "2", "--plot", "p.png")
    assert (code, err) == (0, "")
    assert out.startswith(LAST_COLUMN)
    with Image.open(tmp_path / "p.png") as picture:
        picture.load()


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such shells")
def test_output_that_nobody_can_take(tmp_path):
    command = f"'{sys.executable}' -m portable_nn size conv --in 5 --kernel 2 "
    for end in (">&-", "| true"):
        done = subprocess.run(["bash", "-c", command + end], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.long
def test_output_that_holds_ascii_alone(shell):
    import os

    found = shell(
        "size", "conv", "--in", "5", "--kernel", "2", "--stride", "2", env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert (found.code, found.err) == (0, "")
    assert r"change    kernel 2 \u2192 3: output 2x2 as now" in found.out
