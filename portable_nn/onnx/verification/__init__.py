"""Verification of conversions: the fate of every weight, and the values of both sides on the same inputs."""
