"""Operators of training: dropout, losses and the updates of optimizers."""
