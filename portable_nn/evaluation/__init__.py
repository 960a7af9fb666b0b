"""How good a model is: probabilities, scores of classes and of numbers, calibration, intervals, and their sheet."""
