"""Figures of classes and of numbers: equal to scikit-learn's, and intervals to published ones and to scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from portable_nn.evaluation.classes import ClassScores
from portable_nn.evaluation.intervals import of_mean, share, student
from portable_nn.evaluation.probabilities import log_probabilities
from portable_nn.evaluation.reliability import BINS
from portable_nn.evaluation.results import ClassEvaluation, NumberEvaluation
from portable_nn.evaluation.scoring import LEVELS, NumberScores
from portable_nn.evaluation.targets import ClassFinder
from portable_nn.evaluation.worst import Sample

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def of_classes(z: np.ndarray, y: np.ndarray, *, parts: int = 7, **options: object) -> ClassEvaluation:
    """Scores of logits, in parts of different sizes."""
    classes = max(z.shape[1], 2)
    scores = ClassScores([f"c{place}" for place in range(classes)], **options)
    kind = "logits" if z.shape[1] > 1 else "binary_logits"
    for part in np.array_split(np.arange(len(z)), parts):
        scores.update(log_probabilities(z[part], kind), y[part], [f"x[{place}]" for place in part])
    return scores.result()


def drawn(count: int, classes: int, seed: int = 0, sharp: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, count)
    z = rng.normal(size=(count, classes)) * 2
    z[np.arange(count), y] += sharp
    return z, y


@pytest.mark.parametrize(("count", "classes"), [(1, 3), (50, 2), (997, 4), (400, 30)])
def test_classes_are_as_scikit_learn_has_them(count: int, classes: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    z, y = drawn(count, classes)
    found = of_classes(z, y, parts=min(count, 7))
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    names = list(range(classes))
    best = z.argmax(1)
    assert found.examples == count
    np.testing.assert_allclose(found.accuracy, metrics.accuracy_score(y, best), **EXACT)
    np.testing.assert_allclose(found.loss, metrics.log_loss(y, p, labels=names), **EXACT)
    assert found.confusion.tolist() == metrics.confusion_matrix(y, best, labels=names).tolist()
    each = metrics.precision_recall_fscore_support(y, best, labels=names, zero_division=np.nan)
    ours = [[getattr(c, name) for c in found.classes] for name in ("precision", "recall", "f1")]
    for mine, theirs in zip(ours[:2], each[:2], strict=True):
        np.testing.assert_allclose([math.nan if v is None else v for v in mine], theirs, **EXACT)
    for mine, theirs, tp_fp_fn in zip(ours[2], each[2], found.confusion.sum(0) + found.confusion.sum(1), strict=True):
        assert (mine is None) == (tp_fp_fn == 0)
        if mine is not None:
            np.testing.assert_allclose(mine, 0 if math.isnan(theirs) else theirs, **EXACT)
    assert [c.support for c in found.classes] == each[3].tolist()
    means = metrics.precision_recall_fscore_support(y, best, average="macro", zero_division=0)
    np.testing.assert_allclose([found.precision, found.recall, found.f1], means[:3], **EXACT)
    assert found.baseline == np.bincount(y).max() / count
    if classes > 2 and len(np.unique(y)) == classes:
        area = metrics.roc_auc_score(y, p, multi_class="ovr", average="macro", labels=names)
        np.testing.assert_allclose(found.auc, area, **EXACT)
        assert found.auc_interval is None
    elif classes > 2:
        assert found.auc is None


@pytest.mark.parametrize("columns", [1, 2])
def test_the_area_under_the_curve_is_as_scikit_learn_has_it_ties_and_all(columns: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 500)
    score = np.round(rng.normal(size=500) + y, 1)  # Many are equal.
    z = score[:, np.newaxis] if columns == 1 else np.stack([np.zeros(500), score], axis=1)
    found = of_classes(z, y)
    np.testing.assert_allclose(found.auc, metrics.roc_auc_score(y, score), **EXACT)
    low, high = found.auc_interval
    assert low < found.auc < high
    ups, downs = score[y == 1], score[y == 0]
    wins = (ups[:, None] > downs) + 0.5 * (ups[:, None] == downs)  # DeLong's definition, pair by pair.
    spread = wins.mean(1).var(ddof=1) / len(ups) + wins.mean(0).var(ddof=1) / len(downs)
    np.testing.assert_allclose(high - low, 2 * 1.959963984540054 * math.sqrt(spread), rtol=0.03)  # It is of many.


def test_the_bins_are_those_of_scikit_learn() -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    z, y = drawn(2000, 3, sharp=1)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    found = of_classes(z, y).reliability
    right, said = calibration.calibration_curve(z.argmax(1) == y, p.max(1), n_bins=BINS)
    np.testing.assert_allclose([each.accuracy for each in found.bins], right, **EXACT)
    np.testing.assert_allclose([each.confidence for each in found.bins], said, **EXACT)
    counts = np.array([each.count for each in found.bins])
    np.testing.assert_allclose(found.ece, (counts * np.abs(right - said)).sum() / 2000, **EXACT)


@pytest.mark.long
def test_the_error_by_chance_is_that_of_calibrated_answers() -> None:
    """Mean of 300 draws of labels from the probabilities themselves."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=(400, 1)) * 2
    p = 1 / (1 + np.exp(-z[:, 0]))
    found = [of_classes(z, (rng.random(400) < p).astype(int), parts=1).reliability for _ in range(300)]
    assert np.mean([each.ece for each in found]) == pytest.approx(found[0].by_chance, rel=0.1)


@pytest.mark.parametrize(
    ("hits", "count", "expected"),
    # Published: Newcombe (1998), Statistics in Medicine 17, 857, table I, methods 4 and 3.
    [
        (81, 263, [(0.2535, 0.3682), (0.2553, 0.3662)]),
        (15, 148, [(0.0598, 0.1644), (0.0624, 0.1605)]),
        (0, 20, [(0.0, 0.2005), (0.0, 0.1611)]),
        (1, 29, [(0.0018, 0.1963), (0.0061, 0.1718)]),
    ],
)
def test_intervals_of_shares_are_those_of_wilson(hits: int, count: int, expected: list[tuple[float, float]]) -> None:
    for step, ends in zip((1, 0), expected, strict=True):
        np.testing.assert_allclose(share(hits, count, step=step), ends, atol=5e-5)
        low, high = share(count - hits, count, step=step)
        np.testing.assert_allclose((1 - high, 1 - low), ends, atol=5e-5)


@pytest.mark.parametrize("count", [1, 2, 5, 17, 100, 1000])
def test_intervals_of_shares_hold_whatever_the_share(count: int) -> None:
    """The probability is a sum of the binomial distribution; it is least next to an end of an interval."""
    binomial = pytest.importorskip("scipy.stats").binom
    hits = np.arange(count + 1)
    low, high = share(hits, count)
    edges = np.concatenate([low[1:] - 1e-9, low[1:] + 1e-9, high[:-1] - 1e-9, high[:-1] + 1e-9])
    inside = (low[:, np.newaxis] <= edges) & (edges <= high[:, np.newaxis])
    assert (binomial.pmf(hits[:, np.newaxis], count, edges) * inside).sum(axis=0).min() > 0.945


def test_quantiles_of_t_are_those_of_scipy() -> None:
    t = pytest.importorskip("scipy.stats").t
    assert all(student(freedom) == pytest.approx(t.ppf(0.975, freedom), rel=1e-3) for freedom in (9, 19.5, 60, 1e6))


def test_the_interval_of_a_symmetric_mean_is_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    half = np.random.default_rng(0).normal(size=30)
    errors = np.concatenate([5 + half, 5 - half])
    expected = stats.t.interval(0.95, 59, errors.mean(), stats.sem(errors))
    np.testing.assert_allclose(of_mean(float(errors.mean()), errors, 60, 20), expected, rtol=1e-5)


# -- numbers


def of_numbers(p: np.ndarray, y: np.ndarray, parts: int = 5, **options: object) -> NumberEvaluation:
    scores = NumberScores(**options)
    for part in np.array_split(np.arange(len(p)), parts):
        scores.update(p[part], y[part], [f"x[{place}]" for place in part])
    return scores.result()


def linear(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.normal([30_000, -2], [8_000, 0.01], size=(count, 2))
    return y + rng.normal([500, 0.001], [3_000, 0.02], size=y.shape), y


@pytest.mark.parametrize("order", ["drawn", "sorted"])
def test_numbers_are_as_scikit_learn_has_them(order: str) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    p, y = linear(1000)
    if order == "sorted":
        rows = np.argsort(y[:, 0])
        p, y = p[rows], y[rows]
    found = of_numbers(p, y, names=("price", "level"), units=("€", "m"))
    assert [(each.name, each.unit) for each in found.numbers] == [("price", "€"), ("level", "m")]
    for place, each in enumerate(found.numbers):
        a, b = y[:, place], p[:, place]
        np.testing.assert_allclose(each.rmse, metrics.root_mean_squared_error(a, b), rtol=1e-12)
        np.testing.assert_allclose(each.mae, metrics.mean_absolute_error(a, b), rtol=1e-12)
        np.testing.assert_allclose(each.r2, metrics.r2_score(a, b), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(each.bias, (b - a).mean(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose([each.mean, each.std], [a.mean(), a.std()], rtol=1e-12)
    np.testing.assert_allclose(found.loss, metrics.mean_squared_error(y, p), rtol=1e-12)


def test_the_loss_of_a_normal_distribution_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    mean, logvar = rng.normal(size=(2, 500, 1))
    y = mean + np.exp(logvar / 2) * rng.normal(size=mean.shape)
    scores = NumberScores()
    scores.update(mean, y, logvars=logvar)
    found = scores.result()
    theirs = torch.nn.functional.gaussian_nll_loss(
        torch.tensor(mean), torch.tensor(y), torch.tensor(np.exp(logvar)), full=True
    )
    np.testing.assert_allclose(found.loss, float(theirs), rtol=1e-12)
    inside = np.abs(y - mean) <= np.exp(logvar / 2) * np.array(list(LEVELS.values()))
    np.testing.assert_allclose(list(found.numbers[0].coverage.values()), inside.mean(0), rtol=1e-12)
    assert all(abs(share - level) < 0.07 for level, share in found.numbers[0].coverage.items())


def test_targets_that_are_all_the_same_have_no_share_that_is_explained() -> None:
    found = of_numbers(np.array([[1.0], [3.0]]), np.array([[0.1], [0.1]]), parts=1).numbers[0]
    assert (found.r2, found.r2_interval) == (None, None)
    one = of_numbers(np.array([[1.0]]), np.array([[2.0]]), parts=1)
    assert (one.numbers[0].rmse, one.numbers[0].rmse_interval, one.numbers[0].bias) == (1, None, -1)


# -- the worst, and samples


def test_the_worst_are_those_with_the_largest_loss_in_any_parts() -> None:
    z, y = drawn(500, 3)
    losses = np.log(np.exp(z).sum(1)) - z[np.arange(500), y]
    order = np.argsort(-losses, kind="stable")[:20]
    for parts in (1, 9, 500):
        found = of_classes(z, y, parts=parts, worst=20).worst
        assert [each.input for each in found] == [f"x[{place}]" for place in order]
        np.testing.assert_allclose([each.score for each in found], losses[order])
        assert [each.expected for each in found] == [f"c{place}" for place in y[order]]
        assert [each.predicted for each in found] == [f"c{place}" for place in z[order].argmax(1)]


def test_a_sample_is_fair_whatever_the_parts() -> None:
    one, many = Sample(), Sample()
    numbers = np.arange(400_000.0)[:, np.newaxis]
    one.update(numbers)
    for part in np.array_split(numbers, 17):
        many.update(part)
    np.testing.assert_array_equal(one.rows(), many.rows())
    rows = many.rows(100)[:, 0]
    assert set(rows) < set(many.rows()[:, 0])
    assert len(rows) == len(set(rows.tolist())) == 100
    assert abs(rows.mean() - 200_000) < 3 * 400_000 / math.sqrt(12 * 100)


# -- labels


@pytest.mark.parametrize(
    ("classes", "labels", "found"),
    [
        ("cat dog", ["dog", "cat", "bird", None, 1, 0.0, 2, True, [0, 1], [0.2, 0.8], [1, 1]],
         [1, 0, -1, -1, 1, 0, -1, 1, 1, 1, -1]),
        ("0 1 2", [0, 2.0, "1", 3, -1, 1.5, float("nan")], [0, 2, 1, -1, -1, -1, -1]),
        ("1 2 3", [1, 3, 0, "2"], [0, 2, -1, 1]),  # Names, and not places: 0 is no class.
        ("0.5 1.5", [0.5, 1.5, 1], [0, 1, 1]),
    ],
)  # fmt: skip
def test_a_label_is_a_name_before_it_is_a_number(classes: str, labels: list[object], found: list[int]) -> None:
    assert ClassFinder(classes.split()).of(labels).tolist() == found


def test_whole_numbers_are_classes_where_training_has_them_so() -> None:
    assert ClassFinder(["1", "2", "3"], by_number=True).of([0, 1, 2, "1", 3]).tolist() == [0, 1, 2, 0, -1]


def test_intervals_of_errors_stay_within_what_is_possible() -> None:
    rng = np.random.default_rng(5)
    found = of_numbers(*rng.laplace(size=(2, 300, 1))).numbers[0]
    assert 0 < found.rmse_interval[0] < found.rmse < found.rmse_interval[1]
    assert 0 < found.mae_interval[0] < found.mae < found.mae_interval[1]
    assert found.r2_interval[0] < found.r2 < found.r2_interval[1] < 1
    low, high = of_classes(*drawn(200, 3)).loss_interval
    assert 0 < low < high


def test_what_is_too_few_is_said_instead_of_an_interval() -> None:
    """Too few examples, of all or of a class; examples that are alike; and one that outweighs the others."""
    rng = np.random.default_rng(6)
    few = of_numbers(*rng.normal(size=(2, 30, 1)))
    assert "RMSE" in few.text()
    least = {"rmse": 100, "mae": 60, "r2": 150}
    assert few.numbers[0].too_few == {
        name: f"too few for an interval: 30, it needs {count}" for name, count in least.items()
    }
    assert few.numbers[0].rmse_interval is None
    assert few.text().count("(too few for an interval: 30, it needs 100)") == 2
    assert few.as_json()["numbers"][0]["too_few"] == few.numbers[0].too_few
    assert few.too_few == {"loss": "too few for an interval: 30, it needs 100"}
    same = of_numbers(np.full((200, 1), 3.0), rng.normal(size=(200, 1)) * 0 + 1).numbers[0]
    assert set(same.too_few.values()) == {"no interval: all examples are alike"}
    heavy = of_numbers(np.concatenate([rng.normal(size=199), [1e4]])[:, np.newaxis], np.zeros((200, 1))).numbers[0]
    assert set(heavy.too_few.values()) == {"no interval: heavy tails"}
    z, y = drawn(300, 3)
    kept = (y < 2) | (np.cumsum(y == 2) <= 4)
    rare = of_classes(z[kept], y[kept])
    assert rare.too_few == {"f1": "too few for an interval: 4 of class 'c2', it needs 10"}
    assert (rare.f1_interval, rare.as_json()["f1_interval"]) == (None, None)
    assert "(too few for an interval: 4 of class 'c2', it needs 10)" in rare.text()
    missing = of_classes(z[y < 2, :2], y[y < 2] * 0)
    assert missing.auc is None
    assert missing.too_few == {"f1": "too few for an interval: 0 of class 'c1', it needs 10"}


def test_heavy_tails_are_not_taken_for_few_examples_that_make_up_the_figure() -> None:
    """One example decides the variance of the mean square, and is a fiftieth of the mean square itself."""
    errors = np.concatenate([np.ones(40_000), [30.0]])[:, np.newaxis]
    found = of_numbers(errors, np.zeros_like(errors))
    assert found.numbers[0].too_few["rmse"] == "no interval: heavy tails"
    assert "RMSE     1.01117 (no interval: heavy tails)" in found.text()
    assert "too few" not in found.text()


def test_a_perfect_sample_has_intervals_that_are_not_perfect() -> None:
    z = np.repeat([[3.0, -3.0], [-3.0, 3.0]], 10, axis=0)
    found = of_classes(z, np.repeat([0, 1], 10))
    assert (found.accuracy, found.f1, found.auc) == (1, 1, 1)
    for low, high in (found.accuracy_interval, found.f1_interval, found.auc_interval):
        assert 0.6 < low < 0.9
        assert high == 1
