"""Sweeps of games by several processes, and what computes elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest
from test_predict_many import alike, digits, serial

from portable_nn.adversarial import Sweep, sweep
from portable_nn.adversarial.games.table import game
from portable_nn.cli import main
from portable_nn.core.errors import FileError, UsageError
from portable_nn.scale import predict_many
from portable_nn.scale.cluster import LostError, processes


def same(found: Sweep, wanted: Sweep) -> None:
    assert (found.names, found.steps, found.game.name) == (wanted.names, wanted.steps, wanted.game.name)
    for name in ("start", "rates", "measured", "spectral_radius", "status", "limits", "costs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


@pytest.mark.parametrize(
    ("name", "how", "more"),
    [
        ("bilinear", {}, {}),
        ("dirac-gan", {"gamma": 1.0}, {"methods": ["optimistic", "consensus"], "noise": 0.1, "seed": 3}),
        ("x*y - 0.1*x**2", {}, {"methods": "lookahead", "options": {"lookahead": {"k": 10}}, "start": [0.3, 0.4]}),
    ],
)
def test_the_numbers_are_those_of_one_process(name: str, how: dict[str, Any], more: dict[str, Any]) -> None:
    done = list[tuple[int, int]]()
    options = {"rates": [0.1, 0.5, 1.0], "steps": 50, **more}
    found = sweep(name, workers=0, game_options=how, progress=lambda *now: done.append(now), **options)
    same(found, sweep(game(name, **how), **options))
    assert done[-1] == (len(found.methods), len(found.methods))


def test_wrong_arguments_of_a_sweep() -> None:
    with pytest.raises(UsageError, match="either workers or scheduler"):
        sweep(workers=1, scheduler="tcp://here:1")
    with pytest.raises(UsageError, match="rates must be"):
        sweep(workers=0, rates=[-1])


@pytest.mark.long
def test_the_command_prints_the_same_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed", reason="several processes are those of Dask")
    line = ["simulate", "sweep", "--steps", "50", "--rate", "0.1,0.5", "--game", "dirac-gan", "--set", "game.gamma=1"]
    assert main([*line, "--format", "csv"]) == 0
    wanted = capsys.readouterr().out
    assert main([*line, "--format", "csv", "--workers", "2"]) == 0
    assert capsys.readouterr().out == wanted


@pytest.mark.long
def test_workers_of_a_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run in another folder, as on another machine, and keep the names as they were given."""
    distributed = pytest.importorskip("distributed", reason="several processes are those of Dask")
    digits(tmp_path / "here" / "scans", [f"{place}.png" for place in range(9)])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**options) as cluster:
        monkeypatch.chdir(tmp_path / "here")
        address = cluster.scheduler_address
        found = list(predict_many("digits", "scans", "shards", scheduler=address, shard_size=2, batch_size=3))
        assert alike(found, serial("scans"))
        assert (tmp_path / "here" / "shards" / "manifest.jsonl").exists()
        same(
            sweep(scheduler=address, rates=[0.1, 1.0], steps=20),
            sweep(rates=[0.1, 1.0], steps=20),
        )
    monkeypatch.setattr("portable_nn.scale.cluster.WAIT", 1)
    with pytest.raises(FileError, match="no Dask scheduler answers there"):
        list(predict_many("digits", "scans", "others", scheduler=address, shard_size=2))


@pytest.mark.long
def test_a_scheduler_is_found_by_its_file_and_workers_that_come_later_are_used(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="several processes are those of Dask")
    folder, file = digits(tmp_path / "scans", [f"{place}.png" for place in range(9)]), tmp_path / "scheduler.json"
    options: dict[str, Any] = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(n_workers=1, **options) as cluster:
        Timer(1, lambda: file.write_text(json.dumps({"address": cluster.scheduler_address}))).start()
        with processes(None, str(file)) as found:
            assert found.count() == 1
            cluster.scale(2)
            cluster.wait_for_workers(2)
            assert found.count() == 2
        many = list(
            predict_many("digits", folder, tmp_path / "shards", scheduler=str(file), shard_size=2, batch_size=3)
        )
        assert alike(many, serial(folder))


def test_a_scheduler_file_that_never_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="several processes are those of Dask")
    monkeypatch.setattr("portable_nn.scale.cluster.WAIT", 0.1)
    with pytest.raises(FileError, match="found no address there"), processes(None, str(tmp_path / "none.json")):
        pass


def ended() -> None:
    import os

    os._exit(1)


@pytest.mark.long
def test_what_ends_every_process_is_given_up() -> None:
    pytest.importorskip("distributed", reason="several processes are those of Dask")
    with processes(2, None) as found, pytest.raises(LostError, match="it ended every process that computed it"):
        found.submit(ended).result()
