"""Outputs that compare the examples of a batch with each other, (batch, batch), as contrastive models have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import UsageError

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 6, 4)).astype(np.float32)
Y = RNG.normal(size=(6, 6)).astype(np.float32)
FEEDS = {"a": A, "b": B}


def similarities() -> pnn.Network:
    a, b = pnn.Input(4, name="a"), pnn.Input(4, name="b")
    left, right = pnn.Dense(3, name="left")(a), pnn.Dense(3, name="right")(b)
    return pnn.Network([a, b], pnn.emit("MatMul", left, pnn.emit("Transpose", right, perm=[1, 0])), seed=0)


def test_pairs_learn_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    net = similarities()
    weights = {name: torch.tensor(array, requires_grad=True) for name, array in net.parameters.items()}
    optimizer = torch.optim.SGD(weights.values(), 0.05)
    history = net.fit(FEEDS, Y, loss="mean_squared_error", optimizer=pnn.SGD(0.05), epochs=4, shuffle=False)
    losses = []
    for _ in range(4):
        left = torch.tensor(A) @ weights["left.weight"].T + weights["left.bias"]
        right = torch.tensor(B) @ weights["right.weight"].T + weights["right.bias"]
        loss = ((left @ right.T - torch.tensor(Y)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    for name, array in net.parameters.items():
        np.testing.assert_allclose(array, weights[name].detach().numpy(), atol=1e-5, err_msg=name)


def test_pairs_are_not_cut_into_batches() -> None:
    options: dict[str, Any] = {"loss": "mean_squared_error", "epochs": 1}
    with pytest.raises(
        UsageError, match=r"compares the examples of a batch .*, and y has 6 of them: batch_size must be 6"
    ):
        similarities().fit(FEEDS, Y, batch_size=3, **options)
    similarities().fit([(FEEDS, Y), ({"a": A[::-1], "b": B}, Y)], **options)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_clip_trains_as_in_pytorch() -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from portable_nn.converters.torch import read_torch

    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {**sizes, "vocab_size": 99, "max_position_embeddings": 16, "eos_token_id": 98, "bos_token_id": 97}
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**sizes, "image_size": 16, "patch_size": 8}, projection_dim=16
    )
    torch.manual_seed(0)
    model = transformers.CLIPModel(config).eval()
    ids = torch.randint(0, 97, (2, 7))
    ids[:, -1] = 98
    example = {"input_ids": ids, "pixel_values": torch.randn(2, 3, 16, 16)}
    found = read_torch(model, example, prove_training=True)
    assert any("after 5 steps of training" in note for note in found.notes)
    assert found.network.types["logits_per_image"].shape == ("batch", "batch")
