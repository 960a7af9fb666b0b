"""Games: payoffs, their derivatives, and the table of games from the literature."""
