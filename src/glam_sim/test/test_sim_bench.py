"""The bench measures and prints what it promises."""

import pytest

from glam_sim.bench import BenchConfig, run


def test_the_bench_prints_successes_and_rates(capsys: pytest.CaptureFixture[str]):
    run(BenchConfig(tasks=("lift",), embodiments=("umi",), episodes=2, frames=2, image_size=32))
    printed = capsys.readouterr().out
    assert "expert 2/2" in printed
    assert "physics steps/s" in printed
    assert "front" in printed
