"""The training of a GAN: samples, losses, metrics, and the eigenvalues of the Jacobian of the game."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from portable_nn.adversarial.gan.modes import Ring
from portable_nn.adversarial.gan.pattern import Pattern
from portable_nn.adversarial.gan.sampling import sample
from portable_nn.adversarial.gan.sheets import as_pictures, contact_sheet
from portable_nn.adversarial.gan.training import GanResult
from portable_nn.adversarial.pictures.paper import colour_bar, legend_below, legend_line, parts_of, sheet
from portable_nn.adversarial.pictures.trajectories import steps_axis
from portable_nn.core.plotting import BLACK, BLUE, GREEN, ORANGE, SKY, VERMILLION, style, tint
from portable_nn.operators.registry import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS: Final = 2500
"""The number of samples of a generator of points."""
BARS: Final = 16
"""Examples of up to so many components are drawn as bars."""
PICTURES: Final = 25
COUNTS: Final[dict[str, tuple[str, str, Any, float]]] = {
    "captured": ("captured: at least one sample", SKY, (0, (4, 1.5)), 2.2),
    "strict": ("strictly: at least 1 % of the samples", GREEN, "solid", 1.5),
}
"""Columns of the history that count modes, each with the label, colour, dashes and width of its line."""
PLAIN: Final = ("step", "generator_loss", "discriminator_loss", "rate", *COUNTS)
METRICS: Final = {
    "quality": ("high-quality samples", "share within 3 standard deviations of a mode"),
    "kl": ("reverse KL", "divergence from the uniform distribution, nats"),
    "error": ("error of the mean", "largest error of a component"),
    "deviation": ("standard deviation", "mean of the components"),
}
"""The titles of metrics, and the labels of their axes."""
FAR: Final = 97
"""The percentile of the moduli of eigenvalues that is within the axes."""


@style()
def gan(result: GanResult, target: Ring | Pattern | None = None, seed: int = 0) -> Figure:
    """Samples of the averaged generator, the losses, the metrics, and the eigenvalues if there are any.

    Args:
        result: of ``train_gan``.
        target: the data; by default ``Ring()`` for a generator of points, ``Pattern()`` for one of four components.
        seed: of the samples.

    Raises ``UsageError`` or ``ShapeError`` for a generator that cannot be sampled.
    """
    parts: list[Callable[[Axes], None]] = [partial(_samples, result=result, target=target, seed=seed)]
    if result.history:
        parts.append(partial(_losses, result=result))
        if COUNTS.keys() & set(result.history[0]):
            parts.append(partial(_modes, result=result, target=target))
        parts += [partial(_metric, result=result, name=name) for name in result.history[0] if name not in PLAIN]
    if result.eigenvalues:
        parts.append(partial(_eigenvalues, result=result))
    columns = min(len(parts), 3)
    rows = -(-len(parts) // columns)
    last = f", {result.history[-1]['step']:,.0f} steps" if result.history else ""
    paper = sheet(4.2 * columns, 4.3 * rows + 0.4, [f"GAN training{last}"])
    for part, place in zip(parts, parts_of(paper, rows, columns), strict=False):
        part(place.add_subplot())
    return paper


def _samples(axes: Axes, result: GanResult, target: Ring | Pattern | None, seed: int) -> None:
    made = sample(result.averaged, POINTS, seed)
    if made.shape[1:] == (2,):
        _points(axes, made, target if isinstance(target, Ring) else Ring())
    elif made.ndim == 2 and made.shape[1] <= BARS:
        fits = Pattern() if made.shape[1] == len(Pattern().pattern) else None
        _bars(axes, made, target if isinstance(target, Pattern) else fits)
    else:
        _pictures(axes, made[:PICTURES])


def _points(axes: Axes, made: Array, ring: Ring) -> None:
    centres, reach = ring.centres, 1.35 * ring.radius
    axes.plot(
        *centres.T,
        marker="o",
        markersize=15,
        markerfacecolor="none",
        markeredgecolor=VERMILLION,
        markeredgewidth=1.3,
        linestyle="none",
        label=f"{ring.modes} modes of the target",
        zorder=3,
    )
    axes.plot(
        *made.T,
        marker=".",
        markersize=3,
        color=BLUE,
        alpha=0.45,
        linestyle="none",
        markeredgewidth=0,
        label=f"{len(made):,} samples",
        zorder=2,
        rasterized=True,
    )
    axes.set(
        xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="first component", ylabel="second component"
    )
    axes.set_title("samples and target" + _beyond(np.abs(made).max(axis=1) > reach), fontsize=10)
    modes, samples = axes.get_legend_handles_labels()[0]
    legend_below(axes, 2, [modes, legend_line(linestyle="none", marker=".", color=BLUE, label=samples.get_label())])


def _beyond(outside: Array) -> str:
    """How many points are not shown, as the end of a title."""
    return f"; {outside.sum():,} beyond the axes" if outside.any() else ""


def _bars(axes: Axes, made: Array, pattern: Pattern | None) -> None:
    numbers = np.arange(made.shape[1])
    look: dict[str, Any] = {"width": 0.36, "error_kw": {"elinewidth": 1.2, "capsize": 3, "ecolor": BLACK}}
    axes.bar(numbers - 0.19, made.mean(axis=0), yerr=made.std(axis=0), color=SKY, label="samples", **look)
    if pattern is not None:
        axes.bar(numbers + 0.19, pattern.pattern, yerr=pattern.noise, color=ORANGE, label="target", **look)
    axes.axhline(0, color=BLACK, linewidth=0.7)
    axes.set(xlabel="component", ylabel="mean and standard deviation")
    axes.set_xticks(numbers)
    axes.set_title("samples and target" if pattern else "samples", fontsize=10)
    legend_below(axes, columns=2)


def _pictures(axes: Axes, made: Array) -> None:
    axes.imshow(contact_sheet(as_pictures(made)), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(f"{len(made)} samples", fontsize=10)


def _losses(axes: Axes, result: GanResult) -> None:
    steps = np.array(result["step"])
    axes.plot(steps, result["generator_loss"], color=BLUE, linewidth=1.5, label="generator")
    axes.plot(
        steps, result["discriminator_loss"], color=ORANGE, linewidth=1.5, linestyle=(0, (4, 1.5)), label="discriminator"
    )
    axes.set(xlabel="step", ylabel="loss")
    axes.set_title("losses", fontsize=10)
    steps_axis(axes, steps)
    legend_below(axes, columns=2)


def _modes(axes: Axes, result: GanResult, target: Ring | Pattern | None) -> None:
    from matplotlib.ticker import MaxNLocator

    steps, modes = np.array(result["step"]), target.modes if isinstance(target, Ring) else Ring().modes
    for name, (label, colour, dashes, width) in COUNTS.items():
        if name in result.history[0]:
            axes.plot(steps, result[name], color=colour, linestyle=dashes, linewidth=width, label=label)
    axes.axhline(modes, color=BLACK, linewidth=0.9, linestyle=(0, (1, 2)), label=f"all {modes} modes")
    axes.set(xlabel="step", ylabel="modes", ylim=(0, modes * 1.08))
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_title("modes captured", fontsize=10)
    steps_axis(axes, steps)
    legend_below(axes, columns=1)


def _metric(axes: Axes, result: GanResult, name: str) -> None:
    title, label = METRICS.get(name, (name, name))
    axes.plot(result["step"], result[name], color=BLUE, linewidth=1.5)
    axes.set(xlabel="step", ylabel=label)
    if name == "quality":
        axes.set_ylim(0, 1.04)
    axes.set_title(title, fontsize=10)
    steps_axis(axes, np.array(result["step"]))


def _eigenvalues(axes: Axes, result: GanResult) -> None:
    steps = np.concatenate([np.full(len(found), step) for step, found in result.eigenvalues])
    values = np.concatenate([found for _, found in result.eigenvalues])
    reach = 1.1 * max(float(np.percentile(np.abs(values), FAR)), 1e-6)
    axes.axvspan(-2 * reach, 0, color=tint(VERMILLION, 0.12), zorder=0, linewidth=0)
    axes.axhline(0, color="#D0D0D0", linewidth=0.7, zorder=1)
    drawn = axes.scatter(values.real, values.imag, c=steps, cmap="cividis", s=13, linewidths=0, zorder=3)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="Re λ", ylabel="Im λ")
    beyond = _beyond(np.maximum(np.abs(values.real), np.abs(values.imag)) > reach)
    axes.set_title(f"eigenvalues of the Jacobian of the game\nshaded: unstable{beyond}", fontsize=10)
    colour_bar(drawn, axes, "step", location="bottom", pad=0.03, aspect=30, shrink=0.8, format="{x:,.0f}")
