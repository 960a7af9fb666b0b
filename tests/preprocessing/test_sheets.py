"""The steps for photographs of sheets equal a slow implementation of SPEC.md, pixel by pixel."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import ceil, floor

import msgspec
import numpy as np
import pytest
from drawn import ink
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn.core.errors import DataError
from portable_nn.preprocessing.applying import apply, parts
from portable_nn.preprocessing.defaults import SHEET
from portable_nn.preprocessing.morphology import closed, components, highest, lowest
from portable_nn.preprocessing.sheets import (
    Drawing,
    find_ink,
    guess_ink_of,
    keep_sheet,
    remove_lines,
    separate,
    without_edges,
)
from portable_nn.preprocessing.steps import InkStep, Preprocessing, check_order, with_polarity

Picture = np.ndarray
Pixel = tuple[int, int]


def window(shape: tuple[int, ...], row: int, column: int, reach: int) -> Iterator[Pixel]:
    for i in range(max(0, row - reach), min(shape[0], row + reach + 1)):
        for j in range(max(0, column - reach), min(shape[1], column + reach + 1)):
            yield i, j


def slow_highest(x: Picture, reach: int, pick: Callable[..., float] = max) -> Picture:
    found = np.empty_like(x)
    for row, column in np.ndindex(*x.shape):
        found[row, column] = pick(x[at] for at in window(x.shape, row, column, reach))
    return found


def slow_closed(x: Picture, reach: int) -> Picture:
    found = np.full_like(x, np.inf)
    for row in range(-reach, x.shape[0] + reach):
        for column in range(-reach, x.shape[1] + reach):
            inside = list(window(x.shape, row, column, reach))
            largest = max(x[at] for at in inside)
            for at in inside:
                found[at] = min(found[at], largest)
    return found


def slow_parts(mask: Picture) -> list[list[Pixel]]:
    """By flooding, in the order of their first pixels."""
    left = {(int(i), int(j)) for i, j in np.argwhere(mask)}
    found = []
    for start in sorted(left):
        if start in left:
            part, queue = [], [start]
            left.discard(start)
            while queue:
                at = queue.pop()
                part.append(at)
                for near in window(mask.shape, *at, 1):
                    if near in left:
                        left.discard(near)
                        queue.append(near)
            found.append(sorted(part))
    return found


def slow_box(part: list[Pixel]) -> tuple[int, int, int, int]:
    rows, columns = zip(*part, strict=True)
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


def touches(box: tuple[int, ...], shape: tuple[int, ...]) -> tuple[bool, bool]:
    return box[0] == 0 or box[2] == shape[1], box[1] == 0 or box[3] == shape[0]


def slow_otsu(x: Picture) -> tuple[Fraction, tuple[int, Fraction, Fraction]]:
    """The variance between the two parts, times the squared number of pixels; the threshold, and both means."""
    levels = [floor(value) for value in x.ravel()]
    best, choice = Fraction(0), (0, Fraction(0), Fraction(0))
    for t in range(255):
        below, above = [v for v in levels if v <= t], [v for v in levels if v > t]
        if below and above:
            a, b = Fraction(sum(below), len(below)), Fraction(sum(above), len(above))
            if (score := len(below) * len(above) * (b - a) ** 2) > best:
                best, choice = score, (t, a, b)
    return best, choice


def slow_margin(x: Picture) -> Picture:
    best, (t, dark, bright) = slow_otsu(x)
    (height, width), longer = x.shape, max(x.shape)
    if best <= 0.8 * statistics.pvariance(map(float, x.ravel())) * x.size**2:
        return x
    for drawn, paper in ((np.floor(x) <= t, bright), (np.floor(x) > t, dark)):
        part = max(slow_parts(drawn), key=len)
        left, top, right, bottom = slow_box(part)
        frame = max(1, min(x.shape) // 20)
        edges = [(i, j) for i, j in np.ndindex(*x.shape) if min(i, j, height - 1 - i, width - 1 - j) < frame]
        if (
            20 * max(left, top, width - right, height - bottom) <= longer
            and 0.9 * drawn.sum() <= len(part)
            and drawn.sum() <= 0.65 * x.size
            and len({*edges} & {*part}) <= 0.4 * len(edges)
        ):
            margin = ceil(Fraction(longer, 4))
            found = np.full((height + 2 * margin, width + 2 * margin), np.float32(float(paper)))
            found[margin : margin + height, margin : margin + width] = x
            return found
    return x


def slow_sheet(x: Picture) -> Picture:
    x = slow_margin(x)
    longer = max(x.shape)
    reach = ceil(Fraction(longer, 10)) + 2
    best, choice = slow_otsu(x)
    if best == 0 or choice[1] > Fraction(8, 10) * choice[2]:
        return x
    light = max(slow_parts(np.floor(x) > choice[0]), key=len)
    sheet = np.zeros(x.shape)
    for at in light:
        sheet[at] = 1
    if not any(all(sheet[at] for at in window(x.shape, *middle, reach)) for middle in light):
        return x
    tables = [part for part in slow_parts(slow_closed(sheet, reach) == 0) if any(touches(slow_box(part), x.shape))]
    table = {at for part in tables for at in part}
    edge = {at for at in np.ndindex(*x.shape) if 0 in at or at[0] == x.shape[0] - 1 or at[1] == x.shape[1] - 1}
    if not table or (choice[1] > Fraction(35, 100) * choice[2] and not edge <= table):
        return x
    margin = ceil(Fraction(longer, 100))
    inner = [[not set(window(x.shape, i, j, margin)) & table for j in range(x.shape[1])] for i in range(x.shape[0])]
    paper, found = slow_closed(x, reach), x.copy()
    filled = [i for i in range(x.shape[0]) if any(inner[i])]
    for i, j in np.ndindex(*x.shape):
        if not inner[i][j]:
            row = min(filled, key=lambda k, i=i: (abs(k - i), k))
            column = min((k for k in range(x.shape[1]) if inner[row][k]), key=lambda k, j=j: (abs(k - j), k))
            found[i, j] = paper[row, column]
    return found


def slow_ink(x: Picture, dark: bool) -> Picture:
    y = x.astype(np.float64) if dark else 255.0 - x
    paper = slow_closed(y, ceil(Fraction(max(x.shape), 10)) + 2)
    u = 1 - y / np.maximum(paper, 1)
    middle = float(np.median(u))
    least = middle + 3 * 1.4826 * float(np.median(np.abs(u - middle)))
    return np.clip(255 * (u - least) / (u.max() - least), 0, 255)


def column_runs(mask: Picture) -> Picture:
    found = np.zeros(mask.shape, int)
    for i, j in np.argwhere(mask):
        top = bottom = i
        while top and mask[top - 1, j]:
            top -= 1
        while bottom + 1 < len(mask) and mask[bottom + 1, j]:
            bottom += 1
        found[i, j] = bottom - top + 1
    return found


def slow_rows(x: Picture) -> Picture:
    (height, width), longer = x.shape, max(x.shape)
    thickest, length = longer // 80, ceil(Fraction(longer, 12))
    mask = x > 255 / 8
    runs = column_runs(mask)
    thick = slow_highest(mask.astype(float), 1) > 0
    straight = np.zeros_like(mask)
    for k in range(-8, 9):
        for start in range(width - length + 1):
            for a in range(-height - width, height + width):
                segment = [(a + round(Fraction(c * k, 32)), c) for c in range(start, start + length)]
                if all(0 <= i < height and thick[i, j] for i, j in segment):
                    for at in segment:
                        straight[at] = True
    thrice = np.zeros(x.shape)
    for part in slow_parts(straight):
        left, _, right, _ = slow_box(part)
        if right - left >= width / 2 or all(touches(slow_box(part), x.shape)):
            drawn = [at for at in part if mask[at] and runs[at] <= thickest]
            for at in drawn:
                thrice[at] = 3 * statistics.median(float(x[own]) for own in drawn)
    darkest = slow_highest(thrice, 1)
    line = darkest > 0
    line &= column_runs(line) <= thickest + 2
    line &= x <= darkest
    found = x.copy()
    for i, j in np.argwhere(line):
        above = [x[k, j] for k in range(i) if not line[k, j]]
        below = [x[k, j] for k in range(i + 1, height) if not line[k, j]]
        found[i, j] = min(above[-1] if above else 0, below[0] if below else 0)
    return found


def scene(seed: int, height: int = 40, width: int = 52, *, table: float = 0, around: bool = False) -> Picture:
    """Paper with a stroke, noise, a shadow, and a ``table`` of this brightness on three sides of it, or ``around``."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    x = 200 + random.normal(0, 2, (height, width)) - 70 * (columns + rows * random.uniform(-1, 1) > width * 0.6)
    x[14:27, 20:23] = 30
    x[24:27, 20:34] = 40
    if table:
        outside = (rows < 4 + columns // 14) | (columns < 5) | (columns > width - 6 - rows // 12)
        outside |= (rows > height - 4) & around
        x = np.where(outside, table + random.normal(0, 2, x.shape), np.maximum(x, 170) * (x > 60) + 30 * (x <= 60))
    return x.clip(0, 255).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 13), st.integers(1, 11), st.integers(0, 6))
def test_windows(seed: int, height: int, width: int, reach: int) -> None:
    x = np.random.default_rng(seed).integers(0, 9, (height, width)).astype(np.float32)
    np.testing.assert_array_equal(highest(x, reach), slow_highest(x, reach))
    np.testing.assert_array_equal(lowest(x, reach), slow_highest(x, reach, min))
    np.testing.assert_array_equal(closed(x, reach), slow_closed(x, reach))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 14), st.integers(1, 17), st.floats(0, 1))
def test_components(seed: int, height: int, width: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    found, wanted = components(mask), slow_parts(mask)
    assert found.boxes.tolist() == [list(slow_box(part)) for part in wanted]
    assert found.areas.tolist() == [len(part) for part in wanted]
    assert [sorted(map(tuple, np.argwhere(found.labels == k).tolist())) for k in range(len(wanted))] == wanted


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("table", "around", "is_found"),
    [
        (0, False, False),
        (20, False, True),
        (100, False, False),
        (20, True, True),
        (100, True, True),
        (175, True, False),
    ],
)
def test_the_sheet(seed: int, table: float, around: bool, is_found: bool) -> None:
    x = scene(seed, table=table, around=around)
    found = keep_sheet(x, 768)
    np.testing.assert_allclose(found, slow_sheet(x), rtol=1e-6)
    assert (found is not x) is is_found
    assert found[0].min() > (100 if is_found else 0)


@pytest.mark.long
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("margin", "is_added"), [(0, True), (1, True), (2, True), (8, False)])
def test_a_margin_around_a_drawing_that_fills_its_picture(margin: int, is_added: bool, dark: bool) -> None:
    """Its box is where it was in the picture; where there is enough paper, nothing is added."""
    five = ink(50, 50, 4, 4, 40)
    rows, columns = (np.flatnonzero(five.max(axis) > 127) for axis in (1, 0))
    five = five[rows[0] - margin : rows[-1] + 1 + margin, columns[0] - margin : columns[-1] + 1 + margin]
    x = 210 - 0.7 * five + np.random.default_rng(margin).normal(0, 4, five.shape)
    x = (x if dark else 255 - x).round().astype(np.float32)
    found = keep_sheet(x, 768)
    np.testing.assert_array_equal(found, slow_sheet(x))
    assert (found.shape != x.shape) is is_added
    if is_added:
        [only] = parts(SHEET, x.astype(np.uint8))
        height, width = x.shape
        assert only.box == pytest.approx((margin, margin, width - margin, height - margin), abs=1)


@pytest.mark.long
def test_no_margin_is_added_to_a_sheet_or_a_frame() -> None:
    """A sheet whose table is narrow, a drawing in a frame, two strokes, and noise do not fill a picture as one does."""
    random = np.random.default_rng(0)
    table, frame, strokes = (np.full((60, 60), 220, np.float32) for _ in range(3))
    table[[0, -1]] = table[:, [0, -1]] = 30
    frame[[1, -2], 1:-1] = frame[1:-1, [1, -2]] = 30
    table[15:45, 20:26] = frame[15:45, 20:26] = 30
    strokes[:, :6] = strokes[:, -6:] = 30
    for x in (table, frame, strokes, random.integers(0, 256, (60, 60)).astype(np.float32)):
        assert slow_margin(x) is x
        assert keep_sheet(x, 768).shape == x.shape


@pytest.mark.long
@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize("dark", [False, True])
def test_the_ink(seed: int, dark: bool) -> None:
    x = scene(seed) if dark else 255 - scene(seed)
    assert guess_ink_of(x) == ("dark" if dark else "light")
    np.testing.assert_allclose(find_ink(x, guess_ink_of(x)), slow_ink(x, dark), atol=2e-3)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_the_lines(seed: int) -> None:
    random = np.random.default_rng(seed)
    x = np.zeros((70, 90), np.float32)
    for row in (12, 34, 56):
        for column in range(90):
            x[row + round(column * random.uniform(0.03, 0.034)), column] = 100
    x[:, 50] = 90
    x[20:48, 60:66] = 255
    x[44:50, 60:80] = 250
    found = remove_lines(x)
    wanted = slow_rows(slow_rows(x).T).T
    np.testing.assert_array_equal(found, wanted)
    assert (found[x < 200] < 60).mean() > 0.99
    assert (found[23:44, 61:65] == 255).all()


@pytest.mark.parametrize("bold", [60, 120])
def test_a_thin_stroke_along_a_line_of_the_paper_stays(bold: int) -> None:
    """Where it is more than three times as dark; each line is compared with itself, however dark other lines are."""
    x = np.zeros((160, 200), np.float32)
    x[[40, 80], :] = 60
    x[120, :] = bold
    x[80, 90:110] = 250
    wanted = np.zeros_like(x)
    wanted[80, 90:110] = 250
    np.testing.assert_array_equal(remove_lines(x), wanted)


def test_several_drawings_are_read_like_a_text() -> None:
    ink = np.zeros((200, 300), np.float32)
    boxes = [(20, 20, 40, 60), (70, 24, 76, 62), (100, 18, 130, 61), (30, 120, 60, 170), (200, 110, 225, 160)]
    for left, top, right, bottom in boxes:
        ink[top:bottom, left:right] = 200
        ink[top + 5 : bottom - 5, left + 2 : right - 2] = 0
        ink[top + 5 : bottom - 5, left : left + 5] = 120
    ink[90:93, 150:153] = 255  # Dirt.
    found = separate(ink, 28, 20)
    assert [each.box for each in found] == boxes
    assert all(each.pixels.shape == (28, 28) for each in found)
    assert all(each.pixels.max() > 200 for each in found)


def test_a_broken_digit_is_one() -> None:
    ink = np.zeros((100, 100), np.float32)
    ink[30:34, 40:62] = 255
    ink[39:70, 42:46] = 255
    assert [each.box for each in separate(ink, 28, 20)] == [(40, 30, 62, 70)]


def test_the_dash_of_a_five_is_part_of_it_however_long() -> None:
    ink = np.zeros((100, 200), np.float32)
    ink[30:60, 40:60] = 255
    ink[24:29, 58:90] = 255  # More than half as long as all of the rest, beside rather than above.
    ink[26:60, 100:106] = 255
    assert [each.box for each in separate(ink, 28, 20)] == [(40, 24, 90, 60), (100, 26, 106, 60)]


def test_a_picture_of_several_is_refused_where_one_is_expected() -> None:
    x = np.full((100, 200), 230, np.uint8)
    x[30:70, 40:46] = x[30:70, 140:146] = 20
    found = parts(SHEET, x)
    assert [part.box for part in found] == [(40, 30, 46, 70), (140, 30, 146, 70)]
    with pytest.raises(DataError, match="expected one drawing, found 2"):
        apply(SHEET, x)


def test_boxes_are_those_of_the_picture_that_was_given() -> None:
    x = np.full((1500, 3000, 3), 230, np.uint8)
    x[600:1000, 900:1000] = 20
    [part] = parts(SHEET, x)
    assert part.box is not None
    assert np.abs(np.array(part.box) - [900, 600, 1000, 1000]).max() <= 4


def crossing_shadows(light: float) -> Picture:
    """A stroke on paper, and the tip of a wedge of shadow, which holds no window wider than a stroke."""
    rows, columns = np.mgrid[:240, :320]
    x = np.where(np.abs(rows - 130) < columns - 200, 220 * light, 220)
    x[60:150, 80:90] = 40
    return x.astype(np.float32)


@pytest.mark.parametrize("light", [0.35, 0.5, 0.7])
def test_the_tip_of_a_shadow_beside_a_stroke_is_no_drawing(light: float) -> None:
    x = crossing_shadows(light)
    assert [part.box for part in parts(SHEET, x)] == [(80, 60, 90, 150)]
    drawn = find_ink(x, "dark")
    both = separate(drawn, 28, 20)
    assert len(both) == 2
    assert without_edges(both, drawn, 255 - x, "light") == without_edges(both, drawn, x, "dark") == both[:1]
    x[60:150, 80:90] = 220
    assert len(parts(SHEET, x)) == 1  # Alone it stays: the model says what it is.


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_strokes_up_to_half_as_thick_as_long_are_drawings_in_any_light(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:200, :300]
    angle, place = random.uniform(0, 2 * np.pi), random.uniform(-100, 100)
    across = (rows - 100) * np.sin(angle) + (columns - 150) * np.cos(angle) - place
    light = 1 - random.uniform(0, 0.6) * np.clip(across / random.uniform(1, 40) + 0.5, 0, 1)
    ink, count = np.ones(light.shape), int(random.integers(2, 6))
    for k in range(count):
        height, left = int(random.integers(30, 90)), 15 + 55 * k
        top = int(random.integers(10, 190 - height))
        ink[top : top + height, left : left + int(random.integers(4, min(0.5 * height, 40)))] = random.uniform(0.1, 0.3)
    assert len(parts(SHEET, (230 * light * ink).astype(np.float32))) == count


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_the_edges(seed: int) -> None:
    """A drawing stays whose darkness close by is nine tenths of that in wide windows, by the slow implementation."""
    x = scene(seed)
    drawn = find_ink(x, "dark")
    boxes = [each.box for each in separate(drawn, 28, 20)]
    boxes += [(left, 5, left + side, 5 + side) for left, side in ((3, 9), (20, 14), (30, 20))]
    wide = 1 - x / np.maximum(slow_closed(x, ceil(Fraction(max(x.shape), 10)) + 2), 1)

    def is_own(box: tuple[int, ...]) -> bool:
        left, top, right, bottom = box
        close = 1 - x / np.maximum(slow_closed(x, ceil(Fraction(30 * max(right - left, bottom - top), 100))), 1)
        strokes = drawn[top:bottom, left:right] > 255 / 4
        kept, whole = (float(each[top:bottom, left:right][strokes].sum()) for each in (close, wide))
        return kept >= 0.9 * whole

    wanted = [box for box in boxes if is_own(box)]
    found = without_edges([Drawing(x, box) for box in boxes], drawn, x, "dark")
    assert [each.box for each in found] == (wanted or boxes)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_sheet_has_no_drawing(value: int) -> None:
    with pytest.raises(DataError, match="no drawing found"):
        parts(SHEET, np.full((50, 60), value, np.uint8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"step":"sheet","longest":0}', "longest must be from 1 to 8192"),
        ('{"step":"sheet","longest":9000}', "longest must be from 1 to 8192"),
        ('{"step":"ink","found":"blue"}', "Invalid enum value|found must be"),
        ('{"step":"drawings","size":8,"box":9}', "box must fit in size"),
        ('{"step":"lines","width":3}', "unknown field"),
    ],
)
def test_hostile_steps(text: str, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.json.decode(f"[{text}]", type=Preprocessing)


def test_drawings_come_last() -> None:
    with pytest.raises(ValueError, match="drawings must be the last"):
        check_order((*SHEET, SHEET[1]))


def test_the_ink_can_be_said() -> None:
    assert InkStep("light") in with_polarity(SHEET, "light")


def test_the_rest_of_a_line_is_no_drawing() -> None:
    """Three pixels high and lying, beside a digit; a stroke that stands is one, and one that lies alone."""
    ink = np.zeros((400, 500), np.float32)
    ink[100:180, 100:110] = 255
    ink[300:303, 200:260] = 255
    assert [drawing.box for drawing in separate(ink, 28, 20)] == [(100, 100, 110, 180)]
    ink[100:180, 100:110] = 0
    assert [drawing.box for drawing in separate(ink, 28, 20)] == [(200, 300, 260, 303)]


def test_noise_is_no_ink() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80), np.uint8)
    with pytest.raises(DataError, match=r"the background is too uneven for strokes to stand out from it$"):
        parts(SHEET, noise)
