"""The pages of lessons in a real browser: mouse, keys, screen readers, phones, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages.browsers import browse, in_firefox

from portable_nn import sizes
from portable_nn.adversarial import simulate, spectral_radius
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.lessons import game_page, size_page

CONVT = sizes.convt(3, stride=2, padding=1, output_padding=1, axes=2)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("lessons")
    (folder / "game.html").write_bytes(game_page())
    (folder / "size.html").write_bytes(size_page(CONVT, (4, 4)))
    (folder / "undefined.html").write_bytes(game_page("log(x)*y"))
    return [folder / "game.html", folder / "size.html"]


@pytest.fixture(scope="module")
def seen(pages: list[Path]) -> Any:
    return browse("lesson_pages.cjs", *pages, pages[0].with_name("undefined.html"))


def measured(state: dict[str, Any], method: str, **options: float) -> str:
    """What the page should say of a run of 499 steps from where its start is."""
    far = simulate("bilinear", method, state["start"], state["rate"], **options).distance
    return f"{(far[-1] / far[0]) ** (1 / 499):.8f} per step, from {far[0]:.6g} to {far[-1]:.6g}"


@pytest.mark.long
def test_a_game_is_played_by_mouse_and_keys(seen: Any) -> None:
    found = seen["game"]
    first, dragged, keys = found["first"], found["dragged"], found["keys"]
    assert (first["start"], first["rate"]) == ([0.6, 0.7], 0.1)
    assert first["radius"] == f"{spectral_radius('simultaneous', 'bilinear', 0.1):.8f}"
    assert dragged["start"][0] > 1
    assert dragged["start"][1] < 0
    assert dragged["path"] != first["path"]
    assert np.allclose(np.subtract(keys["start"], dragged["start"]), (-0.05, 0.25), atol=0.02)
    assert found["turned"]["turn"] != first["turn"]
    assert found["turned"]["start"] == keys["start"]
    assert found["faster"]["rate"] > 0.1
    assert found["faster"]["verdict"] != first["verdict"]
    for state in (first, dragged, keys, found["faster"]):
        assert state["measured"] == measured(state, "simultaneous")
        assert state["verdict"].startswith("The players move away")
    extragradient = found["extragradient"]
    assert extragradient["verdict"].startswith("The players come to the equilibrium")
    assert extragradient["measured"] == measured(extragradient, "extragradient", gamma=0.5)
    assert extragradient["radius"] == f"{spectral_radius('extragradient', 'bilinear', 0.3, gamma=0.5):.8f}"
    assert "no eigenvalues" not in found["adam"]
    assert found["adam"].startswith("Over these steps")
    assert found["again"] == first


@pytest.mark.long
def test_a_run_that_leaves_where_f_is_defined_is_told_as_python_does(seen: Any) -> None:
    found, run = seen["left"], simulate("log(x)*y")
    point = ", ".join(f"{value:.4g}" for value in run.z[53])
    assert run.message == f"fails: step 54, from ({point}), is not defined: f or a gradient is NaN there"
    assert found["verdict"] == f"Step 54, from ({point}), is not defined: f or a gradient is no number there."
    far = run.distance
    factor = (far[53] / far[0]) ** (1 / 53)
    assert found["measured"] == f"{factor:.8f} per step, from {far[0]:.6g} to {far[53]:.6g} in 53 steps"
    assert found["gradients"] == str(run.nfev) == "54"
    command = "portable-nn simulate run --game 'log(x)*y' --method simultaneous --rate 0.1 --start 0.6,0.7 --steps 499"
    assert found["command"] == command
    one, other = found["labels"]
    assert abs(one - other) > 10
    assert found["reason"] == "A number from 0 to 1e+06; the last one that fits stays: 0.1."
    assert (found["rate"], found["reasons"], found["violations"]) == ("0.1", 0, [])


@pytest.mark.long
def test_a_race_of_methods_ends_where_python_says(seen: Any) -> None:
    start = seen["game"]["extragradient"]["start"]
    rows = {row[0]: row[1:] for row in seen["game"]["race"]}
    assert len(rows) == 8
    for name in ("simultaneous", "alternating", "optimistic", "lookahead"):
        distance = simulate("bilinear", name, start, 0.3, 500).distance[-1]
        assert rows[name][0] == f"{distance:.4g}", name
        assert rows[name][1] == f"{spectral_radius(name, 'bilinear', 0.3):.8f}"


@pytest.mark.long
def test_a_kernel_is_moved_and_its_options_changed(seen: Any) -> None:
    found = seen["size"]
    first = found["first"]
    assert (first["answer"], first["torch"], first["onnx"]) == (
        "4 x 4 → 8 x 8",
        sizes.torch_text(CONVT),
        sizes.onnx_text(CONVT),
    )
    landing = sizes.coverage(CONVT, (4, 4))[0].counts
    assert first["counts"] == [str(one * other) for one in landing for other in landing]
    assert first["where"] == "Output cell (0, 0) reads input row 0 and column 0."
    assert found["keys"]["where"] == "Output cell (1, 1) reads input rows 0, 1 and columns 0, 1."
    assert found["keys"]["kernel"] != first["kernel"]
    assert found["end"]["where"] == "Output cell (7, 7) reads input row 3 and column 3."
    assert found["mouse"]["where"].startswith("Output cell (4, 3)")
    larger = sizes.convt(4, stride=2, padding=1, output_padding=1, axes=2)
    assert found["kernel"]["torch"] == sizes.torch_text(larger)
    assert found["kernel"]["answer"] == "4 x 4 → 9 x 9"
    assert found["fault"]["warning"] == "The padding takes away the whole output."
    grouped = sizes.convt(4, stride=2, padding=((0, 1), (0, 1)), output_padding=1, groups=2, axes=2)
    assert found["groups"]["torch"] == sizes.torch_text(grouped, 4, 6)
    assert found["groups"]["onnx"] == sizes.onnx_text(grouped)
    assert found["groups"]["command"] == (
        "portable-nn size convt --in 4 --kernel 4 --stride 2 --padding 0:1 --output-padding 1 --channels 4:6:2"
    )
    assert found["large"]["kernel"] == []
    assert found["large"]["answer"] == "60 x 60 → 122 x 122"
    scrolled = found["scrolled"]
    assert scrolled["where"] == "Output cell (39, 39) reads input rows 38, 39 and columns 38, 39."
    assert all(scrolled["seen"])
    assert scrolled["violations"] == []
    conv = sizes.conv(3, stride=2, padding=1)
    read = sizes.coverage(conv, 4)[0].counts
    assert found["conv"]["counts"] == [str(one * other) for one in read for other in read]
    assert found["conv"]["answer"] == "4 x 4 → 2 x 2"
    for name, counts, divisor in (("average", False, 1), ("counted", True, 4)):
        pool = sizes.pool(3, stride=2, padding=1, ceil=True, mode="average", count_include_pad=counts, axes=2)
        assert found[name]["answer"] == "4 x 4 → 3 x 3"
        assert found[name]["torch"] == sizes.torch_text(pool, sizes=(4, 4))
        assert found[name]["onnx"] == sizes.onnx_text(pool)
        where = "Output cell (2, 2) is the average of input row 3 and column 3: their sum, divided by"
        assert found[name]["where"] == f"{where} {divisor}."


@pytest.mark.long
def test_fingers_put_the_start_and_the_kernel_to_a_place(seen: Any) -> None:
    x, y = seen["tapped"]["start"]
    assert x < -1
    assert y > 0.5
    assert seen["tapped"]["where"].startswith("Output cell (0, 7)")
    assert seen["tapped"]["next"].startswith("Output cell (1, 0)")


@pytest.mark.long
def test_whatever_is_chosen_they_show_numbers_and_have_no_error(seen: Any) -> None:
    assert seen["everything"] == []


@pytest.mark.long
def test_everybody_can_use_them(seen: Any) -> None:
    assert seen["game"]["violations"] == seen["size"]["violations"] == seen["looks"] == []


@pytest.mark.long
def test_firefox_shows_what_python_computes(pages: list[Path]) -> None:
    """The driver fails where a page writes to the console."""
    found = in_firefox("firefox_lessons.cjs", *pages)
    first, dragged, keys, extragradient = found["game"]
    start, rate = ("Start x, as a number", "Start y, as a number"), "Learning rate η, as a number"
    for state in found["game"]:
        state |= {"start": [state["numbers"][name] for name in start], "rate": state["numbers"][rate]}
    assert (first["start"], first["rate"]) == ([0.6, 0.7], 0.1)
    assert dragged["start"] != first["start"]
    assert keys["start"] == pytest.approx([dragged["start"][0] + 0.05, dragged["start"][1]], abs=0.011)
    for state in (first, dragged, keys):
        assert state["facts"]["measured"] == measured(state, "simultaneous")
        assert state["facts"]["largest eigenvalue"] == f"{spectral_radius('simultaneous', 'bilinear', 0.1):.8f}"
    assert extragradient["rate"] == 0.3
    assert extragradient["facts"]["measured"] == measured(extragradient, "extragradient")
    assert extragradient["facts"]["largest eigenvalue"] == f"{spectral_radius('extragradient', 'bilinear', 0.3):.8f}"
    landing = sizes.coverage(CONVT, (4, 4))[0].counts
    first, keys, larger = found["size"]
    assert first["counts"] == [str(one * other) for one in landing for other in landing]
    answers = [state["answer"].replace("\N{MULTIPLICATION SIGN}", "x") for state in found["size"]]
    assert answers == ["4 x 4 → 8 x 8", "4 x 4 → 8 x 8", "4 x 4 → 9 x 9"]
    assert keys["where"] == "Output cell (1, 1) reads input rows 0, 1 and columns 0, 1."
    wide = sizes.convt(4, stride=2, padding=1, output_padding=1, axes=2)
    assert (larger["groups"]["PyTorch"], larger["groups"]["ONNX"]) == (sizes.torch_text(wide), sizes.onnx_text(wide))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("forsaken", "proximal"), {}, "cannot show the method 'proximal' on the game 'forsaken'"),
        ((), {"learning_rate": -0.1}, "learning_rate must be a number of at least 0"),
        ((), {"learning_rate": "0.1/t", "decay": "1/t"}, "a page takes a formula of t or a decay, not both"),
        ((), {"decay": "slowly"}, "there is no decay 'slowly'"),
        ((), {"start": [1.0]}, "start must be two numbers, x and y"),
        ((), {"steps": 20_001}, "a page takes steps up to 20,000, not 20,001"),
        ((), {"gamma": 1.0}, "has no option 'gamma'"),
    ],
)
def test_what_a_page_of_a_game_cannot_show(arguments: tuple[str, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        game_page(*arguments, **options)


def test_what_a_page_of_a_convolution_cannot_show() -> None:
    with pytest.raises(UsageError, match="one or two axes, not 3"):
        size_page(sizes.conv(2), (4, 4, 4))
    with pytest.raises(UsageError, match="at most 100 cells along an axis, not 101"):
        size_page(sizes.conv(2), (4, 101))
    with pytest.raises(UsageError, match="groups must divide in_channels"):
        size_page(sizes.conv(2, groups=2), 4, (3, 2))
    with pytest.raises(ShapeError, match="spans 5 cells"):
        size_page(sizes.conv(5), 4)
