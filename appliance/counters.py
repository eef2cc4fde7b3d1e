"""Counters: what happens to packets while nobody looks, and how to say it in the log. Everything here is pure."""

from collections.abc import Iterator, Mapping

TEXT = {
    "opening_over_limit": "new flows were dropped: their clients open more than one client may",
    "gate_over_limit": "first packets were refused without a log line: over the limit per client",
    "stray": "packets were no part of a flow that was seen from its start, and were answered with a reset",
    "not_from_client": "packets of new flows came from elsewhere than the client networks, and were dropped",
    "forwarded_ipv6": "IPv6 packets were dropped: they cannot be filtered yet",
    "unanswered": "packets came back from the queue without a verdict, and were dropped",
    "queue_full": "packets were dropped because a queue was full: the box is too small for this load",
    "suppressed": "refused packets were not logged: over the limit of the engine",
    "events_lost": "flow events were lost: the supervisor could not keep up",
}


def counted_since(before: Mapping[str, int], now: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence for each counter of `TEXT` that grew. A counter that fell began anew, and is not told."""
    for name, text in TEXT.items():
        more = now.get(name, 0) - before.get(name, 0)
        if more > 0:
            yield f"{more} {text}"
