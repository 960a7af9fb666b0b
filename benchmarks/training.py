"""Training steps against PyTorch eager (the better of its plain and its fused optimizer): ``python training.py``.

On a processor where OPENBLAS_CORETYPE is set for old builds, unset it and OPENBLAS_L2_SIZE for this command.
"""

from __future__ import annotations

from side_by_side import compare

CASES = [
    ("784-200-10 sigmoid, SGD, batch 1", [200], "Sigmoid", "sgd", 1, 4000),
    ("784-200-10 sigmoid, SGD, batch 32", [200], "Sigmoid", "sgd", 32, 800),
    ("784-200-10 sigmoid, SGD, batch 128", [200], "Sigmoid", "sgd", 128, 200),
    ("784-512-512-10 ReLU, Adam, batch 128", [512, 512], "ReLU", "adam", 128, 80),
]

if __name__ == "__main__":
    for title, *case in CASES:
        compare(
            title,
            {
                "portable-nn": ("sides", "our_training", *case),
                "torch": ("sides", "torch_training", *case, False),
                "torch fused": ("sides", "torch_training", *case, True),
            },
        )
