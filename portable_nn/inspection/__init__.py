"""What is in a model, as rows and as text."""
