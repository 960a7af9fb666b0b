"""Simulated echoes: against the convolution that they are, finite differences, published figures, and statistics."""

from __future__ import annotations

import math
from dataclasses import replace

import h5py
import numpy as np
import pytest

from portable_nn.core.errors import UsageError
from portable_nn.models.altimetry import files
from portable_nn.models.altimetry.bounds import cramer_rao
from portable_nn.models.altimetry.chance import Chance, autoregressive
from portable_nn.models.altimetry.echoes import JASON, POINT, Instrument, Sea, derivatives, mean_echoes, speckled
from portable_nn.models.altimetry.smoothing import Motion, smooth, stationary
from portable_nn.models.altimetry.surfaces import KINDS, SURFACES, surface_code
from portable_nn.models.altimetry.tracks import fly


def convolved(sea: Sea, instrument: Instrument = JASON) -> np.ndarray:
    """Brown's convolution as an integral over time: flat sea, heights, and the response to a point; at each gate.

    The epoch must be a whole number of steps, 80 a gate: nothing is interpolated.
    """
    c, step, reach = 299_792_458.0, instrument.gate / 80, 4000
    s = math.sin(math.radians(sea.off_nadir)) ** 2
    gamma = 2 / math.log(2) * math.sin(math.radians(instrument.beam_width / 2)) ** 2
    flat = 1 + instrument.altitude / instrument.earth
    t = np.arange(0, 160 * instrument.gate, step)
    decay = 4 * c / (gamma * instrument.altitude) / flat * math.cos(2 * math.radians(sea.off_nadir))
    turned = math.sin(2 * math.radians(sea.off_nadir)) ** 2
    beta = 4 / gamma * math.sqrt(c / instrument.altitude / flat * turned)
    surface = sea.amplitude * np.exp(-4 / gamma * s - decay * t + beta**2 * t / 4)
    half = np.arange(-reach, reach + 1) * step
    sigma, width = sea.height / (2 * c), POINT * instrument.gate
    x = -half / sigma  # High places come early.
    heights = np.exp(-(x**2) / 2) * (1 + sea.skewness / 6 * (x**3 - 3 * x)) / (sigma * math.sqrt(2 * math.pi))
    point = np.exp(-((half / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))
    spread = _convolve(heights, point)[reach : 3 * reach + 1] * step
    # The step of the flat sea falls on a sample, of which half counts.
    surface[0] /= 2
    power = _convolve(surface, spread) * step
    behind = sea.epoch / (c * step / 2)
    assert behind == pytest.approx(round(behind), abs=1e-9)
    places = np.rint((np.arange(instrument.gates) - instrument.nominal) * 80 - behind + reach).astype(int)
    return np.where(places >= 0, power[places], 0.0) + sea.noise


def _convolve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    size = len(a) + len(b) - 1
    return np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size)


@pytest.mark.parametrize("skewness", [0.0, 0.15, -0.3])
@pytest.mark.parametrize(("height", "off_nadir"), [(1.0, 0.0), (4.0, 0.1), (10.0, 0.25)])
def test_mean_echoes_are_the_convolution_of_sea_heights_and_point(height, off_nadir, skewness):
    sea = Sea(height, JASON.metres * 121 / 80, 1.3, off_nadir, 0.02, skewness)
    np.testing.assert_allclose(mean_echoes(sea)[0], convolved(sea), rtol=0, atol=1e-5)


def test_another_instrument_is_another_convolution():
    ka = Instrument(altitude=800_000, beam_width=0.605, gate=2e-9, gates=128, nominal=51)  # Like that of SARAL.
    sea = Sea(2.0, -ka.metres * 33 / 80)
    np.testing.assert_allclose(mean_echoes(sea, ka)[0], convolved(sea, ka), rtol=0, atol=1e-5)


def test_the_edge_of_a_sea_without_waves_and_decay_is_the_response_to_a_point():
    wide = Instrument(beam_width=120.0)
    found = mean_echoes(Sea(0.0, noise=0.0, off_nadir=0.0), wide)[0]
    wanted = [0.5 * (1 + math.erf((gate - 31) / POINT / math.sqrt(2))) for gate in range(104)]
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_tracking_jitter_widens_the_edge_as_waves_do():
    np.testing.assert_allclose(mean_echoes(Sea(3.0, jitter=1.0)), mean_echoes(Sea(5.0)), rtol=1e-12)


def test_float32_and_many_at_once_are_the_same_echoes():
    sea = Sea(np.linspace(0, 12, 1100), np.linspace(-3, 3, 1100), skewness=0.1)
    many = mean_echoes(sea)
    assert len(sea) == 1100
    np.testing.assert_allclose(mean_echoes(sea, dtype=np.float32), many, atol=5e-6)
    np.testing.assert_allclose(mean_echoes(sea[700:701]), many[700:701], rtol=1e-12)


@pytest.mark.parametrize("field", ["height", "epoch", "amplitude", "s"])
def test_derivatives_are_finite_differences(field):
    sea = Sea(np.array([0.5, 2.0, 8.0]), np.array([0.4, -1.0, 2.0]), 1.2, 0.1, 0.03)

    def at(change: float) -> np.ndarray:
        if field == "s":
            s = math.sin(math.radians(0.1)) ** 2 + change
            return mean_echoes(replace(sea, off_nadir=math.degrees(math.asin(math.sqrt(s)))))
        return mean_echoes(replace(sea, **{field: getattr(sea, field) + change}))

    step = 1e-9 if field == "s" else 1e-5
    found = derivatives(sea)[..., ["height", "epoch", "amplitude", "s"].index(field)]
    np.testing.assert_allclose(found, (at(step) - at(-step)) / (2 * step), rtol=1e-6, atol=np.abs(found).max() * 1e-7)


def test_the_bounds_are_the_measured_ones():
    """To the last digit that is known; the epoch's in centimetres."""
    bounds = {count: cramer_rao(Sea(np.array([1.0, 2.0, 4.0, 8.0])), count) for count in (3, 4)}
    heights = {count: np.sqrt(bound[:, 0, 0]).round(3).tolist() for count, bound in bounds.items()}
    assert heights == {3: [0.166, 0.155, 0.196, 0.270], 4: [0.168, 0.159, 0.203, 0.291]}
    assert (100 * np.sqrt(bounds[3][:, 1, 1])).round(1).tolist() == [4.0, 5.0, 6.9, 9.8]


def test_a_bound_is_the_covariance_of_scores():
    """The information is the covariance of the derivatives of the log-likelihood, here of 40,000 echoes."""
    sea, rng = Sea(2.0), np.random.default_rng(0)
    mean, slopes = mean_echoes(sea), derivatives(sea)[0, :, :3]
    echoes = speckled(np.repeat(mean, 40_000, axis=0), rng)
    scores = JASON.looks * (echoes / mean - 1) / mean @ slopes
    np.testing.assert_allclose(np.cov(scores.T), np.linalg.inv(cramer_rao(sea)[0]), rtol=0.05, atol=2)


def test_speckle_is_a_gamma_variable_for_each_gate():
    echoes = speckled(np.full((20_000, 20), 2.0, np.float32), np.random.default_rng(1), looks=10)
    assert echoes.dtype == np.float32
    assert echoes.mean() == pytest.approx(2, rel=0.005)
    assert echoes.var() == pytest.approx(4 / 10, rel=0.02)
    skewness = ((echoes - 2.0) ** 3).mean() / echoes.std() ** 3
    assert skewness == pytest.approx(2 / math.sqrt(10), rel=0.05)
    assert abs(np.corrcoef(echoes[:, 0], echoes[:, 1])[0, 1]) < 0.03


@pytest.mark.long
def test_an_autoregressive_process_has_its_correlation():
    found = np.stack([autoregressive(700, 30.0, np.random.default_rng(seed)) for seed in range(3000)])
    assert np.abs(found.mean(axis=0)).max() < 0.08
    np.testing.assert_allclose(found.var(axis=0), 1, atol=0.12)
    for lag in (1, 30, 300):  # Across the blocks that are computed at once, too.
        pairs = (found[:, :-lag] * found[:, lag:]).mean(axis=0)
        np.testing.assert_allclose(pairs, math.exp(-lag / 30), atol=0.12)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_make_echoes_of_their_surface(kind):
    found = KINDS[kind].make(Chance(200, np.random.default_rng(2)))
    assert found.mean.shape == (200, 104)
    assert found.mean.dtype == np.float32
    assert np.isfinite(found.mean).all()
    assert (found.mean > 0).all()
    assert SURFACES[surface_code(kind)] == KINDS[kind].surface
    has_sea = KINDS[kind].surface in ("water", "mixed")
    assert np.isfinite(found.sea.height).all() == has_sea


def test_a_track_has_seas_coasts_and_echoes_of_its_truth():
    track = fly(6000, np.random.default_rng(7))
    assert np.isfinite(track.waveforms).all()
    water, mixed = track.surface == SURFACES.index("water"), track.surface == SURFACES.index("mixed")
    assert (track.share[water] > 0.98).all()
    assert not track.peaks[water].any()
    assert (np.isnan(track.sea.height) == (track.share < 0.02)).all()
    assert mixed.any()
    plain = water & ~track.rainy
    ratio = track.waveforms[plain] / mean_echoes(track.sea[plain])  # Nothing is left but speckle and faint targets.
    assert np.median(ratio) == pytest.approx(1, abs=0.01)
    assert ratio.var() == pytest.approx(1 / JASON.looks, rel=0.15)
    heights = track.sea.height[plain]
    assert np.corrcoef(heights[:-1], heights[1:])[0, 1] > 0.98


def test_a_file_of_tracks_says_what_it_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PASS", 300)
    assert files.write(tmp_path / "a.h5", 1000 / 72_000, seed=5) == 1000
    assert files.write(tmp_path / "b.h5", 1000 / 72_000, seed=5) == 1000
    files.write(tmp_path / "c.h5", 500 / 72_000, seed=5)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as store, h5py.File(tmp_path / "c.h5") as shorter:
        assert store["waveforms"].shape == (1000, 104)
        assert set(store) == {"waveforms", "time", "track", *files.COLUMNS}
        assert all({"units", "description"} <= set(store[name].attrs) for name in store)
        assert (store.attrs["seed"], store.attrs["instrument.gates"], store.attrs["instrument.looks"]) == (5, 104, 90)
        np.testing.assert_array_equal(store["track"][:], np.arange(1000) // 300)
        np.testing.assert_allclose(store["time"][-1], 999 / 20)
        for name in store:
            np.testing.assert_array_equal(store[name][:500], shorter[name][:])
        dry = np.isnan(store["swh"][:])
        assert (store["water"][:][dry] < 0.02).all()


@pytest.mark.parametrize("hours", [0, -1, math.inf, math.nan, 1e9])
def test_hours_out_of_range(hours, tmp_path):
    with pytest.raises(UsageError, match="hours must be more than 0 and at most 100,000, not"):
        files.write(tmp_path / "a.h5", hours)
    assert not list(tmp_path.iterdir())


def test_the_smoother_is_the_direct_solution():
    """All states at once, as one normal distribution given all measurements."""
    rng, count = np.random.default_rng(3), 12
    mean, first = np.array([2.0, -1.0]), np.array([[1.5, 0.2], [0.2, 0.8]])
    transition, noise = np.array([[0.9, 0.1], [-0.05, 0.8]]), np.array([[0.2, 0.05], [0.05, 0.1]])
    roots = rng.standard_normal((count, 2, 2))
    covariances = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(2)
    measured = rng.standard_normal((count, 2)) + mean
    precision, right = np.zeros((2 * count, 2 * count)), np.zeros(2 * count)
    precision[:2, :2] += np.linalg.inv(first)
    for k in range(count):
        here = slice(2 * k, 2 * k + 2)
        precision[here, here] += np.linalg.inv(covariances[k])
        right[here] += np.linalg.solve(covariances[k], measured[k] - mean)
        if k:
            step = np.hstack([-transition, np.eye(2)])
            both = slice(2 * k - 2, 2 * k + 2)
            precision[both, both] += step.T @ np.linalg.solve(noise, step)
    found = smooth(measured, covariances, Motion(transition, noise, mean, first))
    wanted = np.linalg.inv(precision)
    np.testing.assert_allclose(found.mean.reshape(-1), np.tile(mean, count) + wanted @ right, rtol=1e-9, atol=1e-9)
    for k in range(count):
        here = slice(2 * k, 2 * k + 2)
        np.testing.assert_allclose(found.covariance[k], wanted[here, here], rtol=1e-8, atol=1e-10)


def test_stationary_states_stay_as_they_are():
    motion = stationary(np.array([3.0, 0.0]), np.array([1.5, 0.5]), np.array([50.0, 5.0]))
    later = motion.transition @ motion.covariance @ motion.transition.T + motion.noise
    np.testing.assert_allclose(later, motion.covariance, rtol=1e-12)
    assert motion.transition[0, 0] == pytest.approx(math.exp(-1 / 50))
