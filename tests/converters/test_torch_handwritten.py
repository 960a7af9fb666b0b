# ruff: noqa: E501, E731 - a small module is a line
"""Modules as people write them by hand: in by ``from_torch``, through files, ONNX and onnxruntime, and back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_functions import Of

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.converters.torch import read_torch, to_torch

torch: Any = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


def lin(a: int, b: int, **options: Any) -> Any:
    return nn.Linear(a, b, **options)


def mlp(*widths: int) -> Any:
    layers: list[Any] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class SelfAttention(nn.Module):  # type: ignore[misc]
    """As nanoGPT writes it: a mask of ones in a buffer, filled with -inf."""

    def __init__(self, width: int, heads: int, steps: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, lin(width, 3 * width), lin(width, width)
        self.register_buffer("bias", torch.tril(torch.ones(steps, steps)).view(1, 1, steps, steps))

    def forward(self, x: Any) -> Any:
        b, t, c = x.size()
        q, k, v = (each.view(b, t, self.heads, c // self.heads).transpose(1, 2) for each in self.qkv(x).split(c, dim=2))
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(self.bias[:, :, :t, :t] == 0, float("-inf"))
        y = (F.softmax(scores, dim=-1) @ v).transpose(1, 2).contiguous().view(b, t, c)
        return self.proj(y)


class GPT(nn.Module):  # type: ignore[misc]
    """nanoGPT: tied embeddings, and the loss where there are targets."""

    def __init__(self, words: int = 11, width: int = 8, steps: int = 12) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(words, width), nn.Embedding(steps, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                "ln_1": nn.LayerNorm(width), "attn": SelfAttention(width, 2, steps), "ln_2": nn.LayerNorm(width),
                "mlp": nn.Sequential(lin(width, 4 * width), nn.GELU(), lin(4 * width, width)),
            })
            for _ in range(2)
        )  # fmt: skip
        self.ln_f, self.head = nn.LayerNorm(width), lin(width, words, bias=False)
        self.wte.weight = self.head.weight

    def forward(self, idx: Any, targets: Any = None) -> Any:
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1), dtype=torch.long, device=idx.device))
        for block in self.blocks:
            x = x + block["attn"](block["ln_1"](x))
            x = x + block["mlp"](block["ln_2"](x))
        x = self.ln_f(x)
        if targets is None:
            return self.head(x[:, [-1], :]), None
        logits = self.head(x)
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)


class UNet(nn.Module):  # type: ignore[misc]
    """Skips around pools, cropped where sizes are odd."""

    def __init__(self) -> None:
        super().__init__()
        double = lambda a, b: nn.Sequential(
            nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)
        )
        self.one, self.two, self.out = double(3, 4), double(4, 8), nn.Conv2d(4, 2, 1)
        self.pool, self.up, self.merge = nn.MaxPool2d(2), nn.ConvTranspose2d(8, 4, 2, 2), double(8, 4)

    def forward(self, x: Any) -> Any:
        a = self.one(x)
        up = self.up(self.two(self.pool(a)))
        dy, dx = a.shape[2] - up.shape[2], a.shape[3] - up.shape[3]
        return self.out(self.merge(torch.cat([a, F.pad(up, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])], 1)))


class VAE(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.body, self.mu, self.var, self.dec = mlp(6, 8), lin(8, 2), lin(8, 2), mlp(2, 8, 6)

    def forward(self, x: Any) -> Any:
        h = F.relu(self.body(x))
        mu, logvar = self.mu(h), self.var(h)
        z = mu
        loss = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return torch.sigmoid(self.dec(z)), mu, logvar, loss


class Seq2Seq(nn.Module):  # type: ignore[misc]
    """An encoder, and a decoder with Bahdanau's attention, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(9, 5), nn.Embedding(9, 5)
        self.encoder, self.cell = nn.GRU(5, 6, batch_first=True), nn.GRUCell(11, 6)
        self.w, self.u, self.v, self.out = lin(6, 4), lin(6, 4), lin(4, 1, bias=False), lin(6, 9)

    def forward(self, source: Any, target: Any) -> Any:
        keys, h = self.encoder(self.source(source))
        h, made = h[0], []
        for step in range(target.shape[1]):
            scores = self.v(torch.tanh(self.w(keys) + self.u(h).unsqueeze(1))).squeeze(-1)
            context = torch.bmm(scores.softmax(-1).unsqueeze(1), keys).squeeze(1)
            h = self.cell(torch.cat([self.target(target[:, step]), context], -1), h)
            made.append(self.out(h))
        return torch.stack(made, 1)


class TCN(nn.Module):  # type: ignore[misc]
    """Chomped causal convolutions with weight norm."""

    def __init__(self) -> None:
        super().__init__()
        norm = torch.nn.utils.parametrizations.weight_norm
        self.one, self.two = norm(nn.Conv1d(3, 4, 3, padding=2)), norm(nn.Conv1d(4, 4, 3, padding=4, dilation=2))
        self.down = nn.Conv1d(3, 4, 1)

    def forward(self, x: Any) -> Any:
        y = self.two(self.one(x)[:, :, :-2].relu())[:, :, :-4].contiguous().relu()
        return (y + self.down(x)).relu()


class ViT(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.patch, self.cls = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8) * 0.1)
        self.pos = nn.Parameter(torch.randn(1, 5, 8) * 0.1)
        self.block, self.head = (
            nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True),
            lin(8, 3),
        )

    def forward(self, x: Any) -> Any:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        return self.head(self.block(x)[:, 0])


def se(self: Any, x: Any) -> Any:
    return x * self.fc(x.mean((2, 3))).sigmoid()[:, :, None, None]


class MobileBlock(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        part = lambda a, b, k, **o: nn.Sequential(
            nn.Conv2d(a, b, k, bias=False, padding=k // 2, **o), nn.BatchNorm2d(b), nn.ReLU6()
        )
        self.net = nn.Sequential(
            part(3, 9, 1), part(9, 9, 3, groups=9), nn.Conv2d(9, 3, 1, bias=False), nn.BatchNorm2d(3)
        )

    def forward(self, x: Any) -> Any:
        return x + self.net(x)


class WaveNet(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.ModuleList(nn.Conv1d(4, 8, 2, dilation=2**i) for i in range(3))
        self.skips = nn.ModuleList(nn.Conv1d(4, 4, 1) for _ in range(3))
        self.begin, self.end = nn.Conv1d(1, 4, 1), nn.Conv1d(4, 5, 1)

    def forward(self, x: Any) -> Any:
        x, total = self.begin(x), 0
        for i, (f, s) in enumerate(zip(self.filters, self.skips, strict=True)):
            a, b = f(F.pad(x, (2**i, 0))).chunk(2, 1)
            z = s(torch.tanh(a) * torch.sigmoid(b))
            x, total = x + z, total + z
        return self.end(F.relu(total))


class RetinaHeads(nn.Module):  # type: ignore[misc]
    """Two levels of a pyramid under one head; what comes out is joined along the anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.head, self.box = nn.Conv2d(4, 2 * 3, 3, padding=1), nn.Conv2d(4, 2 * 4, 3, padding=1)

    def forward(self, x: Any) -> Any:
        c3 = self.c1(x).relu()
        c4 = self.c2(c3).relu()
        levels = [c3 + F.interpolate(c4, size=c3.shape[-2:], mode="nearest"), c4]
        reshape = lambda y, k: (
            y.view(y.shape[0], -1, k, y.shape[-2], y.shape[-1]).permute(0, 3, 4, 1, 2).reshape(y.shape[0], -1, k)
        )
        return {
            "classes": torch.cat([reshape(self.head(y), 3) for y in levels], 1),
            "boxes": torch.cat([reshape(self.box(y), 4) for y in levels], 1),
        }


class PointNet(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.tnet, self.one, self.two, self.head = mlp(3, 8, 9), nn.Conv1d(3, 8, 1), nn.Conv1d(8, 8, 1), lin(8, 4)

    def forward(self, x: Any) -> Any:
        t = self.tnet(x.mean(1)).view(-1, 3, 3) + torch.eye(3, device=x.device).unsqueeze(0)
        x = torch.bmm(x, t).transpose(2, 1)
        return F.log_softmax(self.head(torch.max(self.two(self.one(x).relu()), 2, keepdim=True)[0].view(-1, 8)), dim=1)


def deep_sets(self: Any, x: Any, m: Any) -> Any:
    y = self.phi(x) * m.unsqueeze(-1).float()
    return self.rho(y.sum(1) / m.sum(1, keepdim=True).clamp(min=1).float())


def gat(self: Any, x: Any, adj: Any) -> Any:
    """Graph attention by a dense adjacency."""
    h = self.w(x)
    scores = F.leaky_relu(self.a(h) + self.b(h).transpose(1, 2), 0.2)
    scores = torch.where(adj > 0, scores, torch.full_like(scores, float("-inf")))
    return F.elu(torch.nan_to_num(scores.softmax(-1)) @ h)


def gcn(self: Any, x: Any, adj: Any) -> Any:
    a = adj.abs() + torch.eye(adj.shape[-1])
    d = a.sum(-1).pow(-0.5)
    return self.w(d.unsqueeze(-1) * a * d.unsqueeze(-2) @ x).relu()


class CRF(nn.Module):  # type: ignore[misc]
    """The forward algorithm, and the score of the tags: minus the log-likelihood."""

    def __init__(self, tags: int = 4) -> None:
        super().__init__()
        self.emit, self.trans = lin(5, tags), nn.Parameter(torch.randn(tags, tags) * 0.3)
        self.start = nn.Parameter(torch.zeros(tags))

    def forward(self, x: Any, tags: Any) -> Any:
        scores = self.emit(x)
        alpha = self.start + scores[:, 0]
        for step in range(1, x.shape[1]):
            alpha = torch.logsumexp(alpha.unsqueeze(2) + self.trans + scores[:, step].unsqueeze(1), 1)
        picked = scores.gather(2, tags.unsqueeze(2)).squeeze(2).sum(1)
        moves = self.trans[tags[:, :-1], tags[:, 1:]].sum(1) + self.start[tags[:, 0]]
        return torch.logsumexp(alpha, 1) - picked - moves


class MoE(nn.Module):  # type: ignore[misc]
    """The two best of four experts, each computed for all."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = lin(6, 4), nn.ModuleList(mlp(6, 8, 6) for _ in range(4))

    def forward(self, x: Any) -> Any:
        best, places = self.gate(x).topk(2, dim=-1)
        weights = torch.zeros(x.shape[0], 4, device=x.device).scatter(1, places, best.softmax(-1))
        return torch.stack([expert(x) for expert in self.experts], 1).mul(weights.unsqueeze(-1)).sum(1)


def hopfield(self: Any, x: Any) -> Any:
    for _ in range(3):
        x = F.softmax(2.0 * x @ self.patterns.T, dim=-1) @ self.patterns
    return x


class Capsules(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(6, 3, 4, 5) * 0.3)

    @staticmethod
    def squash(x: Any) -> Any:
        norm = (x**2).sum(-1, keepdim=True)
        return norm / (1 + norm) * x / torch.sqrt(norm + 1e-8)

    def forward(self, x: Any) -> Any:
        u = torch.einsum("njdk,bnk->bnjd", self.w, self.squash(x))
        b = torch.zeros(x.shape[0], 6, 3, 1, device=x.device)
        for step in range(3):
            v = self.squash((b.softmax(2) * u).sum(1, keepdim=True))
            if step < 2:
                b = b + (u * v).sum(-1, keepdim=True)
        return v.squeeze(1).norm(dim=-1)


class Llama(nn.Module):  # type: ignore[misc]
    """RMSNorm, rotary positions, grouped queries, SwiGLU."""

    def __init__(self) -> None:
        super().__init__()
        self.n1, self.n2 = nn.Parameter(torch.ones(8)), nn.RMSNorm(8)
        self.q, self.k, self.v, self.o = (
            lin(8, 8, bias=False),
            lin(8, 4, bias=False),
            lin(8, 4, bias=False),
            lin(8, 8, bias=False),
        )
        self.w1, self.w2, self.w3 = lin(8, 12, bias=False), lin(12, 8, bias=False), lin(8, 12, bias=False)
        angles = torch.outer(torch.arange(16).float(), 1.0 / 10000 ** (torch.arange(0, 4, 2).float() / 4))
        self.register_buffer("cos", torch.cat([angles, angles], -1).cos(), persistent=False)
        self.register_buffer("sin", torch.cat([angles, angles], -1).sin(), persistent=False)

    def rotate(self, x: Any) -> Any:
        t = x.shape[2]
        a, b = x.chunk(2, -1)
        return x * self.cos[:t] + torch.cat([-b, a], -1) * self.sin[:t]

    def forward(self, x: Any) -> Any:
        b, t, _ = x.shape
        h = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.n1
        q = self.rotate(self.q(h).view(b, t, 2, 4).transpose(1, 2))
        k = self.rotate(self.k(h).view(b, t, 1, 4).transpose(1, 2)).repeat_interleave(2, dim=1)
        v = self.v(h).view(b, t, 1, 4).transpose(1, 2).repeat_interleave(2, dim=1)
        mask = torch.full((t, t), float("-inf")).triu(1)
        x = x + self.o((torch.softmax(q @ k.mT / 2 + mask, -1) @ v).transpose(1, 2).reshape(b, t, 8))
        h = self.n2(x)
        return x + self.w2(F.silu(self.w1(h)) * self.w3(h))


def rope_complex_free(self: Any, x: Any) -> Any:
    """Rotary positions of interleaved pairs."""
    t = x.shape[1]
    angle = torch.arange(t, dtype=x.dtype)[:, None] * torch.tensor([1.0, 0.1, 0.01])
    even, odd = x[..., 0::2], x[..., 1::2]
    return self.w(
        torch.stack([even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos()], -1).flatten(-2)
    )


def linear_attention(self: Any, x: Any) -> Any:
    q, k, v = F.elu(self.q(x)) + 1, F.elu(self.k(x)) + 1, self.v(x)
    kv = torch.einsum("btd,bte->btde", k, v).cumsum(1)
    z = 1 / (torch.einsum("btd,btd->bt", q, k.cumsum(1)) + 1e-6)
    return torch.einsum("btd,btde,bt->bte", q, kv, z)


class SSM(nn.Module):  # type: ignore[misc]
    """A diagonal state space scanned by sums of logarithms."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (
            nn.Parameter(torch.rand(6) * 0.1),
            lin(6, 6),
            lin(6, 6),
            nn.Parameter(torch.ones(6)),
        )

    def forward(self, x: Any) -> Any:
        t = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[None, :, None]
        decay = -self.a.exp() * 0.1
        states = torch.exp(decay * t) * torch.cumsum(torch.exp(-decay * t) * self.b(x), 1)
        return self.c(states) + self.d * x


def film(self: Any, x: Any, c: Any) -> Any:
    gamma, beta = self.f(c).chunk(2, dim=-1)
    return F.relu(self.norm(self.conv(x)) * (1 + gamma[:, :, None, None]) + beta[:, :, None, None])


def hyper(self: Any, x: Any, z: Any) -> Any:
    w = self.w(z).view(-1, 3, 6)
    return torch.tanh(torch.einsum("boi,bi->bo", w, x) + self.b(z))


def siamese(self: Any, a: Any, b: Any) -> Any:
    a, b = self.net(a), self.net(b)
    return F.cosine_similarity(a, b), F.pairwise_distance(a, b), torch.exp(-torch.abs(a - b).sum(-1))


def generator() -> Any:
    return nn.Sequential(
        nn.ConvTranspose2d(5, 8, 4, 1, 0, bias=False), nn.BatchNorm2d(8), nn.ReLU(True),
        nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip


def discriminator() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 4, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(4, 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 2), nn.Sigmoid(), nn.Flatten(),
    )  # fmt: skip


def stn(self: Any, x: Any) -> Any:
    theta = self.loc(x.mean((2, 3))).view(-1, 2, 3) * 0.1 + torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    return F.grid_sample(
        x, F.affine_grid(theta, list(x.shape), align_corners=False), padding_mode="border", align_corners=False
    )


class Counted(nn.Module):  # type: ignore[misc]
    """A loss of its own in a dict, as models of transformers give one."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(6, 8, 3)

    def forward(self, x: Any, labels: Any = None) -> Any:
        logits = self.net(x)
        return {
            "logits": logits,
            "loss": None if labels is None else F.cross_entropy(logits, labels, label_smoothing=0.1),
        }


R = torch.randn
IMAGE, SEQ, VEC = R(2, 3, 8, 8), R(2, 5, 8), R(2, 6)

CASES: dict[str, tuple[Callable[[], Any], tuple[Any, ...], dict[str, dict[int, str]]]] = {
    "nanoGPT": (GPT, (torch.zeros(2, 5, dtype=torch.long),), {"idx": {1: "t"}}),
    "nanoGPT with targets": (GPT, (torch.zeros(2, 5, dtype=torch.long), torch.zeros(2, 5, dtype=torch.long)), {"idx": {1: "t"}, "targets": {1: "t"}}),
    "U-Net": (UNet, (R(2, 3, 8, 9),), {}),
    "U-Net of any size": (UNet, (R(2, 3, 8, 8),), {"x": {2: "h", 3: "w"}}),
    "generator": (generator, (R(2, 5, 1, 1),), {}),
    "discriminator": (discriminator, (IMAGE,), {}),
    "VAE": (VAE, (VEC,), {}),
    "seq2seq": (Seq2Seq, (torch.zeros(2, 4, dtype=torch.long), torch.zeros(2, 3, dtype=torch.long)), {"source": {1: "t"}}),
    "TCN": (TCN, (R(2, 3, 9),), {"x": {2: "t"}}),
    "ViT": (ViT, (IMAGE,), {}),
    "siamese": (lambda: Of(siamese, net=mlp(6, 8, 4)), (VEC, R(2, 6)), {}),
    "SE": (lambda: Of(se, fc=mlp(3, 2, 3)), (IMAGE,), {"given.0": {2: "h", 3: "w"}}),
    "MobileNet": (MobileBlock, (IMAGE,), {"x": {2: "h", 3: "w"}}),
    "WaveNet": (WaveNet, (R(2, 1, 9),), {"x": {2: "t"}}),
    "RetinaNet": (RetinaHeads, (IMAGE,), {"x": {2: "h", 3: "w"}}),
    "PointNet": (PointNet, (R(2, 5, 3),), {"x": {1: "points"}}),
    "DeepSets": (lambda: Of(deep_sets, phi=mlp(3, 8, 6), rho=mlp(6, 4, 2)), (R(2, 5, 3), torch.ones(2, 5, dtype=torch.bool)), {"given.0": {1: "n"}, "given.1": {1: "n"}}),
    "GAT": (lambda: Of(gat, w=lin(3, 6), a=lin(6, 1), b=lin(6, 1)), (R(2, 5, 3), R(2, 5, 5)), {"given.0": {1: "n"}, "given.1": {1: "n", 2: "n"}}),
    "GCN": (lambda: Of(gcn, w=lin(3, 6)), (R(2, 5, 3), R(2, 5, 5)), {}),
    "CRF": (CRF, (R(2, 4, 5), torch.zeros(2, 4, dtype=torch.long)), {}),
    "mixture of experts": (MoE, (VEC,), {}),
    "Hopfield": (lambda: Of(hopfield, patterns=nn.Parameter(R(4, 6))), (VEC,), {}),
    "capsules": (Capsules, (R(2, 6, 5),), {}),
    "Llama": (Llama, (SEQ,), {"x": {1: "t"}}),
    "RoPE": (lambda: Of(rope_complex_free, w=lin(6, 6)), (R(2, 5, 6),), {"given.0": {1: "t"}}),
    "linear attention": (lambda: Of(linear_attention, q=lin(8, 4), k=lin(8, 4), v=lin(8, 5)), (SEQ,), {"given.0": {1: "t"}}),
    "S4D": (SSM, (R(2, 5, 6),), {"x": {1: "t"}}),
    "FiLM": (lambda: Of(film, f=lin(6, 8), norm=nn.BatchNorm2d(4, affine=False), conv=nn.Conv2d(3, 4, 3)), (IMAGE, VEC), {}),
    "hypernetwork": (lambda: Of(hyper, w=lin(4, 18), b=lin(4, 3)), (VEC, R(2, 4)), {}),
    "spatial transformer": (lambda: Of(stn, loc=mlp(3, 8, 6)), (IMAGE,), {}),
    "a loss in a dict": (Counted, (VEC, torch.zeros(2, dtype=torch.long)), {}),
}  # fmt: skip


def drawn(example: tuple[Any, ...], batch: int, rng: np.random.Generator) -> list[Any]:
    """Inputs of another batch size; whole numbers are small, as words are."""
    made = []
    for each in example:
        shape = (batch, *each.shape[1:])
        numbers = rng.standard_normal(shape) if each.is_floating_point() else rng.integers(0, 2, shape)
        made.append(torch.as_tensor(numbers).to(each.dtype))
    return made


@pytest.mark.parametrize("name", CASES)
def test_a_module_written_by_hand_comes_in_and_goes_everywhere(name: str, tmp_path: Path) -> None:
    """Five steps of training are the same; files, ONNX, onnxruntime and the module that comes back compute the same."""
    torch.manual_seed(3)
    make, example, dynamic = CASES[name]
    module = make()
    network = read_torch(module, example, dynamic=dynamic, prove_training=True).network
    module.eval()
    given = drawn(example, 3, np.random.default_rng(5))
    feeds = {value.name: each.numpy() for value, each in zip(network.graph.inputs, given, strict=True)}
    with torch.no_grad():
        made = module(*given)
    outputs = made.values() if isinstance(made, dict) else made if isinstance(made, tuple) else [made]
    wanted = [each.numpy() for each in outputs if each is not None]
    network.save(tmp_path / "net.safetensors")
    loaded = pnn.load(tmp_path / "net.safetensors")
    export_onnx(loaded, tmp_path / "net.onnx")
    back = to_torch(loaded, prove_training=True)
    with torch.no_grad():
        again = back(*given)
    ways = {
        "the file": list(loaded.predict(feeds).values()),
        "onnxruntime": list(loaded.predict(feeds, engine="onnxruntime").values()),
        "ONNX": list(import_onnx(tmp_path / "net.onnx").predict(feeds).values()),
        "PyTorch": [each.numpy() for each in (again if isinstance(again, tuple) else [again])],
    }
    for way, found in ways.items():
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5, err_msg=way)
