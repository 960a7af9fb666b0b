"""Control flow: branches and loops, whose bodies are graphs in the attributes of their nodes."""
