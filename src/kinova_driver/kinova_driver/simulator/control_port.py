"""A port on loopback where another process makes a simulated cell misbehave: one JSON object per line, each answered.

{"arm": "arm", "tell": "drop 20"}     ->  {"ok": true, "answer": "done"}
{"tell": "reset 7 stack_two"}         ->  {"ok": true, "answer": "done"}
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable

from glam_core.errors import ConfigurationError, GlamError

Tell = Callable[[str, str], str]
"""Takes the name of an arm, empty for all, and the words; returns what there is to say."""

LOOPBACK = "127.0.0.1"
_MOST_BYTES = 4096
_PATIENCE_S = 30.0


class ControlPort:
    """Takes words from other processes of this computer."""

    def __init__(self, tell: Tell, port: int) -> None:
        """Binds the port, 0 for any that is free; raises ConfigurationError where it is taken."""

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while line := self.rfile.readline(_MOST_BYTES):
                    self.wfile.write(json.dumps(_answer(tell, line)).encode() + b"\n")

        try:
            self._server = _Server((LOOPBACK, port), Handler)
        except OSError as error:
            raise ConfigurationError(f"the control port {port} can not be opened: {error.strerror}") from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="control port", daemon=True)

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()

    def close(self) -> None:
        """Ends; harmless when repeated."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


def ask(port: int, text: str, arm: str = "") -> str:
    """Says something to the control port of a running simulator; returns its answer.

    Raises:
        ConfigurationError: Nobody listens there, or the words are not understood.
    """
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_PATIENCE_S) as connection:
            connection.sendall(json.dumps({"arm": arm, "tell": text}).encode() + b"\n")
            with connection.makefile() as lines:
                answer = json.loads(lines.readline() or '{"ok": false, "answer": "it hung up"}')
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"no simulator answers at the control port {port}: {error}; start kinova-sim, or give its --control-port"
        ) from error
    if not answer["ok"]:
        raise ConfigurationError(answer["answer"])
    return answer["answer"]


def _answer(tell: Tell, line: bytes) -> dict[str, object]:
    try:
        request = json.loads(line)
        text, arm = request["tell"], request.get("arm", "")
        if not (isinstance(text, str) and isinstance(arm, str)):
            raise TypeError("arm and tell are strings")
    except (ValueError, TypeError, KeyError, AttributeError):
        return {"ok": False, "answer": 'expected a line such as {"arm": "arm", "tell": "drop 20"}'}
    try:
        return {"ok": True, "answer": tell(arm, text)}
    except GlamError as error:
        return {"ok": False, "answer": str(error)}
