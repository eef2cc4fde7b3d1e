"""The table of connections: a real kernel's, in a network namespace of its own, filled by the conntrack tool."""

import contextlib
import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from appliance.edge import conntrack
from appliance.edge.conntrack import Conntrack
from appliance.errors import KernelError
from appliance.revoker import MARKS
from tests.test_netfilter import enclosed

pytestmark = [pytest.mark.sockets, pytest.mark.subprocesses]

# Fills the table from standard input, ends what its arguments name by their source ports, and tells what there is.
PROGRAM = """
import json, subprocess, sys
from appliance.edge.conntrack import Conntrack
from appliance.revoker import MARKS
for line in sys.stdin:
    subprocess.run(["conntrack", "-I", *line.split()], check=True, capture_output=True)
table = Conntrack(MARKS)
found = list(table.allowed())
gone = [each for each in found if str(each.flow.client_port) in sys.argv[1:]]
table.end(gone)
table.end(gone)  # as if somebody had been quicker
left = [each.flow.client_port for each in table.allowed()]
listed = subprocess.run(["conntrack", "-L"], check=True, capture_output=True, text=True).stdout
json.dump({"found": [[*each.flow, each.is_closed] for each in found], "left": left, "listed": listed}, sys.stdout)
"""
ENDS = "-s 10.0.1.10 -d 203.0.113.10 -t 300"
TCP = f"-p tcp {ENDS} --dport 443 -u SEEN_REPLY,ASSURED"


def run(*ended: int, entries: list[str]) -> dict[str, Any]:
    """Return what the program tells of a table with these entries."""
    if shutil.which("conntrack") is None:
        pytest.skip("the conntrack tool")
    done = enclosed(sys.executable, "-c", PROGRAM, *map(str, ended), text="\n".join(entries))
    assert done.stderr == ""
    return dict(json.loads(done.stdout))


def test_what_is_allowed_is_found() -> None:
    """With its addresses, its ports and its entry; nothing else, whatever it says in the other bits of its mark."""
    told = run(
        entries=[
            f"{TCP} --sport 1 --state ESTABLISHED -m {0xA0000000 | 77}",
            f"{TCP} --sport 2 --state ESTABLISHED -m {0xA8000000 | 0x7FFFFFF}",  # opened again
            f"{TCP} --sport 3 --state TIME_WAIT -m {0xA0000000 | 77}",
            f"-p udp {ENDS} --sport 4 --dport 53 -m {0xA0000000}",
            f"{TCP} --sport 5 --state ESTABLISHED -m {0xD0000000}",
            f"{TCP} --sport 6 --state ESTABLISHED -m {0x00ABCDEF}",
            f"{TCP} --sport 7 --state ESTABLISHED -m {0xB0000000 | 77}",
            f"-p tcp -s 2001:db8::1 -d 2001:db8::2 -t 300 --sport 8 --dport 443 --state ESTABLISHED -m {0xA0000000}",
        ]
    )
    client, server = 0x0A00010A, 0xCB00710A
    assert sorted(told["found"]) == [
        [client, 1, server, 443, 77, False],
        [client, 2, server, 443, 0x7FFFFFF, False],
        [client, 3, server, 443, 77, True],
        [client, 4, server, 53, 0, False],
    ]


def test_what_is_ended_is_gone_and_nothing_else() -> None:
    """In several system calls where there are many; ending what is gone already is no fault."""
    ports = range(1000, 1000 + 3 * conntrack._CHUNK)
    entries = [f"{TCP} --sport {port} --state ESTABLISHED -m {0xA0000000 | port}" for port in ports]
    others = [
        f"-p udp {ENDS} --sport 7 --dport 53 -m {0xA0000000}",
        f"-p icmp {ENDS} --icmp-type 8 --icmp-code 0 --icmp-id 5 -m {0xA0000000}",  # its ports are 0
        f"-p 99 {ENDS} -m {0xA0000000}",
    ]
    told = run(0, *ports[::2], entries=[*entries, *others])
    assert sorted(told["left"]) == [7, *ports[1::2]]
    assert len(told["listed"].splitlines()) == len(told["left"])


def test_an_empty_table_has_nothing() -> None:
    """And ending nothing asks nobody."""
    assert run(entries=[])["found"] == []


def test_who_may_not_ask_is_told_what_is_needed() -> None:
    """The kernel's refusal is an error, not an empty table."""
    program = "from tests.test_conntrack import ask; ask()"
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the table of connections cannot be had: Operation not permitted" in done.stderr
    assert "CAP_NET_ADMIN" in done.stderr


def ask() -> None:
    """Ask for the table of this process's namespace, and write what is wrong to standard error."""
    try:
        list(Conntrack(MARKS).allowed())
    except KernelError as fault:
        sys.stderr.write(f"{fault.message}; {fault.hint}")


def test_a_kernel_that_does_not_answer_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it for ever."""
    monkeypatch.setattr(conntrack, "_WAIT", 0.01)
    monkeypatch.setattr(conntrack, "_message", lambda *_: bytes(4))  # asks nothing
    with contextlib.closing(Conntrack(MARKS)) as table, pytest.raises(KernelError) as caught:
        list(table.allowed())
    assert caught.value.message == "the table of connections cannot be had: Connection timed out"
