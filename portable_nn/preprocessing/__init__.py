"""The preprocessing steps that travel with a model: how its input is made from a picture or a table."""
