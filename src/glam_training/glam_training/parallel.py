"""Map over items in several processes, results in order."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}
"""Every process computes and renders on one core: the parallelism is in the processes."""

_work: Callable | None = None


def ordered_map(
    make_work: Callable[[], Callable[[Item], Result]], items: Iterable[Item], workers: int
) -> Generator[Result, None, None]:
    """Yield work(item) for every item, in the order of the items.

    Args:
        make_work: called once in each process, returns the function to map; must be picklable for several workers
            (a module's function, or functools.partial of one).
        items: may be endless; only a few are taken ahead of the results. Close the generator to stop.
        workers: processes; 1 works in this process.
    """
    if workers == 1:
        work = make_work()
        for item in items:
            yield work(item)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_initialize, initargs=(make_work,))
    pending: deque[Future[Any]] = deque()
    remaining = iter(items)
    try:
        with single_threaded():
            for item in remaining:
                pending.append(pool.submit(_call, item))
                if len(pending) == 2 * workers:
                    break
        while pending:
            yield pending.popleft().result()
            for item in remaining:
                pending.append(pool.submit(_call, item))
                break
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _initialize(make_work: Callable[[], Callable]) -> None:
    global _work
    _work = make_work()


def _call(item: object) -> object:
    assert _work is not None, "the pool calls _initialize first"
    return _work(item)


@contextmanager
def single_threaded(**others: str) -> Generator[None, None, None]:
    """Environment that the processes started inside inherit: one core each, and `others`. What the user has set
    stays."""
    added = {name: value for name, value in (_SINGLE_THREADED | others).items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
