"""What a demo reports: numbers, tables, pages, plots, the film, and which model it chooses."""

from __future__ import annotations

import json
import socket
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from toy_model import write_toy_model

from glam_core.errors import ConfigurationError, ModelFolderError
from glam_core.manifest import Evaluation, Manifest, read_manifest, write_manifest
from glam_core.station import load_station
from glam_core.stats import wilson_interval
from glam_ros import report, resources, video
from glam_ros.choice import choose, station_file
from glam_ros.demo import DemoOptions
from glam_ros.domains import FIRST_PARTICIPANT, FIRST_PORT, PORTS_PER_DOMAIN, own_domain
from glam_ros.watching import COMMANDS, DECODE, INFERENCE, POLICY_AND_DECODER, STAGES, EpisodeRecord

RATES = {COMMANDS: 40.0, "camera front": 10.0}


def episode(number: int, success: bool = True, control_hz: float = 40.0, frames: int = 20) -> EpisodeRecord:
    record = EpisodeRecord(number, 999 + number, success, duration_s=4.0 + number)
    start = 100.0 * number
    record.stamps[COMMANDS] = list(np.arange(start, start + 5.0, 1.0 / control_hz))
    record.stamps["camera front"] = list(np.arange(start, start + 5.0, 0.1))
    for stage in STAGES:
        record.latencies[stage] = list(np.linspace(0.001, 0.02, 50))
    record.clamps = Counter({"workspace_min.z": number})
    record.faults = Counter({"policy_node: camera 'side' is 0.5 s old": 1})
    record.real_time_factors = [1.0, 0.99]
    record.tool_paths["arm"] = [np.array([0.4, 0.1 * step, 0.2]) for step in range(5)]
    for step in range(frames):
        image = np.full((48, 64, 3), 10 * step, np.uint8)
        record.frames.append((start + 0.1 * step, cv2.imencode(".jpg", image)[1].tobytes()))
    return record


def evaluated(manifest: Manifest, successes: int) -> Manifest:
    interval = wilson_interval(successes, 100)
    return manifest.model_copy(
        update={"evaluation": Evaluation(n=100, successes=successes, interval=interval, seeds=tuple(range(100)))}
    )


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return evaluated(write_toy_model(tmp_path / "toy"), 85)


def test_success_is_compared_with_the_offline_evaluation(manifest: Manifest) -> None:
    good = report.evaluate([episode(n) for n in range(1, 11)], manifest, "toy", RATES)
    assert (good.successes, good.episodes) == (10, 10)
    assert good.interval == wilson_interval(10, 10)
    assert good.agrees_with_offline
    bad = report.evaluate([episode(n, success=n == 1) for n in range(1, 11)], manifest, "toy", RATES)
    assert not bad.agrees_with_offline
    unmeasured = manifest.model_copy(update={"evaluation": None})
    assert report.evaluate([episode(1)], unmeasured, "toy", RATES).agrees_with_offline is None


def test_rates_leave_the_pauses_between_episodes_out(manifest: Manifest) -> None:
    results = report.evaluate([episode(1), episode(2)], manifest, "toy", RATES)
    assert results.rates[COMMANDS].achieved_hz == pytest.approx(40.0, rel=1e-3)
    assert results.rates[COMMANDS].held
    slow = report.evaluate([episode(1, control_hz=37.0)], manifest, "toy", RATES)
    assert not slow.rates[COMMANDS].held
    assert results.rates[COMMANDS].jitter_p99_ms == pytest.approx(0.0, abs=1e-6)


def test_jitter_is_the_distance_of_the_gaps_from_the_period(manifest: Manifest) -> None:
    late = episode(1)
    late.stamps[COMMANDS][10] += 0.004
    late.stamps[COMMANDS][20] += 0.004
    assert report.evaluate([late], manifest, "toy", RATES).rates[COMMANDS].jitter_p99_ms == pytest.approx(4.0)


def test_a_stream_that_never_came_has_no_rate_and_a_stage_without_latency_no_row(manifest: Manifest) -> None:
    silent = EpisodeRecord(1, 1000)
    results = report.evaluate([silent], manifest, "toy", RATES)
    assert results.rates[COMMANDS].achieved_hz == 0.0
    assert results.latencies_ms == {}
    assert "0 of 1 episodes succeeded" in report.as_text(results)


def test_the_tables_name_what_happened(manifest: Manifest) -> None:
    text = report.as_text(report.evaluate([episode(1), episode(2, success=False)], manifest, "toy", RATES))
    assert "camera 'side' is 0.5 s old" in text
    for part in ("1/2", "85/100", INFERENCE, DECODE, POLICY_AND_DECODER, "workspace_min.z  3"):
        assert part in text
    assert "within the 50 ms allowed" in text


def test_the_report_is_a_page_with_its_plots_beside_it(manifest: Manifest, tmp_path: Path) -> None:
    episodes = [episode(1), episode(2, success=False)]
    results = report.evaluate(episodes, manifest, "toy", RATES)
    report.write(tmp_path, results, episodes, "episodes.mp4")
    numbers = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))
    assert numbers["successes"] == 1
    assert numbers["latencies_ms"][INFERENCE]["n"] == 100
    assert [outcome["seed"] for outcome in numbers["outcomes"]] == [1000, 1001]
    page, text = ((tmp_path / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "md"))
    for plot in report.PLOTS:
        assert (tmp_path / plot).stat().st_size > 1000
        assert f'src="{plot}"' in page
        assert f"({plot})" in text
    assert "episodes.mp4" in page
    assert "http" not in page, "the page needs nothing from the network"


def test_the_film_plays_every_episode_in_real_time(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    still = round(video.LAST_FRAME_S * video.FRAME_RATE_HZ)
    assert video.write_video(path, [episode(1), episode(2, frames=10)], "lift") == 20 + 10 + 2 * still
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 30 + 2 * still
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(video.FRAME_RATE_HZ)


def test_lost_frames_do_not_make_the_film_faster(tmp_path: Path) -> None:
    record = episode(1)
    del record.frames[5:15]
    still = round(video.LAST_FRAME_S * video.FRAME_RATE_HZ)
    assert video.write_video(tmp_path / "film.mp4", [record], "lift") == 20 + still


def test_without_frames_there_is_no_film(tmp_path: Path) -> None:
    assert video.write_video(tmp_path / "film.mp4", [episode(1, frames=0)], "lift") == 0
    assert not (tmp_path / "film.mp4").exists()


def ship(folder: Path, name: str, task: str, successes: int, method: str = "glam") -> tuple[str, Path]:
    written = write_toy_model(folder / name, task=task)
    changed = evaluated(written, successes).model_copy(update={"method": method})
    write_manifest(folder / name, changed)
    assert read_manifest(folder / name).evaluation.successes == successes
    return name, folder / name


def test_the_default_is_the_hardest_task_whose_model_is_good_enough(tmp_path: Path) -> None:
    lift = ship(tmp_path, "lift", "lift", 95)
    poor = ship(tmp_path, "stack_poor", "stack_two", 60)
    assert choose(dict([lift, poor])).folder.name == "lift"
    good = ship(tmp_path, "stack_good", "stack_two", 82)
    assert choose(dict([lift, poor, good])).folder.name == "stack_good"
    assert choose(dict([lift, poor, good]), "stack_two").folder.name == "stack_good"
    assert choose(dict([lift, poor, good]), "lift").folder.name == "lift"


def test_where_none_is_good_enough_the_best_one_runs(tmp_path: Path) -> None:
    models = dict([ship(tmp_path, "lift", "lift", 70), ship(tmp_path, "stack", "stack_two", 40)])
    assert choose(models).folder.name == "lift"


def test_the_baseline_is_never_the_default(tmp_path: Path) -> None:
    models = dict([ship(tmp_path, "mip", "lift", 99, method="mip"), ship(tmp_path, "glam", "lift", 85)])
    assert choose(models, "lift").folder.name == "glam"


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="'stack_tow'; legal: stack_two, lift; did you mean 'stack_two'"):
        choose({}, "stack_tow")


def test_a_missing_model_says_how_to_make_one() -> None:
    with pytest.raises(ModelFolderError, match="no image model for the task 'lift' is shipped.*Train and export one"):
        choose({}, "lift")


@pytest.mark.parametrize("options", [{"episodes": 0}, {"seed": -1}])
def test_a_demo_of_nothing_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="at least one episode"):
        DemoOptions(**options)


def test_two_graphs_get_two_domains() -> None:
    with own_domain() as first, own_domain() as second:
        assert first != second
        assert {first, second} <= set(range(1, 101))


def test_a_domain_that_somebody_uses_is_left_alone() -> None:
    with own_domain() as domain:
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(("", FIRST_PORT + domain * PORTS_PER_DOMAIN + FIRST_PARTICIPANT))
        with own_domain() as other:
            assert other != domain


@pytest.mark.parametrize(("model", "arms"), [("lift", ("arm",)), ("stack_three", ("left", "right"))])
def test_a_model_runs_in_the_simulated_cell_that_has_its_arms(model: str, arms: tuple[str, ...]) -> None:
    folder = resources.model_folder(model)
    station = load_station(station_file("", folder))
    assert tuple(arm.name for arm in station.arms) == arms
    assert station_file("sim", folder) == resources.station_file("sim")
