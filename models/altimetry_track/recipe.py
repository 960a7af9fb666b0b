"""The recipe of ``altimetry-track``."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Unpack

import numpy as np

import portable_nn as pnn
from portable_nn.models.altimetry.along import SAMPLE, judge_tracks, peaked_track
from portable_nn.models.altimetry.echoes import JASON
from portable_nn.models.altimetry.networks import Fresh, dense, features, in_metres, reads_sea
from portable_nn.models.altimetry.seas import draw
from portable_nn.models.recipes import Trained, noted
from portable_nn.operators import Array, Symbol
from portable_nn.operators.linear.blas import single_threaded
from portable_nn.training.checkpoint import CheckpointOptions

EPOCHS: Final = 60
STEPS: Final = 100
TRACKS: Final = 16
LENGTH: Final = 256
"""Tracks in a batch, and echoes in a track."""

CONTEXT: Final = 128
"""The number of echoes before and after one that are computed with it: those farther away change nothing that
matters."""


def train(
    *, seed: int = 0, epochs: int = EPOCHS, progress: bool | None = None, **checkpoints: Unpack[CheckpointOptions]
) -> Trained:
    """Train the network that reads heights and epochs along a track; its first layers begin as ``altimetry-swh``'s.

    Each batch is simulated afresh; an epoch is 100 batches of 16 tracks of 256 echoes.
    """
    x = pnn.Input("echoes", JASON.gates, name="waveforms")
    network = pnn.Network(x, reading(x), seed=seed, name="altimetry-track")
    begin(network)
    with single_threaded():
        history = network.fit(
            Fresh(batch, TRACKS, STEPS, seed),
            loss="gaussian",
            optimizer=pnn.Adam(0.002),
            schedule=pnn.Warmup(epochs / EPOCHS, pnn.CosineDecay()),
            clip_norm=1.0,
            epochs=epochs,
            progress=progress,
            **checkpoints,
        )
        reads_sea(network, CONTEXT)
        figures = judge_tracks(network, tracks=2)
    return noted(
        network,
        figures,
        history,
        data=f"{epochs * STEPS * TRACKS:,} simulated tracks of {LENGTH} echoes after Brown and Hayne",
        errors=f"{figures['error_by_bound']:.3f} times the posterior bound, on unseen simulated tracks",
    )


def batch(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Tracks (count, 256, 104), and their heights and epochs, (count, 256, 2)."""
    return draw(count, LENGTH, rng)


def reading(x: Symbol) -> Symbol:
    """Heights and epochs: two means, and the logarithms of two variances, of each echo.

    Each echo becomes 64 numbers between -1 and 1, whatever it is; these go through two layers of gated recurrent
    units, along the track and against it.
    """
    powers = features(x, np.ones((2, JASON.gates)), "sea")
    sea, other = dense(powers, (256, 256, 128), "sea"), dense(powers, (96, 64), "other")
    echo = pnn.Tanh()(pnn.Dense(64, name="echo")(pnn.concatenate(sea, other, axis=-1)))
    neighbours = pnn.GRU(64, layers=2, bidirectional=True, name="neighbours")(echo)
    value = dense(pnn.concatenate(neighbours, echo, axis=-1), (64,), "both")
    return in_metres(pnn.Dense(4, weight_initial=0.0, name="both.last")(value), "sea")


def begin(network: pnn.Network) -> None:
    """Take the layers that read a single echo, and the statistics of the gates, from ``altimetry-swh``."""
    reader = pnn.load_model("altimetry-swh").parameters
    for name, array in network.parameters.items():
        if name in reader and reader[name].shape == array.shape:
            array[...] = reader[name]


def write_samples(folder: Path) -> None:
    """``echoes.npy``: a track past bright targets, (300, 104)."""
    np.save(folder / "echoes.npy", peaked_track(300, np.random.default_rng(SAMPLE)).waveforms)
