"""The first line of either side of SSH: cuts are invisible, and a line that is built again says the same."""

from appliance.wire import ssh
from tests.outcome import Refusal, outcome_of_cuts

MAX = 10_000
WORDS = (b"SSH-", b"SSH-2.0-", b"SSH-1.99-", b"SSH-1.5-", b"\r\n", b"OpenSSH_9.2p1 Debian-2+deb12u7")


def check(octets: bytes) -> str:
    client = outcome_of_cuts(ssh.frame_client_identification, octets)
    server = outcome_of_cuts(ssh.frame_server_identification, octets)
    if isinstance(client, ssh.Identification):
        assert client == server, "a client's line would be a server's too"
        assert client.end <= ssh.LINE_MAX
        _rebuild(client, octets, 0)
        return "client"
    if client is None:
        assert server is None
    if server is None:
        return "more"
    if isinstance(server, Refusal):
        return client.code if isinstance(client, Refusal) else server.code
    line = octets.rfind(b"\n", 0, server.end - 1) + 1
    assert line <= ssh.OCTETS_BEFORE_MAX
    assert octets.count(b"\n", 0, line) <= ssh.LINES_BEFORE_MAX
    assert not any(text.startswith(b"SSH-") for text in octets[:line].split(b"\n"))
    _rebuild(server, octets, line)
    return "server"


def _rebuild(identification: ssh.Identification, octets: bytes, at: int) -> None:
    line = octets[at : identification.end]
    assert line.startswith(f"SSH-{identification.proto}-{identification.software}".encode())
    assert b" " not in identification.software.encode()
    built = f"SSH-{identification.proto}-{identification.software}\n".encode()
    assert ssh.frame_client_identification(built) == identification._replace(end=len(built))
    assert ssh.frame_client_identification(line) == identification._replace(end=len(line))
