"""One process per arm: a lock on its address that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from kinova_driver.arm import ArmError


class AddressLock:
    """Held by whoever drives the arm at an address, on this computer. A killed process holds nothing."""

    def __init__(self, address: str, port: int, folder: Path | None = None) -> None:
        """Names the lock; `acquire` takes it.

        Args:
            address: Of the arm, resolved, so that two names of one arm have one lock.
            port: Where it takes commands.
            folder: Where the file lies; the one for temporary files by default.
        """
        name = re.sub(r"[^0-9A-Za-z.]", "-", f"{address}-{port}")
        self._address = f"{address}:{port}"
        self.path = (folder or Path(tempfile.gettempdir())) / f"kinova-{name}.lock"
        self._file: int | None = None

    def acquire(self) -> None:
        """Takes the lock.

        Raises:
            ArmError: It is held; the message names the process.
        """
        if self._file is not None:
            return
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise ArmError(f"the lock {self.path} of the arm can not be opened: {error}") from error
        with suppress(PermissionError):  # it belongs to somebody else, who made it for everybody
            os.chmod(file, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(file, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise ArmError(
                f"the arm at {self._address} is driven by process {holder} of this computer; end that one first"
            ) from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        """Gives the lock back; harmless when it is not held. The file stays: removing it would race with others."""
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None
