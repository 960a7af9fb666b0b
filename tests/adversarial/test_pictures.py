"""Pictures of games: what is drawn is what was computed otherwise, legible, and the same each time."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from PIL import Image

from portable_nn.adversarial import METHODS, compare, linear_game, simulate, spectrum, sweep
from portable_nn.adversarial import pictures as draw
from portable_nn.adversarial.gan import GanResult, Ring, pattern_networks, ring_networks, sample, train_pattern
from portable_nn.adversarial.pictures.labels import apart
from portable_nn.adversarial.pictures.paper import diverging, minus
from portable_nn.core.errors import MissingPackageError, ShapeError, UsageError
from portable_nn.core.plotting import BLUE, ORANGE, save, save_animation

matplotlib = pytest.importorskip("matplotlib")

MINUS = "\N{MINUS SIGN}"
RADIUS = 0.85**0.5
"""How far from 0 the article starts, at (0.6, 0.7)."""


@cache
def result(name: str) -> Any:
    """A run of that name."""
    starts = [(-1.2, 0.3), (1.0, 1.0), (0.1, -0.5)]
    return {
        "article": lambda: simulate(),
        "extragradient": lambda: simulate("bilinear", "extragradient"),
        "overflow": lambda: simulate("bilinear", learning_rate=1.5, steps=3000),
        "ridge": lambda: simulate("ridge-minimax", learning_rate=0.5, steps=2000),
        "forsaken": lambda: simulate("forsaken", learning_rate=0.05),
        "dirac": lambda: simulate("dirac-gan", "alternating", learning_rate=0.5),
        "adam": lambda: simulate("bilinear", "adam", learning_rate="0.1/sqrt(t)"),
        "scissors": lambda: simulate("rock-paper-scissors", "extragradient", (0.6, 0.3, -0.5, 1.0)),
        "starts": lambda: simulate("forsaken", start=starts, learning_rate=0.05),
        "nowhere": lambda: simulate("x + y - 2*x*x*x/3", steps=20, learning_rate=0.01),
        "still": lambda: simulate("bilinear", start=(0, 0), steps=10),
    }[name]()


def ring_result() -> GanResult:
    """A pair that is not trained, with a history that is made up."""
    generator, discriminator = ring_networks()
    rows = [
        {
            "step": step,
            "generator_loss": 0.7,
            "discriminator_loss": 1.3,
            "rate": 1.0,
            "quality": 0.1 * place,
            "captured": 8,
            "strict": place,
            "kl": 1 / (1 + place),
        }
        for place, step in enumerate(range(100, 600, 100))
    ]
    return GanResult(generator, discriminator, generator, rows)


@cache
def pattern_result() -> GanResult:
    return train_pattern(steps=20, every=5, eigenvalues=20, progress=False)


def spectra() -> dict[tuple[str, float], Any]:
    names = ("simultaneous", "alternating", "extragradient")
    return {(name, rate): spectrum(name, "bilinear", rate) for name in names for rate in (0.1, 0.5)}


PICTURES = {
    "run article": lambda: draw.run(result("article")),
    "run ridge": lambda: draw.run(result("ridge")),
    "run adam": lambda: draw.run(result("adam")),
    "run scissors": lambda: draw.run(result("scissors")),
    "run nowhere": lambda: draw.run(result("nowhere")),
    "run still": lambda: draw.run(result("still")),
    "run forsaken": lambda: draw.run(result("forsaken")),
    "run overflow": lambda: draw.run(result("overflow")),
    "saddle article": lambda: draw.saddle(result("article")),
    "circle article": lambda: draw.circle_and_spiral(result("article")),
    "circle ridge": lambda: draw.circle_and_spiral(result("ridge")),
    "spectrum": lambda: draw.spectrum(spectra(), "f = x·y"),
    "comparison": lambda: draw.comparison(compare()),
    "sweep": lambda: draw.sweep(sweep(rates=np.geomspace(0.02, 4, 12), steps=100)),
    "field": lambda: draw.field("forsaken", [result("forsaken"), result("starts")]),
    "gan pattern": lambda: draw.gan(pattern_result()),
    "gan ring": lambda: draw.gan(ring_result()),
    "gan ring over training": lambda: draw.gan(looked_at(), Ring(sigma=0.02), title="ring, regularised: seed 3"),
    "gan ring of many steps": lambda: draw.gan(looked_at(60), Ring(sigma=0.02)),
}


@cache
def picture(name: str) -> Any:
    """The picture of that name, laid out, which is drawn once for all tests."""
    figure = PICTURES[name]()
    with matplotlib.style.context("default"):
        figure.draw_without_rendering()
    return figure


def line(axes: Any, label: str) -> Any:
    """The points (n, 2) of the line of that label."""
    [found] = [drawn for drawn in axes.lines if drawn.get_label() == label]
    return np.asarray(found.get_xydata(), dtype=float)


def titled(figure: Any, title: str) -> Any:
    [found] = [axes for axes in figure.axes if axes.get_title().startswith(title)]
    return found


def marked(axes: Any, gid: str) -> Any:
    [found] = [artist for artist in axes.get_children() if artist.get_gid() == gid]
    return found


def legends(figure: Any) -> list[Any]:
    parts = [figure, *figure.subfigs]
    return [legend for part in parts for legend in part.legends] + [
        a.get_legend() for a in figure.axes if a.get_legend()
    ]


def named(figure: Any) -> list[str]:
    """What the legends say."""
    return [text.get_text() for legend in legends(figure) for text in legend.get_texts()]


# The four pictures of the article.


@pytest.mark.long
def test_the_orbit_ends_where_the_article_says():
    axes = titled(picture("run article"), "trajectory")
    path = line(axes, "trajectory")
    assert path.shape == (500, 2)
    assert path[0].tolist() == line(axes, "start")[0].tolist() == [0.6, 0.7]
    assert path[-1].tolist() == line(axes, "end")[0].tolist()
    assert np.hypot(*path[-1]) == pytest.approx(11.038, abs=5e-4)
    assert line(axes, "equilibrium").tolist() == [[0, 0]]
    assert axes.get_aspect() == 1
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x (maximises f)", "y (minimises f)")
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    assert right - left == pytest.approx(high - low)
    assert (path > [left, low]).all()
    assert (path < [right, high]).all()


@pytest.mark.long
def test_x_and_y_over_time():
    """x + iy is multiplied by 1 - iη in each step."""
    axes = titled(picture("run article"), "x and y over the steps")
    steps = np.arange(500)
    expected = (0.6 + 0.7j) * (1 - 0.1j) ** steps
    assert np.abs(line(axes, "x") - np.stack([steps, expected.real], axis=1)).max() < 1e-10
    assert np.abs(line(axes, "y") - np.stack([steps, expected.imag], axis=1)).max() < 1e-10
    assert axes.get_xlabel() == "step"
    assert {"x", "y"} <= {*named(picture("run article"))}


def arrows(axes: Any, gid: str) -> tuple[Any, Any]:
    quiver = marked(axes, gid)
    return np.asarray(quiver.get_offsets()), np.stack([quiver.U, quiver.V], axis=1)


def unit(vectors: Any) -> Any:
    return vectors / np.hypot(*vectors.T)[:, None]


def test_both_kinds_of_arrows_are_drawn_and_named():
    figure = picture("run article")
    axes = titled(figure, "payoff f")
    for gid, turn in (("steepest ascent", 1), ("players", -1)):
        at, vectors = arrows(axes, gid)
        assert len(at) > 100
        assert np.abs(vectors - unit(at[:, ::-1] * [1, turn])).max() < 1e-12
    words = named(figure)
    assert "steepest ascent (∂f/∂x, ∂f/∂y) = (y, x)" in words
    assert f"players (∂f/∂x, {MINUS}∂f/∂y) = (y, {MINUS}x)" in words
    colours = [marked(axes, gid).get_facecolor()[0].tolist() for gid in ("steepest ascent", "players")]
    assert colours[0] != colours[1]


def forsaken(x: Any, y: Any) -> Any:
    def phi(z: Any) -> Any:
        return z**2 / 4 - z**4 / 2 + z**6 / 6

    return phi(y) - phi(x) - x * (y - 0.45)


@pytest.mark.long
def test_the_arrows_of_another_game_are_differences_of_f():
    axes = titled(picture("run forsaken"), "payoff f")
    at, vectors = arrows(axes, "steepest ascent")
    x, y = at.T
    step = 1e-6
    slopes = [forsaken(x + step, y) - forsaken(x - step, y), forsaken(x, y + step) - forsaken(x, y - step)]
    assert np.abs(vectors - unit(np.stack(slopes, axis=1))).max() < 1e-4
    assert np.abs(arrows(axes, "players")[1] - vectors * [1, -1]).max() < 1e-12


def test_blue_is_below_the_middle_and_orange_above():
    figure = picture("run article")
    [drawn] = [artist for artist in titled(figure, "payoff f").collections if hasattr(artist, "levels")]
    assert drawn.levels[0] == -drawn.levels[-1] < 0
    low, middle, high = (drawn.cmap(drawn.norm(drawn.levels[place])) for place in (1, 10, 19))
    assert low[2] > low[0]
    assert high[0] > high[2]
    assert min(middle[:3]) > 0.94
    assert "f(x, y)" in [axes.get_ylabel() for axes in figure.axes]


@pytest.mark.long
def test_the_saddle_is_seen_from_three_sides_with_the_run_on_it():
    figure = picture("saddle article")
    assert len({(axes.elev, axes.azim) for axes in figure.axes}) == len(figure.axes) == 3
    for axes in figure.axes:
        [path] = [drawn for drawn in axes.lines if drawn.get_label() == "trajectory"]
        x, y, z = path.get_data_3d()
        assert len(x) == 500
        assert np.abs(np.asarray(z) - np.asarray(x) * np.asarray(y)).max() < 1e-9
        assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_zlabel()) == ("x", "y", "f(x, y)")
        assert len(axes.collections) == 1


@pytest.mark.long
def test_the_overview_has_the_verdict_and_theory_beside_the_measurement():
    figure = picture("run article")
    assert figure.get_suptitle().split("\n") == [
        "bilinear: f = x·y",
        "simultaneous, learning rate η = 0.1",
        "diverges (proved by the eigenvalues): the distance is multiplied by 1.004988 per step",
    ]
    axes = titled(figure, "distance")
    expected = RADIUS * 1.01 ** (np.arange(500) / 2)
    for label in ("measured", "theory: 1.004988 per step"):
        assert line(axes, label)[:, 1] == pytest.approx(expected, rel=1e-10)
    assert axes.get_yscale() == "log"
    assert np.hypot(*line(titled(figure, "trajectory"), "trajectory")[-1]) == pytest.approx(11.038, abs=5e-4)
    assert {"payoff f", "x and y over the steps"} <= {axes.get_title() for axes in figure.axes}


# The flow.


def flow(figure: Any) -> Any:
    return line(titled(figure, "continuous"), "continuous flow")


def test_the_circle_beside_the_spiral():
    figure = picture("circle article")
    found = flow(figure)
    assert np.hypot(*found.T) == pytest.approx(RADIUS, rel=1e-12)
    angle = np.unwrap(np.angle(found[:, 0] + 1j * found[:, 1]))
    assert angle[0] - angle[-1] == pytest.approx(49.9)  # Clockwise, for the time of 499 steps of 0.1.
    assert "T = 49.9" in titled(figure, "continuous").get_title()
    spiral = titled(figure, "discrete")
    assert np.hypot(*line(spiral, "trajectory")[-1]) == pytest.approx(11.038, abs=5e-4)
    assert np.hypot(*line(spiral, "continuous flow").T) == pytest.approx(RADIUS)


def test_the_flow_of_another_game():
    """J = [[1, 1], [-1, 1]], so that x + iy follows exp((-1 + i)T): it turns, and falls to exp(-T)."""
    found = flow(draw.circle_and_spiral(simulate("quadratic", steps=40)))
    expected = (0.6 + 0.7j) * np.exp((-1 + 1j) * np.linspace(0, 4, len(found)))
    assert len(found) == 401
    assert np.abs(found[:, 0] + 1j * found[:, 1] - expected).max() < 1e-9


# Eigenvalues, comparisons, sweeps.


def test_eigenvalues_against_the_unit_circle():
    figure = picture("spectrum")
    axes = figure.axes[0]
    circle = marked(axes, "unit circle")
    assert (circle.get_center(), circle.get_radius(), axes.get_aspect()) == ((0, 0), 1, 1)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Re λ", "Im λ")
    found = line(axes, "simultaneous, η = 0.1: largest |λ| = 1.004988")
    assert sorted(map(tuple, found.round(12))) == [(1, -0.1), (1, 0.1)]
    found = line(axes, "extragradient, η = 0.5: largest |λ| = 0.9013878")
    assert sorted(map(tuple, found.round(12))) == [(0.75, -0.5), (0.75, 0.5)]
    assert "alternating, η = 0.5: largest |λ| = 1" in written(figure)
    assert "extragradient, η = 0.1: largest |λ| = 0.9950377" in written(figure)
    (left, right), (low, high) = figure.axes[1].get_xlim(), figure.axes[1].get_ylim()
    assert left < 0.99 < 1 < right  # Near 1, where those of η = 0.1 are.
    assert low < 0.1 < high < 0.2


def test_the_distance_against_gradient_evaluations():
    figure = picture("comparison")
    [axes] = figure.axes
    lines = {drawn.get_gid(): np.asarray(drawn.get_xydata()) for drawn in axes.lines}
    expected = {
        "simultaneous": RADIUS * 1.01**500,
        "extragradient": RADIUS * (1 - 0.01 + 0.0001) ** 250,
        "consensus": RADIUS * (0.81 + 0.01) ** 250,
    }
    for name, end in expected.items():
        assert lines[name][0].tolist() == [0, pytest.approx(RADIUS)]
        assert lines[name][-1].tolist() == [1000, pytest.approx(end, rel=1e-8)]
        assert lines[f"theory of {name}"][:, 1] == pytest.approx(lines[name][:, 1], rel=1e-6)
    assert axes.get_xlabel().startswith("gradient evaluations")
    assert axes.get_yscale() == "log"
    assert named(figure) == ["theory"]
    assert written(figure)[0] == "consensus: converges, 0.9515979 per gradient"
    assert written(figure)[-1] == "simultaneous: diverges, 1.004988 per gradient"


def written(figure: Any) -> list[str]:
    """The labels beside axes, from the bottom to the top."""
    found = [text for axes in figure.axes for text in axes.texts if text.get_gid() == "label"]
    return [text.get_text().replace("\n", " ") for text in sorted(found, key=lambda text: text.get_position()[1])]


def samples_of(figure: Any) -> set[tuple[Any, ...]]:
    """How the lines or markers beside the labels look."""
    found = [drawn for axes in figure.axes for drawn in axes.lines if drawn.get_gid() == "sample"]
    return {(str(d.get_color()), str(d._unscaled_dash_pattern), d.get_marker(), d.get_markerfacecolor()) for d in found}


def check_labels(figure: Any) -> None:
    """None on another, none beyond the sheet, and no two that look the same."""
    figure.draw_without_rendering()
    texts = [text for axes in figure.axes for text in axes.texts if text.get_gid() == "label"]
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in texts]
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.width
        assert 0 <= box.y0 <= box.y1 <= figure.bbox.height
    assert len(samples_of(figure)) == len(texts)


@pytest.mark.long
@pytest.mark.parametrize("game", ["bilinear", pytest.param("forsaken", marks=pytest.mark.long)])
def test_all_methods_are_told_apart(game):
    """On x·y, those of the competitive and of the proximal method are one curve; adaptive extragradient has it too."""
    compared = compare(game, "all", evaluations=400)
    figure = draw.comparison(compared)
    check_labels(figure)
    [axes] = figure.axes
    names = [name.strip() for label in written(figure) for name in label.split(":")[0].split(",")]
    assert sorted(names) == sorted(entry.name for entry in compared.entries)
    ends = [line for line in axes.lines if line.get_gid() == "leader"]
    assert len(ends) == len(written(figure)) - sum(label.endswith(": fails") for label in written(figure))
    if game == "bilinear":
        [group] = [label for label in written(figure) if "proximal" in label]
        assert {"proximal", "competitive", "adaptive-extragradient"} <= set(group.split(":")[0].split(", "))
        looks = {line.get_gid(): (line.get_color(), line._unscaled_dash_pattern) for line in axes.lines}
        assert looks["proximal"] == looks["competitive"] != looks["simultaneous"]


def test_runs_that_stay_at_the_equilibrium_have_one_label():
    figure = draw.comparison(compare(methods=["simultaneous", "extragradient"], start=(0, 0), evaluations=20))
    assert [label.split(":")[0] for label in written(figure)] == ["simultaneous, extragradient"]
    assert "0 at every step" in [text.get_text() for text in figure.axes[0].texts]


def test_a_label_is_joined_to_the_end_of_its_curve():
    [axes] = picture("comparison").axes
    leaders = {line.get_ydata()[1]: line.get_xydata()[0] for line in axes.lines if line.get_gid() == "leader"}
    for text in (text for text in axes.texts if text.get_gid() == "label"):
        shown = axes.transAxes.transform(leaders[text.get_position()[1]])
        x, y = axes.transData.inverted().transform(shown)
        name = text.get_text().split(":")[0].split(",")[0]
        curve = next(line for line in axes.lines if line.get_gid() == name).get_xydata()
        if name == "consensus":  # It leaves at the bottom.
            assert y == pytest.approx(axes.get_ylim()[0])
            assert x == pytest.approx(np.interp(-np.log10(y), -np.log10(curve[:, 1]), curve[:, 0]), abs=3)
        else:
            assert (x, y) == (pytest.approx(1000, abs=1), pytest.approx(curve[-1, 1], rel=1e-6))


def test_equal_eigenvalues_are_named_together():
    names = [row.name for row in METHODS.values() if row.linear and row.period is not None]
    found = {(name, 0.1): spectrum(name, "bilinear", 0.1) for name in names if name != "follow-the-ridge"}
    figure = draw.spectrum(found)
    check_labels(figure)
    assert any(label.startswith("proximal, competitive, η = 0.1: ") for label in written(figure))
    assert any(label.startswith("extragradient, competitive-linear, η") for label in written(figure))
    shown = [name.strip() for label in written(figure) for name in label.split(", η")[0].split(",")]
    assert sorted(shown) == sorted(name for name, _ in found)


def test_boxes_are_moved_apart_as_little_as_possible():
    """Against a quadratic programme solved by scipy."""
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    wanted, heights = np.sort(rng.random(8) * 4), rng.uniform(0.2, 0.6, 8)
    found = np.array(apart(wanted.tolist(), heights.tolist(), 0.0, 5.0))
    gaps = (heights[1:] + heights[:-1]) / 2
    assert (np.diff(found) >= gaps - 1e-12).all()
    assert found[0] >= heights[0] / 2 - 1e-12
    assert found[-1] <= 5 - heights[-1] / 2 + 1e-12
    limits = [
        {"type": "ineq", "fun": lambda z: np.diff(z) - gaps},
        {"type": "ineq", "fun": lambda z: z[0] - heights[0] / 2},
        {"type": "ineq", "fun": lambda z: 5 - heights[-1] / 2 - z[-1]},
    ]
    best = optimize.minimize(lambda z: ((z - wanted) ** 2).sum(), found + 0.01, constraints=limits, tol=1e-12)
    assert ((found - wanted) ** 2).sum() == pytest.approx(best.fun, rel=1e-5)
    assert apart([1.0, 1.0], [0.5, 0.5], 0.0, 9.0) == [0.75, 1.25]


@pytest.mark.long
def test_the_stability_limits_stand_in_the_heat_map():
    figure = picture("sweep")
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    for name, limit in (("extragradient", 1), ("optimistic", 3**-0.5), ("alternating", 2)):
        place = names.index(name)
        drawn = marked(axes, f"limit {place}")
        assert drawn.get_xdata() == pytest.approx([limit, limit], rel=1e-6)
        assert [*drawn.get_ydata()] == [place - 0.5, place + 0.5]
    assert {"1", "0.5774", "2", "0", "∞"} <= {text.get_text() for text in axes.texts}
    mesh = marked(axes, "factors")
    shades = mesh.cmap(mesh.norm([0.7, 1, 1.3]))
    assert shades[0][2] > shades[0][0]
    assert min(shades[1][:3]) > 0.99
    assert shades[2][0] > shades[2][2]
    row = np.asarray(mesh.get_array())[names.index("extragradient")]
    rates = np.geomspace(0.02, 4, 12)
    assert np.all((row < 1) == (rates < 1))
    assert row[rates < 0.8] == pytest.approx(np.sqrt(1 - rates**2 + rates**4)[rates < 0.8], rel=1e-8)
    assert axes.get_xlabel() == "learning rate η"
    assert figure.axes[1].get_ylabel() == "convergence factor per step"


def test_the_colours_can_be_told_apart_by_those_who_see_no_green():
    """Viénot, Brettel & Mollon 1999: what a deuteranope sees, on linear light."""
    seen = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    colours = diverging()
    low, middle, high = (seen @ np.array(colours(place)[:3]) ** 2.2 for place in (0.1, 0.5, 0.9))
    assert min(np.abs(a - b).max() for a, b in combinations([low, middle, high], 2)) > 0.2


# Phase portraits.


@pytest.mark.long
def test_streamlines_follow_the_players():
    [axes] = picture("field").axes
    streams = [stream for lines in axes.collections for stream in lines.get_segments()]
    middle = np.concatenate([(stream[1:] + stream[:-1]) / 2 for stream in streams])
    along = np.concatenate([np.diff(stream, axis=0) for stream in streams])
    (x, y), step = middle.T, 1e-6
    slope = np.stack(
        [forsaken(x + step, y) - forsaken(x - step, y), forsaken(x, y - step) - forsaken(x, y + step)], axis=1
    )
    usable = (np.hypot(*along.T) > 0) & (np.hypot(*slope.T) > 0.02 * step)
    cosine = (unit(along[usable]) * unit(slope[usable])).sum(axis=1)
    assert len(cosine) > 1000
    assert np.median(cosine) > 0.999
    assert (cosine > 0.9).mean() > 0.99


@pytest.mark.long
def test_runs_from_several_starts():
    figure = picture("field")
    [axes] = figure.axes
    paths = [np.asarray(drawn.get_xydata()) for drawn in axes.lines if len(drawn.get_xdata()) == 500]
    assert sorted(tuple(path[0]) for path in paths) == [(-1.2, 0.3), (0.1, -0.5), (0.6, 0.7), (1.0, 1.0)]
    assert line(axes, "F = 0, no equilibrium")[0] == pytest.approx([0.078, 0.412], abs=5e-4)
    assert "simultaneous, η = 0.05" in named(figure)
    windows = []
    for method in ("consensus", "extragradient"):
        [axes] = draw.field("forsaken", simulate("forsaken", method, (0.5, 0.5), steps=900), reach=1.7).axes
        windows.append((axes.get_xlim(), axes.get_ylim()))
    assert windows[0] == windows[1] == ((-1.7, 1.7), (-1.7, 1.7))
    [axes] = draw.field("forsaken", result("forsaken"), reach=0.5).axes
    assert axes.get_xlim()[1] > max(0.7, result("forsaken").z.max() - 1e-9)  # A run is not cut off.
    with pytest.raises(UsageError, match="the results are of the game 'bilinear', and the field of 'forsaken'"):
        draw.field("forsaken", result("article"))
    with pytest.raises(UsageError, match="a picture has room for 60 runs, not 61"):
        draw.field("bilinear", simulate(start=np.ones((61, 2)), steps=2))


# GANs.


@pytest.mark.long
def test_bars_of_a_pattern_are_means_of_samples():
    axes = titled(picture("gan pattern"), "2,500 samples")
    made = sample(pattern_result().averaged, 2500)
    bars = {
        container.get_label(): [bar.get_height() for bar in container]
        for container in axes.containers
        if hasattr(container, "patches")
    }
    assert bars["samples"] == pytest.approx(made.mean(axis=0), abs=1e-6)
    assert bars["target"] == [1, 0, 1, 0]


@pytest.mark.long
def test_losses_and_eigenvalues_along_training():
    found, figure = pattern_result(), picture("gan pattern")
    losses = titled(figure, "losses")
    assert line(losses, "generator").tolist() == [[row["step"], row["generator_loss"]] for row in found.history]
    axes = titled(figure, "eigenvalues")
    [scatter] = [c for c in axes.collections if c.get_array() is not None]
    values = np.concatenate([found for _, found in found.eigenvalues])
    assert np.asarray(scatter.get_offsets()) == pytest.approx(np.stack([values.real, values.imag], axis=1))
    assert np.bincount(scatter.get_array().astype(int)).nonzero()[0].tolist() == [0, 20]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Re λ", "Im λ")


@pytest.mark.long
def test_modes_of_a_ring():
    figure = picture("gan ring")
    found = circles(titled(figure, "2,500 samples"))
    centres = np.array([circle.center for circle in found])
    assert np.hypot(*centres.T) == pytest.approx(1)
    assert np.diff(np.unwrap(np.arctan2(centres[:, 1], centres[:, 0]))) == pytest.approx(np.pi / 4)
    modes = titled(figure, "modes captured")
    assert line(modes, "with 1 % of the samples").tolist() == [[100 * (n + 1), n] for n in range(5)]
    assert line(modes, "all 8")[:, 1].tolist() == [8, 8]
    assert {"high-quality samples", "reverse KL"} <= {axes.get_title() for axes in figure.axes}
    six = circles(titled(draw.gan(ring_result(), Ring(6, radius=2)), "2,500 samples"))
    assert np.hypot(*np.array([circle.center for circle in six]).T) == pytest.approx([2] * 6)


def circles(axes: Any) -> list[Any]:
    return [patch for patch in axes.patches if patch.get_gid() == "counted"]


def looked_at(times: int = 1) -> GanResult:
    """Points of the ring with 5 of 100 half way to the middle, halves as wide as the data, at four steps."""
    rng, ring = np.random.default_rng(0), Ring(sigma=0.02)
    centres = ring.centres[np.arange(200) % 8]
    points = centres + 0.01 * rng.standard_normal((200, 2))
    points[:10] /= 2
    made = replace(ring_result(), snapshots=[(step, points) for step in (100, 200, 300, 400)])
    for row in made.history:
        row["spread"] = 0.5
        row["step"] *= times
    return made


@pytest.mark.long
def test_what_is_counted_is_what_is_inside_the_circles():
    figure = draw.gan(looked_at(), Ring(sigma=0.02), title="ring, regularised: seed 3")
    figure.draw_without_rendering()
    assert figure.get_suptitle().split("\n") == [
        "ring, regularised: seed 3",
        "losses at the end: generator 0.7, discriminator 1.3",
    ]
    assert len(figure.axes) == 6  # Two rows of three: no place is empty.
    last = titled(figure, "200 samples after 400 steps\n95.0 % of high quality")
    assert titled(figure, "200 samples after 100 steps")
    inside, outside = line(last, "counted"), line(last, "not counted")
    assert (len(inside), len(outside)) == (190, 10)
    centres = np.array([circle.center for circle in circles(last)])
    assert {circle.radius for circle in circles(last)} == {0.06}
    near = np.linalg.norm(inside[:, None] - centres, axis=2).min(axis=1)
    assert near.max() <= 0.06
    assert np.linalg.norm(outside[:, None] - centres, axis=2).min() > 0.06
    close = titled(figure, "the last samples around their modes")
    radii = {patch.get_gid(): patch.radius for patch in close.patches}
    assert radii["counted"] == 3
    assert radii["spread"] == pytest.approx(0.5, rel=0.1)  # In units of the ring's deviation, 0.02.
    assert np.hypot(*line(close, "counted").T) == pytest.approx(near / 0.02)


@pytest.mark.long
@pytest.mark.parametrize("looks", [0, 1, 2, 7])
def test_no_place_of_a_sheet_is_empty(looks):
    """The axes of each row reach from the left to the right."""
    points = np.ones((20, 2))
    made = replace(ring_result(), snapshots=[(step, points) for step in range(looks)])
    for result in (
        made,
        replace(made, history=[]),
        replace(pattern_result(), snapshots=[(1, np.ones((9, 4)))] * looks),
    ):
        grid = draw.gan(result).axes[0].get_gridspec()
        spans = [axes.get_subplotspec() for axes in draw.gan(result).axes if axes.get_subplotspec() is not None]
        taken = np.zeros((grid.nrows, grid.ncols), int)
        for span in spans:
            taken[span.rowspan.start : span.rowspan.stop, span.colspan.start : span.colspan.stop] += 1
        assert (taken == 1).all()


def test_a_generator_of_pictures_is_drawn_as_a_sheet():
    networks = pattern_networks(numbers=25)
    figure = draw.gan(GanResult(*networks, networks[0]))
    [axes] = figure.axes
    assert axes.get_title() == "25 samples"
    assert axes.images[0].get_array().shape == (5 * 7 + 2, 5 * 7 + 2)


def test_samples_that_are_no_pictures_are_refused():
    generator, discriminator = pattern_networks(numbers=18)
    with pytest.raises(ShapeError, match="samples must be pictures"):
        draw.gan(GanResult(generator, discriminator, generator))


# Animations.


@cache
def frames() -> list[Image.Image]:
    return draw.animation(result("article"))


@pytest.mark.long
def test_an_animation_is_small_and_shows_both_players(tmp_path):
    save_animation(frames(), tmp_path / "a.gif")
    assert (tmp_path / "a.gif").stat().st_size < 2_000_000
    with Image.open(tmp_path / "a.gif") as found:
        assert found.n_frames == len(frames()) == 80
    assert len({frame.size for frame in frames()}) == 1
    place = 60
    step = round(place * 499 / 79)
    place_then = (0.6 + 0.7j) * (1 - 0.1j) ** step
    x, y = place_then.real, place_then.imag
    pixels = np.asarray(frames()[place]).astype(int)[: frames()[place].height * 3 // 4]
    changed = np.abs(pixels - np.asarray(frames()[0]).astype(int)[: len(pixels)]).max(axis=2) > 40
    ends = {}
    for name, colour in (("x", BLUE), ("y", ORANGE)):
        parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        rows, columns = np.nonzero((np.abs(pixels - parts).max(axis=2) < 8) & changed)
        assert len(rows) > 20
        ends[name] = np.array([columns.mean(), -rows.mean()])
    black = np.nonzero((pixels.max(axis=2) < 40) & changed)
    point = np.array([np.median(black[1]), -np.median(black[0])])
    assert np.sign(ends["x"] - point)[0] == np.sign(y)  # x moves along ∂f/∂x = y,
    assert np.sign(ends["y"] - point)[1] == -np.sign(x)  # and y along -∂f/∂y = -x.


@pytest.mark.long
def test_an_animation_of_a_run_of_few_steps():
    assert len(draw.animation(simulate(steps=3))) == 4
    assert 1 < len(draw.animation(result("overflow"))) < 20


# Runs that no picture can follow.


@pytest.mark.long
def test_a_run_that_overflows_is_drawn_as_far_as_it_can_be_seen():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("run ridge", "run overflow", "circle ridge"):
            picture(name)
    axes = titled(picture("run overflow"), "x and y")
    assert axes.get_title() == "x and y over the steps\nthe first 6 of 3,000 steps: then it leaves the axes"
    assert np.abs(line(axes, "x")).max() < 100
    orbit = titled(picture("run ridge"), "trajectory")
    assert "the first 8 of 2,000 steps: then it leaves the axes" in orbit.get_title()
    assert "end" not in [drawn.get_label() for drawn in orbit.lines]
    assert max(map(abs, orbit.get_xlim())) < 100
    distance = line(titled(picture("run ridge"), "distance"), "measured")
    assert distance[900, 1] == pytest.approx(result("ridge").distance[900])
    assert np.nanmax(distance[:, 1]) > 1e270


@pytest.mark.long
def test_games_with_more_numbers():
    figure = picture("run scissors")
    assert [axes.get_title() for axes in figure.axes] == ["x and y over the steps", "distance to the equilibrium"]
    assert named(figure) == ["x₀", "x₁", "y₀", "y₁", "measured"]
    many = draw.run(simulate(linear_game(np.kron([[0, -1], [1, 0]], np.eye(5))), steps=9))
    assert many.axes[0].get_title() == "3 of the 5 variables of x and 3 of the 5 variables of y over the steps"
    assert {f"{name}{place}" for name in "xy" for place in "₀₁₂"} <= {*named(many)}


@pytest.mark.long
def test_without_an_equilibrium_the_slopes_are_drawn():
    axes = titled(picture("run nowhere"), "norm of the vector field")
    assert axes.get_ylabel() == "‖F‖, 0 at an equilibrium"
    assert line(axes, "measured")[0, 1] == pytest.approx(np.hypot(1 - 2 * 0.6**2, 1))


@pytest.mark.long
def test_a_run_that_starts_in_an_equilibrium():
    axes = titled(picture("run still"), "distance to the equilibrium: 0 at every step")
    assert [drawn.get_label() for drawn in axes.lines] == ["measured"]


# Legibility.


def texts(figure: Any) -> list[tuple[str, Any]]:
    """Every text that is seen, with its box; numbers of an axis that are beyond its ends are not."""
    found = [text for part in (figure, *figure.subfigs) for text in part.texts] + [
        text for legend in legends(figure) for text in legend.get_texts()
    ]
    if figure._suptitle is not None:
        found.append(figure._suptitle)
    for axes in figure.axes:
        found += [axes.title, *axes.texts, *(axis.label for axis in axes._axis_map.values())]
        for axis in (axes.xaxis, axes.yaxis) if axes.name != "3d" else ():
            low, high = sorted(axis.get_view_interval())
            room = 1e-6 * (high - low)
            inside = [tick for tick in axis.get_major_ticks() if low - room <= tick.get_loc() <= high + room]
            found += [label for tick in inside for label in (tick.label1, tick.label2) if label.get_visible()]
    renderer = figure.canvas.get_renderer()
    return [
        (text.get_text(), text.get_window_extent(renderer))
        for text in dict.fromkeys(found)
        if text.get_text().strip() and text.get_visible()
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if place > 4 else []) for place, name in enumerate(PICTURES)]
)
def test_nothing_is_cut_off_nor_written_on_top_of_each_other(name):
    figure = picture(name)
    found = texts(figure)
    assert len(found) > 8
    for words, box in found:
        assert -1 <= box.x0 <= box.x1 <= figure.bbox.width + 1, words
        assert -1 <= box.y0 <= box.y1 <= figure.bbox.height + 1, words
    for (one, a), (other, b) in combinations(found, 2):
        apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
        assert apart, (one, other)
    assert not any("-" in words and words.strip("-0123456789.") == "" for words, _ in found)
    for axes in figure.axes:
        if axes.axison and axes.get_title():
            assert axes.get_xlabel(), axes.get_title()


def test_minus_signs_are_no_hyphens():
    assert minus("ridge-bent: -(y - 3x)") == f"ridge-bent: {MINUS}(y {MINUS} 3x)"
    assert minus("falls to 1e-05") == f"falls to 1e{MINUS}05"
    assert minus("x-y") == f"x{MINUS}y"


# Files and errors.


@pytest.mark.long
@pytest.mark.parametrize("suffix", [".svg", pytest.param(".png", marks=pytest.mark.long)])
def test_the_same_picture_has_the_same_bytes(tmp_path, suffix):
    for name in "ab":
        save(draw.run(result("dirac")), tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert (tmp_path / f"a{suffix}").stat().st_size < 1_000_000


@pytest.mark.long
def test_pyplot_is_left_alone():
    code = (
        "import sys; from portable_nn.adversarial import pictures, simulate; at_once = 'matplotlib' in sys.modules;"
        "pictures.run(simulate(steps=9)), pictures.saddle(simulate(steps=9));"
        "print(at_once, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    for make in (draw.run, draw.saddle, draw.animation):
        with pytest.raises(MissingPackageError) as caught:
            make(result("article"))
        assert str(caught.value) == "a picture needs the package 'matplotlib': pip install 'portable-nn[plot]'"


@pytest.mark.parametrize("make", [draw.saddle, draw.circle_and_spiral, draw.animation], ids=lambda f: f.__name__)
def test_a_game_that_is_no_plane_is_refused_with_what_draws_it(make):
    with pytest.raises(UsageError) as caught:
        make(result("scissors"))
    assert str(caught.value) == (
        "this picture is of players with one number each, and in the game 'rock-paper-scissors' x has 2 and y has 2: "
        "run(result) draws their variables"
    )


@pytest.mark.parametrize("make", [draw.run, draw.saddle], ids=lambda f: f.__name__)
def test_a_picture_of_one_run_refuses_several(make):
    with pytest.raises(UsageError) as caught:
        make(result("starts"))
    assert str(caught.value) == (
        "this picture is of one run, and the result has 3: simulate from one start at one rate, or draw "
        "field(game, results)"
    )


def test_the_payoff_of_a_game_without_one_is_refused():
    run = simulate(linear_game([[0.1, 1.0], [1.0, 0.1]]), steps=20)
    with pytest.raises(UsageError, match="the game 'linear' is not of zero sum, so there is no f to draw: field"):
        draw.saddle(run)
    assert "payoff f" not in [axes.get_title() for axes in draw.run(run).axes]


@pytest.mark.parametrize("count", [0, 41])
def test_no_or_too_many_sets_of_eigenvalues_are_refused(count):
    given = {("simultaneous", 0.01 * (place + 1)): np.array([1.0 + 0j]) for place in range(count)}
    with pytest.raises(UsageError, match=f"a picture has room for 1 to 40 sets of eigenvalues, not {count}"):
        draw.spectrum(given)
