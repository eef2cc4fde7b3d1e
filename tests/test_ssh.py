"""SSH identification strings of both sides."""

from collections.abc import Callable

import pytest

from appliance.errors import Malformed
from appliance.wire import ssh

Framer = Callable[[bytes], ssh.Identification | None]

GOOD = [
    # line                                                  proto   software
    (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", "2.0", "OpenSSH_9.2p1"),
    (b"SSH-2.0-OpenSSH_9.2p1\n", "2.0", "OpenSSH_9.2p1"),
    (b"SSH-2.0-Go\r\n", "2.0", "Go"),
    (b"SSH-2.0-babeld-8405da3\r\n", "2.0", "babeld-8405da3"),  # hyphens, against RFC 4253, at a large host
    (b"SSH-2.0-JSCH-0.1.54\n", "2.0", "JSCH-0.1.54"),
    (b"SSH-2.0-x \r\n", "2.0", "x"),
    (b"SSH-1.99-Cisco-1.25\n", "1.99", "Cisco-1.25"),
    (b"SSH-1.5-old\n", "1.5", "old"),
    (b"SSH-2.0-" + b"x" * 245 + b"\r\n", "2.0", "x" * 245),  # 255 octets
]


@pytest.mark.parametrize("frame", [ssh.frame_client_identification, ssh.frame_server_identification])
@pytest.mark.parametrize(("line", "proto", "software"), GOOD)
def test_identification_is_read_however_it_arrives(frame: Framer, line: bytes, proto: str, software: str) -> None:
    """The line is the same whatever the cuts and what follows it."""
    for cut in range(len(line)):
        assert frame(line[:cut]) is None
    assert frame(line) == (proto, software, len(line))
    assert frame(line + b"\x00\x00\x05\xdc\x07\x14key exchange") == (proto, software, len(line))


BAD = [
    # octets                                       first octets that suffice, or None for all
    (b"\x16\x03\x01", 1),
    (b"GET / HTTP/1.1\r\n", 1),
    (b"SSh-2.0-x\r\n", 3),
    (b"SSHX2.0-x\r\n", 4),
    (b"ssh-2.0-x\r\n", 1),
    (b" SSH-2.0-x\r\n", 1),
    (b"\r\nSSH-2.0-x\r\n", 1),
    (b"SSH-2.0\r\n", None),
    (b"SSH-2.0-\r\n", None),
    (b"SSH--x\r\n", None),
    (b"SSH-2-x\r\n", None),
    (b"SSH-2.0.1-x\r\n", None),
    (b"SSH-2.0000-x\r\n", None),
    (b"SSH-2.0 -x\r\n", None),
    (b"SSH-2.0- x\r\n", None),
    (b"SSH-\xb2.0-x\r\n", None),  # a superscript digit
    (b"SSH-2.0-x\x00\r\n", None),
    (b"SSH-2.0-x\x1b[31m\r\n", None),
    (b"SSH-2.0-x\tcomment\r\n", None),
    (b"SSH-2.0-x comment\xff\r\n", None),
    (b"SSH-2.0-x\r\r\n", None),
    (b"SSH-2.0-x\rSSH-2.0-y\n", None),
    (b"SSH-2.0-" + b"x" * 246 + b"\r\n", 255),
    (b"SSH-2.0-" + b"x" * 1000, 255),
]


@pytest.mark.parametrize(("octets", "enough"), BAD)
def test_client_that_does_not_identify_itself_is_refused(octets: bytes, enough: int | None) -> None:
    """A client's first octets must be its identification string; the refusal comes as early as it can."""
    enough = len(octets) if enough is None else enough
    assert ssh.frame_client_identification(octets[: enough - 1]) is None
    for stream in (octets[:enough], octets):
        with pytest.raises(Malformed) as caught:
            ssh.frame_client_identification(stream)
        assert caught.value.code == "not_ssh"
        assert caught.value.message.isprintable()
        assert caught.value.message.isascii()


LINE = b"SSH-2.0-x\r\n"

BEFORE = [
    b"Welcome\r\n",
    b"\r\n",
    b"\n",
    b"two\r\nlines\n",
    "UTF-8: Gr\u00fc\u00dfe\r\n".encode(),
    b"\x1b[31mred\x1b[0m\ttab\r\n",
    b" SSH-2.0-not yet\r\n",
    b"SS\r\n",
    b"x" * 1000 + b"\n",
    b"x\n" * ssh.LINES_BEFORE_MAX,
    b"x" * (ssh.OCTETS_BEFORE_MAX - 1) + b"\n",
]


@pytest.mark.parametrize("before", BEFORE)
def test_server_may_send_other_lines_first(before: bytes) -> None:
    """Lines before a server's identification are skipped, however they are cut."""
    stream = before + LINE
    for cut in range(len(stream)):
        assert ssh.frame_server_identification(stream[:cut]) is None
    assert ssh.frame_server_identification(stream + b"more") == ("2.0", "x", len(stream))


SERVER_BAD = [
    b"\x16\x03\x03\x00\x5a\x02",
    b"hello\x00",
    b"hello\x16\r\n" + LINE,
    b"\x7f\n" + LINE,
    b"x\n" * (ssh.LINES_BEFORE_MAX + 1) + LINE,
    b"x" * ssh.OCTETS_BEFORE_MAX,
    b"x" * ssh.OCTETS_BEFORE_MAX + b"\n" + LINE,
    b"hello\r\nSSH-2.0\r\n",
    b"SSH-2.0-\r\n",
    b"SSH-2.0-" + b"x" * 1000,
]


@pytest.mark.parametrize("stream", SERVER_BAD)
def test_server_that_does_not_identify_itself_is_refused(stream: bytes) -> None:
    """What precedes a server's identification is text, and bounded."""
    with pytest.raises(Malformed) as caught:
        ssh.frame_server_identification(stream)
    assert caught.value.code == "server_not_ssh"
