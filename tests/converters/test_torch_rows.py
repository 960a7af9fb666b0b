# ruff: noqa: E501 - a case is a line
"""Each row of the table of ATen operators in a small module, against PyTorch, in prediction and in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portable_nn.converters.torch import read_torch

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

pytestmark = pytest.mark.long


class Of(nn.Module):  # type: ignore[misc]
    """A function of a linear map of the input along its last axis, so that there is something to train."""

    def __init__(self, function: Callable[[Any], Any], width: int) -> None:
        super().__init__()
        self.lin, self.function = nn.Linear(width, width).double(), function

    def forward(self, x: Any) -> Any:
        return self.function(self.lin(x))


X, IMAGE, CUBE = (2, 6), (2, 4, 6, 8), (2, 3, 4, 4, 6)

CASES: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "unary": (lambda x: x.relu() + x.sigmoid() + x.tanh() + x.exp() + x.abs() + (-x) + x.sin() + x.cos() + x.erf(), X),
    "roots": (lambda x: (x * x + 1).sqrt() + (x * x + 1).log() + (x * x + 1).rsqrt() + (x * x).log1p() + x.expm1(), X),
    "inverse": (lambda x: x.atan() + x.asinh() + (x.tanh() / 2).asin() + (x.tanh() / 2).acos() + x.tanh().atanh(), X),
    "hyperbolic": (lambda x: x.sinh() + x.cosh() + x.tanh().tan() + (x * x + 1.5).acosh() + (x * x + 1).reciprocal(), X),
    "activations": (lambda x: F.silu(x) + F.mish(x) + F.selu(x) + F.hardswish(x) + F.elu(x, 0.7) + F.celu(x, 0.5), X),
    "more": (lambda x: F.gelu(x) + F.gelu(x, approximate="tanh") + F.softplus(x, 2) + F.logsigmoid(x) + F.relu6(x), X),
    "shrinks": (lambda x: F.softshrink(x) + F.hardshrink(x) + F.threshold(x, 0.1, 2) + F.tanhshrink(x), X),
    "bounds": (lambda x: F.hardtanh(x * 3) + F.hardtanh(x * 3, -2.0) + x.clamp(max=0.5) + x.clamp(-0.5), X),
    "glu": (lambda x: F.glu(x) + F.hardtanh(x, -0.5, 0.7)[:, :3] + F.leaky_relu(x, 0.2)[:, 3:], X),
    "rounding": (lambda x: x + x.floor() + x.ceil() + x.round() + x.trunc() + x.frac() + x.sign(), X),
    "arithmetic": (lambda x: 2 - x * 3 + x / 4 + 1 / (x * x + 1) + x**3 + (x * x + 1) ** 0.5 + 2.0**x, X),
    "division": (lambda x: x + torch.div(x, 0.3, rounding_mode="floor") + x % 0.7 + torch.fmod(x, 0.4), X),
    "extremes": (lambda x: torch.maximum(x, -x * 2) + x.clamp(-0.5, 0.4) + x.clamp(min=0.1) + x.clamp(max=0.2), X),
    "lerp": (lambda x: torch.lerp(x, x * x, 0.3) + torch.addcmul(x, x, x, value=0.5) + torch.atan2(x, x + 3), X),
    "masks": (lambda x: x.masked_fill(x > 0.3, 0.5) + torch.where((x < 0) | ~(x > -1), x, x * 2) + (x == x) * x, X),
    "means": (lambda x: x.mean(1) + x.sum(-1) + x.amax(1) + x.amin(1) + x.logsumexp(1) + x.prod(1) + x.norm(dim=1), X),
    "variances": (lambda x: x.var(1) + x.std(1) + x.var(1, correction=0) + torch.var_mean(x, 1)[1], X),
    "max": (lambda x: x.max(1).values + x.min(1).values + x.argmax(1) + x.argmin(1) + x.max(1)[1], X),
    "sorting": (lambda x: x.sort(1).values + x.sort(1, descending=True)[0] + torch.cat(x.topk(3).values.split(1, 1) * 2, 1), X),
    "sums": (lambda x: x.cumsum(1) + x.cumprod(1) + (x > 0).any(1, keepdim=True) + (x > 0).all(1, keepdim=True), X),
    "whole": (lambda x: x + x.mean() + x.max() + x.sum() / 9, X),
    "shapes": (lambda x: x.view(-1, 2, 3).transpose(1, 2).flatten(1) + x.unflatten(1, (3, 2)).permute(0, 2, 1).reshape(-1, 6), X),
    "pieces": (lambda x: torch.cat([x.chunk(2, 1)[1], x.split(2, 1)[0], x[:, 1:2], x[:, -1:], x[:, 0:5:2]], 1), X),
    "stacks": (lambda x: torch.stack([x, x * 2], 1).unbind(1)[1] + x.unsqueeze(1).expand(-1, 3, -1).sum(1), X),
    "repeats": (lambda x: x.repeat(1, 2)[:, 3:9] + x.repeat_interleave(2, 1)[:, :6] + torch.tile(x, (1, 2))[:, 6:], X),
    "turns": (lambda x: x.flip(1) + x.roll(2, 1) + x.roll(-1, 1) + x.select(1, 2).unsqueeze(1) + x.narrow(1, 0, 1), X),
    "roll in two": (lambda x: x.roll((1, -2), (2, 3)) + x.flip(2, 3) + x.movedim(1, -1).movedim(-1, 1), IMAGE),
    "triangles": (lambda x: x.tril() + x.triu(1) + x.tril(-1) + torch.diff(F.pad(x, (1, 0))), IMAGE),
    "pads": (lambda x: F.pad(x, (1, 2, 0, 1), value=0.5).mean(1) + F.pad(x, (1, 2, 0, 1), "reflect").sum(1), IMAGE),
    "more pads": (lambda x: F.pad(x, (1, 1), "replicate") + F.pad(x, (1, 1), "circular") + F.pad(x, (3, -1)), (2, 3, 6)),
    "gather": (lambda x: x.gather(1, torch.tensor([[0, 5]]).expand(x.shape[0], 2)) + x[:, [1, 3]] + x.index_select(1, torch.tensor([5, 0])), X),
    "index": (lambda x: x[:, torch.tensor([[0, 1]]), torch.tensor([[2], [3]])] + x[:, 1, 3, None, None], IMAGE),
    "scatter": (lambda x: x.scatter(1, torch.zeros_like(x, dtype=torch.int64), 2.0) + x.scatter_add(1, torch.ones_like(x, dtype=torch.int64), x), X),
    "writes": (lambda x: _written(x), X),
    "products": (lambda x: x @ x.transpose(-1, -2) @ x + torch.einsum("bchw,bcvw->bchv", x, x).sum(-1, keepdim=True), IMAGE),
    "batches": (lambda x: torch.bmm(x, x.mT) + torch.baddbmm(x @ x.mT, x, x.mT, beta=0.5, alpha=2), (2, 3, 4)),
    "softmax": (lambda x: x.softmax(1) + x.log_softmax(-1) + F.normalize(x, dim=1) + F.softmin(x, 1), X),
    "norms": (lambda x: F.layer_norm(x, (6, 8)) + F.group_norm(x, 2) + F.instance_norm(x) + F.rms_norm(x, (8,)), IMAGE),
    "pools": (lambda x: F.max_pool2d(x, 3, 2, 1) + F.avg_pool2d(x, 3, 2, 1) + F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), IMAGE),
    "ceil pools": (lambda x: F.max_pool2d(x, 2, 3, ceil_mode=True) + F.avg_pool2d(x, 2, 3, divisor_override=3), IMAGE),
    "adaptive": (lambda x: F.adaptive_avg_pool2d(x, (3, 4)) + F.adaptive_avg_pool2d(x, 1) + F.adaptive_max_pool2d(x, (3, 4)), IMAGE),
    "uneven": (lambda x: F.adaptive_avg_pool2d(x, (4, 5)) + F.adaptive_max_pool2d(x, (4, 5)), IMAGE),
    "pools in one": (lambda x: F.max_pool1d(x, 2) + F.avg_pool1d(x, 2) + F.adaptive_avg_pool1d(x, 3), (2, 3, 6)),
    "pools in three": (lambda x: F.max_pool3d(x, 2) + F.avg_pool3d(x, 2) + F.adaptive_avg_pool3d(x, (2, 2, 3)), CUBE),
    "resizing": (lambda x: F.interpolate(x, scale_factor=2) + F.interpolate(x, size=(12, 16), mode="bilinear"), IMAGE),
    "more resizing": (lambda x: F.interpolate(x, size=(7, 5), mode="bilinear", align_corners=True) + F.interpolate(x, size=(7, 5), mode="bicubic"), IMAGE),
    "shuffles": (lambda x: F.pixel_shuffle(x, 2).sum((1, 2, 3)) + F.pixel_unshuffle(x, 2).mean((1, 2, 3)) + F.channel_shuffle(x, 2).amax((1, 2, 3)), IMAGE),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x * 2, x) + F.scaled_dot_product_attention(x, x, x, is_causal=True), IMAGE),
    "scaled attention": (lambda x: F.scaled_dot_product_attention(x, x, x, scale=0.3) + F.scaled_dot_product_attention(x, x, x, (x @ x.mT) > 0.1), IMAGE),
    "creation": (lambda x: x + torch.arange(6) + torch.zeros_like(x) + torch.ones(6) + torch.full((6,), 2.5) + x.new_zeros(6) + torch.eye(6)[1] + torch.linspace(0, 1, 6), X),
    "grids": (lambda x: x + torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij")[0][:2, None, :, None].sum(), X),
    "one hot": (lambda x: F.one_hot(x.argmax(1), 6) * x, X),
    "windows": (lambda x: x.unfold(1, 3, 2).sum(-1), X),
    "no NaN": (lambda x: torch.nan_to_num(torch.where(x > 0.5, torch.inf, x), 1.0, 2.0) + torch.nan_to_num(x), X),
    "bilinear": (lambda x: F.bilinear(x, x + 1, torch.linspace(-1, 1, 216).double().reshape(6, 6, 6)), X),
    "in place": (lambda x: F.relu((x * 2).add_(1).mul_(x), inplace=True), X),
}  # fmt: skip


def _written(x: Any) -> Any:
    y = x.clone()
    y[:, 1] = x[:, 2] * 2
    y[:, 3:5].mul_(3)
    return y


@pytest.mark.parametrize("name", CASES)
def test_a_function_is_the_same_here_and_trains_alike(name: str) -> None:
    function, shape = CASES[name]
    torch.manual_seed(0)
    found = read_torch(Of(function, shape[-1]), torch.randn(shape, dtype=torch.float64), prove_training=True, seed=1)
    assert found.network.graph.inputs[0].shape == ("batch", *shape[1:])
    assert not [note for note in found.notes if "evaluation mode" in note]
    difference = max(each.max_abs_error for each in found.outputs.values())
    assert difference <= 1e-5
    assert "float32" not in found.notes[-1]
