"""Whole numbers of few bits in place of real ones: y = (x - zero point) · scale."""
