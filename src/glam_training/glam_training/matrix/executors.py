"""Where the work of the matrix is done: processes of this machine, or a Ray cluster, behind one interface."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any, Protocol

from glam_core.errors import ConfigurationError
from glam_training.parallel import single_threaded


class Executor(Protocol):
    """Runs picklable functions elsewhere.

    Attributes:
        trainings: how many trainings may run at a time.
        simulations: how many simulations may run at a time.
        shared: whether both kinds share their processes.
    """

    trainings: int
    simulations: int
    shared: bool

    def train(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Start a training."""
        ...

    def simulate(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Start a simulation."""
        ...

    def close(self) -> None:
        """Stop; what still runs is ended at once."""
        ...


class LocalExecutor:
    """Processes of this machine, each on one core.

    Args:
        workers: processes that simulate.
        trainers: processes that train; none: the simulating ones train as well, which suits a machine without a GPU.
    """

    def __init__(self, workers: int, trainers: int = 0) -> None:
        self.shared = trainers == 0
        self.simulations = workers
        self.trainings = trainers or workers
        self._simulators = _pool(workers)
        self._trainers = _pool(trainers) if trainers else self._simulators
        self._futures: set[Future[Any]] = set()

    def train(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Start a training."""
        return self._submit(self._trainers, function, *arguments)

    def simulate(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Start a simulation."""
        return self._submit(self._simulators, function, *arguments)

    def close(self) -> None:
        """Stop; what still runs is ended at once."""
        for pool in {id(pool): pool for pool in (self._simulators, self._trainers)}.values():
            processes = list((pool._processes or {}).values())
            unfinished = any(not future.cancel() for future in list(self._futures))
            pool.shutdown(wait=not unfinished, cancel_futures=True)
            if unfinished:
                for process in processes:
                    process.terminate()
                for process in processes:
                    process.join()

    def _submit(self, pool: ProcessPoolExecutor, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        with single_threaded(TQDM_DISABLE="1"):  # processes are started when work comes, and inherit the environment
            future = pool.submit(function, *arguments)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future


class RayExecutor:
    """A Ray cluster. Its nodes need this package, and the folders of the matrix under the same paths.

    Args:
        address: of the cluster, such as "auto"; "local" starts one on this machine.
    """

    shared = False

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ModuleNotFoundError:
            raise ConfigurationError(
                "--ray needs the package ray, which is not installed: pip install ray; without --ray the matrix runs "
                "in processes of this machine"
            ) from None
        self._ray = ray
        ray.init(address=address, ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
        resources = ray.cluster_resources()
        cores, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        self.trainings = gpus or cores
        self.simulations = cores
        environment = {"env_vars": {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}}
        self._train = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0, runtime_env=environment)(_call)
        self._simulate = ray.remote(num_cpus=1, runtime_env=environment)(_call)

    def train(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Start a training."""
        return self._train.remote(function, *arguments).future()

    def simulate(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Start a simulation."""
        return self._simulate.remote(function, *arguments).future()

    def close(self) -> None:
        """Leave the cluster; what still runs is cancelled."""
        self._ray.shutdown()


def _call(function: Callable[..., Any], *arguments: object) -> Any:
    return function(*arguments)


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """A process of a matrix that is killed ends too, instead of waiting for work that never comes."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
