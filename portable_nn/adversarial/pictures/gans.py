"""The training of a GAN: samples, losses, metrics, and the eigenvalues of the Jacobian of the game."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.gan.examples import Pattern
from portable_nn.adversarial.gan.modes import FULL, NEAR, SAMPLES, Ring, mode_metrics
from portable_nn.adversarial.gan.sampling import sample
from portable_nn.adversarial.gan.sheets import as_pictures, contact_sheet
from portable_nn.adversarial.gan.training import GanResult
from portable_nn.adversarial.pictures.paper import Axes, Figure, Look, colour_bar, frame, legend_line, sheet
from portable_nn.adversarial.pictures.trajectories import steps_axis
from portable_nn.core.plotting import BLACK, BLUE, GREEN, ORANGE, SKY, VERMILLION, style, tint
from portable_nn.core.text import percent, quantity
from portable_nn.operators import Array

COLUMNS: Final = 3
SIDE: Final = 3.5
"""Inches of the sheet for each part."""
BARS: Final = 16
"""Examples of up to so many components are drawn as bars."""
PICTURES: Final = 25
LOSSES: Final[dict[str, Look]] = {
    "generator_loss": {"color": BLUE, "linewidth": 1.5, "label": "generator"},
    "discriminator_loss": {"color": ORANGE, "linewidth": 1.5, "linestyle": (0, (4, 1.5)), "label": "discriminator"},
}
COUNTS: Final[dict[str, Look]] = {
    "captured": {"label": "with a sample", "color": SKY, "linestyle": (0, (4, 1.5)), "linewidth": 2.6},
    "strict": {"label": "with 1 % of the samples", "color": GREEN, "linewidth": 1.5},
}
"""Columns of the history that count modes, and how their lines look."""
PLAIN: Final = ("step", *LOSSES, "rate", *COUNTS)
METRICS: Final = {
    "quality": ("high-quality samples", f"share within {NEAR:g}σ of a mode"),
    "kl": ("reverse KL", "divergence from equal shares, nats"),
    "spread": ("spread within modes", "standard deviation, in σ"),
    "error": ("error of the mean", "largest error of a component"),
    "deviation": ("standard deviation", "mean of the components"),
}
"""The titles of metrics, and the labels of their axes."""
FAR: Final = 97
"""The percentile of the moduli of eigenvalues that is within the axes."""
CLOSE: Final = 5.0
"""The distance around a mode that is shown, in σ."""
CIRCLE: Final[Look] = {"fill": False, "edgecolor": BLACK, "linewidth": 0.9}
DOTS: Final[Look] = {"marker": ".", "linestyle": "none", "markeredgewidth": 0}
COUNTED: Final[Look] = {"color": BLUE, "label": "counted"}
NOT_COUNTED: Final[Look] = {"color": VERMILLION, "label": "not counted"}
DATA: Final[Look] = {"color": BLACK, "linewidth": 0.9, "linestyle": (0, (1, 2))}
"""The line of the value that the data themselves have."""


@style()
def gan(result: GanResult, target: Ring | Pattern | None = None, seed: int = 0, title: str = "") -> Figure:
    """Samples over the training, the modes or the losses, the metrics, and the eigenvalues if there are any.

    The samples of a ring are those of the snapshots, which should be the ones that are measured: a circle at each mode
    has the radius of 3 σ within which they are counted. The losses at the end stand below the title.

    Args:
        result: of ``train_gan``. Without snapshots, samples of the averaged generator are drawn.
        target: the data; by default ``Ring()`` for a generator of points, ``Pattern()`` for one of four components.
        seed: of the samples, where there are no snapshots.
        title: what was trained, and how.

    Raises ``UsageError`` or ``ShapeError`` for a generator that cannot be sampled.
    """
    looks: list[tuple[int | None, Array]] = [*result.snapshots]
    if not looks:
        looks = [(None, sample(result.averaged, SAMPLES, seed))]
    if target is None:
        target = _target(looks[-1][1])
    parts = _others(result, target, looks[-1][1])
    count = min(len(looks), COLUMNS - len(parts) % COLUMNS)
    chosen = [partial(_samples, made=made, step=step, target=target) for step, made in _spread_out(looks, count)]
    parts = [*chosen, *parts]
    columns = min(len(parts), COLUMNS)
    paper = sheet(SIDE * columns, SIDE * -(-len(parts) // columns) + 0.7, _heading(result, title))
    places = _places(paper, len(parts), columns)
    for axes in places[1 : len(chosen)]:
        axes.sharey(places[0])
    for part, axes in zip(parts, places, strict=True):
        part(axes)
    return paper


def _heading(result: GanResult, title: str) -> list[str]:
    if not result.history:
        return [title or "GAN training"]
    last = result.history[-1]
    losses = f"generator {last['generator_loss']:.4g}, discriminator {last['discriminator_loss']:.4g}"
    return [title or f"GAN training, {last['step']:,.0f} steps", f"losses at the end: {losses}"]


def _target(made: Array) -> Ring | Pattern | None:
    """The target that examples of that form are compared with."""
    if made.shape[1:] == (2,):
        return Ring()
    return Pattern() if made.shape[1:] == (len(Pattern().pattern),) else None


def _others(result: GanResult, target: Ring | Pattern | None, made: Array) -> list[Callable[[Axes], None]]:
    """All but the samples; those of a ring show their spread."""
    parts: list[Callable[[Axes], None]] = []
    shown = {*PLAIN}
    if isinstance(target, Ring) and made.shape[1:] == (2,):
        parts.append(partial(_within, made=made, ring=target))
        shown.add("spread")
    if result.history:
        counted = COUNTS.keys() & set(result.history[0])
        parts.append(partial(_modes, result=result, target=target) if counted else partial(_losses, result=result))
        names = [name for name in result.history[0] if name not in shown]
        parts += [partial(_metric, result=result, name=name, target=target) for name in names]
    if result.eigenvalues:
        parts.append(partial(_eigenvalues, result=result))
    return parts


def _spread_out(looks: Sequence[Any], count: int) -> list[Any]:
    """The first, the last, and ``count`` in all: more of the early ones, when most changes."""
    places = np.rint(len(looks) ** np.linspace(0, 1, count)).astype(int) - 1 if count > 1 else [-1]
    return [looks[place] for place in places]


def _places(paper: Figure, count: int, columns: int) -> list[Axes]:
    """Axes in rows; the last row is filled by those that are in it."""
    last = count % columns or columns
    full = (count - last) // columns
    cells = paper.add_gridspec(full + 1, math.lcm(columns, last))
    rows = [columns] * full + [last]
    widths = [cells.ncols // own for own in rows]
    return [
        paper.add_subplot(cells[row, place * width : (place + 1) * width])
        for row, (own, width) in enumerate(zip(rows, widths, strict=True))
        for place in range(own)
    ]


def _legend(axes: Axes, columns: int = 2, handles: Sequence[Any] | None = None) -> None:
    """Below the axes, so that those of a row stay aligned."""
    named = axes.get_legend_handles_labels()[0] if handles is None else handles
    look: Look = {"frameon": False, "fontsize": 8.5, "columnspacing": 1.2, "handletextpad": 0.5}
    axes.legend(handles=named, loc="upper center", bbox_to_anchor=(0.5, -0.21), ncols=columns, **look)


def _samples(axes: Axes, made: Array, step: int | None, target: Ring | Pattern | None) -> None:
    when = "" if step is None else f" after {quantity(step, 'step')}"
    if isinstance(target, Ring) and made.shape[1:] == (2,):
        _points(axes, made, target, when)
    elif made.ndim == 2 and made.shape[1] <= BARS:
        _bars(axes, made, target if isinstance(target, Pattern) else None, when)
    else:
        _pictures(axes, made[:PICTURES], when)


def _points(axes: Axes, made: Array, ring: Ring, when: str) -> None:
    from matplotlib.patches import Circle

    for centre in ring.centres:
        axes.add_patch(Circle(tuple(centre), NEAR * ring.sigma, gid="counted", zorder=3, **CIRCLE))
    reach = 1.35 * ring.radius
    apart = np.linalg.norm(made[:, None] - ring.centres, axis=2).min(axis=1)
    good = apart <= NEAR * ring.sigma
    beyond = _beyond(np.abs(made).max(axis=1) > reach)
    title = f"{quantity(len(made), 'sample')}{when}\n{percent(good.mean())} of high quality{beyond}"
    _dots(axes, made, good, 0.6, reach, title, "first component", "second component")
    ring_mark: Look = {"marker": "o", "markersize": 7, "markerfacecolor": "none", "markeredgecolor": BLACK}
    circle = legend_line(linestyle="none", markeredgewidth=0.9, label=f"{NEAR:g}σ of a mode", **ring_mark)
    dots = [legend_line(markersize=8, **DOTS, **look) for look in (COUNTED, NOT_COUNTED)]
    _legend(axes, 3, [circle, *dots])


def _dots(axes: Axes, points: Array, good: Array, alpha: float, reach: float, title: str, x: str, y: str) -> None:
    """Draw points in a square, those that are counted over the others."""
    for part, look in ((points[~good], NOT_COUNTED), (points[good], COUNTED)):
        axes.plot(*part.T, markersize=3.2, alpha=alpha, zorder=2, rasterized=True, **DOTS, **look)
    frame(axes, title, x, y, xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")


def _within(axes: Axes, made: Array, ring: Ring) -> None:
    """The samples around their modes, all modes on one another."""
    from matplotlib.patches import Circle

    apart = made[:, None] - ring.centres
    distance = np.linalg.norm(apart, axis=2)
    points = apart[np.arange(len(made)), distance.argmin(axis=1)] / ring.sigma
    title = f"the last samples around their modes,\nall {ring.modes} in one place"
    names = ("first component, in σ from the mode", "second component, in σ")
    _dots(axes, points, distance.min(axis=1) <= NEAR * ring.sigma, 0.35, CLOSE, title, *names)
    spread = mode_metrics(made, ring).spread
    circles: list[tuple[float, str, str, Look]] = [
        (NEAR, "counted", f"{NEAR:g}σ: counted", {}),
        (FULL, "data", f"spread of data: {FULL:.3g}σ", {"edgecolor": ORANGE, "linewidth": 2}),
        (spread, "spread", f"of samples: {spread:.3g}σ", {"linewidth": 2}),
    ]
    for radius, gid, label, own in circles:
        if np.isfinite(radius):
            axes.add_patch(Circle((0, 0), radius, gid=gid, label=label, zorder=4, **{**CIRCLE, **own}))
    named = [(circle.get_edgecolor(), circle.get_linewidth(), circle.get_label()) for circle in axes.patches]
    _legend(axes, 2, [legend_line(color=colour, linewidth=width, label=label) for colour, width, label in named])


def _beyond(outside: Array) -> str:
    """The number of points that are not shown, as the end of a title."""
    return f"; {outside.sum():,} beyond the axes" if outside.any() else ""


def _bars(axes: Axes, made: Array, pattern: Pattern | None, when: str) -> None:
    numbers = np.arange(made.shape[1])
    look: Look = {"width": 0.36, "error_kw": {"elinewidth": 1.2, "capsize": 3, "ecolor": BLACK}}
    axes.bar(numbers - 0.19, made.mean(axis=0), yerr=made.std(axis=0), color=SKY, label="samples", **look)
    if pattern is not None:
        axes.bar(numbers + 0.19, pattern.pattern, yerr=pattern.noise, color=ORANGE, label="target", **look)
    axes.axhline(0, color=BLACK, linewidth=0.7)
    axes.set_xticks(numbers)
    frame(axes, f"{quantity(len(made), 'sample')}{when}", "component", "mean and standard deviation")
    _legend(axes)


def _pictures(axes: Axes, made: Array, when: str) -> None:
    axes.imshow(contact_sheet(as_pictures(made)), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    frame(axes, f"{quantity(len(made), 'sample')}{when}")


def _over_steps(axes: Axes, result: GanResult, curves: Mapping[str, Look], title: str, label: str) -> None:
    """Draw columns of the history, each with its look."""
    for name, look in curves.items():
        axes.plot(result["step"], result[name], **look)
    frame(axes, title, "step", label)
    steps_axis(axes, np.array(result["step"]))


def _losses(axes: Axes, result: GanResult) -> None:
    _over_steps(axes, result, LOSSES, "losses", "loss")
    _legend(axes)


def _modes(axes: Axes, result: GanResult, target: Ring | Pattern | None) -> None:
    from matplotlib.ticker import MaxNLocator

    modes = target.modes if isinstance(target, Ring) else Ring().modes
    counted = {name: look for name, look in COUNTS.items() if name in result.history[0]}
    _over_steps(axes, result, counted, "modes captured", "modes")
    axes.axhline(modes, label=f"all {modes}", **DATA)
    axes.set_ylim(0, modes * 1.08)
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    _legend(axes)


def _metric(axes: Axes, result: GanResult, name: str, target: Ring | Pattern | None) -> None:
    look = {"color": BLUE, "linewidth": 1.5, "label": "samples"}
    _over_steps(axes, result, {name: look}, *METRICS.get(name, (name, name)))
    if not np.isfinite(result[name]).any():
        words = "not defined at any step:\ntoo few samples are counted"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=9)
    own = _of_data(name, target)
    if own is not None:
        axes.axhline(own, label=f"the data: {own:.3g}", **DATA)
        _legend(axes)
    highest = max([value for value in (*result[name], own or 0.0) if np.isfinite(value)], default=1.0)
    axes.set_ylim(0, 1.06 * highest or 1.0)


def _of_data(name: str, target: Ring | Pattern | None) -> float | None:
    """The value of a metric for the data; ``None`` where it is 0 or not known."""
    if isinstance(target, Ring):
        return {"quality": 1 - math.exp(-(NEAR**2) / 2), "spread": FULL}.get(name)
    return target.noise if isinstance(target, Pattern) and name == "deviation" else None


def _eigenvalues(axes: Axes, result: GanResult) -> None:
    steps = np.concatenate([np.full(len(found), step) for step, found in result.eigenvalues])
    values = np.concatenate([found for _, found in result.eigenvalues])
    reach = 1.1 * max(float(np.percentile(np.abs(values), FAR)), 1e-6)
    axes.axvspan(-2 * reach, 0, color=tint(VERMILLION, 0.12), zorder=0, linewidth=0)
    axes.axhline(0, color="#D0D0D0", linewidth=0.7, zorder=1)
    drawn = axes.scatter(values.real, values.imag, c=steps, cmap="cividis", s=13, linewidths=0, zorder=3)
    beyond = _beyond(np.maximum(np.abs(values.real), np.abs(values.imag)) > reach)
    title = f"eigenvalues of the Jacobian of the game\nshaded: unstable{beyond}"
    frame(axes, title, "Re λ", "Im λ", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    colour_bar(drawn, axes, "step", location="bottom", pad=0.03, aspect=30, shrink=0.8, format="{x:,.0f}")
