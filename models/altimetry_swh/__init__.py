"""The model ``altimetry-swh``."""
