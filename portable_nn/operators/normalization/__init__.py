"""Normalization over a batch, a layer, groups or channels, and softmax."""
