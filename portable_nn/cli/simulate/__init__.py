"""``portable-nn simulate``: a group of commands."""

from __future__ import annotations

from typing import Final

from portable_nn.cli import Row

COMMANDS: Final = {
    "run": Row("run", "Let two players play a game, and say whether they come to an end, and why."),
    "compare": Row("compare", "Compare methods at equal numbers of gradient evaluations."),
    "sweep": Row("sweep", "Find the learning rates at which each method converges."),
    "spectrum": Row("spectrum", "Show what a method does to a game as a matrix, with its eigenvalues."),
    "field": Row("field", "Show where a game drives its players, and runs from several starts."),
    "gan": Row("gan", "Train a generative adversarial network that shows the same."),
    "list": Row("list_", "List the games and the methods, with their options."),
}


def command() -> None:
    """Play games of two players: why gradient descent spirals away, and what works.

    x wants much of f, and y wants little. run plays one game, by default f = x·y by gradient descent. compare, sweep
    and spectrum tell what works instead, up to which learning rate, and why; field shows where everything goes, and gan
    the same of two networks.
    """
