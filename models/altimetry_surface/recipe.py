"""How ``altimetry-surface`` is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Unpack

import numpy as np
from msgspec.structs import replace

import portable_nn as pnn
from portable_nn.evaluation.reliability import ReliabilityScores
from portable_nn.format.meaning import InputInfo
from portable_nn.models.altimetry.echoes import speckled
from portable_nn.models.altimetry.networks import (
    RANGE,
    Fresh,
    dense,
    echoes_of,
    features,
    odd_means,
    waveform,
    write_samples,
)
from portable_nn.models.altimetry.surfaces import KINDS, SURFACES, surface_code
from portable_nn.models.recipes import Trained
from portable_nn.operators import Array
from portable_nn.operators.linear.blas import single_threaded
from portable_nn.training.checkpoint import CheckpointOptions

__all__ = ["train", "write_samples"]

EPOCHS: Final = 10
STEPS: Final = 400
BATCH: Final = 512
SEED: Final = 30_001
"""That of the echoes on which the network is judged; no training has it."""

SURE: Final = 0.6
"""Where no class has this probability, the answer is "?"."""

SHARES: Final[Mapping[str, float]] = {
    "ocean": 0.22,
    "rain": 0.07,
    "lake": 0.06,
    "land": 0.24,
    "ice": 0.09,
    "specular": 0.06,
    "peaks": 0.07,
    "coast": 0.12,
}
"""How often a kind is drawn; what remains are echoes of nothing that the network knows, as likely of any class."""


def train(
    *, seed: int = 0, epochs: int = EPOCHS, progress: bool | None = None, **checkpoints: Unpack[CheckpointOptions]
) -> Trained:
    """Train the network that tells surfaces apart, calibrate its probabilities, and measure it on other echoes.

    Each batch is simulated afresh; an epoch is 400 batches of 512 echoes.
    """
    examples = mixture(20_000, np.random.default_rng(seed))[0]
    x = waveform()
    value = dense(features(x, examples, "echo"), (96, 64), "echo")
    network = pnn.Network(x, pnn.Dense(4, name="surface")(value), labels=SURFACES, seed=seed, name="altimetry-surface")
    with single_threaded():
        history = network.fit(
            Fresh(mixture, BATCH, STEPS, seed),
            loss="cross_entropy",
            optimizer=pnn.Adam(0.004),
            schedule=pnn.CosineDecay(),
            epochs=epochs,
            progress=progress,
            **checkpoints,
        )
        network.calibrate(*known(20_000, np.random.default_rng([seed, 1])))
        network.inputs = (InputInfo("waveform", range=RANGE),)
        network.outputs = (replace(network.outputs[0], threshold=SURE),)
        figures = judge(network)
    network.metadata.update(
        {
            "name": "altimetry-surface",
            "data": f"{epochs * STEPS * BATCH:,} simulated echoes of sea, land, ice and coasts",
            "recall": f"land {figures['recall_land']:.2%}, water {figures['recall_water']:.2%}, of unseen echoes",
            "license": "Apache-2.0",
        }
    )
    return Trained(network, figures, history)


def known(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Echoes (count, 104) of all kinds, and the places of their classes in ``SURFACES``, (count,)."""
    weights = np.array(list(SHARES.values())) / sum(SHARES.values())
    echoes, classes = [], []
    for kind, some in zip(SHARES, rng.multinomial(count, weights), strict=True):
        if some:
            echoes.append(echoes_of(kind, int(some), rng).mean)
            classes.append(np.full(some, surface_code(kind)))
    order = rng.permutation(count)
    return np.concatenate(echoes)[order], np.concatenate(classes)[order]


def mixture(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Echoes of all kinds and of none, and the probabilities of their classes: (count, 104) and (count, 4)."""
    odd = max(1, round(count * (1 - sum(SHARES.values())) / 4))
    echoes, classes = known(count - 4 * odd, rng)
    unknown = [speckled(mean, rng) for mean in odd_means(odd, rng)]
    shares = np.concatenate([np.eye(4)[classes], np.full((4 * odd, 4), 0.25)])
    return np.concatenate([echoes, *unknown]), shares.astype(np.float32)


def judge(network: pnn.Network, count: int = 20_000, seed: int = SEED) -> dict[str, float]:
    """Recalls by class and the expected calibration error, in 15 bins, on ``count`` echoes of each class."""
    rng = np.random.default_rng(seed)
    kinds = {name: [kind for kind, each in KINDS.items() if each.surface == name] for name in SURFACES}
    figures, reliability = {}, ReliabilityScores()
    for code, name in enumerate(SURFACES):
        some = count // len(kinds[name])
        echoes = np.concatenate([echoes_of(kind, some, rng).mean for kind in kinds[name]])
        shares = network.predict_proba(echoes)
        right = shares.argmax(axis=1) == code
        figures[f"recall_{name}"] = float(right.mean())
        reliability.update(shares.max(axis=1), right)
    figures["calibration_error"] = reliability.result().ece
    return figures
