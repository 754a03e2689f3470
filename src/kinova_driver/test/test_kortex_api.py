"""Which client is chosen, and what is said where the official one is missing or does not work."""

import sys
from types import ModuleType

import pytest

from kinova_driver.arm import ArmError
from kinova_driver.kortex import api, client, definitions


@pytest.fixture
def without_kortex_api(monkeypatch):
    """Hides an installed package."""
    monkeypatch.setitem(sys.modules, "kortex_api", None)


@pytest.fixture
def kortex_api(monkeypatch):
    """A package laid out like Kinova's; its classes are our own."""

    def module(name, **content):
        made = ModuleType(name)
        made.__path__ = []
        vars(made).update(content)
        monkeypatch.setitem(sys.modules, name, made)

    module("kortex_api")
    module("kortex_api.TCPTransport", TCPTransport=client.TCPTransport)
    module("kortex_api.UDPTransport", UDPTransport=client.UDPTransport)
    module(
        "kortex_api.RouterClient",
        RouterClient=client.RouterClient,
        RouterClientSendOptions=client.RouterClientSendOptions,
    )
    module("kortex_api.SessionManager", SessionManager=client.SessionManager)
    module("kortex_api.Exceptions.KException", KException=client.KException)
    module("kortex_api.Exceptions.KServerException", KServerException=client.KServerException)
    for service in api._STUBS:
        stub = {f"{service}Client": getattr(client, f"{service}Client"), f"{service}FunctionUid": {}}
        module(f"kortex_api.autogen.client_stubs.{service}ClientRpc", **stub)
    for service in api._MESSAGES:
        module(f"kortex_api.autogen.messages.{service}_pb2", **vars(getattr(definitions, service)))
    for name in ("kortex_api.Exceptions", "kortex_api.autogen.client_stubs", "kortex_api.autogen.messages"):
        module(name)
    module("kortex_api.autogen")


def test_the_official_client_is_chosen_where_it_can_be_imported(kortex_api):
    chosen = api.load("192.168.1.10")
    assert chosen.official
    assert chosen.name == "kortex_api of an unknown version"
    assert chosen.messages["Base"].SINGLE_LEVEL_SERVOING == 2
    assert set(chosen.clients) == set(api._STUBS)


@pytest.mark.usefixtures("without_kortex_api")
@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
def test_a_simulated_arm_needs_no_official_client(address):
    chosen = api.load(address)
    assert not chosen.official
    with pytest.raises(ConnectionError, match="is not this computer"):
        chosen.TCPTransport().connect("192.168.1.10", 10000)


@pytest.mark.usefixtures("without_kortex_api")
def test_a_real_arm_needs_it_and_the_message_says_how_to_get_it():
    with pytest.raises(ArmError, match=r"a real arm at 192.168.1.10 needs Kinova's client.*make kortex-env WHEEL="):
        api.load("192.168.1.10")


@pytest.mark.usefixtures("without_kortex_api")
def test_our_own_client_is_trusted_with_a_real_arm_when_told_so_in_words():
    chosen = api.load("192.0.2.1", trust_unofficial_client_with_a_real_arm=True)
    with pytest.raises(ConnectionError, match="no TCP connection to 192.0.2.1"):
        chosen.TCPTransport().connect("192.0.2.1", 10000, timeout_s=0.1)


@pytest.mark.usefixtures("without_kortex_api")
def test_an_address_that_does_not_exist():
    with pytest.raises(ArmError, match="there is no host 'no such host'"):
        api.load("no such host")


def test_an_official_client_that_does_not_work_here(kortex_api, monkeypatch):
    monkeypatch.setattr(
        api, "official", lambda: (_ for _ in ()).throw(TypeError("Descriptors cannot be created.\nlong"))
    )
    with pytest.raises(
        ArmError, match=r"does not work in this environment: TypeError: Descriptors cannot be created\. "
    ):
        api.load("192.168.1.10")
    assert not api.load("127.0.0.1").official
