"""Pages of games in real browsers: mixed strategies, two learning rates and noise, by mouse, finger and keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages.browsers import browse, in_firefox

from portable_nn.adversarial import simulate, spectral_radius
from portable_nn.lessons import game_page

START = [1.0, 0.2, -0.5, 0.8]
RUN = "portable-nn simulate run --game rock-paper-scissors --method optimistic"
FIRST = f"{RUN} --rate 1 --start 1,0.2,-0.5,0.8 --steps 400"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("games")
    mixed = game_page("rock-paper-scissors", "optimistic", START, 1.0, 400)
    (folder / "mixed.html").write_bytes(mixed)
    product = game_page("bilinear", "extragradient", learning_rate=(0.1, 0.05), noise=0.3, seed=3, steps=1000)
    (folder / "product.html").write_bytes(product)
    return [folder / "mixed.html", folder / "product.html"]


@pytest.fixture(scope="module")
def seen(pages: list[Path]) -> Any:
    return browse("lesson_games.cjs", *pages)


def given(command: str) -> dict[str, Any]:
    """The arguments of ``simulate`` in a command."""
    options = dict(re.findall(r"--(\w+) (\S+)", command))
    rates = [float(rate) for rate in options["rate"].split(",")]
    return {
        "game": options.get("game", "bilinear"),
        "method": options["method"],
        "learning_rate": rates[0] if len(rates) == 1 else (rates[0], rates[1]),
        "start": [float(number) for number in options["start"].split(",")],
        "steps": int(options["steps"]),
        "noise": float(options.get("noise", 0)),
        "seed": int(options.get("seed", 0)),
    }


def measured(command: str) -> str:
    """What the page should say of the run that a command makes."""
    arguments = given(command)
    far = simulate(**arguments).distance
    factor = (far[-1] / far[0]) ** (1 / arguments["steps"])
    return f"{factor:.8f} per step, from {far[0]:.6g} to {far[-1]:.6g}"


def test_strategies_are_dragged_and_the_run_is_that_of_the_command(seen: Any) -> None:
    found = seen["mixed"]
    assert found["first"]["command"] == found["again"]["command"] == FIRST
    last = simulate("rock-paper-scissors", "optimistic", START, 1.0, 400).z[-1]
    weights = np.exp([*last[:2], 0.0])
    shares = [f"{100 * share:.1f} %" for share in weights / weights.sum()]
    assert found["x"] == "rock {}, paper {}, scissors {}".format(*shares)
    dragged, noisy = given(found["dragged"]["command"]), given(found["noisy"]["command"])
    assert dragged["start"][:2] == START[:2]
    assert dragged["start"][2] > START[2]
    assert found["shown"] == ["y1", "x0"]
    assert (noisy["learning_rate"], noisy["noise"], noisy["seed"]) == ((1.0, 0.5), 0.2, 3)
    for state in (found["first"], found["dragged"], found["noisy"]):
        assert state["measured"] == measured(state["command"])
    assert "were it not for the noise" in found["noisy"]["verdict"]


def test_a_finger_drags_a_strategy_and_does_not_scroll(seen: Any) -> None:
    found = seen["touched"]
    start = given(found["command"])["start"]
    assert start[0] < START[0]
    assert start[2:] == START[2:]
    assert found["measured"] == measured(found["command"])
    assert (found["scrolled"], found["wide"]) == (0, 390)


def test_two_rates_and_noise_on_x_y(seen: Any) -> None:
    found = seen["product"]
    assert found["measured"] == measured(found["command"])
    assert found["command"].endswith("--rate 0.1,0.05 --start 0.6,0.7 --steps 1000 --noise 0.3 --seed 3")
    assert found["one"] == f"√(0.1 · 0.05) = {(0.1 * 0.05) ** 0.5:.6g}"
    radius = spectral_radius("extragradient", "bilinear", (0.1, 0.05))
    assert radius == pytest.approx(spectral_radius("extragradient", "bilinear", (0.1 * 0.05) ** 0.5), abs=1e-12)
    assert f"without it each step multiplies the distance by {radius:.8f} in the end" in found["verdict"]
    assert found["orbits"] == 1


def test_everybody_can_use_them(seen: Any) -> None:
    assert [seen[name]["violations"] for name in ("mixed", "touched", "product")] == [[], [], []]


def test_firefox_drags_a_strategy(pages: list[Path]) -> None:
    found = in_firefox("firefox_lesson_games.cjs", pages[0])
    for command in found.values():
        start = given(command)["start"]
        assert start[:2] == START[:2]
        assert start[2] > START[2]
