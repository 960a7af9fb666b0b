"""Ready-made ways from data to a trained network."""
