"""Theory: convergence factors, spectra and stability limits; no run is needed."""
