"""The model ``altimetry-surface``."""
