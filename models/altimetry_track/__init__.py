"""The model ``altimetry-track``."""
