"""``portable-nn simulate``: a group of commands."""

from __future__ import annotations

from typing import Final

from portable_nn.cli import Row

COMMANDS: Final = {
    "run": Row("run", "Simulate a game of two players, and say whether they converge, and why."),
    "compare": Row("compare", "Compare methods at equal numbers of gradient evaluations."),
    "sweep": Row("sweep", "Find the learning rates at which each method converges."),
    "spectrum": Row("spectrum", "Show the update of a method near an equilibrium as a matrix, with its eigenvalues."),
    "field": Row("field", "Show the vector field of a game, and runs from several starts."),
    "gan": Row("gan", "Train a small generative adversarial network, and measure how it converges."),
    "list": Row("list_", "List the games and the methods, with their options."),
}


def command() -> None:
    """Simulate games of two players: why gradient descent diverges, and what converges.

    x maximises f, and y minimises it. run simulates one game, by default f = x·y by gradient descent. compare, sweep
    and spectrum show which methods converge instead, up to which learning rate, and why; field draws the vector field,
    and gan shows the same for two networks.
    """
