"""The models that come with the package: weights, a card, sample inputs, and the recipe that made each.

A model is a folder here and a row in ``portable_nn.catalog``. The folder holds ``NAME.safetensors``, ``NAME.onnx``,
``CARD.md``, ``samples/`` and ``recipe.py``, whose ``train()`` makes the model again. ``altimetry`` is no model, but the
data and the yardsticks of those that read the echoes of radar altimeters.
"""
