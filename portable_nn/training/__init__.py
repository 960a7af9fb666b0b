"""Training: the gradient graph, losses, optimizers, and the loop that runs them."""
