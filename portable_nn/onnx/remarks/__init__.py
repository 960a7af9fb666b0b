"""The remarks in a file beside its graph, and those that are dropped."""
