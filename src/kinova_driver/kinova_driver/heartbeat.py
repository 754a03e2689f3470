"""A few numbers that the driver and its guardian both see: when the arm was last told to move, and who ended that.

They lie in memory that two processes share, so reading and writing them needs nobody's help. Each is one aligned
float64, a reading of the monotonic clock, which is the same in all processes of a computer.
"""

from __future__ import annotations

import mmap
import os

import numpy as np

_FED, _HANDLED, _TRIPPED = range(3)
_SIZE = mmap.PAGESIZE


class Heartbeat:
    """The shared numbers; zero is never.

    Attributes:
        file: The memory, for `Heartbeat(file)` in the other process.
    """

    def __init__(self, file: int | None = None) -> None:
        self.file = os.memfd_create("heartbeat") if file is None else file
        if file is None:
            os.ftruncate(self.file, _SIZE)
        self._memory = mmap.mmap(self.file, _SIZE)
        self._values = np.frombuffer(self._memory, dtype=np.float64, count=3)

    def close(self) -> None:
        """Gives the memory back."""
        del self._values
        self._memory.close()
        os.close(self.file)

    def feed(self, now: float) -> None:
        """A fresh command came in: from now on the arm moves."""
        self._values[_FED] = now

    def handled(self, fed_at: float) -> None:
        """The arm has taken a hold or a stop after what was commanded at `fed_at`."""
        self._values[_HANDLED] = max(fed_at, float(self._values[_HANDLED]))

    def trip(self, fed_at: float) -> None:
        """The guardian stopped the arm after what was commanded at `fed_at`."""
        self._values[_TRIPPED] = fed_at

    @property
    def fed_at(self) -> float:
        """When the last fresh command came in."""
        return float(self._values[_FED])

    @property
    def unhandled_since(self) -> float:
        """When the command came in that nobody has ended yet; zero where the arm is at rest."""
        fed = float(self._values[_FED])
        return fed if fed > self._values[_HANDLED] else 0.0

    @property
    def tripped(self) -> bool:
        """Whether the guardian had to stop the arm after the last fresh command."""
        return bool(self._values[_TRIPPED] > 0.0 and self._values[_TRIPPED] >= self._values[_FED])
