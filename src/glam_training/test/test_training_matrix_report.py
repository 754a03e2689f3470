"""The page of the matrix says what its records say."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from stand_in import write_cell

from glam_core.errors import DataError
from glam_training.experiment import Experiment, Switches
from glam_training.matrix.bars import MISSED, OPEN, REACHED, all_bars
from glam_training.matrix.pooling import Table
from glam_training.matrix.presets import IMAGE_SCARCE, normalised, preset
from glam_training.matrix.record import read_record, read_records
from glam_training.matrix.report import ReportConfig, write_report
from glam_training.matrix.shipped import shipped_bars


def write(folder, method, successes, n=50, seeds=(0, 1, 2), **fields):
    """Cells of all seeds with the same number of successes."""
    cell = normalised(Experiment("stack_two", method, **fields))
    for seed in seeds:
        write_cell(folder, replace(cell, seed=seed), "1" * successes + "0" * (n - successes))


@pytest.fixture
def records(tmp_path):
    folder = tmp_path / "matrix"
    for count, successes in ((10, 8), (20, 20), (50, 35), (100, 44), (300, 49)):
        write(folder, "mip", successes, target_episodes=count)
    for count, successes in ((10, 40), (20, 43), (100, 46)):
        write(folder, "glam", successes, target_episodes=count)
    write(folder, "pseudo_labels", 48)
    for count, successes in ((30, 25), (80, 30), (180, 40)):
        write(folder, "glam", successes, auxiliary_episodes=count)
        write(folder, "target_only", successes + 1, target_episodes=20 + count)
    write(folder, "glam", 10, switches=Switches(align=False))
    for task in ("lift", "knock_down", "place"):
        cell = Experiment(task, "glam", target_episodes=10)
        write_cell(folder, cell, "1" * 40 + "0" * 10)
        write_cell(folder, normalised(replace(cell, method="mip")), "1" * 20 + "0" * 30)
    for method, encoder, successes in (
        ("glam_o", "slots", 40),
        ("mip", "slots", 20),
        ("mip", "keypoints", 5),
        ("pseudo_labels", "slots", 42),
        ("glam", "keypoints", 12),
    ):
        cell = {"suite": "images", "target_episodes": IMAGE_SCARCE[encoder]["stack_two"], "encoder": encoder}
        write(folder, method, successes, **cell)
    return folder


def test_bars(records):
    state, images = (
        Table(r for r in read_records(records) if r.experiment.suite == suite) for suite in ("state", "images")
    )
    bars = {bar.what: bar for bar in all_bars(state, images, {"state": "small", "images": "small"})}

    def find(text):
        return next(bar for what, bar in bars.items() if text in what)

    advantage = find("stack_two, state: GLAM (or -O) above MIP")
    assert advantage.verdict == REACHED
    assert "20 demonstrations: glam 0.86 [0.80, 0.91], n 150" in advantage.measured
    assert "MIP 0.40 [0.33, 0.48]" in advantage.measured and "+46 points" in advantage.measured
    efficiency = find("stack_two, state: GLAM with N")
    assert efficiency.verdict == MISSED
    assert "glam, 10 demonstrations: 0.80" in efficiency.measured and "reaches MIP with 50: 0.70" in efficiency.measured
    assert "is below MIP with 100: 0.88" in efficiency.measured
    assert find("state: auxiliary demonstrations in place").verdict == REACHED
    arms = find("lift, knock_down, place on average, state")
    assert arms.verdict == REACHED and "+40 points" in arms.measured
    assert find("bimanual stack_three, state").verdict == OPEN
    assert find("state: MIP with many").verdict == REACHED
    behind = find("state, tool space: GLAM first")
    assert behind.verdict == MISSED and "best rival pseudo_labels 0.96, below its interval" in behind.measured
    # From images, MIP is taken on its better encoder.
    from_images = find("stack_two, images: GLAM (or -O) above MIP")
    assert from_images.verdict == REACHED and "glam_o 0.80" in from_images.measured
    assert "MIP 0.40" in from_images.measured
    assert find("images, tool space: GLAM first").verdict == OPEN  # within the interval of the first, on one task


def test_a_bar_takes_one_variant_for_all_tasks(tmp_path):
    tempo = Switches(tempo=True)
    for task, plain, brisk, rival in (("lift", 49, 40, 50), ("place", 40, 50, 50)):
        fields = {"target_episodes": 10}
        for method, switches, successes in (
            ("glam_o", Switches(), plain), ("glam_o", tempo, brisk), ("pseudo_labels", tempo, rival)
        ):  # fmt: skip
            cell = Experiment(task, method, switches=switches, **fields)
            write_cell(tmp_path, cell, "1" * successes + "0" * (50 - successes))

    def bar():
        bars = all_bars(Table(read_records(tmp_path)), Table([]), {"state": "small"})
        return next(bar for bar in bars if "state, tool space: GLAM first" in bar.what)

    assert bar().verdict == MISSED, "each variant is behind on one task"
    assert "best rival pseudo_labels with double tempo 1.00, below its interval" in bar().measured
    cell = Experiment("lift", "glam_o", target_episodes=10, switches=tempo)
    write_cell(tmp_path, cell, "1" * 49 + "0")
    assert bar().verdict == OPEN and bar().measured.startswith("glam_o with double tempo: lift 0.98")
    config = ReportConfig(tmp_path, tmp_path / "matrix.md", tmp_path / "nothing")
    write_report(config)
    assert "| GLAM-O, double tempo | 0.98 [" in config.page.read_text()


def test_a_miss_is_not_hidden_behind_a_variant_of_another_task(tmp_path):
    affine = Switches(affine=True)
    for task, switches, ours in (("lift", Switches(), 50), ("place", affine, 40)):
        base = Experiment(task, "pseudo_labels", target_episodes=10)
        write_cell(tmp_path, base, "1" * 50)
        write_cell(tmp_path, replace(base, method="glam_o", switches=switches), "1" * ours + "0" * (50 - ours))

    def bar():
        bars = all_bars(Table(read_records(tmp_path)), Table([]), {"state": "small"})
        return next(bar for bar in bars if "state, tool space: GLAM first" in bar.what)

    assert bar().verdict == MISSED and "glam_o: lift 1.00" in bar().measured
    assert (
        "glam_o with affine decoder: place 0.80, 1 of 3 seeds (best rival pseudo_labels 1.00, below its"
        in bar().measured
    )
    assert bar().measured.endswith("not measured: stack_two, knock_down, stack_three")
    write_cell(tmp_path, Experiment("place", "glam_o", target_episodes=10, switches=affine), "1" * 50)
    assert bar().verdict == OPEN


def test_substitution_takes_the_variant_that_is_nowhere_below(tmp_path):
    base = Experiment("stack_two", "glam_o", target_episodes=20)
    for count, plain, brisk, target in ((30, 26, None, 25), (80, 40, None, 40), (180, 40, 48, 49), (400, 50, 49, 50)):
        for cell, successes in (
            (replace(base, auxiliary_episodes=count), plain),
            (replace(base, auxiliary_episodes=count, switches=Switches(tempo=True)), brisk),
            (normalised(replace(base, method="target_only", target_episodes=20 + count)), target),
        ):
            if successes is not None:
                write_cell(tmp_path, cell, "1" * successes + "0" * (50 - successes))

    def bar():
        bars = all_bars(Table(read_records(tmp_path)), Table([]), {"state": "small"})
        return next(bar for bar in bars if "in place of target ones" in bar.what)

    assert bar().verdict == REACHED
    assert bar().measured.startswith("glam_o with double tempo: 20 + 180: 0.96 (200 target: [0.90, 1.00]); 20 + 400")
    tempo = replace(base, auxiliary_episodes=180, switches=Switches(tempo=True))
    write_cell(tmp_path, tempo, "1" * 44 + "0" * 6)
    assert bar().verdict == MISSED and bar().measured.startswith("glam_o: 20 + 30"), "inside at three of four"
    for path in tmp_path.rglob("*.json"):
        if "aux180" not in path.name and "target200" not in path.name:
            path.unlink()
    write_cell(tmp_path, tempo, "1" * 48 + "0" * 2)
    assert bar().verdict == OPEN, "one number is no curve"


def test_page(records, tmp_path):
    config = ReportConfig(records, tmp_path / "matrix.md", tmp_path)
    paths = write_report(config)
    page = config.page.read_text()
    assert all(path.stat().st_size > 1000 for path in paths)
    for path in paths[1:]:
        assert f"]({path.name})" in page
    assert "| pseudo-labels | 0.96 [0.92, 0.98], n 150 (0.96 0.96 0.96) |" in page
    assert "### Tasks, tool-space actions, slots" in page and "### Tasks, tool-space actions, keypoints" in page
    assert "| no alignment | 0.20 [0.14, 0.27], n 150 (0.20 0.20 0.20) |" in page
    assert "| cpu | curve | " in page
    assert "| 2 cores | state | small | MIP | " not in page  # methods keep their short names in the cost table
    assert "| 2 cores | state | small | mip |" in page
    assert "| 5.0 % |" in page
    before = {path: path.read_bytes() for path in paths}
    write_report(config)
    assert {path: path.read_bytes() for path in paths} == before


def test_a_curve_shows_where_the_baseline_stands(records, tmp_path):
    config = ReportConfig(records, tmp_path / "matrix.md", tmp_path)
    write_report(config)
    assert "| MIP, slots |" not in config.page.read_text(), "no method has a curve from images yet"
    write(records, "glam_o", 14, suite="images", target_episodes=10)
    write_report(config)
    images = config.page.read_text().partition("## Image suite")[2]
    curve = images.partition("| target demonstrations | 10 | 20 | 50 |")[2].partition("![")[0]
    assert "| GLAM-O, slots | 0.28 " in curve and "| MIP, slots | - | 0.40 " in curve
    assert "pseudo-labels" not in curve


def test_entries_of_another_budget_are_marked(records, tmp_path):
    config = ReportConfig(records, tmp_path / "matrix.md", tmp_path)
    write_report(config)
    assert "†" not in config.page.read_text()
    path = next(records.rglob("images/stack_two/pseudo_labels-slots-*-seed1.json"))
    path.write_text(path.read_text().replace('"relations": true', '"relations": false'))
    write_report(config)
    page = config.page.read_text()
    assert "†: measured when something else held: relations was False, is True." in page
    assert "| pseudo-labels | 0.84 [0.77, 0.89], n 150 (0.84 0.84 0.84) † |" in page
    assert page.count("†") == 2


@pytest.mark.parametrize(
    ("pattern", "before", "changes"),
    [
        ("state/stack_two/mip-*.json", "", []),
        ("state/stack_two/mip-*.json", '"fine_masks": false, ', []),
        ("images/stack_two/mip-target*.json", '"fine_masks": false, ', []),  # on keypoints
        ("images/stack_two/mip-slots-*.json", "", ["slots_version was 1, is 3"]),
        ("images/stack_two/mip-slots-*.json", '"fine_masks": true, ', ["slots_version was 2, is 3"]),
    ],
)
def test_records_from_before_slots_had_versions(records, pattern, before, changes):
    path = next(records.rglob(pattern))
    record = json.loads(path.read_text())
    del record["budget"]["slots_version"]
    path.write_text(json.dumps(record).replace('"relations"', f'{before}"relations"'))
    assert read_record(path).budget_changes == changes


def test_tuning_records_are_refused(records, tmp_path):
    path = sorted(records.rglob("*.json"))[0]
    path.write_text(path.read_text().replace('"kind": "evaluation"', '"kind": "tuning"'))
    with pytest.raises(DataError, match="measured on the tuning starts"):
        write_report(ReportConfig(records, tmp_path / "matrix.md", tmp_path))
    with pytest.raises(DataError, match="holds no records"):
        write_report(ReportConfig(tmp_path / "nothing", tmp_path / "matrix.md", tmp_path))


def test_bars_of_single_models(tmp_path):
    assert {bar.verdict for bar in shipped_bars(tmp_path)} == {"not measured"}

    def put(name, **report):
        (tmp_path / f"{name}.json").write_text(json.dumps(report))

    starts = {"task": "lift", "episodes": [{"seed": 1}]}
    put("eval_lift", n=100, successes=95, interval=[0.89, 0.98], **starts)
    lift = shipped_bars(tmp_path)[0]
    assert lift.verdict == "not measured" and "MIP not measured" in lift.measured
    put("eval_lift_mip", n=100, successes=40, interval=[0.31, 0.50], **starts)
    put("eval_stack_two", n=100, successes=79, interval=[0.70, 0.86], **starts)
    assert shipped_bars(tmp_path)[1].verdict == "not reached", "whatever the twin does"
    put("eval_stack_two_mip", n=100, successes=60, interval=[0.50, 0.69], **starts)
    gate = {"name": "cosine", "value": 0.95, "wanted": "> 0.9", "passed": True}
    told = {"name": "KL", "value": 2.0, "wanted": "reported", "passed": None}
    put("probe_lift", gates=[gate, told])
    source = {"name": "umi", "error_median_m": 0.01, "shuffled_error_median_m": 0.08, "gripper_f1": 0.95}
    put("transfer_lift", sources=[source])
    lift, stack, gates, replay = shipped_bars(tmp_path)
    assert (lift.verdict, stack.verdict) == ("reached", "not reached")
    assert (gates.verdict, gates.measured) == ("not measured", "lift: 1 of 1; stack_two not measured")
    assert replay.verdict == "reached"
    assert replay.measured == "lift, umi: 1.0 cm, F1 0.95, 8.0 times"
    put("probe_stack_two", gates=[{**gate, "value": 0.5, "passed": False}])
    put("transfer_lift", sources=[source, {**source, "name": "twin", "gripper_f1": 0.8}])
    gates, replay = shipped_bars(tmp_path)[2:]
    assert gates.verdict == replay.verdict == "not reached"
    assert gates.measured.endswith("stack_two: 0 of 1, not cosine: 0.5 (wanted > 0.9)")
    assert replay.measured.endswith("lift, twin: 1.0 cm, F1 0.80, 8.0 times, missed")
    put("transfer_lift", sources=[{**source, "error_median_m": float("nan")}])
    assert shipped_bars(tmp_path)[3].verdict == "not measured"
    put("probe_stack_two", gates=[gate])
    assert shipped_bars(tmp_path)[2].verdict == "reached"
    put("probe_stack_two", gates=[told])
    with pytest.raises(DataError, match="probe_stack_two.json is no report of its kind"):
        shipped_bars(tmp_path)
    put("eval_lift_mip", n=100, successes=40, interval=[0.31, 0.50], task="lift", episodes=[{"seed": 2}])
    with pytest.raises(DataError, match="other seeds than"):
        shipped_bars(tmp_path)
    put("eval_lift", n=0)
    with pytest.raises(DataError, match="eval_lift.json is no report of its kind.*make it again"):
        shipped_bars(tmp_path)


@pytest.mark.parametrize("name", ["cpu", "gpu", "smoke"])
def test_presets_name_each_cell_once_per_part(name):
    chosen = preset(name)
    for part in chosen.parts:
        assert part.cells and len(set(part.cells)) == len(part.cells)
        for cell in part.cells:
            target, auxiliary = chosen.store_episodes[cell.suite]
            assert cell.target_demonstrations <= target and cell.auxiliary_demonstrations <= auxiliary


def test_a_resumed_cell_costs_what_its_stages_took(tmp_path):
    cell = Experiment("lift", "mip", target_episodes=10, auxiliary_episodes=0)
    path = write_cell(tmp_path / "records", cell, "1" * 5)
    record = json.loads(path.read_text())
    record["cost"]["training_s"] = 0.0  # all was done when the last call began
    path.write_text(json.dumps(record))
    config = ReportConfig(tmp_path / "records", tmp_path / "matrix.md", tmp_path)
    write_report(config)
    assert "| 2 cores | state | small | mip | 1 | 30 |" in config.page.read_text()
