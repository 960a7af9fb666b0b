"""Eigenvalues of update operators and the unit circle, inside which a method converges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from portable_nn.adversarial.pictures.labels import COLOURS, Label, axes_at, grouped, room, write
from portable_nn.adversarial.pictures.paper import Axes, Figure, Look, plane, sheet
from portable_nn.adversarial.runs.verdict import factor_text
from portable_nn.core.errors import UsageError
from portable_nn.core.plotting import BLACK, style, tint
from portable_nn.operators import Array

MARKS: Final = "osD^vP*X<>"
MOST: Final = 40
"""The largest number of spectra in a picture."""
CIRCLE: Final[Look] = {"fill": False, "edgecolor": BLACK, "linewidth": 1.1, "zorder": 2}
INSIDE: Final[Look] = {"facecolor": "#F0F0F0", "edgecolor": "none", "zorder": 0}
REACH: Final = (1.15, 3.0)
"""The smallest and the largest extent of the plane."""
NAMES: Final = ("Re λ", "Im λ")
SAME: Final = 1e-9
"""Eigenvalues that differ by less are equal."""
WIDTH, SIDE = 14.6, 3.9
LEFT, BETWEEN, BELOW, ABOVE = 0.8, 0.95, 0.65, 0.85
"""Inches of the sheet and of each plane, and around the planes."""


@style()
def spectrum(spectra: Mapping[tuple[str, float], Array], title: str = "") -> Figure:
    """Eigenvalues and the unit circle: the whole plane, and the neighbourhood of the largest.

    ``spectra`` has the result of ``spectrum`` for each method and learning rate. Each method has its own colour and
    marker, paler for smaller learning rates, and a label at its largest eigenvalue; equal eigenvalues have one label.
    Raises ``UsageError`` for none, and for more than ``MOST``.
    """
    if not 1 <= len(spectra) <= MOST:
        raise UsageError(f"a picture has room for 1 to {MOST} sets of eigenvalues, not {len(spectra)}")
    groups = equal_spectra(spectra)
    looks = [_look(groups, place) for place in range(len(groups))]
    needed = room([Label(_words(group), None, {}) for group in groups])
    height = max(SIDE, needed)
    paper = sheet(WIDTH, height + BELOW + ABOVE, [title] if title else [])
    places = (LEFT, LEFT + SIDE + BETWEEN)
    whole, near = (axes_at(paper, left, BELOW + height - SIDE, SIDE, SIDE) for left in places)
    for axes in (whole, near):
        _circle(axes)
        for group, look in zip(groups, looks, strict=True):
            axes.plot(group.values.real, group.values.imag, **look, label=_words(group))
    every = np.concatenate([*spectra.values()])
    reach = float(np.clip(1.06 * np.abs(every).max(), *REACH))
    beyond = int((np.maximum(np.abs(every.real), np.abs(every.imag)) > reach).sum())
    words = f"; {beyond} beyond the axes" if beyond else ""
    square = ((-reach, reach), (-reach, reach))
    plane(whole, square, f"eigenvalues: converges inside the unit circle{words}", *NAMES)
    chosen = _alike(spectra)
    rates = {rate for _, rate in chosen}
    which = f" at η = {min(rates):g}" if len(chosen) < len(spectra) else ""
    plane(near, _close([*chosen.values()]), f"largest eigenvalues{which}, upper half-plane", *NAMES)
    labels = []
    for group, look in zip(groups, looks, strict=True):
        largest = group.values[np.argmax(np.abs(group.values))]
        seen = _is_inside(near, largest.real, abs(largest.imag))
        labels.append(Label(_words(group), (largest.real, abs(largest.imag)) if seen else None, look))
    write(near, labels, low=height - SIDE)
    return paper


class Group(NamedTuple):
    """Methods, each with its learning rate, whose eigenvalues are equal."""

    keys: list[tuple[str, float]]
    values: Array


def equal_spectra(spectra: Mapping[tuple[str, float], Array]) -> list[Group]:
    """The spectra; those at one learning rate that are equal, up to rounding and zeros, together."""
    groups = grouped(spectra.items(), lambda a, b: a[0][1] == b[0][1] and _is_equal(a[1], b[1]))
    return [Group([key for key, _ in group], group[0][1]) for group in groups]


def _is_equal(one: Array, other: Array) -> bool:
    """True if eigenvalues are the same, each as often; zeros, which come with states that are kept, do not count."""
    parts = []
    for values in (one, other):
        kept = values[np.abs(values) > SAME * np.abs(values).max(initial=1e-300)]
        parts.append(kept[np.lexsort((kept.imag.round(6), kept.real.round(6)))])
    return parts[0].shape == parts[1].shape and bool((np.abs(parts[0] - parts[1]) <= SAME).all())


def _words(group: Group) -> str:
    """Methods, their learning rate and the largest modulus."""
    largest = factor_text(float(np.abs(group.values).max()))
    return f"{', '.join(name for name, _ in group.keys)}, η = {group.keys[0][1]:g}: largest |λ| = {largest}"


def _is_inside(axes: Axes, x: float, y: float) -> bool:
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    return left <= x <= right and low <= y <= high


def _circle(axes: Axes) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(Circle((0, 0), 1, gid="inside", **INSIDE))
    axes.add_patch(Circle((0, 0), 1, gid="unit circle", **CIRCLE))
    axes.axhline(0, color="#D0D0D0", linewidth=0.7, zorder=1)
    axes.axvline(0, color="#D0D0D0", linewidth=0.7, zorder=1)


def _look(groups: Sequence[Group], place: int) -> Look:
    """The marker of a group: that of its first method, paler for its smaller learning rates."""
    firsts = [group.keys[0] for group in groups]
    name, rate = firsts[place]
    number = [*dict.fromkeys(method for method, _ in firsts)].index(name)
    rates = sorted(at for method, at in firsts if method == name)
    share = 1.0 if len(rates) == 1 else 0.25 + 0.75 * rates.index(rate) / (len(rates) - 1)
    return {
        "linestyle": "none",
        "marker": MARKS[number % len(MARKS)],
        "markersize": 8 + 4 * (1 - place / len(groups)),  # What lies below is larger, and is seen.
        "markerfacecolor": tint(COLOURS[number % len(COLOURS)], share),
        "markeredgecolor": BLACK,
        "markeredgewidth": 0.7,
        "zorder": 4,
    }


def _alike(spectra: Mapping[tuple[str, float], Array]) -> Mapping[tuple[str, float], Array]:
    """The spectra that are closest together: of several methods, those at the smallest shared rate; else all."""
    rates = [rate for _, rate in spectra]
    shared = sorted(rate for rate in set(rates) if rates.count(rate) > 1)
    return {key: found for key, found in spectra.items() if key[1] == shared[0]} if shared else spectra


def _close(parts: list[Array]) -> tuple[tuple[float, float], tuple[float, float]]:
    """A square around the largest eigenvalue of each in the upper half of the plane, with a part of the circle."""
    largest = [part[np.argmax(np.abs(part))] for part in parts]
    points = np.array([complex(one.real, abs(one.imag)) for one in largest])
    on_circle = points / np.where(np.abs(points) > 0, np.abs(points), 1)
    both = np.concatenate([points, on_circle])
    low, high = np.array([both.real.min(), both.imag.min()]), np.array([both.real.max(), both.imag.max()])
    half = max(0.02, 0.62 * float((high - low).max()))
    middle = (low + high) / 2
    return (middle[0] - half, middle[0] + half), (middle[1] - half, middle[1] + half)
