"""Who talks to the arm: sessions, each bound to the connection that it was created on, and their time-outs."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

from kinova_driver.simulator.robot import Refusal

DEFAULT_SESSION_TIMEOUT_S, DEFAULT_CONNECTION_TIMEOUT_S = 60.0, 2.0
"""What a session gets that names no time-outs."""
MAX_SESSIONS = 10
_LAST_IDENTIFIER = 0xFFFE


@dataclass
class Session:
    """One session.

    Attributes:
        identifier: 1 to 65534; never used again while another one is free.
        user: Who logged in.
        connection: Where it was created; requests from elsewhere are not its own.
        session_timeout_s: Not heard of for so long, it is removed.
        connection_timeout_s: Not heard of for so long, what it set in motion is stopped.
        heard_at: When it was heard last, monotonic, s.
        silent: Its motion has been stopped for its silence.
    """

    identifier: int
    user: str
    connection: Hashable
    session_timeout_s: float
    connection_timeout_s: float
    heard_at: float
    silent: bool = False


class Expired(NamedTuple):
    """Sessions that have just fallen silent, and those that are just over."""

    silent: tuple[int, ...]
    ended: tuple[int, ...]


class Sessions:
    """The sessions of one arm."""

    def __init__(self, user: str = "admin", password: str = "admin") -> None:
        """Nobody is logged in; one user may."""
        self._user, self._password = user, password
        self._sessions: dict[int, Session] = {}
        self._last = 0
        self.refusing = False
        """New sessions are refused."""

    def __len__(self) -> int:
        return len(self._sessions)

    def all(self) -> tuple[Session, ...]:
        """Every session."""
        return tuple(self._sessions.values())

    def create(
        self, connection: Hashable, user: str, password: str, timeouts_s: tuple[float, float], now: float
    ) -> Session:
        """Logs somebody in; a connection has one session at a time.

        Args:
            connection: Where from.
            user: Who.
            password: And why one should believe it.
            timeouts_s: Session and connection inactivity time-out; 0 stands for the default.
            now: Monotonic time, s.
        """
        if user != self._user:
            raise Refusal("USER_NOT_FOUND", f"User '{user}' not found")
        if password != self._password:
            raise Refusal("INVALID_PASSWORD", "Invalid password")
        if self.refusing or len(self._sessions) >= MAX_SESSIONS:
            raise Refusal("INVALID_SESSION", "No more sessions can be created")
        for session in self.all():
            if session.connection == connection:
                del self._sessions[session.identifier]
        session = Session(
            self._next_identifier(),
            user,
            connection,
            timeouts_s[0] or DEFAULT_SESSION_TIMEOUT_S,
            timeouts_s[1] or DEFAULT_CONNECTION_TIMEOUT_S,
            now,
        )
        self._sessions[session.identifier] = session
        return session

    def hear(self, connection: Hashable, identifier: int, now: float) -> Session:
        """A request came in: its session, whose time begins anew.

        Raises:
            Refusal: There is no such session on this connection.
        """
        session = self._sessions.get(identifier)
        if session is None or session.connection != connection:
            raise Refusal("INVALID_USER_SESSION_ACCESS", f"Session {identifier} is not valid")
        session.heard_at, session.silent = now, False
        return session

    def close(self, identifier: int) -> None:
        """Ends a session; harmless when there is none."""
        self._sessions.pop(identifier, None)

    def expire(self, now: float) -> Expired:
        """Judges the silence of every session."""
        silent, ended = [], []
        for session in self.all():
            quiet = now - session.heard_at
            if quiet > session.session_timeout_s:
                self.close(session.identifier)
                ended.append(session.identifier)
            elif quiet > session.connection_timeout_s and not session.silent:
                session.silent = True
                silent.append(session.identifier)
        return Expired(tuple(silent), tuple(ended))

    def _next_identifier(self) -> int:
        while True:
            self._last = self._last % _LAST_IDENTIFIER + 1
            if self._last not in self._sessions:
                return self._last
