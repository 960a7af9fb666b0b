"""The storage of a model: tensors, files beside it, metadata, labels."""
