"""A model on more data than one process gets through: shards of work, computed by processes or machines.

``predict_many`` cuts the inputs into shards. Each is computed by one of several processes, and its
answers are a file in a folder, or in a bucket, whose name follows from the inputs, the model and the options. A process
that is killed, at any moment, loses what it had in its hands; the next run computes that again, and nothing else.
"""

from portable_nn.scale.many import predict_many

__all__ = ["predict_many"]
