"""Simulation: runs, verdicts, comparisons, sweeps and phase portraits."""
