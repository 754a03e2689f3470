"""One connection to one arm: TCP for commands and UDP for feedback, each with a session, all calls with a time-out."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from glam_core.errors import ConfigurationError
from glam_core.gen3 import JOINTS
from glam_core.station import ArmConfig, Timeouts
from kinova_driver import faults, units
from kinova_driver.arm import ArmError
from kinova_driver.kortex.api import KortexApi
from kinova_driver.kortex.definitions import SubErrorCodes
from kinova_driver.kortex.frame import WireError

DEFAULT_TCP_PORT, DEFAULT_UDP_PORT = 10000, 10001
HOME = "Home"
"""Name of the arm's own action that leads to its home pose."""

_CLOSE_S = 0.2
_TIMEOUTS = (TimeoutError, FutureTimeoutError)


class CallError(ArmError):
    """A call that failed.

    Attributes:
        sub_code: One of `SubErrorCodes` where the arm answered with an error, else None.
        timed_out: Whether there was no answer.
    """

    def __init__(self, text: str, sub_code: int | None = None, timed_out: bool = False) -> None:
        super().__init__(text)
        self.sub_code, self.timed_out = sub_code, timed_out

    def means(self, *names: str) -> bool:
        """Whether the arm answered with one of these sub-errors."""
        return self.sub_code in {SubErrorCodes.Value(name) for name in names}


@dataclass(frozen=True)
class Endpoint:
    """Where an arm is, and who logs in."""

    address: str
    tcp_port: int
    udp_port: int
    username: str
    password: str

    @classmethod
    def of(cls, config: ArmConfig) -> Endpoint:
        """That of an arm of a station file.

        Raises:
            ConfigurationError: The environment lacks the password.
        """
        password = config.password
        if config.password_env is not None:
            if config.password_env not in os.environ:
                raise ConfigurationError(
                    f"arm '{config.name}' takes its password from the environment variable {config.password_env}, "
                    "which is not set"
                )
            password = os.environ[config.password_env]
        tcp_port, udp_port = config.tcp_port or DEFAULT_TCP_PORT, config.udp_port or DEFAULT_UDP_PORT
        return cls(config.address or "127.0.0.1", tcp_port, udp_port, config.username, password)

    def resolved(self) -> str:
        """The numeric address, the same for every name of the arm."""
        try:
            return str(socket.getaddrinfo(self.address, None)[0][4][0])
        except (OSError, UnicodeError) as error:
            raise ArmError(f"there is no host '{self.address}': {error}; check the arm's address") from error

    def __str__(self) -> str:
        return f"{self.address}:{self.tcp_port}"


@dataclass(frozen=True)
class Pending:
    """A call that was sent, and whose answer nobody has looked at."""

    link: Link
    name: str
    call: Any
    sent_at: float
    """Monotonic clock, s."""


class Link:
    """Open from `open` to `close`; calls may be made from any thread."""

    LOGIN_ERRORS = ("INVALID_PASSWORD", "USER_NOT_FOUND")

    def __init__(self, api: KortexApi, endpoint: Endpoint, timeouts: Timeouts) -> None:
        self.api, self.endpoint, self.timeouts = api, endpoint, timeouts
        self.heard = time.monotonic()
        """When the arm last answered on TCP: monotonic clock, s."""
        self.home: Any = None
        """Handle of the arm's own motion home; None where it has none."""
        self._closing: list[Callable[[], Any]] = []
        self._clients: dict[str, Any] = {}
        self._router: Any = None
        self._feedback: Any = None
        self._feedback_options = self._options(timeouts.feedback_s)

    def open(self, on_action: Callable[[Any], Any]) -> None:
        """Connects, checks what is there, and puts the arm into single-level servoing.

        Args:
            on_action: Gets the notifications of the arm's own motions.

        Raises:
            ArmError: Any of it failed; everything is closed again.
        """
        self.look()
        try:
            self._check_joints()
            self.require_single_level()
            self._find_home()
            self.call("OnNotificationActionTopic", on_action, self.api.messages["Common"].NotificationOptions())
        except BaseException:
            self.close()
            raise

    def look(self) -> None:
        """Connects and logs in, and changes nothing.

        Raises:
            ArmError: That failed; everything is closed again.
        """
        try:
            self._router = router = self._connect(self.api.TCPTransport(), self.endpoint.tcp_port, "TCP")
            self._clients = {name: make(router) for name, make in self.api.clients.items()}
            feedback_router = self._connect(self.api.UDPTransport(), self.endpoint.udp_port, "UDP")
            self._feedback = self.api.clients["BaseCyclic"](feedback_router)
            self.heard = time.monotonic()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Logs out and closes the sockets; harmless when it is closed."""
        while self._closing:
            with suppress(
                Exception
            ):  # a connection that broke can not be closed well, and the next must be closed, too
                self._closing.pop()()

    def call(self, name: str, *arguments: Any, service: str = "Base", device: int = 0, timeout_s: float = 0.0) -> Any:
        """Makes a call on TCP and returns its answer.

        Args:
            name: Of the call.
            arguments: Its request, where it has one.
            service: Where the call belongs.
            device: Which device; 0 for the base.
            timeout_s: How long the answer is waited for; `timeouts.request_s` unless given.

        Raises:
            CallError: It failed.
        """
        client = self._clients.get(service)
        if client is None:
            raise CallError(f"there is no connection to the arm at {self.endpoint}")
        options = self._options(timeout_s or self.timeouts.request_s)
        answer = self._guard(name, lambda: getattr(client, name)(*arguments, deviceId=device, options=options))
        self.heard = time.monotonic()
        return answer

    def command(self, name: str, *arguments: Any) -> None:
        """Makes a call of the control loop."""
        self.call(name, *arguments, timeout_s=self.timeouts.command_s)

    def begin(self, name: str, request: Any) -> Pending:
        """Sends a call of the control loop and does not wait: an arm that answers late must not delay the next one."""
        call = self._guard(name, lambda: self.api.begin(self._router, name, request))
        return Pending(self, name, call, time.monotonic())

    def conclude(self, pending: Pending) -> None:
        """Looks at the answer of a call that was begun; raises CallError for a bad one, or where there is none yet."""
        self._guard(pending.name, lambda: pending.call.result(0.0))
        self.heard = time.monotonic()

    def feedback(self) -> Any:
        """The newest measurement, a `BaseCyclic.Feedback`, on UDP."""
        return self._guard("RefreshFeedback", lambda: self._feedback.RefreshFeedback(options=self._feedback_options))

    def require_single_level(self) -> None:
        """Puts the arm into single-level servoing, unless it is."""
        base = self.api.messages["Base"]
        if self.call("GetServoingMode").servoing_mode != base.SINGLE_LEVEL_SERVOING:
            self.call("SetServoingMode", base.ServoingModeInformation(servoing_mode=base.SINGLE_LEVEL_SERVOING))

    def others(self) -> str:
        """Who else is connected, for people."""
        try:
            found = self.call("GetConnections", service="Session").connection
        except CallError as error:
            return f"who is connected is not known: {error}"
        names = [connection.connection_information for connection in found if connection.connection_information]
        return f"connected are {', '.join(names)}" if names else "the arm names nobody else"

    def _options(self, timeout_s: float) -> Any:
        options = self.api.RouterClientSendOptions()
        options.timeout_ms = units.milliseconds(timeout_s)
        return options

    def _connect(self, transport: Any, port: int, kind: str) -> Any:
        """Opens one of the two connections and logs in."""
        endpoint = self.endpoint
        router = self.api.RouterClient(transport, self.api.RouterClient.basicErrorCallback)
        try:
            transport.connect(endpoint.address, port)
        except OSError as error:
            raise CallError(
                f"the arm at {endpoint.address} can not be reached on {kind} port {port}: {error}; check its address, "
                "its cable and that it is on"
            ) from error
        self._closing.append(transport.disconnect)
        self._closing.append(lambda: router.SetActivationStatus(False))
        session = self.api.SessionManager(router)
        info = self.api.messages["Session"].CreateSessionInfo(
            username=endpoint.username,
            password=endpoint.password,
            session_inactivity_timeout=units.milliseconds(self.timeouts.session_s),
            connection_inactivity_timeout=units.milliseconds(self.timeouts.connection_s),
        )
        # The official client takes no time-out here.
        options = () if self.api.official else (self._options(self.timeouts.request_s),)
        try:
            self._guard("CreateSession", lambda: session.CreateSession(info, *options))
        except CallError as error:
            raise self._refused(error, kind) from error
        self._closing.append(lambda: session.CloseSession(self._options(_CLOSE_S)))
        return router

    def _refused(self, error: CallError, kind: str) -> CallError:
        endpoint = self.endpoint
        if error.means(*self.LOGIN_ERRORS):
            text = (
                f"the arm at {endpoint} does not let '{endpoint.username}' log in: {error}; set username and password "
                "of the arm in the station file"
            )
        elif error.timed_out:
            text = f"the arm at {endpoint} does not answer on {kind}: {error}"
        else:
            text = (
                f"the arm at {endpoint} gives us no session on {kind}: {error}. Another program, the arm's web page or "
                "a killed driver may hold it: end them, wait a few seconds, or restart the arm"
            )
        return CallError(text, error.sub_code, error.timed_out)

    def _check_joints(self) -> None:
        count = self.call("GetActuatorCount").count
        if count != len(JOINTS):
            raise ArmError(
                f"the arm at {self.endpoint} has {count} joints; this driver is for the Gen3 with {len(JOINTS)} joints"
            )

    def _find_home(self) -> None:
        base = self.api.messages["Base"]
        request = base.RequestedActionType(action_type=base.REACH_JOINT_ANGLES)
        for action in self.call("ReadAllActions", request).action_list:
            if action.name == HOME:
                self.home = action.handle

    def _guard(self, name: str, call: Callable[[], Any]) -> Any:
        """Turns whatever a client raises into a CallError."""
        try:
            return call()
        except self.api.KServerException as error:
            code, sub_code = error.get_error_code(), error.get_error_sub_code()  # type: ignore[attr-defined]
            raise CallError(f"{name}: {faults.error_name(code, sub_code)}{_details(error)}", sub_code) from error
        except _TIMEOUTS as error:
            raise CallError(f"{name}: no answer in time from the arm at {self.endpoint}", timed_out=True) from error
        except (OSError, WireError) as error:
            raise CallError(f"{name}: {error}") from error
        except self.api.KException as error:  # found on this side, such as a router that is being closed
            raise CallError(f"{name}: {type(error).__name__}{_details(error)}") from error


def _details(error: Exception) -> str:
    """The arm's own words, where it has any; the official client can not print errors that it does not know."""
    with suppress(Exception):
        text = str(error).partition(": ")[2]
        return f": {text}" if text else ""
    return ""
