"""Models in files: one table of their kinds, and what is done with a model whatever its kind."""
