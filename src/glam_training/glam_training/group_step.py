"""One step of several groups that train side by side, with all its randomness from seeds.

All data live on the device and batches are drawn there, so a step needs nothing from the host. On a GPU the whole step
(draw, loss, gradient, AdamW, average, of all groups) is captured once, each group as a branch of one CUDA graph, and
replayed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from glam_training.costs import milliseconds
from glam_training.group_training import Training

_LOGGER = logging.getLogger(__name__)


class Step:
    """One step of several trainings, with all its randomness from seeds; on a GPU as a captured graph in which each
    training is a branch."""

    def __init__(self, trainings: Sequence[Training]) -> None:
        self._trainings = trainings
        fit = trainings[0].fit
        self._phase = fit.phase
        self._seeds = [seed for training in trainings for seed in training.fit.group.seeds]
        self._on_gpu = fit.group.device.type == "cuda"
        self._graph = self._capture() if self._on_gpu else None

    def block(self, first: int, steps: int) -> int:
        """Do `steps` steps from step `first` on: the number of steps done then."""
        torch.manual_seed(hash((*self._seeds, _number(self._phase), first)) % 2**63)
        for _ in range(steps):
            self._once()
        if self._on_gpu:
            _wait()
        for training in self._trainings:
            training.done = first + steps
        return first + steps

    def speed(self) -> dict[str, float]:
        """Milliseconds of a whole step, and of making its batches alone: is training ever waiting for data?

        For the end of a phase: what its steps change is not looked at any more.
        """
        if self._graph is None:
            return {"step_ms": milliseconds(self._once), "draw_ms": milliseconds(self._draw)}
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            batches = self._draw()
        speed = {"step_ms": milliseconds(self._graph.replay), "draw_ms": milliseconds(graph.replay)}
        del batches  # their memory belongs to the graph
        return speed

    def _once(self) -> None:
        if self._graph is not None:
            self._graph.replay()
            return
        for training in self._trainings:
            training.step()

    def _draw(self) -> list[Any]:
        return [training.fit.draw() for training in self._trainings]

    def _capture(self) -> torch.cuda.CUDAGraph | None:
        """Capture a step; the steps that warm it up are undone."""
        put_back = [training.keep() for training in self._trainings]
        branches = [torch.cuda.Stream() for _ in self._trainings]
        trunk = torch.cuda.Stream()
        trunk.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(trunk):
            for _ in range(3):
                self._branch(trunk, branches)
        torch.cuda.current_stream().wait_stream(trunk)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._branch(torch.cuda.current_stream(), branches)
        except RuntimeError as error:
            _LOGGER.warning("%s: no CUDA graph, training step by step, several times slower: %s", self._phase, error)
            torch.cuda.synchronize()
            graph = None
        for put in put_back:
            put()
        return graph

    def _branch(self, trunk: torch.cuda.Stream, branches: Sequence[torch.cuda.Stream]) -> None:
        """One step of each training on a stream of its own, which begins and ends in the trunk."""
        for training, branch in zip(self._trainings, branches, strict=True):
            branch.wait_stream(trunk)
            with torch.cuda.stream(branch):
                training.step()
        for branch in branches:
            trunk.wait_stream(branch)


def _wait() -> None:
    """Wait for the GPU without keeping a core busy, as others simulate meanwhile."""
    event = torch.cuda.Event(blocking=True)
    event.record()
    event.synchronize()


def _number(phase: str) -> int:
    """A number for a phase's name: `hash` of a string differs from process to process."""
    return int.from_bytes(phase.encode()[:8], "little")
