"""The base of all other folders: errors, text, memory, files, graphs. Nothing here depends on networks."""
