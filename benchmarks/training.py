"""Training steps against PyTorch eager, in each of the ways it can be set up: ``python training.py``.

On a processor where OPENBLAS_CORETYPE is set for old builds, unset it and OPENBLAS_L2_SIZE for this command.
"""

from __future__ import annotations

from side_by_side import compare, processor

CASES = [
    ("784-200-10 sigmoid", "sgd", 1, 4000),
    ("784-200-10 sigmoid", "sgd", 32, 800),
    ("784-200-10 sigmoid", "sgd", 128, 200),
    ("784-512-512-10 ReLU", "adam", 128, 80),
    ("LeNet-like", "sgd", 64, 40),
]

if __name__ == "__main__":
    print(processor())
    for network, optimizer, batch, steps in CASES:
        case = (network, optimizer, batch, steps)
        sides: dict[str, tuple[object, ...]] = {
            "portable-nn": ("sides", "our_training", *case),
            "torch": ("sides", "torch_training", *case, False),
            "torch fused": ("sides", "torch_training", *case, True),
        }
        if network == "LeNet-like":
            sides["torch channels last"] = ("sides", "torch_training", *case, True, True)
        compare(f"{network}, {optimizer}, batch {batch}", sides)
