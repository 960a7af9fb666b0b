"""Comparison of any two models: whether they are the same, and where they part."""
