"""Where requests may go: what the operator's list says of a text, of what a name resolves to, and of who was connected to."""

from __future__ import annotations

import ipaddress
import socket
from datetime import UTC, datetime
from typing import Any

import pytest
from fake_prometheus import vector
from hypothesis import given
from hypothesis import strategies as st

from canary.checks.sources.prometheus import Prometheus
from canary.metrics.address import normalise
from canary.metrics.connecting import PeerRefused, checked, dial
from canary.metrics.hosts import Hosts, special
from canary.metrics.port import Query
from canary.metrics.prometheus import PrometheusProvider
from canary.model.measurement import Malformed, Sample

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

SPECIAL = (
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::1",
    "::127.0.0.1",
)
"""Addresses at which no ordinary server is, in every spelling that leads to one."""


@pytest.mark.parametrize("peer", SPECIAL)
@pytest.mark.parametrize(
    "listed", [["*"], ["prom.example.com"], [".example.com"], ["0.0.0.0/0", "::/0", "prom.example.com"]]
)
def test_a_name_that_leads_to_a_special_address_leads_nowhere(peer: str, listed: list[str]) -> None:
    """Neither a listed name, nor a suffix, nor everything, nor a network of everything brings them along."""
    assert Hosts.read(listed).refusal("prom.example.com", 80, peer)


@pytest.mark.parametrize(
    ("listed", "host", "peer", "good"),
    [
        (["127.0.0.0/8"], "prom", "127.0.0.1", True),
        (["127.0.0.1"], "127.0.0.1", "127.0.0.1", True),
        (["127.0.0.1"], "127.0.0.1", "127.0.0.2", False),
        (["127.0.0.1:9090"], "127.0.0.1", "127.0.0.1", False),
        (["127.0.0.1:80"], "127.0.0.1", "127.0.0.1", True),
        (["localhost"], "localhost", "127.0.0.1", True),
        (["localhost"], "localhost", "::1", True),
        (["localhost"], "localhost", "169.254.169.254", False),
        (["*"], "localhost", "127.0.0.1", False),
        (["::1"], "prom", "::1", True),
        (["127.0.0.0/8"], "prom", "::ffff:127.0.0.1", True),
        (["169.254.169.254"], "metadata", "169.254.169.254", True),
        (["10.0.0.0/8"], "prom.monitoring", "10.9.8.7", True),
        (["10.0.0.0/8"], "prom.monitoring", "11.0.0.1", False),
        (["10.0.0.0/8:9090"], "prom.monitoring", "10.9.8.7", False),
        (["prom.monitoring"], "prom.monitoring", "10.9.8.7", True),
        (["prom.monitoring"], "PROM.monitoring.", "10.9.8.7", True),
        (["prom.monitoring:90"], "prom.monitoring", "10.9.8.7", False),
        ([".example.com"], "a.b.example.com", "192.88.1.1", True),
        ([".example.com"], "example.com", "192.88.1.1", False),
        (["*.example.com"], "a.example.com", "192.88.1.1", True),
        ([".example.com"], "a.notexample.com", "192.88.1.1", False),
        (["*"], "a", "192.88.1.1", True),
        ([], "a", "192.88.1.1", False),
    ],
)
def test_who_is_reached(listed: list[str], host: str, peer: str, good: bool) -> None:
    """By name, suffix, network or address, with a port or without; at port 80."""
    assert (Hosts.read(listed).refusal(host, 80, peer) == "") is good


@pytest.mark.parametrize(
    "entry",
    ["", " ", "http://prom", "prom:", "prom:x", "prom:0", "prom:70000", "a b", "[::1", "10.0.0.0/99", "a/b", ".", "-a"],
)
def test_what_is_no_entry_is_refused_with_what_to_write(entry: str) -> None:
    """A list that is not understood allows nothing by accident."""
    with pytest.raises(ValueError, match="is no host, such as"):
        Hosts.read([entry])


@given(st.ip_addresses())
def test_everything_allowed_is_an_ordinary_server(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Where everything is listed exactly the special addresses are left out."""
    assert bool(Hosts.read(["*"]).refusal("prom", 80, str(address))) is special(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://a.example\\@evil",
        "http://ⓛocalhost",
        "http://a%2eb",
        "http://a b",
        "http://[fe80::1%25eth0]",
        "http://a,b",
        "http://(a)",
    ],
)
def test_hosts_that_others_could_read_otherwise_are_no_hosts(address: str) -> None:
    """What is looked at and what is connected to is one text."""
    with pytest.raises(ValueError):
        normalise(address)


class Resolver:
    """Answers names from a script, one answer for each time that it is asked; everything else as the system does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> None:
        self._names = {name.replace("_", "."): answers for name, answers in names.items()}
        self._system = socket.getaddrinfo
        self.asked = 0
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self._names:
            return self._system(host, port, *args, **kwargs)
        self.asked += 1
        answers = self._names[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return self._system(answer, port, *args, **kwargs)


def test_of_several_addresses_only_those_are_tried_that_may_be() -> None:
    """A name with a good and a bad address leads to the good one."""
    found = [(2, 1, 6, "", ("127.0.0.1", 80)), (2, 1, 6, "", ("192.88.1.1", 80))]
    assert checked(Hosts.read(["prom"]), "prom", 80, found) == found[1:]
    with pytest.raises(PeerRefused, match="loopback, link-local or metadata"):
        checked(Hosts.read(["prom"]), "prom", 80, found[:1])
    with pytest.raises(PeerRefused, match="leads nowhere"):
        checked(Hosts.read(["prom"]), "prom", 80, [])


async def test_a_name_that_is_bound_anew(prometheus, monkeypatch) -> None:
    """The name was an ordinary server's when the check was written; now it leads to this machine, and nothing is sent."""
    port = prometheus.url.rpartition(":")[2]
    Resolver(monkeypatch, prom_example_com=["127.0.0.1"])
    provider = PrometheusProvider(None, [".example.com"])
    answer = await provider.measure(Query(Prometheus("x", f"http://prom.example.com:{port}")), NOW)
    await provider.close()
    assert isinstance(answer, Malformed)
    assert answer.reason == "AddressNotAllowed"
    assert "127.0.0.1, which is a loopback" in answer.message
    assert prometheus.queries == []


async def test_a_name_is_resolved_once_for_a_connection(prometheus, monkeypatch) -> None:
    """What was looked at is what is connected to: there is no second answer to look at the first and connect to the other."""
    port = prometheus.url.rpartition(":")[2]
    resolver = Resolver(monkeypatch, prom_example_com=["127.0.0.1", "127.0.0.2"])
    prometheus.answers["x"] = lambda: vector(({}, 1))
    provider = PrometheusProvider(None, [".example.com", "127.0.0.1"])
    answer = await provider.measure(Query(Prometheus("x", f"http://prom.example.com:{port}")), NOW)
    await provider.close()
    assert isinstance(answer, Sample)
    assert resolver.asked == 1


async def test_a_network_is_a_matter_of_what_a_name_leads_to(prometheus, monkeypatch) -> None:
    """A network in the list allows any name that leads into it."""
    port = prometheus.url.rpartition(":")[2]
    Resolver(monkeypatch, inside=["127.0.0.1"], outside=["192.88.99.1"])
    prometheus.answers["x"] = lambda: vector(({}, 1))
    provider = PrometheusProvider(None, ["127.0.0.0/8"])
    inside, outside = [
        await provider.measure(Query(Prometheus("x", f"http://{name}:{port}"), timeout=5), NOW)
        for name in ("inside", "outside")
    ]
    await provider.close()
    assert isinstance(inside, Sample)
    assert isinstance(outside, Malformed)
    assert "192.88.99.1, which is not among the allowed hosts" in outside.message


async def test_numbers_that_spell_this_machine(prometheus) -> None:
    """2130706433 and 127.1 are 127.0.0.1 for a resolver."""
    port = prometheus.url.rpartition(":")[2]
    provider = PrometheusProvider(None, ["*"])
    for host in ("2130706433", "127.1", "0x7f000001", "0"):
        answer = await provider.measure(Query(Prometheus("x", f"http://{host}:{port}"), timeout=5), NOW)
        assert isinstance(answer, Malformed), host
        assert answer.reason == "AddressNotAllowed"
    await provider.close()
    assert prometheus.queries == []


def test_nothing_is_even_connected_to(monkeypatch) -> None:
    """Whether a port of this machine is open is not told either: nobody knocks."""
    knocked: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: knocked.append(address))
    with pytest.raises(PeerRefused):
        dial(Hosts.read(["*"]), "localhost", 80, 1.0)
    assert knocked == []


async def test_the_operators_own_address_is_one_that_is_listed(prometheus) -> None:
    """--prometheus-url on this machine, as beside a demo, is what the operator meant; another port there is another matter."""
    prometheus.answers["x"] = lambda: vector(({}, 1))
    provider = PrometheusProvider(prometheus.url)
    assert isinstance(await provider.measure(Query(Prometheus("x")), NOW), Sample)
    other = await provider.measure(Query(Prometheus("x", "http://127.0.0.1:1")), NOW)
    await provider.close()
    assert isinstance(other, Malformed)
