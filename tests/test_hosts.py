"""This machine's resolver: addresses, or one word for what went wrong."""

import socket

import pytest

from appliance.address import parse_ipv4
from appliance.edge import hosts
from appliance.policy.addresses import Answer
from appliance.policy.fqdn import Fqdn

NAME = Fqdn.parse("api.example.com")

TROUBLE = [
    (socket.EAI_NONAME, "nxdomain"),
    (socket.EAI_NODATA, "no_address"),
    (socket.EAI_AGAIN, "timeout"),
    (socket.EAI_FAIL, "servfail"),
]


def test_addresses_are_sorted_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is asked for with its root dot, so that no search list answers in its place."""
    asked = []

    def getaddrinfo(host: str, *_arguments: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 0))
            for text in ("203.0.113.11", "203.0.113.10", "203.0.113.11")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    answer = hosts.look_up(NAME)

    assert asked == ["api.example.com."]
    assert answer == Answer(NAME, (parse_ipv4("203.0.113.10"), parse_ipv4("203.0.113.11")), hosts.TTL)


@pytest.mark.parametrize(("code", "word"), TROUBLE)
def test_trouble_is_an_answer(monkeypatch: pytest.MonkeyPatch, code: int, word: str) -> None:
    """Nothing is raised for what DNS does."""

    def getaddrinfo(*_arguments: object) -> None:
        raise socket.gaierror(code, "as libc says it")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    assert hosts.look_up(NAME) == Answer(NAME, (), hosts.TTL, word)
