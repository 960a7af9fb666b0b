"""How a model is stored: tensors, files beside it, metadata, labels."""
