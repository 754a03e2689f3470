"""Any policy can be evaluated, with any number of processes; videos show every episode."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest

from glam_core.errors import ConfigurationError, DataError
from glam_core.spec import ActionSpec, ObsSpec
from glam_training.evaluate import Conditions, Policy, evaluate
from glam_training.video import Clip, write_video


def stay(height: float) -> Policy:
    """Rises by so many metres per step."""
    action = np.array([0, 0, height, 0, 0], np.float32)
    return Policy(
        predict=lambda observation: np.tile(action, (4, 1)),
        decode=lambda latent, state: latent,
        obs_spec=ObsSpec(),
        action_spec=ActionSpec(),
        chunk_length=4,
        execute_length=2,
    )


@pytest.mark.sim
def test_evaluate_any_policy_with_any_number_of_workers():
    conditions = Conditions("lift", "gen3", max_steps=6)
    results = [evaluate(partial(stay, 0.01), conditions, [3, 4], workers) for workers in (1, 2)]
    keys = ("seed", "success", "steps", "held")
    first, second = ([[getattr(o, key) for key in keys] for o in result.outcomes] for result in results)
    assert first == second
    assert [o.held for o in results[0].outcomes] == [1, 1]  # the first chunk arrives one step late
    assert len(results[0].outcomes[0].predict_ms) == 3


def clip(frames: int, shade: int, size: int = 64) -> Clip:
    return Clip(np.full((frames, size, size, 3), shade, np.uint8), f"seed {shade}", success=shade > 100)


def test_video_tiles_clips_and_holds_their_last_frame(tmp_path):
    write_video(tmp_path / "new/video.mp4", [clip(3, 40), clip(12, 200), clip(5, 90)], frame_rate_hz=10.0)
    video = cv2.VideoCapture(str(tmp_path / "new/video.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 12 + 15
    frames = [video.read()[1] for _ in range(27)]
    assert frames[0].shape == (128, 128, 3)
    for frame in (frames[0], frames[-1]):
        for (y, x), shade in (((32, 32), 40), ((32, 96), 200), ((96, 32), 90), ((96, 96), 0)):
            np.testing.assert_allclose(frame[y + 8, x], shade, atol=12)


def test_video_errors(tmp_path):
    with pytest.raises(ConfigurationError, match=r"\*.mp4"):
        write_video(tmp_path / "video.gif", [clip(2, 1)], 10.0)
    with pytest.raises(ConfigurationError, match="at least one episode"):
        write_video(tmp_path / "video.mp4", [], 10.0)
    with pytest.raises(DataError, match="different sizes"):
        write_video(tmp_path / "video.mp4", [clip(2, 1), clip(2, 1, 32)], 10.0)
