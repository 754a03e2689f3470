"""All demonstrations of a group of runs as flat tensors on the device, and batches drawn there.

Sources of all runs stand one after the other; each run knows the rows of its own. A batch is index arithmetic and
gathers, so it costs no time on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glam_core.errors import DataError
from glam_training.slots import Slots


@dataclass(frozen=True)
class Pool:
    """Sources of one or more runs, concatenated; N frames in all.

    Attributes:
        moments: (N, M) float32.
        glimpses: (N, G, 3, P, P) uint8.
        state: (N, S) float32; zeros where a source's states are not known.
        action: (N, A) float32; zeros where a source has no actions.
        end: (N,) int64 exclusive end of the frame's episode.
        offsets: first row of each source.
    """

    moments: Tensor
    glimpses: Tensor
    state: Tensor
    action: Tensor
    end: Tensor
    offsets: tuple[int, ...]

    @property
    def device(self) -> torch.device:
        """Where the data are."""
        return self.moments.device

    def all_rows(self, source: int, span: int) -> Tensor:
        """Rows (M,) of a source that have another row of their episode `span` rows later."""
        stop = self.offsets[source + 1] if source + 1 < len(self.offsets) else len(self.end)
        return self.spanning(torch.arange(self.offsets[source], stop, device=self.device), span)

    def spanning(self, rows: Tensor, span: int) -> Tensor:
        """Those of `rows` (L,) that have another row of their episode `span` rows later."""
        return rows[rows + span < self.end[rows]]


def make_pool(sources: Sequence[Slots], device: torch.device) -> Pool:
    """Concatenate sources on the device."""
    lengths = [len(source.moments) for source in sources]
    offsets = [0, *np.cumsum(lengths)[:-1].tolist()]
    ends = [torch.from_numpy(np.asarray(s.episode_ends)) + o for s, o in zip(sources, offsets, strict=True)]
    counts = [torch.diff(e, prepend=torch.tensor([o])) for e, o in zip(ends, offsets, strict=True)]
    end = torch.cat([e.repeat_interleave(c) for e, c in zip(ends, counts, strict=True)])
    return Pool(
        moments=torch.cat([s.moments for s in sources]).to(device),
        glimpses=torch.cat([s.glimpses for s in sources]).to(device),
        state=_labels([s.state for s in sources], lengths).to(device),
        action=_labels([s.action for s in sources], lengths).to(device),
        end=end.to(device),
        offsets=tuple(offsets),
    )


@dataclass(frozen=True)
class Rows:
    """For each of R runs, the rows that it may draw: a padded table.

    Attributes:
        table: (R, L) int64.
        count: (R, 1) float32, valid entries of each row of the table.
    """

    table: Tensor
    count: Tensor

    def draw(self, size: int) -> Tensor:
        """(R, size) rows, with replacement."""
        shape = (len(self.table), size)
        index = (torch.rand(shape, device=self.table.device) * self.count).long()
        return self.table.gather(1, torch.minimum(index, self.count.long() - 1))  # the product may round up


def make_rows(rows: Sequence[Tensor]) -> Rows:
    """Stack the runs' rows.

    Raises:
        DataError: a run has none.
    """
    if any(len(r) == 0 for r in rows):
        raise DataError("a run has no transitions: every episode is shorter than the span of a latent; lower the span")
    table = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    count = torch.tensor([[float(len(r))] for r in rows], device=table.device)
    return Rows(table, count)


def choose_episodes(available: int, wanted: int, seed: int, what: str) -> np.ndarray:
    """Which of `available` episodes a run with this seed learns from, sorted; more contain the fewer.

    Raises:
        DataError: there are too few.
    """
    if not 0 < wanted <= available:
        raise DataError(f"{what} has {available} episodes, {wanted} were asked for; record more")
    return np.sort(np.random.default_rng(seed).permutation(available)[:wanted])


def _labels(parts: Sequence[Tensor | None], lengths: Sequence[int]) -> Tensor:
    size = next(p.shape[1] for p in parts if p is not None)
    return torch.cat([torch.zeros(n, size) if p is None else p for p, n in zip(parts, lengths, strict=True)])
