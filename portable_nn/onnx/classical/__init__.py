"""Models of the domain ``ai.onnx.ml``, classical learning, in operators of the standard that train and run anywhere.

These are ``ModelProto`` to ``ModelProto``: a graph has no strings and no maps, which such models do.
"""
