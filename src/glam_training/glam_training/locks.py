"""One process at a time in a folder; a lock goes with its process, however that ends."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from glam_core.errors import ConfigurationError

LOCK_FILE = ".lock"


@contextmanager
def alone_in(folder: Path) -> Generator[None, None, None]:
    """Wait until no other process is inside."""
    with _lock_file(folder).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def alone_in_or_fail(folder: Path, who: str) -> Generator[None, None, None]:
    """Go in, unless another process is inside.

    Args:
        folder: to be worked in.
        who: does such work, for the message.

    Raises:
        ConfigurationError: another process is inside.
    """
    with _lock_file(folder).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another {who} works in {folder}; wait for it, stop it, or choose another folder"
            ) from None
        yield


def _lock_file(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / LOCK_FILE
