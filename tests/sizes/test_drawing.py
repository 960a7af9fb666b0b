"""Pictures: what is drawn is what there is, where it is, legible, and the same each time."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from portable_nn.core.errors import FileError, MissingPackageError, ShapeError, UsageError
from portable_nn.core.plotting import FORMATS, GREEN, PALETTE, check_picture, save, save_animation, tint
from portable_nn.sizes import Operation, Window, conv, convt, coverage, pool
from portable_nn.sizes.drawing import animate, draw
from portable_nn.sizes.painting import LOOKS
from portable_nn.sizes.scene import KINDS, grids, scene_of

matplotlib = pytest.importorskip("matplotlib")

TIMES = "\N{MULTIPLICATION SIGN}"

# The seven of the article. Its code for the third says padding=2, which gives 5; its text and its formula say 1.
ARTICLE = {
    "conv 6 to 5": (conv(2), 6, 5),
    "conv 6 to 3": (conv(2, stride=2), 6, 3),
    "conv 6 to 4": (conv(2, stride=2, padding=1), 6, 4),
    "conv 5 to 2": (conv(2, stride=2), 5, 2),
    "convt 3 to 6": (convt(2, stride=2), 3, 6),
    "convt 5 to 6": (convt(2), 5, 6),
    "convt 3 to 4": (convt(2, stride=2, padding=1), 3, 4),
}

OTHERS = {
    "dilated": (conv(3, dilation=2, padding=1), (7, 7)),
    "columns left out": (conv(3, stride=4), (12, 11)),
    "holes": (conv(3, stride=2, dilation=2), (9, 9)),
    "rectangular": (conv((3, 5), stride=(1, 2), padding=((0, 1), (2, 2))), (6, 11)),
    "checkerboard": (convt(3, stride=2), (4, 4)),
    "bias alone": (convt(2, stride=3, output_padding=2), (2, 3)),
    "padding that takes input away": (convt(2, stride=2, padding=2), (4, 4)),
    "ceil": (pool(3, stride=2, padding=1, ceil=True), (6, 8)),
    "one axis": (conv(3, stride=2, padding=1), (10,)),
    "one axis, transposed": (convt(3, stride=3, dilation=2, padding=[(2, 0)], output_padding=2), (4,)),
    "same": (pool(2, auto_pad="SAME_UPPER"), (5, 5)),
    "large": (conv(5, stride=2, padding=2), (28, 28)),
    "large, transposed": (convt(4, stride=2, padding=1), (14, 14)),
    "single": (conv(1), (1, 1)),
}

ALL = {**{name: (operation, (size, size)) for name, (operation, size, _) in ARTICLE.items()}, **OTHERS}

UPON = {"cut", "tap", "kernel", "now"}
"""What is drawn upon the cells of a board."""


@cache
def picture(name: str) -> Any:
    """The picture of that name, which is drawn once for all tests."""
    return draw(*ALL[name])


def artists(figure: Any, part: str, kind: str) -> list[Any]:
    return [artist for artist in figure.axes[0].collections if artist.get_gid() == f"{part}: {kind}"]


def boxes(figure: Any, part: str, kind: str) -> list[Any]:
    return [path.get_extents() for artist in artists(figure, part, kind) for path in artist.get_paths()]


def places(figure: Any, part: str, kind: str, board: str = "") -> set[tuple[int, int]]:
    """The rows and columns of the cells of a kind; ``board`` is the part whose corner they are counted from."""
    under = [box for each in KINDS if each not in UPON for box in boxes(figure, board or part, each)]
    left, top, side = min(box.x0 for box in under), min(box.y0 for box in under), under[0].width
    middles = [((box.y0 + box.y1) / 2 - top, (box.x0 + box.x1) / 2 - left) for box in boxes(figure, part, kind)]
    return {(int(down / side), int(right / side)) for down, right in middles}


def positions(figure: Any) -> list[str]:
    """The parts that show the kernel at a position, each by itself."""
    ids = [artist.get_gid() for artist in figure.axes[0].collections]
    return [gid.removesuffix(": kernel") for gid in ids if gid.startswith("position ") and gid.endswith(": kernel")]


def words(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def as_two(operation: Operation, sizes: tuple[int, ...]) -> tuple[Operation, tuple[int, ...]]:
    """The operation with explicit pads; one on columns alone with a single row."""
    explicit = operation.resolved(sizes)
    if len(sizes) == 2:
        return explicit, sizes
    return Operation(explicit.kind, (Window(1), *explicit.windows)), (1, *sizes)


def pairs(operation: Operation, position: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The cells that the kernel at a position of the small side touches on the other: the definition, with all pads."""
    along = [
        [window.stride * place + window.dilation * tap - window.pad_begin for tap in range(window.kernel)]
        for window, place in zip(operation.windows, position, strict=True)
    ]
    return list(product(*along))


def cells(sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(product(*map(range, sizes)))


def moved(found: Any, operation: Operation) -> set[tuple[int, ...]]:
    """Cells of the input as rows and columns of the input with its padding."""
    begins = [window.pad_begin for window in operation.windows]
    return {tuple(at + begin for at, begin in zip(cell, begins, strict=True)) for cell in found}


@pytest.mark.long
@pytest.mark.parametrize("name", ARTICLE)
def test_the_examples_of_the_article(tmp_path, name):
    figure = picture(name)
    _, size, output = ARTICLE[name]
    assert len(positions(figure)) == len(set(positions(figure))) == output**2
    assert f"{size} {TIMES} {size} cells → {output} {TIMES} {output} cells" in words(figure)
    assert f"All {output**2} kernel positions, by row and column of the output cell" in words(figure)
    save(figure, tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as found:
        found.load()
        assert found.format == "PNG"
        assert 975 <= found.width <= 1500
        assert 1000 < found.height < 2200
    assert (tmp_path / "p.png").stat().st_size < 200_000


def test_the_last_example_of_the_article():
    """3 cells that are 2 apart, a ring of k - 1 = 1 around, a ring of p = 1 taken away; the kernel moves by 1."""
    figure = picture("convt 3 to 4")
    edge = {cell for cell in cells((7, 7)) if {0, 6} & {*cell}}
    assert places(figure, "spread out", "input") == set(product((1, 3, 5), repeat=2))
    assert places(figure, "spread out", "ring") == places(figure, "spread out", "cut") == edge
    assert {
        "torch.nn.ConvTranspose2d(1, 1, kernel_size=2, stride=2, padding=1)",
        "zeros between: 1\nrings around: 1\ntaken away: 1",
        f"7 {TIMES} 7 cells, 5 {TIMES} 5 left",
        f"kernel 2 {TIMES} 2\nmoves by 1",
    } <= {*words(figure)}
    assert places(figure, "position 2 3", "tap") == {(2, 3), (2, 4), (3, 3), (3, 4)}
    assert places(figure, "position 2 3 output", "now") == {(2, 3)}


def test_the_column_of_the_article_that_is_not_covered():
    figure = picture("conv 5 to 2")
    assert places(figure, "input", "unread") == {cell for cell in cells((5, 5)) if 4 in cell}
    assert {"never read: row 4 (the last of 5)", "never read: column 4 (the last of 5)"} <= {*words(figure)}


@pytest.mark.long
@pytest.mark.parametrize("name", ALL)
def test_the_kernel_stands_where_the_definition_says(name):
    figure = picture(name)
    operation, sizes = as_two(*ALL[name])
    for part in positions(figure):
        position = tuple(map(int, part.split()[1:]))
        assert places(figure, f"{part} output", "now") == {position}
        if operation.kind != "convt":  # Else it moves over the input spread out: see the grids below.
            read = pairs(operation, position)
            if operation.kind == "pool":
                read = [cell for cell in read if all(0 <= at < size for at, size in zip(cell, sizes, strict=True))]
            assert places(figure, part, "tap") == moved(read, operation)


@pytest.mark.long
@pytest.mark.parametrize("name", ALL)
def test_cells_that_are_left_out_are_marked(name):
    figure = picture(name)
    operation, sizes = as_two(*ALL[name])
    outputs = operation.output_size(sizes)
    transposed = operation.kind == "convt"
    touched = {cell for place in cells(sizes if transposed else outputs) for cell in pairs(operation, place)}
    if transposed:
        assert places(figure, "output", "unread") == {*cells(outputs)} - touched
    else:
        assert places(figure, "input", "unread") == moved({*cells(sizes)} - touched, operation)
    assert bool(boxes(figure, "legend", "unread")) == any(axis.uncovered for axis in coverage(operation, sizes))


@pytest.mark.long
def test_overlap_is_shaded():
    figure = picture("checkerboard")
    landing = Counter(cell for place in cells((4, 4)) for cell in pairs(ALL["checkerboard"][0].over(2), place))
    shades = []
    for count in (1, 2, 4):
        assert places(figure, f"output: {count}", "output", "output") == {
            cell for cell, found in landing.items() if found == count
        }
        [artist] = artists(figure, f"output: {count}", "output")
        shades.append(tuple(artist.get_facecolor()[0]))
    assert shades == sorted(set(shades), reverse=True)
    assert "output, with the number of taps that land on it" in words(figure)
    assert "output, darker where more taps land" in words(picture("large, transposed"))
    assert "output" in words(picture("convt 3 to 6"))


def test_what_lies_beyond_the_edge():
    figure = picture("ceil")  # The last window ends one cell behind the padding.
    assert places(figure, "input", "beyond") == {cell for cell in cells((9, 11)) if cell[0] == 8 or cell[1] == 10}
    assert "beyond the edge: ceil lets the last window stand there" in words(figure)
    assert f"6 {TIMES} 8 cells, 8 {TIMES} 10 padded" in words(figure)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "shown"),
    [("large", (12, 196)), ("large, transposed", (8, 784)), ("checkerboard", (16, 81))],
)
def test_of_many_positions_some_are_shown_and_it_says_so(name, shown):
    figure = picture(name)
    found = [tuple(map(int, part.split()[1:])) for part in positions(figure)]
    assert (len(found), "{} of the {} kernel positions, the first and the last, ".format(*shown)) == (
        shown[0],
        next(text for text in words(figure) if "kernel positions" in text).removesuffix(
            "by row and column of the output cell"
        ),
    )
    last = round(shown[1] ** 0.5) - 1
    assert {(0, 0), (0, last), (last, 0), (last, last), (1, 0), (last - 1, 0)} <= set(found)


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_cut_off_nor_written_on_top_of_each_other(name):
    figure = picture(name)
    renderer = figure.canvas.get_renderer()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    spots = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    for words_there, box in spots:
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.width, words_there
        assert 0 <= box.y0 <= box.y1 <= figure.bbox.height, words_there
    width, height = figure.get_size_inches()
    for artist in figure.axes[0].collections:
        box = artist.get_datalim(artist.axes.transData)
        assert 0 <= box.x0 <= box.x1 <= width, artist.get_gid()
        assert 0 <= box.y0 <= box.y1 <= height, artist.get_gid()
    for (one, box), (other, over) in combinations(spots, 2):
        assert not (box.x0 < over.x1 and over.x0 < box.x1 and box.y0 < over.y1 and over.y0 < box.y1), (one, other)
    assert all(text.get_fontsize() >= 4.7 for text in texts)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("ceil", [False, True])
def test_an_average_reads_what_pytorch_averages(counted, ceil):
    """The cells that an average depends on, and their number: that by which ones and padding are divided."""
    torch = pytest.importorskip("torch")
    operation = pool(3, stride=2, padding=1, mode="average", ceil=ceil, count_include_pad=counted)
    layer = torch.nn.AvgPool2d(3, 2, 1, ceil_mode=ceil, count_include_pad=counted)
    scene = scene_of(operation, (4, 5))
    x = torch.ones(1, 1, 4, 5, requires_grad=True)
    y = layer(x)[0, 0]
    for row, column in scene.places():
        (weights,) = torch.autograd.grad(y[row, column], x, retain_graph=True)
        inputs = {(down, right) for down, right in (weights[0, 0] > 0).nonzero().tolist()}
        read = {(down - 1, right - 1) for down, right in scene.read((row, column))}
        assert {(down, right) for down, right in read if 0 <= down < 4 and 0 <= right < 5} == inputs
        assert len(read) == round(1 / weights.max().item())
    said = {"padding: zeros", "padding, which is not counted"} & {*words(draw(operation, (4, 5)))}
    assert said == {"padding: zeros" if counted else "padding, which is not counted"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("operation", "size"),
    [
        (conv(3, padding=1), 28),
        (pool(2), 28),
        (convt(4, stride=2, padding=1), 14),
        (conv(2), 2),
        (conv(3, padding=1), 2),
    ],
)
def test_the_sheet_is_filled(operation, size):
    """Boards and panels reach from one margin to the other, but for a tenth; the text keeps its size on the sheet."""
    figure = draw(operation, (size, size))
    width, _ = figure.get_size_inches()
    groups: dict[str, list[Any]] = {"overview": [], "panels": []}
    for artist in figure.axes[0].collections:
        part = artist.get_gid()
        if not part.startswith("legend"):
            groups["panels" if part.startswith("position") else "overview"].append(
                artist.get_datalim(artist.axes.transData)
            )
    for boxes_there in filter(None, groups.values()):
        covered = max(box.x1 for box in boxes_there) - min(box.x0 for box in boxes_there)
        assert covered >= 0.85 * (width - 0.8)
    assert 6.5 <= width <= 10
    assert all(text.get_fontsize() >= 7.5 for text in figure.axes[0].texts)


def test_a_single_position_is_drawn_once():
    figure = picture("single")
    assert not positions(figure)
    assert places(figure, "first", "now", "output") == {(0, 0)}


def test_a_title_of_ones_own():
    assert "My layer" in words(draw(conv(2), 3, title="My layer"))
    no_torch = pool(2, dilation=2, mode="average")  # PyTorch has none.
    assert "AveragePool(kernel_shape=[2], strides=[2], pads=[0], dilations=[2])".replace("[0]", "[0, 0]") in words(
        draw(no_torch, 6)
    )
    assert "torch.nn.Conv2d(4, 4, kernel_size=1, groups=4)" in words(draw(conv(1, groups=4), (2, 2)))


def test_every_kind_of_cell_has_a_look_of_its_own():
    assert list(LOOKS) == list(KINDS)
    assert len(set(PALETTE)) == 8
    assert (tint("#009E73", 1), tint("#009E73", 0), tint("#000000", 0.2)) == ("#009E73", "#FFFFFF", "#CCCCCC")


# The grid of one axis: computing with it gives what PyTorch gives.

windows = st.builds(
    Window,
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    pad_begin=st.integers(0, 3),
    pad_end=st.integers(0, 3),
    output_padding=st.integers(0, 2),
)


def as_kind(window: Window, transposed: bool) -> Operation:
    """An operation of one axis, of which a convolution has no output padding."""
    if transposed:
        assume(window.output_padding < max(window.stride, window.dilation))
        return Operation("convt", (window,))
    return Operation("conv", (replace(window, output_padding=0),))


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(window=windows, size=st.integers(1, 7), transposed=st.booleans())
def test_computing_with_the_grid_gives_what_pytorch_gives(window, size, transposed):
    torch = pytest.importorskip("torch")
    operation = as_kind(window, transposed)
    [window] = operation.windows
    try:
        [grid] = grids(operation, size)
    except ShapeError:
        assume(False)
    values, weights = torch.arange(1.0, size + 1), torch.arange(1.0, window.kernel + 1) ** 2
    steps = {"stride": window.stride, "dilation": window.dilation}
    if transposed:
        steps["output_padding"] = window.output_padding
        full = torch.nn.functional.conv_transpose1d(values[None], weights[None, None], **steps)[0]
        taps = torch.nn.functional.conv_transpose1d(values[None] ** 0, weights[None, None] ** 0, **steps)[0]
        kept = slice(window.pad_begin, len(full) - window.pad_end)
        expected, weights = full[kept], weights.flip(0)  # As a convolution, it reads the kernel backwards.
        assert list(grid.landing) == taps[kept].tolist()
        assert [kind == "unread" for kind in grid.outputs] == [not count for count in taps[kept].tolist()]
    else:
        padded = torch.nn.functional.pad(values, window.pads)
        expected = torch.nn.functional.conv1d(padded[None], weights[None, None], **steps)[0]
    inputs = iter(values.tolist())
    line = [next(inputs) if kind in ("input", "unread") else 0.0 for kind in grid.kinds]
    assert next(inputs, None) is None
    trimmed = grid.trimmed()  # The kernel reads nothing of what is cut.
    for cells_there, where in ((line, grid), (line[grid.cut[0] : len(line) - grid.cut[1]], trimmed)):
        assert len(cells_there) == len(where.kinds)
        found = [[cells_there[start + tap] for tap in where.taps] for start in where.starts]
        assert (torch.tensor(found) @ weights).tolist() == expected.tolist()


# What cannot be drawn.


LIMIT = "cells is too long for a picture (at most 40)"


@pytest.mark.parametrize(
    ("operation", "sizes", "message"),
    [
        (conv(2), (3, 3, 3), "a picture has one or two axes, not 3: draw two of the axes"),
        (conv(20, dilation=3), 90, f"a side of 90 {LIMIT}"),
    ],
)
def test_what_is_too_large_is_refused(operation, sizes, message):
    with pytest.raises(UsageError) as caught:
        draw(operation, sizes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("operation", "sizes", "smaller"),
    [
        (conv(7, stride=2, padding=3), (224, 224), (34, 34)),
        (conv(3, stride=2, padding=1), 39, (37,)),
        (convt(4, stride=2, padding=1), (10, 99), (10, 17)),
    ],
)
def test_what_is_too_large_is_drawn_smaller_and_the_title_says_so(operation, sizes, smaller):
    found = scene_of(operation, sizes, "Conv")
    assert found.sizes == smaller
    assert found.title == f"Conv, drawn on {'x'.join(map(str, smaller))} cells, whose edges are the same"


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="kernel 5 spans 5 cells, but the input has only 3"):
        draw(conv(5), 3)


@settings(max_examples=40, deadline=None)
@given(window=windows, size=st.integers(41, 300), transposed=st.booleans())
def test_the_smaller_input_that_is_drawn_has_the_same_edges(window, size, transposed):
    operation = as_kind(window, transposed)
    scene = scene_of(operation, size)
    [smaller] = scene.sizes
    assert len(scene.places()) > 1
    [large], [small] = coverage(operation, size), coverage(operation, smaller)
    assert (large.leading, large.trailing) == (small.leading, small.trailing)
    assert (large.counts[:5], large.counts[-5:]) == (small.counts[:5], small.counts[-5:])


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(MissingPackageError) as caught:
        draw(conv(2), 3)
    assert str(caught.value) == "a picture needs the package 'matplotlib': pip install 'portable-nn[plot]'"


# Files.


@pytest.mark.long
@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_the_same_picture_has_the_same_bytes(tmp_path, suffix):
    for name in "ab":
        save(draw(*ALL["holes"]), tmp_path / f"{name}{suffix}")
    found = (tmp_path / f"a{suffix}").read_bytes()
    assert found == (tmp_path / f"b{suffix}").read_bytes()
    assert found.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])
    assert b"matplotlib" not in found.lower().replace(b"matplotlib.org", b"")


def test_what_users_have_set_has_no_influence_and_stays(tmp_path):
    save(draw(conv(2), 3), tmp_path / "a.png")
    mine = {"font.size": 31, "font.family": "DejaVu Serif", "savefig.dpi": 31, "lines.linewidth": 9}
    with matplotlib.rc_context(mine):
        save(draw(conv(2), 3), tmp_path / "b.png")
        assert {name: matplotlib.rcParams[name] for name in mine} == {**mine, "font.family": ["DejaVu Serif"]}
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.long
def test_pyplot_is_left_alone(tmp_path):
    code = (
        "import sys; from portable_nn.core.plotting import save; from portable_nn.sizes import conv;"
        f"from portable_nn.sizes.drawing import draw; save(draw(conv(2), 3), {str(tmp_path / 'a.png')!r});"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_names_and_folders_of_pictures(tmp_path):
    assert check_picture(tmp_path / "A.PNG") == tmp_path / "A.PNG"
    with pytest.raises(UsageError, match=r"p\.jpg: the name of a picture ends in \.png, \.svg or \.pdf$"):
        save(draw(conv(2), 3), tmp_path / "p.jpg")
    with pytest.raises(UsageError, match=r"p\.png: the name of an animation ends in \.gif$"):
        save_animation([], tmp_path / "p.png")
    with pytest.raises(FileError, match="cannot be written: there is no folder"):
        save(draw(conv(2), 3), tmp_path / "no" / "p.png")
    assert not list(tmp_path.iterdir())


# Animations.


def count(frame: Image.Image, colour: str) -> int:
    """How many pixels have exactly that colour."""
    wanted = tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return int((np.asarray(frame) == wanted).all(axis=-1).sum())


@pytest.mark.long
@pytest.mark.parametrize("name", ["one axis, transposed", "conv 6 to 3"])
def test_the_output_fills_frame_by_frame(name):
    operation, sizes = ALL[name]
    frames = animate(operation, sizes)
    assert len(frames) == len(cells(operation.output_size(sizes)))
    filled = [count(frame, LOOKS["output"]["facecolor"]) for frame in frames]
    made = [set(kinds) == {"output"} for kinds in product(*(grid.outputs for grid in grids(operation, sizes)))]
    grown = [after > before for before, after in pairwise(filled)]
    assert grown == made[:-1]  # What is made in a frame is of another colour there.
    now = [count(frame, GREEN) for frame in frames]
    assert max(now) - min(now) <= max(now) * 0.1


@pytest.mark.long
@pytest.mark.parametrize("name", ARTICLE)
def test_animations_of_the_article(tmp_path, name):
    _, _, output = ARTICLE[name]
    save_animation(animate(*ALL[name]), tmp_path / "a.gif")
    assert (tmp_path / "a.gif").stat().st_size < 100_000
    with Image.open(tmp_path / "a.gif") as found:
        assert (found.format, found.n_frames, found.info["loop"]) == ("GIF", output**2, 0)
        assert 520 <= found.width <= 800
        durations = []
        for number in range(found.n_frames):
            found.seek(number)
            durations.append(found.info["duration"])
        assert durations == [500] * (output**2 - 1) + [1500]
        assert found.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        assert count(found.convert("RGB"), GREEN) > 100


@pytest.mark.long
def test_the_same_animation_has_the_same_bytes(tmp_path):
    for name in "ab":
        save_animation(animate(conv(2), 4), tmp_path / f"{name}.gif")
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


@pytest.mark.long
def test_many_frames_are_small_and_fast(tmp_path):
    frames = animate(conv(5, stride=2, padding=2), (20, 20))
    save_animation(frames, tmp_path / "a.gif")
    assert len(frames) == 100
    assert (tmp_path / "a.gif").stat().st_size < 500_000
    with Image.open(tmp_path / "a.gif") as found:
        found.seek(1)
        assert found.info["duration"] == 200


@pytest.mark.long
def test_too_many_frames_are_those_of_a_smaller_input():
    assert len(animate(conv(3), (28, 28))) == 400
    assert len(animate(conv(3), (6, 4))) == 8
