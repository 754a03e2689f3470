"""A session: logs in, keeps the session alive while nothing else is sent, and logs out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kinova_driver.kortex import services
from kinova_driver.kortex.definitions import Common, SubErrorCodes
from kinova_driver.kortex.router import KException, KServerException, RouterClient, RouterClientSendOptions

logger = logging.getLogger(__name__)

_QUIET_S = 0.15
"""A session is kept alive when nothing was sent for this long."""
_KEEP_ALIVE = RouterClientSendOptions(timeout_ms=120)
_CLOSE = RouterClientSendOptions(timeout_ms=200)
_OVER = {SubErrorCodes.Value("INVALID_USER_SESSION_ACCESS"), SubErrorCodes.Value("INVALID_SESSION")}


class SessionManager:
    """The session of one router; TCP and UDP each have their own."""

    def __init__(self, router: RouterClient, on_ended: Callable[[KException], Any] | None = None) -> None:
        """Prepares a session; `CreateSession` opens it.

        Args:
            router: Where the calls go.
            on_ended: Told when the arm says that the session is over, on the thread that keeps it alive.
        """
        self._router, self._on_ended = router, on_ended
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def CreateSession(self, info: Any, options: RouterClientSendOptions | None = None) -> None:
        """Logs in with a `Session.CreateSessionInfo`, and keeps the session alive from here on.

        Raises:
            KServerException: The arm refuses; its sub-code says why.
        """
        self._end_thread()
        method = services.method("Session", "CreateSession")
        header, _ = self._router.call(method, info, 0, options or RouterClientSendOptions())
        self._router.session_id = header.session_id
        self._over.clear()
        self._thread = threading.Thread(target=self._keep_alive, name="kortex-keep-alive", daemon=True)
        self._thread.start()

    def CloseSession(self, options: RouterClientSendOptions | None = None) -> None:
        """Logs out; harmless without a session, and when the arm does not answer any more."""
        if self._thread is None:
            return
        self._end_thread()
        with suppress(KException, TimeoutError, ConnectionError):
            method = services.method("Session", "CloseSession")
            self._router.call(method, Common.Empty(), 0, options or _CLOSE)
        self._router.session_id = 0

    def _end_thread(self) -> None:
        self._over.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def _keep_alive(self) -> None:
        method = services.method("Session", "KeepAlive")
        while not self._over.wait(max(0.005, self._router.last_sent + _QUIET_S - time.monotonic())):
            if time.monotonic() - self._router.last_sent < _QUIET_S:
                continue
            try:
                self._router.call(method, Common.Empty(), 0, _KEEP_ALIVE)
            except KServerException as error:
                if error.get_error_sub_code() in _OVER:
                    logger.warning("the session is over: %s", error)
                    if self._on_ended is not None:
                        self._on_ended(error)
                    return
                logger.warning("the arm does not keep the session alive: %s", error)
            except (TimeoutError, ConnectionError) as error:  # the arm may come back
                logger.debug("the session was not kept alive: %s", error)
                self._router.last_sent = time.monotonic()
