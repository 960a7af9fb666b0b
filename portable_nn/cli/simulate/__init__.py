"""``portable-nn simulate``: a group of commands."""

from __future__ import annotations

from typing import Final

COMMANDS: Final = {
    "run": "Simulate a method on a game, and say whether it converges, and why.",
    "compare": "Compare methods at equal numbers of gradient evaluations.",
    "sweep": "Find the learning rates at which each method converges.",
    "spectrum": "Show the update of a method near an equilibrium as a matrix, with its eigenvalues.",
    "field": "Show the phase portrait of a game of two variables: its vector field, and runs from several starts.",
    "gan": "Train a small generative adversarial network, and measure how it converges.",
    "list": "List the games and the methods, with their options.",
}


def command() -> None:
    """Simulate games of two players: why gradient descent diverges, and what converges.

    x maximises f, and y minimises it. run simulates one method on one game, by default gradient descent-ascent on f =
    x·y. compare, sweep and spectrum show which methods converge instead, up to which learning rate, and why; field
    draws the phase portrait, and gan shows the same for two networks.
    """
