"""Operators that move, select or make elements and compute none."""
