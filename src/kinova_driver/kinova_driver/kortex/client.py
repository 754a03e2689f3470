"""A client of our own with the call surface of Kinova's `kortex_api`, for simulated arms.

    transport = TCPTransport()
    transport.connect("127.0.0.1", 10000)
    router = RouterClient(transport)
    session = SessionManager(router)
    session.CreateSession(Session.CreateSessionInfo(username="admin", password="admin"))
    BaseClient(router).SendTwistCommand(Base.TwistCommand(...), options=RouterClientSendOptions(timeout_ms=30))

What differs from the official one: frames may be split anywhere; a subscription belongs to its router, and its
callbacks run on a thread of their own, where they may make calls, fail, or be missing without harm; whoever waits on a
connection that closes is told at once; and a call that has timed out leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kinova_driver.kortex import services
from kinova_driver.kortex.definitions import Common
from kinova_driver.kortex.router import KException, KServerException, RouterClient, RouterClientSendOptions
from kinova_driver.kortex.session import SessionManager
from kinova_driver.kortex.transport import TCPTransport, UDPTransport

__all__ = [
    "ActuatorConfigClient",
    "BaseClient",
    "BaseCyclicClient",
    "ControlConfigClient",
    "DeviceConfigClient",
    "DeviceManagerClient",
    "KException",
    "KServerException",
    "RouterClient",
    "RouterClientSendOptions",
    "SessionClient",
    "SessionManager",
    "TCPTransport",
    "UDPTransport",
]


class ServiceClient:
    """The calls of one service, each as a method of the same name.

    A call takes its request, where it has one, then `deviceId` and `options`; a topic takes a callback first.
    """

    service: str

    def __init__(self, router: RouterClient) -> None:
        self.router = router

    def __init_subclass__(cls) -> None:
        for method in services.METHODS.values():
            if method.service == cls.service:
                setattr(cls, method.name, _stub(method))

    def __getattr__(self, name: str) -> Any:
        services.method(self.service, name)  # raises with the closest name
        raise AttributeError(name)


def _stub(method: services.Method) -> Callable[..., Any]:
    def call(self: ServiceClient, request: Any, deviceId: int = 0, options: Any = None) -> Any:
        return self.router.call(method, request, deviceId, options or RouterClientSendOptions())[1]

    def call_without_request(self: ServiceClient, deviceId: int = 0, options: Any = None) -> Any:
        return call(self, Common.Empty(), deviceId, options)

    def subscribe(
        self: ServiceClient,
        callback: Callable[[Any], Any],
        options_message: Any,
        deviceId: int = 0,
        options: Any = None,
    ) -> Any:
        return self.router.subscribe(method, callback, options_message, deviceId, options or RouterClientSendOptions())

    def unsubscribe(self: ServiceClient, request: Any, deviceId: int = 0, options: Any = None) -> Any:
        self.router.unsubscribed(method.service_id, request.identifier)
        return call(self, request, deviceId, options)

    if method.notification is not None:
        return subscribe
    if method.name == "Unsubscribe":
        return unsubscribe
    return call_without_request if method.request is Common.Empty else call


class SessionClient(ServiceClient):
    """Who is connected; `SessionManager` for logging in."""

    service = "Session"


class BaseClient(ServiceClient):
    """Commands, actions, modes, faults."""

    service = "Base"


class BaseCyclicClient(ServiceClient):
    """Measurements, and the commands of low-level servoing."""

    service = "BaseCyclic"


class ActuatorConfigClient(ServiceClient):
    """One actuator, by `deviceId`."""

    service = "ActuatorConfig"


class ControlConfigClient(ServiceClient):
    """Limits, payload and tool."""

    service = "ControlConfig"


class DeviceConfigClient(ServiceClient):
    """Versions and numbers of one device, by `deviceId`."""

    service = "DeviceConfig"


class DeviceManagerClient(ServiceClient):
    """Which devices there are."""

    service = "DeviceManager"
