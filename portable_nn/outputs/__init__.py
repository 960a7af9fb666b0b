"""The outputs of answers: arrays, forms of files, pictures; and reports on a model."""
