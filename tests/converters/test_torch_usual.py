"""What ordinary modules have and once had no counterpart: losses, masks, folds, buffers that change, rare options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_functions import Of

from portable_nn.converters.onnx import export_onnx
from portable_nn.converters.torch import read_torch, to_torch
from portable_nn.core.errors import UnsupportedError, VerificationError

torch: Any = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


R = torch.randn
X, OTHER, IMAGE = R(4, 6), torch.rand(4, 6), R(2, 3, 8, 8)
TARGET, MANY = torch.tensor([0, 5, 2, 1]), torch.zeros(2, 5, dtype=torch.long)

CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "cross entropy": (lambda s, x, t: (x, F.cross_entropy(x, t)), (X, TARGET)),
    "smoothing": (lambda s, x, t: F.cross_entropy(x, t, ignore_index=-1, label_smoothing=0.1), (X, TARGET)),
    "weights": (lambda s, x, t: F.cross_entropy(x, t, weight=torch.arange(6.0) + 1, reduction="sum"), (X, TARGET)),
    "probabilities": (lambda s, x, t: F.cross_entropy(x, t), (X, OTHER)),
    "each position": (lambda s, x, t: F.cross_entropy(x.transpose(1, 2), t, reduction="none"), (R(2, 5, 6), MANY)),
    "one example": (lambda s, x, t: F.nll_loss(x[0].log_softmax(-1), t[0]), (X, TARGET)),
    "likelihood": (lambda s, x, t: F.nll_loss(x.log_softmax(-1), t, reduction="none"), (X, TARGET)),
    "squares": (lambda s, x, t: F.mse_loss(x, t) + F.l1_loss(x, t) + F.huber_loss(x, t, delta=0.5), (X, OTHER)),
    "logits": (lambda s, x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=torch.ones(6) * 2), (X, OTHER)),
    "divergence": (lambda s, x, t: F.kl_div(x.log_softmax(-1), t.softmax(-1), reduction="batchmean"), (X, OTHER)),
    "triplet": (lambda s, x, t: F.triplet_margin_loss(x, t, x.flip(0)), (X, OTHER)),
    "unpool": (lambda s, x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), (IMAGE,)),
    "fold": (lambda s, x: F.fold(F.unfold(x, 3, padding=1), (8, 8), 3, padding=1), (IMAGE,)),
    "fold by steps": (lambda s, x: F.fold(F.unfold(x, (2, 3), 2, 1, 3), (8, 8), (2, 3), 2, 1, 3), (IMAGE,)),
    "median": (lambda s, x: torch.cat([x.median(-1)[0], x.median(1, keepdim=True)[1][:, 0] * 1.0]), (X,)),
    "kthvalue": (lambda s, x: x.kthvalue(2, -1)[0], (X,)),
    "cummax": (lambda s, x: x.cummax(-1)[0] + x.cummin(-1).values, (X,)),
    "cdist": (lambda s, x, y: torch.cdist(x, y) + torch.cdist(x, y, p=1), (R(2, 3, 4), R(2, 5, 4))),
    "antialias": (lambda s, x: F.interpolate(x, (5, 3), mode="bilinear", antialias=True), (IMAGE,)),
    "cubic antialias": (lambda s, x: F.interpolate(x, (5, 11), mode="bicubic", antialias=True), (IMAGE,)),
    "softplus": (lambda s, x: F.softplus(x * 3, 2.0, 1.0), (X,)),
    "whole size": (lambda s, x: x.sum() / x.size(0) + x.mean(), (X,)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_ordinary_modules_use_comes_in_and_goes_back(name: str) -> None:
    """The proofs of ``read_torch`` and ``to_torch`` run both sides; here once more, on numbers of this test."""
    function, example = CASES[name]
    network = read_torch(Of(function), example).network
    back = to_torch(network)
    rng = np.random.default_rng(2)
    given = [
        torch.as_tensor(rng.integers(0, 5, x.shape) if x.dtype == torch.int64 else rng.random(x.shape)) for x in example
    ]
    given = [each.to(x.dtype) for each, x in zip(given, example, strict=True)]
    feeds = {value.name: each.numpy() for value, each in zip(network.graph.inputs, given, strict=True)}
    with torch.no_grad():
        for made in (Of(function)(*given), back(*given)):
            wanted = made if isinstance(made, tuple) else (made,)
            for one, other in zip(network.predict(feeds).values(), wanted, strict=True):
                np.testing.assert_allclose(one, other.numpy(), rtol=2e-5, atol=2e-5)


def test_a_transformer_takes_a_causal_mask_without_being_told() -> None:
    model = nn.Transformer(8, 2, 1, 1, 16, 0.0, batch_first=True)
    module = Of(lambda s, x, y: s.m(x, y, tgt_mask=nn.Transformer.generate_square_subsequent_mask(5)), m=model)
    assert any("5 steps" in note for note in read_torch(module, (R(2, 4, 8), R(2, 5, 8)), prove_training=True).notes)


class Counter(nn.Module):  # type: ignore[misc]
    """A buffer that is changed in place, and one that is set anew."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.register_buffer("n", torch.tensor(1.0))
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x: Any) -> Any:
        self.n += 1
        self.mean = self.mean * 0.9 + x.detach().mean(0) * 0.1
        return self.layer(x) * self.n - self.mean


def test_buffers_that_forward_changes_stay_as_they_are_here_and_in_the_module() -> None:
    module = Counter()
    found = read_torch(module, X)
    assert (module.n.item(), module.mean.abs().sum().item()) == (1, 0)
    for name in ("n", "mean"):
        assert f"'{name}' changes while PyTorch trains the module, and stays as it is here" in found.notes
    for _ in range(2):
        np.testing.assert_allclose(
            found.network.predict(X.numpy()), Counter.forward(fresh(module), X).detach(), atol=1e-5
        )
    with pytest.raises(VerificationError, match="noted: 'n' changes while PyTorch trains"):
        read_torch(module, X, prove_training=True)


def fresh(module: Any) -> Any:
    made = Counter()
    made.load_state_dict(module.state_dict())
    return made


def test_norms_that_average_over_all_batches_train_with_the_usual_momentum_and_say_so() -> None:
    module = Of(lambda s, x: s.b(s.c(x)), c=nn.Conv2d(3, 4, 3), b=nn.BatchNorm2d(4, momentum=None))
    found = read_torch(module, IMAGE, prove_training=True)
    assert any(note.startswith("'b' (BatchNorm2d) has momentum=None") for note in found.notes)
    assert module.b.momentum is None
    found.network.fit(IMAGE.numpy(), R(2, 4, 6, 6).numpy(), epochs=1, loss="mean_squared_error", progress=False)
    assert found.network.parameters["b.running_mean"].any()


def test_instance_norms_with_running_statistics_and_random_slopes_say_how_they_train() -> None:
    found = read_torch(nn.InstanceNorm2d(3, track_running_stats=True, affine=True), IMAGE)
    assert any("where PyTorch trains with the statistics of each instance" in note for note in found.notes)
    assert any("RReLU trains with the mean" in note for note in read_torch(nn.RReLU(), X).notes)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("shape", [(1, 2, 12), (1, 2, 12, 13)], ids=str)
@pytest.mark.parametrize("factor", [0.7, 1.1, 1.7, 2.3])
def test_nearest_resizing_by_a_factor_goes_back(factor: float, shape: tuple[int, ...], mode: str) -> None:
    module = nn.Upsample(scale_factor=factor, mode=mode)
    back, x = to_torch(read_torch(module, torch.zeros(shape)).network), R(shape)
    np.testing.assert_array_equal(back(x), module(x))


def test_a_difference_that_float64_shows_to_be_rounding_is_none() -> None:
    """The sine of large numbers; and a module that computes something else, in float64 as well."""
    found = read_torch(Of(lambda s, x: (20 * (x * 0.1 + 5).exp()).sin()), X)
    assert any("in float64 by at most" in note for note in found.notes)
    with pytest.raises(VerificationError, match="differs by"):
        read_torch(Of(lambda s, x: x * 2 if x.shape[0] > 2 else x + 0), R(4, 6))


def test_what_onnxruntime_lacks_in_float64_is_written_in_float32_where_asked(tmp_path: Path) -> None:
    network = read_torch(nn.Sequential(nn.Linear(3, 3), nn.GELU()).double(), R(2, 3).double()).network
    with pytest.raises(UnsupportedError, match=r'Erf.*computes in float64.*dtype="float32"'):
        export_onnx(network, tmp_path / "net.onnx")
    export_onnx(network, tmp_path / "net.onnx", dtype="float32")


def test_all_names_of_a_layer_that_is_used_thrice_are_noted() -> None:
    layer = nn.Linear(4, 4)
    module = nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), layer)
    found = read_torch(module, R(2, 4))
    for name in ("2.weight", "2.bias", "4.weight", "4.bias"):
        assert any(note.startswith(f"'{name}' is '0.") for note in found.notes)
    assert to_torch(found.network).state_dict().keys() == module.state_dict().keys()
