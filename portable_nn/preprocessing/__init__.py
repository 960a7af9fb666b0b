"""The preprocessing steps that are stored with a model: from a picture or a table to the network's input."""
