"""Which client talks to the arm: Kinova's `kortex_api` where it can be imported, else our own, for simulated arms."""

from __future__ import annotations

import importlib
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any

from kinova_driver.arm import ArmError
from kinova_driver.kortex import client, definitions, services

HOW_TO_INSTALL = (
    "Kinova's package kortex_api is not on the package index: get the wheel that belongs to the arm's firmware from "
    "Kinova's download site, then `make kortex-env WHEEL=path/to/kortex_api.whl`, and name the Python that this prints "
    "as `interpreter` of the arm in the station file"
)
_SERVICE_VERSION = 1
_STUBS = ("ActuatorConfig", "Base", "BaseCyclic", "ControlConfig", "DeviceConfig", "DeviceManager", "Session")
_MESSAGES = (
    "ActuatorConfig",
    "Base",
    "BaseCyclic",
    "Common",
    "ControlConfig",
    "DeviceConfig",
    "DeviceManager",
    "Session",
)


@dataclass(frozen=True)
class KortexApi:
    """The classes of one of the clients, under the names that `kortex_api` gives them.

    Attributes:
        name: Which client, and its version.
        official: Whether it is Kinova's.
        TCPTransport: Makes a TCP connection.
        UDPTransport: Makes a UDP connection.
        RouterClient: Calls over a connection.
        RouterClientSendOptions: Time-out of a call.
        SessionManager: A session.
        KException: An error of any kind.
        KServerException: The one among them that the arm answered with.
        begin: Sends a call of the service Base over a router and does not wait: router, name, request. What it returns
            has the methods `done()` and `result(timeout)` of a `Future`.
        clients: The client of every service, by the name of the service.
        messages: The messages of every service, by the name of the service.
    """

    name: str
    official: bool
    TCPTransport: Any
    UDPTransport: Any
    RouterClient: Any
    RouterClientSendOptions: Any
    SessionManager: Any
    KException: type[Exception]
    KServerException: type[Exception]
    begin: Callable[[Any, str, Any], Any]
    clients: dict[str, Any]
    messages: dict[str, Any]


def load(address: str, *, trust_unofficial_client_with_a_real_arm: bool = False) -> KortexApi:
    """The client for the arm at `address`.

    Args:
        address: Where the arm is; our own client reaches for simulated arms on this computer alone.
        trust_unofficial_client_with_a_real_arm: Lets our own client reach for a real arm.

    Raises:
        ArmError: The official client is needed and can not be imported; the message says how to get it.
    """
    try:
        return official()
    except ImportError as error:
        problem = HOW_TO_INSTALL if error.name == "kortex_api" else f"kortex_api can not be imported: {error}"
    except Exception as error:  # under another protobuf than its own, the package fails with a TypeError
        text = (str(error).splitlines() or [""])[0]
        problem = (
            f"kortex_api does not work in this environment: {type(error).__name__}: {text} It needs protobuf 3.20, "
            "which is why the driver has an `interpreter` of its own; see `make kortex-env`"
        )
    if trust_unofficial_client_with_a_real_arm:
        return own(anywhere=True)
    if not _is_this_computer(address):
        raise ArmError(f"a real arm at {address} needs Kinova's client. {problem}")
    return own()


def own(anywhere: bool = False) -> KortexApi:
    """The client of this project."""
    options = {"allow_an_arm_that_is_not_simulated": anywhere}
    return KortexApi(
        name="client of this project",
        official=False,
        TCPTransport=partial(client.TCPTransport, **options),
        UDPTransport=partial(client.UDPTransport, **options),
        RouterClient=client.RouterClient,
        RouterClientSendOptions=client.RouterClientSendOptions,
        SessionManager=client.SessionManager,
        KException=client.KException,
        KServerException=client.KServerException,
        begin=lambda router, name, request: router.begin(services.method("Base", name), request),
        clients={service: getattr(client, f"{service}Client") for service in _STUBS},
        messages={service: getattr(definitions, service) for service in _MESSAGES},
    )


def official() -> KortexApi:
    """Kinova's client.

    Raises:
        Exception: Whatever its import raises here.
    """

    def get(module: str, name: str) -> Any:
        return getattr(importlib.import_module(f"kortex_api.{module}"), name)

    importlib.import_module("kortex_api")
    try:
        version = metadata.version("kortex_api")
    except metadata.PackageNotFoundError:
        version = "of an unknown version"
    stubs, messages = "autogen.client_stubs", "kortex_api.autogen.messages"
    numbers = get(f"{stubs}.BaseClientRpc", "BaseFunctionUid")

    def begin(router: Any, name: str, request: Any) -> Any:
        """What every call of its stubs begins with."""
        return router.send(request.SerializeToString(), _SERVICE_VERSION, numbers[f"uid{name}"], 0)

    return KortexApi(
        name=f"kortex_api {version}",
        official=True,
        TCPTransport=get("TCPTransport", "TCPTransport"),
        UDPTransport=get("UDPTransport", "UDPTransport"),
        RouterClient=get("RouterClient", "RouterClient"),
        RouterClientSendOptions=get("RouterClient", "RouterClientSendOptions"),
        SessionManager=get("SessionManager", "SessionManager"),
        KException=get("Exceptions.KException", "KException"),
        KServerException=get("Exceptions.KServerException", "KServerException"),
        begin=begin,
        clients={service: get(f"{stubs}.{service}ClientRpc", f"{service}Client") for service in _STUBS},
        messages={service: importlib.import_module(f"{messages}.{service}_pb2") for service in _MESSAGES},
    )


def _is_this_computer(address: str) -> bool:
    try:
        found = socket.getaddrinfo(address, None)
    except (OSError, UnicodeError) as error:
        raise ArmError(f"there is no host '{address}': {error}; check the arm's address in the station file") from error
    return ipaddress.ip_address(found[0][4][0]).is_loopback
