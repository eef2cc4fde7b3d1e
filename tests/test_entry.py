"""Entries: the number of what is listed, as it stands in the kernel's mark of a flow."""

import pytest

from appliance.edge.netfilter import REOPENED, STATE_MASK, Mark
from appliance.policy import entry
from appliance.policy.entry import ENTRY_BITS, ENTRY_MASK, SEEN_THRU, EntryNumbers, entry_number

ENTRIES = [
    # protocol  name               port  number: what an earlier version put into the kernel has to be found again
    ("tls",     "api.example.com",  443, 20083970),
    ("tls",     "api.example.com", 8443, 18745910),
    ("ssh",     "api.example.com",  443, 18014881),
    ("tls",     "pi.example.com",   443, 97927251),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "name", "port", "number"), ENTRIES)
def test_the_number_of_an_entry_never_changes(protocol: str, name: str, port: int, number: int) -> None:
    """Another process, and another version of the program, comes to the same."""
    assert entry_number(protocol, name, port) == number
    assert EntryNumbers().of(protocol, name, port) == number


def test_a_number_fits_beside_the_state() -> None:
    """It is never that of see-thru, and touches neither the state nor what says that a flow was opened again."""
    for port in range(2000):
        number = entry_number("tls", "api.example.com", port)
        assert 0 < number <= ENTRY_MASK
        assert number != SEEN_THRU
    assert ENTRY_MASK == (1 << ENTRY_BITS) - 1
    assert ENTRY_MASK & (STATE_MASK | REOPENED) == 0
    assert Mark.ALLOWED.bits & (ENTRY_MASK | REOPENED) == 0


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names come and go; what is forgotten is counted out again."""
    monkeypatch.setattr(entry, "_REMEMBERED", 3)
    numbers = EntryNumbers()
    for port in range(10):
        assert numbers.of("tls", "api.example.com", port) == entry_number("tls", "api.example.com", port)
        assert len(numbers._known) <= 3
