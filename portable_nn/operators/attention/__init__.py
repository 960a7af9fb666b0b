"""Attention, and the rotation of positions that goes with it."""
