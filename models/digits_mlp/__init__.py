"""The model ``digits-mlp``."""
