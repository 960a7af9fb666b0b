"""What a file says beside its graph, and what of it is dropped."""
