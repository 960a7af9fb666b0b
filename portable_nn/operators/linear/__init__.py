"""Matrix products, and what they are computed with."""
