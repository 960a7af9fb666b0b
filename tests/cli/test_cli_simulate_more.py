"""``simulate spectrum``, ``simulate field``, ``simulate gan`` and ``simulate list``."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import get_args

import numpy as np
import pytest

from portable_nn.adversarial import GAMES, METHODS, analyse, portrait
from portable_nn.adversarial.gan import GAN_LOSSES, GAN_METHODS
from portable_nn.adversarial.gan.examples import EXAMPLES, RECIPES, demonstrate
from portable_nn.adversarial.methods.table import SCHEMES
from portable_nn.core.names import GanExample, GanLoss, GanMethod, GanRecipe, Scheme

PLAIN = """\
bilinear, f = x·y
simultaneous, learning rate 0.1

equilibrium      (0, 0)
eigenvalues      1 ± 0.1i
spectral radius  1.00498756 per step: diverges
closed form      1.00498756 per step
stability limit  0 (unstable at small learning rates too)
rotation         one turn in 63.04 steps

Update operator:
   1  0.1
-0.1    1
"""

SADDLE = """\
x,y,f,players_x,players_y,ascent_x,ascent_y
-1.0,-1.0,1.0,-1.0,1.0,-1.0,-1.0
1.0,-1.0,-1.0,-1.0,-1.0,-1.0,1.0
-1.0,1.0,-1.0,1.0,1.0,1.0,-1.0
1.0,1.0,1.0,1.0,-1.0,1.0,1.0
"""


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_spectrum_of_the_article_s_game(run):
    assert run("simulate", "spectrum") == (0, PLAIN, "")


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (
            "--method alternating",
            [
                "0.995 ± 0.0998749i",
                "1 per step: neither converges nor",
                "stability limit  2\n",
                "conserved        ‖x‖² + ‖y‖² + rate·f\n",
            ],
        ),
        ("--method optimistic", ["0.99493615 per step: converges", "stability limit  0.5773503\n"]),
        ("--method extragradient --rate 0.5 --rate 1.5", ["limit  1\n", "learning rate 1.5\n", "step: diverges"]),
        ("--method lookahead", ["Update operator of 5 steps:", "0.95025 ± 0.245005i, 0\n"]),
        ("--method proximal", ["inf (stable at every learning rate)\n"]),
        ("--rate 0.1,0.4", ["learning rate 0.1 for x and 0.4 for y\n", "1.01980390 per step: diverges"]),
        ("--game dirac-gan", ["1.00124922 per step: diverges"]),  # √(1 + 0.05²)
        ("--game rock-paper-scissors --method optimistic,lookahead --set k=2", ["Update operator of 2 steps"]),
        (
            "--game stochastic-bilinear --set game.size=5",
            ["Update operator: 10 x 10, in --format json", " and 2 smaller"],
        ),
    ],
)
def test_what_a_spectrum_says(run, arguments, texts):
    code, out, err = run("simulate", "spectrum", *arguments.split())
    assert (code, err) == (0, "")
    for text in texts:
        assert text in out


def test_a_spectrum_as_json_and_csv(run):
    arguments = ("simulate", "spectrum", "--method", "optimistic,simultaneous", "--rate", "0.3", "--rate", "0.1,0.2")
    data = json.loads(run(*arguments, "--format", "json").out)
    found = analyse(methods=["optimistic", "simultaneous"], learning_rates=[0.3, (0.1, 0.2)])
    assert data["schema"] == 1
    for row, one in zip(data["spectra"], found, strict=True):
        assert [complex(*value) for value in row["eigenvalues"]] == one.eigenvalues.tolist()
        assert row["operator"] == one.operator.tolist()
        assert row["spectral_radius"] == one.forecast.spectral_radius
    assert data["spectra"][0]["stability_limit"] == pytest.approx(1 / math.sqrt(3), abs=1e-6)
    rows = rows_of(run(*arguments, "-q", "--format", "csv").out)
    assert len(rows) == 12
    assert float(rows[0]["modulus"]) == pytest.approx(found[0].forecast.spectral_radius)
    assert (rows[4]["rate_x"], rows[4]["rate_y"]) == ("0.1", "0.2")


def test_the_spectrum_of_all(run):
    out = run("simulate", "spectrum", "--method", "all").out
    changing = ("anchored", "fast-extragradient", "anchored-popov", "follow-the-ridge")  # No one matrix, or undefined.
    assert out.count("spectral radius") == sum(row.linear for row in METHODS.values()) - len(changing)


def test_the_field(run):
    code, out, err = run("simulate", "field")
    assert (code, err) == (0, "")
    verdict = (
        r"^\(.*\)  +\(.*\)  +diverges \(proved by the eigenvalues\): the distance is multiplied by 1.004988 per step$"
    )
    assert len(re.findall(verdict, out, re.M)) == 3
    assert out.endswith("\npoints with F = 0: (0, 0), a local Nash equilibrium\n")
    assert run("simulate", "field", "--grid", "2:1", "--format", "csv", "-q") == (0, SADDLE, "")


def test_the_field_lists_the_points_on_its_grid_and_counts_the_others(run):
    far = ("simulate", "field", "--game", "(x-5)*(y-1)", "--set", "game.equilibria=5,1", "--steps", "5")
    assert run(*far).out.endswith("\npoints with F = 0: 1 beyond ±2\n")
    assert run(*far, "--grid", "5:5").out.endswith("\npoints with F = 0: (5, 1), a local Nash equilibrium\n")


@pytest.mark.long
def test_the_field_as_json(run):
    arguments = ("--game", "forsaken", "--method", "consensus", "--start", "0.5,0.5", "--start", "0.1,0.2")
    data = json.loads(run("simulate", "field", *arguments, "--steps", "30", "--grid", "3", "--format", "json").out)
    found = portrait("forsaken", "consensus", [(0.5, 0.5), (0.1, 0.2)], steps=30, grid=3)
    assert [row["end"] for row in data["runs"]] == [one.z[-1].tolist() for one in found.results]
    assert data["grid"]["players"] == found.flow.tolist()
    assert np.allclose(data["equilibria"], found.game.equilibria)
    assert len(data["equilibria"]) == 1


def test_the_field_where_no_equilibrium_is_known(run):
    assert run("simulate", "field", "--game", "x+y", "--steps", "5").out.endswith("points with F = 0: not known\n")


@pytest.mark.long
def test_a_gan(run, tmp_path):
    arguments = ("simulate", "gan", "--steps", "20:10", "--seed", "2")
    found = demonstrate(seed=2, steps=20, eigenvalues=10, progress=False)
    code, nothing, out = run(*arguments, "--out", "history.csv")  # What is not the result goes to standard error.
    assert (code, nothing) == (0, "")
    assert out.startswith(
        "pattern, regularised: alternating, non_saturating, 20 steps, seed 2\n\nverdict             undecided: "
    )
    assert f"{found.figures['error']:.4g}, the largest of the four components\n" in out
    steps = re.findall(r"^ *(\d+) +-?\d", out, re.MULTILINE)
    assert steps == [str(step) for step, _ in found.result.eigenvalues] == ["0", "10", "20"]
    rows = rows_of((tmp_path / "history.csv").read_text())
    assert [float(row["generator_loss"]) for row in rows] == found.result["generator_loss"]
    data = json.loads(run(*arguments, "--format", "json").out)
    assert data["figures"] == dict(found.figures)
    assert [complex(*value) for value in data["eigenvalues"][-1]["values"]] == found.result.eigenvalues[-1][1].tolist()


@pytest.mark.long
@pytest.mark.parametrize("method", GAN_METHODS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_ways_to_train(run, method, recipe):
    arguments = ("--method", method, "--recipe", recipe, "--loss", "hinge", "--steps", "2:2")
    code, out, err = run("simulate", "gan", *arguments)
    assert (code, err) == (0, "")
    assert out.startswith(f"pattern, {recipe}: {method}, hinge, 2 steps, seed 0\n")


def test_the_ring(run):
    code, out, err = run("simulate", "gan", "ring", "--steps", "2", "--loss", "wasserstein_gp")
    assert (code, err) == (0, "")
    for text in (
        r"high-quality samples +[<\d.]+ %, within 3 standard deviations",
        r"modes captured +\d of 8\n",
        r"modes with 1 % +\d of 8 have at least 1 % of the samples\n",
        r"reverse KL +(inf|[\d.]+)\n",
        r"spread within modes +(-|[\d.]+) standard deviations; the data have 0\.9744\n",
    ):
        assert re.search(text, out)
    assert "Eigenvalues" not in out


@pytest.mark.long
def test_ctrl_c_tells_what_was_learned(run, monkeypatch):
    import dataclasses

    from portable_nn.adversarial.gan import examples

    real = examples.demonstrate

    def stopped(*arguments, **given):
        found = real(*arguments, **{**given, "steps": 2})
        return dataclasses.replace(found, result=dataclasses.replace(found.result, stopped="interrupted"))

    monkeypatch.setattr(examples, "demonstrate", stopped)
    code, out, err = run("simulate", "gan")
    assert (code, err) == (130, "stopped by Ctrl-C; the figures are of the networks at that step\n")
    assert "2 steps, seed 0, interrupted\n" in out


def test_words_are_those_of_the_library():
    names = [GanExample, GanRecipe, GanMethod, GanLoss, Scheme]
    tables = [EXAMPLES, RECIPES, GAN_METHODS, GAN_LOSSES, SCHEMES]
    assert [get_args(each) for each in names] == list(map(tuple, tables))


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        "spectrum --method simultaneous,optimistic --rate 0.1 --rate 0.3",
        pytest.param("field --steps 20", marks=pytest.mark.long),
        "gan --steps 20:10",
    ],
)
def test_pictures(run, tmp_path, command):
    pytest.importorskip("matplotlib")
    code, out, err = run("simulate", *command.split(), "--plot", "p.png")
    assert (code, err) == (0, "")
    assert re.search(r"^drawn +p\.png \(\d+ kB\)$", out, re.MULTILINE)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_listing(run):
    code, out, err = run("simulate", "list")
    assert (code, err) == (0, "")
    words = {line.split()[0] for line in out.splitlines() if line}
    assert words == {"game", "method", *GAMES, *METHODS}
    assert "gamma=0 sigma=0" in out
    games = json.loads(run("simulate", "list", "games", "--format", "json").out)
    assert set(games) == {"schema", "games"}
    assert [row["name"] for row in games["games"]] == [*GAMES]
    methods = json.loads(run("simulate", "list", "methods", "--format", "json").out)["methods"]
    assert [row["name"] for row in methods] == [*METHODS]
    costs = {row["name"]: row["gradients_per_step"] for row in methods}
    assert (costs["simultaneous"], costs["extragradient"], costs["symplectic"]) == (1, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("spectrum --rate 0.1/t", "--rate must be a number, or two (x's and y's) such as 0.1,0.05, not '0.1/t'"),
        ("spectrum --rate 0.1,0.2 --plot x.png", "--plot draws eigenvalues at rates of one number: leave it out"),
        ("spectrum --method adam", "the method 'adam' has no update matrix: its step is not linear"),
        ("spectrum --game x+y", "no equilibrium of the game 'x+y' is known"),
        ("field --game rock-paper-scissors", "the field can be shown of a game of two numbers; 'rock-paper"),
        ("field --start 1,2,3", "--start must be two numbers, x and y, such as 0.6,0.7, not '1,2,3'"),
        ("field --start a", "--start must be a number, or several such as 1,2, not 'a'"),
        ("field --grid 1", "--grid must be a whole number from 2 to 1000, not 1"),
        ("field --grid 21:0", "reach must be a number above 0, not 0.0"),
        ("gan circle", "invalid value for '[EXAMPLE]': 'circle' is not one of 'pattern', 'ring'"),
        ("gan --steps 0", "--steps must be a whole number from 1, not 0"),
        ("gan --seed -1", "--seed must be a whole number of at least 0, not -1"),
        ("gan ring --steps 10:10", "a dense Jacobian is for up to 3,000 weights, and these two networks have 34,9"),
        ("list xx", "invalid value for '[WHAT]': 'xx' is not one of 'games', 'methods'"),
    ],
)
def test_wrong_usage(run, arguments, message):
    code, out, err = run("simulate", *arguments.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
