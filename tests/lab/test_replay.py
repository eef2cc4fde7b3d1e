"""Replay, judged by another tool: of real clients, tshark and `replay` read the same names and versions."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import installed
from tests.lab.lab import Lab, wait_until
from tests.lab.security_group import egress
from tests.lab.workload import Workload

VERSIONS = {"0x0304": "TLS 1.3", "0x0303": "TLS 1.2"}
HELLO = "tls.handshake.type == 1"
FORMATS = {  # what editcap makes of the capture, and whether what is in it can still be told
    "pcap": ("-F", "pcap"),
    "nanoseconds": ("-F", "nsecpcap"),
    "pcapng": ("-F", "pcapng"),
    "twice": ("-F", "pcapng", "-D", "0"),
}


def tool(*command: str) -> str:
    environment = os.environ | installed.environment()
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def replay(*arguments: object) -> list[dict[str, object]]:
    command = [sys.executable, "-m", "appliance", "replay", *map(str, arguments)]
    return [json.loads(line) for line in tool(*command).splitlines()]


def judged(capture: Path) -> Counter[tuple[str, str, str, str]]:
    """Return what tshark sees: (port of the client, protocol, newest version offered, name) of each flow."""
    fields = ("tcp.srcport", "tls.handshake.extensions.supported_version", "tls.handshake.version")
    fields = (*fields, "tls.handshake.extensions_server_name")
    seen: Counter[tuple[str, str, str, str]] = Counter()
    for port, offered, legacy, name in rows(capture, HELLO, fields):
        known = [VERSIONS[version] for version in (offered or legacy).split(",") if version in VERSIONS]
        seen[port, "tls", max(known), name] += 1
    for port, protocol in rows(capture, "ssh.protocol && tcp.dstport == 22", ("tcp.srcport", "ssh.protocol")):
        seen[port, "ssh", protocol.split("-")[1], ""] += 1
    return seen


def rows(capture: Path, wanted: str, fields: Sequence[str]) -> list[list[str]]:
    options = [option for field in fields for option in ("-e", field)]
    listing = tool("tshark", "-r", str(capture), "-d", "tcp.port==8443,tls", "-Y", wanted, "-T", "fields", *options)
    return [line.split("\t") for line in listing.splitlines()]


def told(events: list[dict[str, object]]) -> Counter[tuple[str, str, str, str]]:
    """Return the same of the events about clients."""
    return Counter(
        (str(event["spt"]), str(event["proto"]), str(event["proto_v"]), named(event))
        for event in events
        if event["cat"] == "client" and event["proto"] in {"tls", "ssh"}
    )


def named(event: dict[str, object]) -> str:
    return "" if event["dhost"] == event["dst"] else str(event["dhost"])


@pytest.fixture(scope="module")
def capture(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What curl, openssl and ssh say to real servers, through plain NAT."""
    api, old = lab.internet.tls("api.replay.test"), lab.internet.tls("old.replay.test", port=8443)
    lab.internet.ssh("git.replay.test")
    path = tmp_path_factory.mktemp("replay") / "clients.pcapng"
    with lab.plain_nat():
        web = lab.workload(
            "replay", groups=[lab.security_group("replay", *(egress("tcp", port) for port in (22, 443, 8443)))]
        )
        with web.popen("dumpcap", "-q", "-i", "any", "-w", str(path), stderr=subprocess.PIPE) as dumpcap:
            assert wait_until(lambda: path.exists() and path.stat().st_size > 0)
            speak(web, api.address, old.address)
            assert wait_until(lambda: len(judged_so_far(path)) >= 6)
            dumpcap.send_signal(signal.SIGINT)
            dumpcap.wait(10)
    return path


def speak(web: Workload, api: str, old: str) -> None:
    assert web.curl("https://api.replay.test/").code == 0
    assert web.curl("https://api.replay.test/octets/200000", "--tlsv1.2", "--tls-max", "1.2").code == 0
    for options in (("-tls1_2",), ("-tls1_3",), ("-tls1_3", "-groups", "P-521:X25519")):
        web.openssl(api, "-servername", f"s{len(options)}{options[0][-1]}.replay.test", *options)
    web.openssl(old, "-noservername", port=8443)
    assert web.ssh("git.replay.test", "true").code == 0


def judged_so_far(path: Path) -> list[list[str]]:
    """The hellos and the login in a capture that is still being written, of which tshark complains."""
    command = [
        "tshark",
        "-r",
        str(path),
        "-d",
        "tcp.port==8443,tls",
        "-Y",
        f"{HELLO} || (ssh.protocol && tcp.dstport == 22)",
    ]
    return [[line] for line in subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()]


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_replay_reads_what_tshark_reads(capture: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Each flow has the same port, protocol, newest version and name, in every format that editcap writes."""
    variant = tmp_path / "variant"
    tool("editcap", *options, str(capture), str(variant))

    expected = judged(capture)

    assert told(replay(variant)) == expected
    assert len(expected) >= 7
    assert {kind for _, kind, _, _ in expected} == {"tls", "ssh"}
    assert {version for _, _, version, _ in expected} == {"TLS 1.2", "TLS 1.3", "2.0"}


def test_replay_reads_merged_captures(capture: Path, tmp_path: Path) -> None:
    """A capture of several interfaces, made by mergecap of halves, holds the same flows; so do its halves beside it."""
    halves = [tmp_path / "first.pcapng", tmp_path / "second.pcap"]
    tool("editcap", "-r", str(capture), str(halves[0]), "1-40")
    tool("editcap", "-F", "pcap", str(capture), str(halves[1]), "1-40")
    merged = tmp_path / "merged.pcapng"
    tool("mergecap", "-w", str(merged), *map(str, halves))

    assert told(replay(merged)) == told(replay(*halves[::-1])) == judged(capture)


def test_a_snapshot_length_hides_what_it_cuts(capture: Path, tmp_path: Path) -> None:
    """editcap leaves 100 octets of each packet: no hello is whole, and every flow is told of as cut."""
    variant = tmp_path / "cut.pcapng"
    tool("editcap", "-s", "100", str(capture), str(variant))

    events = replay(variant)

    cut = {str(event["spt"]) for event in events if event["code"] == "truncated_copy"}
    assert cut >= {port for port, kind, *_ in judged(capture) if kind == "tls"}
