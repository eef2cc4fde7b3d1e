"""Counters: what grew is told, once."""

from appliance.counters import TEXT, counted_since


def test_what_grew_is_told() -> None:
    """A counter that stands still, fell, or is not ours to tell is passed over."""
    before = {"stray": 2, "queue_full": 9, "suppressed": 4}
    now = {"stray": 5, "queue_full": 9, "suppressed": 0, "rejected": 7, "unanswered": 1}

    told = list(counted_since(before, now))

    assert told == [f"3 {TEXT['stray']}", f"1 {TEXT['unanswered']}"]
