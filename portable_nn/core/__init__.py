"""What everything stands on: errors, text, memory, files, graphs. Nothing here knows a network."""
