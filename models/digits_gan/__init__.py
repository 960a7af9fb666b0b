"""The model ``digits-gan``."""
