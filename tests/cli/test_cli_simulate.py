"""``simulate run``, ``simulate compare`` and ``simulate sweep``."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from portable_nn.adversarial import GAMES, METHODS, compare, simulate, sweep

ARTICLE = """\
bilinear, f = x·y
simultaneous from (0.6, 0.7), learning rate 0.1

verdict                  diverges (proved by the eigenvalues): the distance is multiplied by 1.004988 per step
distance                 0.921954 at the start, 11.038 after 499 steps
ten times that distance  after 463 steps
convergence factor       1.00498756 (closed form), 1.00498756 (spectral radius), 1.00498756 (measured)
stability limit          0 (unstable at small learning rates too)
rotation                 one turn in 63.04 steps
average iterate          at distance 0.205255
gradients                499
"""
CONVERGING = """
Methods that converge at this learning rate, the fastest per gradient first: hamiltonian, consensus, symplectic, \
smoothed, alternating-optimistic, and 12 more (--top N lists factors; simulate compare --method all runs them)
"""
METHODS_LISTED = """
Methods that converge at this learning rate, the fastest per gradient first:
method                  options           factor per step  gradients per step  factor per gradient  stability limit
hamiltonian                                    0.90000000                   2           0.94868330                2
consensus               gamma=1                0.90553851                   2           0.95159787                1
symplectic              lam=1                  0.90553851                   3           0.96746585                1
smoothed                pull=1 beta=0.05       0.97467943                   1           0.97467943          1.25036
alternating-optimistic  gamma=rate             0.99000102                   1           0.99000102        0.6666667
lola                                           0.98508883                   2           0.99251641        0.8660254
optimistic              gamma=rate             0.99493615                   1           0.99493615        0.5773503
prediction                                     0.99498744                   1           0.99498744         1.154701
slingshot                                      0.99498744                   1           0.99498744         1.414214
lookahead               k=5 alpha=0.5          0.99623717                   1           0.99623717        0.7425798
adaptive-extragradient  relax=1                0.99503719                   2           0.99751551                -
proximal                                       0.99503719                   2           0.99751551              inf
competitive                                    0.99503719                   2           0.99751551              inf
extragradient           gamma=rate             0.99503769                   2           0.99751576                1
competitive-linear                             0.99503769                   2           0.99751576                1
alternating-momentum    beta=-0.5              0.99851779                   1           0.99851779                1
runge-kutta                                    0.99999999                   4         0.9999999983         2.828427
"""


README = Path(__file__).parents[2] / "README.md"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_run_of_the_article(run):
    assert run("simulate", "run") == (0, ARTICLE + CONVERGING, "")
    assert run("simulate", "run", "--top", "99") == (0, ARTICLE + METHODS_LISTED, "")


def test_the_pages_show_what_is_printed():
    assert f"which of {len(METHODS)} methods converge" in README.read_text(encoding="utf-8")
    text = (README.parent / "docs/commands/index.md").read_text(encoding="utf-8")
    shown = re.search(r"^\$ portable-nn simulate run .*?\n(.*?)…$", text, re.MULTILINE | re.DOTALL)
    assert shown
    assert shown[1] in ARTICLE
    assert f"compares {len(METHODS)} methods" in text


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ("--rate 0.01 --steps 100", ["ten times that distance  after 46,055 steps (extrapolated)"]),
        (
            "--method extragradient",
            [
                "0.99503769 (closed form)",
                "a tenth of that distance  after 463 steps\n",
                "stability limit           1\n",
                "gradients                 998\n",
            ],
        ),
        ("--method optimistic", ["0.99493615 (measured)", "limit           0.5773503"]),
        (
            "--method alternating",
            ["cycles (proved by the eigenvalues): the distance stays between", "2\n", "1 (measured)"],
        ),
        ("--method proximal", ["0.99503719 (closed form)", "inf (stable at every", " 499, and 499 Jacobians\n"]),
        ("--method consensus --set gamma=0.5", ["0.95524866 (closed form)"]),  # √((1 - 0.05)² + 0.01)
        (
            "--method adam",
            ["grew (seen in 499 steps): the distance went from 0.922 to ", "measured, approximate"],
        ),
        (
            "--rate 0.1,0.4",
            ["1.01980390 (spectral radius), 1.01980390 (measured)", "learning rate 0.1,0.4"],
        ),  # √1.04
        ("--rate 0.1/sqrt(t) --steps 50", ["learning rate 0.1/sqrt(t)\n"]),
        ("--rate 0.1:1/t --steps 50", ["learning rate 0.1, decay 1/t\n"]),
        ("--start 0,0", ["converges (proved as F = 0 there): the start is an equilibrium"]),
        ("--set game.matrix=0,-1,1/1,0,-1/-1,1,0", ["the start is an equilibrium; --start (start=) chooses another"]),
        ("--game (x-1)*(y+2)+0.1*x**2 --top 3", ["\n--top 3: no method is known to converge to an equilibrium at"]),
        (
            "--rate 0.1:1/t --steps 50 --top 3",
            ["\n--top 3: methods are listed for a learning rate that stays"],
        ),
        (
            "--game dirac-gan --set game.gamma=1 --method extragradient",
            ["near the equilibrium at this learning rate, the fastest per gradient first"],
        ),
        ("--set game.matrix=3 --rate 0.1", ["1.04403065 (closed form)"]),  # √1.09
        ("--set game.matrix=1,2/0,1 --start 1,1,1,1", ["bilinear, f = xᵀAy, matrix=1,2/0,1\n"]),
        ("--game x+y", ["‖F‖", "1.41421 at the start, 1.41421 after 499 steps"]),
        ("--game (x-1)*(y-2) --set game.equilibria=1,2 --start 1.6,2.7", ["11.038 after 499 steps"]),
        ("--game ridge-bent --top 9", ["not if small\n"]),  # It converges at 0.1, and not at 0.01.
        ("--rate 2 --steps 2000", ["0.921954 at the start, beyond the largest number after 2,000 steps"]),
    ],
)
def test_what_a_run_says(run, arguments, texts):
    code, out, err = run("simulate", "run", *arguments.split())
    assert (code, err) == (0, "")
    for text in texts:
        assert text in out


def test_a_run_that_leaves_where_f_is_defined(run):
    code, out, err = run("simulate", "run", "--game", "log(x)*y")
    assert (code, err) == (1, "")
    for text in ("fails: step 54, from (-0.37, -0.4602)", "1.44522 after 53 steps\n", "gradients           54\n"):
        assert text in out


def test_a_run_as_json(run):
    code, out, err = run("simulate", "run", "--format", "json")
    data = json.loads(out)
    assert (code, err, data["schema"]) == (0, "", 1)
    assert data["closed_form"] == pytest.approx(math.hypot(1, 0.1), abs=1e-15)
    assert data["distance"][1] == pytest.approx(11.038, abs=5e-4)
    assert (data["steps_to_tenfold"], data["status"], data["success"]) == (463, 3, False)
    assert data["end"] == simulate("bilinear").z[-1].tolist()
    assert data["converging"][0]["method"] == "hamiltonian"
    assert {row["method"]: row["stability_limit"] for row in data["converging"]}["proximal"] == "inf"


@pytest.mark.long
def test_in_a_process_of_its_own_without_warnings(shell):
    assert shell("simulate", "run") == (0, ARTICLE + CONVERGING, "")


@pytest.mark.long
def test_numbers_that_are_far_too_large_without_warnings(shell):
    code, _, err = shell("simulate", "compare", "--rate", "3", "--method", "all", "--game", "forsaken", "--steps", "50")
    assert (code, err) == (0, "")


def test_a_run_beyond_the_largest_number_as_json(run):
    data = json.loads(run("simulate", "run", "--rate", "2", "--steps", "2000", "--format", "json").out)
    assert data["distance"][1] in {None, "inf"}
    assert (data["status"], data["basis"], data["reason"]) == (3, "proved", "by the eigenvalues")


@pytest.mark.long
def test_a_run_as_csv(run, tmp_path):
    code, out, err = run("simulate", "run", "--format", "csv")
    assert (code, err) == (0, ARTICLE + CONVERGING)  # What is no number goes elsewhere.
    result = simulate("bilinear")
    rows = rows_of(out)
    assert list(rows[0]) == ["t", "x", "y", "distance", "residual"]
    assert [int(row["t"]) for row in rows] == result.t.tolist()
    assert [[float(row["x"]), float(row["y"])] for row in rows] == result.z.tolist()
    assert [float(row["distance"]) for row in rows] == result.distance.tolist()
    assert run("simulate", "run", "--out", "run.csv") == (0, "", ARTICLE + CONVERGING)
    assert (tmp_path / "run.csv").read_text() == out
    assert run("simulate", "run", "--format", "csv", "--quiet") == (0, out, "")


def test_names_of_numbers_in_csv(run):
    out = run("simulate", "run", "--game", "x0*y1-x1*y0", "--steps", "2", "-q", "--format", "csv").out
    assert out.splitlines()[0] == "t,x0,x1,y0,y1,distance,residual"
    assert [row["t"] for row in rows_of(out)] == ["0", "1", "2"]
    out = run("simulate", "run", "--game", "x+y", "--steps", "2", "-q", "--format", "csv").out
    assert {row["distance"] for row in rows_of(out)} == {""}  # No equilibrium is known.


@pytest.mark.long
def test_noise_is_drawn_from_the_seed(run):
    def drawn(*more):
        return run("simulate", "compare", "--noise", "0.1", "--steps", "20", "-q", "--format", "csv", *more).out

    assert drawn() == drawn("--seed", "0") != drawn("--seed", "1")


@pytest.mark.long
def test_pictures_of_a_run(run, tmp_path):
    pytest.importorskip("matplotlib")
    for done, suffix in (("drawn", "png"), ("animated", "gif")):
        code, out, err = run("simulate", "run", "--steps", "20", "--plot", f"run.{suffix}")
        assert (code, err) == (0, "")
        assert re.search(rf"^{done} +run\.{suffix} \(\d+ kB\)$", out, re.MULTILINE)
    with Image.open(tmp_path / "run.png") as picture:
        picture.load()
    with Image.open(tmp_path / "run.gif") as animation:
        assert animation.n_frames > 5


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        ("saddle", ["f(x, y)", "elevation 28°, azimuth 300°"]),
        ("overview", ["steepest ascent", "players (∂f", "x and y over the steps", "trajectory"]),
        ("circle", ["continuous flow", "discrete: 20 "]),
    ],
)
def test_one_picture_of_a_run(picture, words, run, monkeypatch):
    pytest.importorskip("matplotlib")
    import matplotlib.text

    drawn = []

    def save(figure, path):
        drawn.extend(text.get_text() for text in figure.findobj(matplotlib.text.Text))
        Path(path).write_bytes(b"")

    monkeypatch.setattr("portable_nn.core.plotting.save", save)
    code, _, _ = run("simulate", "run", "--steps", "20", "--plot", "one.png", "--picture", picture)
    assert not code
    assert all(any(word in text for text in drawn) for word in words)


@pytest.mark.long
def test_where_one_picture_cannot_be_made_there_is_none(run, tmp_path):
    pytest.importorskip("matplotlib")
    arguments = ("--game", "rock-paper-scissors", "--steps", "5", "--plot", "a.gif", "--out", "a.csv")
    code, out, err = run("simulate", "run", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_comparing(run):
    code, out, err = run("simulate", "compare")
    assert (code, err) == (0, "")
    assert "from (0.6, 0.7), learning rate 0.1, 1,000 gradient evaluations each\n" in out
    lines = out.splitlines()[3:]
    found = compare()
    assert [line.split()[0] for line in lines[1:9]] == [entry.name for entry in found.ranked]
    [optimistic] = [re.split("  +", line) for line in lines if line.startswith("optimistic")]
    assert optimistic == [
        "optimistic",
        "converges (proved)",
        "0.00584226",
        "999",
        "0.99493615",
        "0.99493615",
        "0.99493615",
        "0.99494120",
        "0.5773503",
    ]


def test_comparing_as_json_and_csv(run):
    arguments = ("simulate", "compare", "--method", "lookahead,consensus", "--method", "adam")
    options = ("--set", "lookahead.k=10", "--set", "gamma=2", "--steps", "60")
    data = json.loads(run(*arguments, *options, "--format", "json").out)
    found = compare(
        methods=["lookahead", "consensus", "adam"],
        evaluations=60,
        options={"lookahead": {"k": 10}, "consensus": {"gamma": 2}},
    )
    assert [row["method"] for row in data["methods"]] == [entry.name for entry in found.ranked]
    for row, entry in zip(data["methods"], found.ranked, strict=True):
        assert row["options"] == dict(entry.forecast.options)
        assert (row["closed_form"], row["measured"]) == (entry.forecast.closed_form, entry.measured)
        assert row["gradients"] == entry.spent
    rows = rows_of(run(*arguments, *options, "-q", "--format", "csv").out)
    assert list(rows[0]) == ["method", "step", "gradients", "distance", "residual"]
    for entry in found.entries:
        own = [row for row in rows if row["method"] == entry.name]
        assert [float(row["gradients"]) for row in own] == entry.evaluations.tolist()
        assert [float(row["distance"]) for row in own] == entry.result.distance.tolist()


@pytest.mark.long
def test_comparing_all(run):
    out = run("simulate", "compare", "--method", "all", "--steps", "20").out
    rows = out.split("\n\n")[1].splitlines()[1:]
    assert {line.split()[0] for line in rows} == set(METHODS)
    # On x·y the follower's second derivative is 0, which follow-the-ridge divides by.
    assert re.search(
        r"^follow-the-ridge fails: step 1 .* is not defined: .*requires that f is curved", out, re.MULTILINE
    )
    assert "; beta1=0.9 beta2=0.999 epsilon=1e-08 of adam and alternating-adam and" in out


@pytest.mark.long
def test_options_of_the_method_and_of_the_game_are_printed(run):
    out = run("simulate", "run", "--method", "momentum", "--set", "beta=-0.25", "--steps", "9").out
    assert re.search(r"^options +beta=-0\.25$", out, re.MULTILINE)
    arguments = ("--game", "dirac-gan", "--set", "game.gamma=0.5", "--method", "extragradient", "--steps", "9")
    out = run("simulate", "run", *arguments).out
    assert "gamma/2·x², gamma=0.5 sigma=0\n" in out
    assert re.search(r"^options +gamma=rate$", out, re.MULTILINE)
    data = json.loads(run("simulate", "run", *arguments, "--format", "json").out)
    assert data["game_options"] == {"gamma": 0.5, "sigma": 0.0}
    assert data["options"] == {"gamma": None}
    assert {row["method"]: row["options"] for row in data["converging"]}["momentum"] == {"beta": -0.5}
    matrix = json.loads(run("simulate", "run", "--set", "game.matrix=1,2/0,1", "--steps", "9", "--format", "json").out)
    assert matrix["game_options"] == {"matrix": [[1, 2], [0, 1]]}


def test_why_a_method_is_not_defined_stands_in_json(run):
    arguments = ("--method", "follow-the-ridge,simultaneous", "--steps", "30", "--format", "json")
    ridge = json.loads(run("simulate", "compare", *arguments).out)["methods"][1]
    assert (ridge["method"], ridge["status"]) == ("follow-the-ridge", 10)
    assert "curved in the follower's numbers" in ridge["verdict"]


@pytest.mark.long
def test_sweeping(run):
    code, out, err = run("simulate", "sweep", "--rate", "0.05:3:12", "--steps", "100")
    assert (code, err) == (0, "")  # No bar, as no terminal is there.
    assert "12 learning rates from 0.05 to 3, 100 steps each" in out
    limits = {line.split()[0]: line.split()[1] for line in out.splitlines()[4:] if line}
    assert limits == {
        "simultaneous": "0",
        "alternating": "2",
        "extragradient": "1",
        "optimistic": "0.5773503",
        "competitive": "inf",
        "consensus": "1",
        "lookahead": "0.7425798",
        "alternating-momentum": "1",
    }


@pytest.mark.long
def test_sweeping_as_json_and_csv(run):
    arguments = ("simulate", "sweep", "--method", "extragradient,adam", "--rate", "0.5,0.1", "--steps", "50")
    data = json.loads(run(*arguments, "--format", "json").out)
    found = sweep(methods=["extragradient", "adam"], rates=[0.1, 0.5], steps=50)
    assert data["rates"] == [0.1, 0.5]
    assert data["methods"][0]["measured"] == found.measured[0].tolist()
    assert data["methods"][1]["spectral_radius"] == [None, None]
    assert data["methods"][1]["stability_limit"] is None
    rows = rows_of(run(*arguments, "-q", "--format", "csv").out)
    assert [float(row["measured"]) for row in rows] == found.measured.ravel().tolist()
    assert [row["spectral_radius"] for row in rows][2:] == ["", ""]


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "name"),
    [("compare --steps 50", "c.png"), ("sweep --rate 0.1,0.5 --steps 20", "s.svg")],
)
def test_pictures_of_many(run, tmp_path, command, name):
    pytest.importorskip("matplotlib")
    code, out, err = run("simulate", *command.split(), "--plot", name)
    assert (code, err) == (0, "")
    assert re.search(rf"^drawn +{name} \(\d+ kB\)$", out, re.MULTILINE)
    assert (tmp_path / name).stat().st_size > 5000
    data = json.loads(run("simulate", *command.split(), "--plot", name, "--force", "--format", "json").out)
    assert data["files"] == [name]


RATE = "--rate must be a number of at least 0, two (x's and y's) such as 0.1,0.05, or a formula of the step t such as "


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run --game nosuch", f"there is no game 'nosuch': there are {', '.join(GAMES)}"),
        ("run --game bilinaer", "there is no game 'bilinaer': did you mean 'bilinear'?"),
        ("run --game x*z", "'x*z' contains 'z': variables are x and y"),
        ("run --game quadratic --set game.d=1", "the game 'quadratic' has no option 'd': it has a (1.0)"),
        ("run --set game.matrix=1,2;3", "--set game.matrix has rows of 2 and 1 numbers: give as many"),
        ("run --method simultanous", "there is no method 'simultanous': did you mean 'simultaneous'?"),
        ("run --set gamma=1", "the method 'simultaneous' has no option 'gamma': it has none"),
        ("run --set gamma", "--set needs a name and a number, such as gamma=0.5, not 'gamma'"),
        ("run --set =1", "--set needs a name and a number, such as gamma=0.5, not '=1'"),
        ("run --method consensus --set 'gamma=1 2'", "--set gamma must be a number, or several such as 1,2, not '1 2'"),
        ("run --set gamma=a", "--set gamma must be a number, or several such as 1,2, not 'a'"),
        ("run --set gamma=1 --set gamma=2", "--set: 'gamma' is given twice"),
        ("run --start 1,a", "--start must be a number, or several such as 1,2, not '1,a'"),
        ("run --start 1", "--start must be 2 numbers"),
        ("run --start nan,1", "--start must be finite"),
        ("run --rate abc", RATE + "'0.1/sqrt(t)' or '0.1/t**2', not 'abc'"),
        ("run --rate 1,2,3", RATE),
        ("run --rate -0.1", RATE),
        ("run --rate inf", RATE),
        ("run --rate 1/(t-1)", "learning_rate '1/(t-1)' gives inf at step 0"),
        ("run --rate 0.1:quick", "there is no decay 'quick': there are constant, 1/sqrt(t), 1/t, 1/t^2, log"),
        ("run --steps 0", "--steps must be a whole number from 1"),
        ("run --noise -1", "--noise must be a number of at least 0"),
        ("run --seed -1", "--seed must be a whole number of at least 0"),
        ("run --plot run.txt", "run.txt: the name of a picture ends in .png, .svg, .pdf or .gif"),
        ("run --plot run.jpg", "run.jpg: the name of a picture ends in .png, .svg, .pdf or .gif"),
        (
            "run --out run.csv --format json",
            "--format json and --out run.csv contradict each other: leave one of them out",
        ),
        ("run --out run.xml", "--out run.xml: the name must end in .txt, .json or .csv, which sets the format"),
        ("compare --method all,foo", "there is no method 'foo'"),
        ("compare --set foo=1", "--set foo: no method has the option 'foo', among simultaneous, alternating"),
        ("compare --set lola.gamma=1", "--set lola.gamma: 'lola' is not among the methods simultaneous, altern"),
        ("compare --set consensus.foo=1", "the method 'consensus' has no option 'foo': it has gamma (1.0)"),
        ("compare --method runge-kutta --steps 3", "--steps must be at least 4 for a step of the method"),
        ("sweep --rate 1:2", "--rate must be from, to and how many (2 to 10,000), as 0.01:4:40, or a list as"),
        ("sweep --rate 2:1:5", "--rate must be from, to and how many"),
        ("sweep --rate 0.1:1:99999", "--rate must be from, to and how many"),
        ("sweep --rate a,b", "--rate must be a number, or several such as 1,2, not 'a,b'"),
        ("sweep --rate 0,1", "--rate must be a list of numbers above 0"),
    ],
)
def test_wrong_usage(run, arguments, message):
    code, out, err = run("simulate", *shlex.split(arguments))
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_a_folder_that_is_not_there(run):
    code, out, err = run("simulate", "run", "--out", "no/run.csv")
    assert (code, out) == (3, "")
    assert err.startswith("error: no/run.csv: cannot be written: there is no folder")


def test_small_numbers_are_written_so_that_they_can_be_told_from_1():
    from portable_nn.cli.simulate.answer import clean, factor, limit

    assert [factor(value) for value in (1.0, 1 - 1e-9, 1 + 1e-14, 0.5, 12345.678, None, math.nan)] == [
        "1",
        "0.9999999990",
        "1",
        "0.50000000",
        "12345.7",
        "-",
        "-",
    ]
    assert [limit(value) for value in (0.0, math.inf, 0.57735027, None, math.nan)] == [
        "0",
        "inf",
        "0.5773503",
        "-",
        "-",
    ]
    assert clean({"a": np.array([1.0, np.nan, -np.inf]), "b": 1 + 2j, "c": None}) == {
        "a": [1.0, None, "-inf"],
        "b": [1.0, 2.0],
        "c": None,
    }
