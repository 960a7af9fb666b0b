"""A model on more data than one process gets through: shards of work, computed by processes or machines.

``predict_many`` and ``evaluate_many`` cut the inputs into shards. Each is computed by one of several processes, and its
answers are a file in a folder, or in a bucket, whose name follows from the inputs, the model and the options. A process
that is killed, at any moment, loses what it had in its hands; the next run computes that again, and nothing else.

``Predictor`` is for other engines (Ray Data, Spark, Daft): one small object that can be pickled.
"""

from portable_nn.scale.many import evaluate_many, predict_many
from portable_nn.scale.predictor import Predictor

__all__ = ["Predictor", "evaluate_many", "predict_many"]
