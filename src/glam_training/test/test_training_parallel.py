"""Results come in order, from endless items too, and errors of a worker arrive."""

from __future__ import annotations

import itertools
import os
from functools import partial

import pytest

from glam_training.parallel import ordered_map


def make_square(offset: int):
    return partial(square, offset)


def square(offset: int, value: int) -> tuple[int, int, str | None]:
    if value == 7:
        raise ValueError("seven")
    return value * value + offset, os.getpid(), os.environ.get("OMP_NUM_THREADS")


@pytest.mark.parametrize("workers", [1, 2])
def test_order_endless_items_and_errors(workers, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    results = ordered_map(partial(make_square, 1), itertools.count(), workers)
    taken = [next(results) for _ in range(7)]
    assert [value for value, _, _ in taken] == [1, 2, 5, 10, 17, 26, 37]
    assert all((process == os.getpid()) == (workers == 1) for _, process, _ in taken)
    assert all(threads == (None if workers == 1 else "1") for _, _, threads in taken)
    with pytest.raises(ValueError, match="seven"):
        next(results)
    assert "OMP_NUM_THREADS" not in os.environ


def test_finite_items_end():
    assert [value for value, _, _ in ordered_map(partial(make_square, 0), range(3), 2)] == [0, 1, 4]
