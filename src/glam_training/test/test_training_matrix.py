"""The matrix measures each cell once, goes on after being killed, and refuses what does not belong together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import stand_in
from stand_in import write_cell

from glam_core.errors import ConfigurationError, DataError
from glam_training.experiment import Experiment, Switches, read_switches
from glam_training.locks import alone_in_or_fail
from glam_training.matrix.executors import LocalExecutor
from glam_training.matrix.presets import Part, Preset, normalised, preset
from glam_training.matrix.record import cell_name, cell_path, read_record
from glam_training.matrix.runner import MatrixConfig, run_matrix
from glam_training.matrix.selection import group_cells, select_cells
from glam_training.matrix.stores import StoreNeed

STATION = Path(__file__).parents[3] / "config/stations/sim.yaml"
CELLS = tuple(
    normalised(Experiment("lift", method, target_episodes=2, auxiliary_episodes=2, seed=seed, budget="smoke"))
    for method in ("mip", "glam")
    for seed in (0, 1)
)
PRESET = Preset((Part("few", CELLS),), rollouts=2, store_episodes={"state": (2, 2)})


def config(folder: Path, **fields) -> MatrixConfig:
    values = {"out": folder / "work", "results": folder / "results", "workers": 2, "station": STATION}
    return MatrixConfig("smoke", **{**values, **fields})


@pytest.mark.sim
def test_measures_each_cell_once(tmp_path):
    first = run_matrix(config(tmp_path, parts=("few",), methods=("mip",)), stand_in.METHODS, PRESET)
    assert (first.measured, first.left, first.failed) == (2, 0, {})
    record = read_record(cell_path(tmp_path / "results", CELLS[0]))
    assert record.episodes.seed == (10000, 10001)
    assert record.successes == 0 and record.n == 2
    assert set(record.fingerprints) == {"target", "umi"}
    assert record.budget["policy_steps"] == 20
    assert record.cost["training_s"] >= 0 and record.cost["rollouts_peak_memory_mb"] > 10
    assert record.hardware["cores"] >= 1 and "mujoco" in record.versions

    # The rest, trained together; the measured ones are left alone.
    rest = run_matrix(config(tmp_path, together=3), stand_in.METHODS, PRESET)
    assert (rest.done_before, rest.measured, rest.left) == (2, 2, 0)
    runs = sorted((tmp_path / "work/runs").rglob(stand_in.MODEL_FILE))
    assert [run.read_text() for run in runs] == ["glam of 2\n"] * 2 + ["mip of 1\n"] * 2
    assert run_matrix(config(tmp_path), stand_in.METHODS, PRESET).done_before == 4


@pytest.mark.sim
def test_goes_on_after_a_kill_and_leaves_no_process(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import stand_in, test_training_matrix as t\n"
        "from pathlib import Path\n"
        "if __name__ == '__main__': t.run_matrix(t.config(Path(sys.argv[2])), stand_in.METHODS, t.PRESET)\n"
    )
    program = tmp_path / "program.py"
    program.write_text(script)
    command = [sys.executable, str(program), str(Path(__file__).parent), str(tmp_path)]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    await_condition(lambda: any((tmp_path / "results").rglob("*.json")) or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    await_condition(lambda: not is_group_alive(process.pid))
    done = len(list((tmp_path / "results").rglob("*.json")))
    summary = run_matrix(config(tmp_path), stand_in.METHODS, PRESET)
    assert summary.done_before == done
    assert summary.measured == len(CELLS) - done


@pytest.mark.sim
def test_stops_when_the_time_is_over(tmp_path):
    summary = run_matrix(config(tmp_path, minutes=1e-6), stand_in.METHODS, PRESET)
    assert (summary.measured, summary.left) == (0, 4)
    assert not multiprocessing.active_children()


@pytest.mark.sim
def test_one_cell_that_fails_does_not_stop_the_others(tmp_path):
    laom = [replace(cell, method="laom") for cell in CELLS[2:]]
    chosen = replace(PRESET, parts=(Part("few", (*laom, CELLS[0])),))
    summary = run_matrix(config(tmp_path, together=2), stand_in.METHODS, chosen)
    assert (summary.measured, summary.left) == (2, 1)
    assert list(summary.failed) == ["smoke/state/lift/laom-target2-aux2-seed1.json"]
    assert "infinite" in str(summary)


def test_bad_states_say_what_to_do(tmp_path):
    path = cell_path(tmp_path / "results", CELLS[0])
    path.parent.mkdir(parents=True)
    path.write_text('{"half": ')
    with pytest.raises(DataError, match="delete it to measure it again"):
        run_matrix(config(tmp_path), stand_in.METHODS, PRESET)
    path.unlink()
    with (
        alone_in_or_fail(tmp_path / "work", "glam bench matrix"),
        pytest.raises(ConfigurationError, match="another glam bench matrix"),
    ):
        run_matrix(config(tmp_path), stand_in.METHODS, PRESET)
    with pytest.raises(ConfigurationError, match="did you mean 'few'"):
        run_matrix(config(tmp_path, parts=("fow",)), stand_in.METHODS, PRESET)
    with pytest.raises(ConfigurationError, match="results folder of its own"):
        MatrixConfig(starts="tuning")


def test_another_measurement_is_not_taken_for_done(tmp_path):
    write_cell(tmp_path / "results", CELLS[0], "10")
    summary = run_matrix(config(tmp_path, dry_run=True), stand_in.METHODS, PRESET)
    assert (summary.done_before, summary.left) == (1, 3)
    with pytest.raises(ConfigurationError, match="rollouts was 2, is 3"):
        run_matrix(config(tmp_path, rollouts=3, dry_run=True), stand_in.METHODS, PRESET)


def test_ray_is_optional(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigurationError, match="pip install ray"):
        run_matrix(config(tmp_path, ray="local"), stand_in.METHODS, PRESET)


@pytest.mark.sim
def test_ray_measures_the_same_cells(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is an optional dependency")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    summary = run_matrix(config(tmp_path, ray="local"), stand_in.METHODS, PRESET)
    assert (summary.measured, summary.left, summary.failed) == (4, 0, {})


@pytest.mark.sim
def test_demonstrations_that_cannot_be_recorded_fail_their_own_cells_only(tmp_path, monkeypatch):
    bad = replace(CELLS[0], task="place")
    record = StoreNeed.record

    def refuse(need, workers):
        if need.task == "place":
            raise DataError("the expert is broken")
        record(need, workers)

    monkeypatch.setattr(StoreNeed, "record", refuse)
    preset = replace(PRESET, parts=(Part("few", (bad, *CELLS[:2])),))
    summary = run_matrix(config(tmp_path, together=3), stand_in.METHODS, preset)
    assert (summary.measured, summary.left) == (2, 1)
    assert [reason for name, reason in summary.failed.items() if "place" in name] == ["DataError: the expert is broken"]


def test_groups_hold_one_suite_and_budget():
    glam = Experiment("lift", "glam")
    cells = [glam, replace(glam, seed=1), replace(glam, suite="images"), Experiment("stack_two", "mip")]
    assert group_cells(cells, 2) == [[cells[0], cells[1]], [cells[2]], [cells[3]]]
    assert group_cells(cells, 3) == [[cells[0], cells[1], cells[3]], [cells[2]]]
    assert group_cells(cells, 1) == [[cell] for cell in cells]


def test_from_images_the_encoder_decides_how_many_demonstrations_there_are():
    (part,) = [part for part in preset("gpu").parts if part.name == "images"]
    counts = {(c.task, c.on_slots): c.target_episodes for c in part.cells}
    assert counts["stack_two", True] == 20 and counts["stack_two", False] == 50


def test_names_are_unique_and_order_is_kept():
    cells = select_cells(PRESET)
    assert cells == list(CELLS)
    assert select_cells(PRESET, methods=["glam"], seeds=[1]) == [CELLS[3]]
    with pytest.raises(ConfigurationError, match="seed '7'"):
        select_cells(PRESET, seeds=[7])
    both = [Experiment("lift", "mip", "images", encoder=encoder) for encoder in ("slots", "keypoints")]
    assert select_cells(replace(PRESET, parts=(Part("few", (*CELLS, *both)),)), encoders=["slots"]) == both[:1]
    changed = replace(CELLS[2], switches=Switches(beta=1e-3), action_space="joint")
    assert cell_name(changed) == "glam-joint-beta=0.001-target2-aux2-seed0"


def test_work_that_ends_its_process_is_reported(tmp_path):
    executor = LocalExecutor(1)
    try:
        with pytest.raises(Exception, match="terminated abruptly"):
            executor.train(os._exit, 3).result()
    finally:
        executor.close()


def is_group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def await_condition(condition, timeout_s: float = 400.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_switches_that_are_gone_are_read_where_they_were_off():
    assert read_switches({"weigh": False, "tempo": True}) == Switches(tempo=True)
    with pytest.raises(DataError, match="the switch weigh is gone, and was on"):
        read_switches({"weigh": True})
