"""The evaluation of a model: probabilities, scores of classes and of numbers, calibration, intervals, and their
sheet."""
