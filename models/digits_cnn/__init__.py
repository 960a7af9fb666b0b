"""The model ``digits-cnn``."""
