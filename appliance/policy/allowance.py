"""Allowances: how many new names each client may have looked up, lest it talk to the world through our questions (D12).

Source: a token bucket, such as RFC 2697 describes. Everything here is pure.
"""

from appliance.address import Ipv4

_CLIENTS = 4096  # remembered before those that have all their tokens are forgotten


class Allowance:
    """Tokens by client: `burst` at first and at most, and `rate` more a second."""

    __slots__ = ("_burst", "_rate", "_tidy_at", "_tokens")

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._tokens: dict[Ipv4, tuple[float, float]] = {}  # how many there were, and when
        self._tidy_at = _CLIENTS

    def take(self, client: Ipv4, now: float) -> bool:
        """Take a token of a client's; False if it has none left."""
        left = self._left(client, now)
        if left < 1:
            return False
        self._tokens[client] = left - 1, now
        if len(self._tokens) >= self._tidy_at:
            self._tokens = {each: of for each, of in self._tokens.items() if self._left(each, now) < self._burst}
            self._tidy_at = max(_CLIENTS, 2 * len(self._tokens))
        return True

    def _left(self, client: Ipv4, now: float) -> float:
        tokens, then = self._tokens.get(client, (self._burst, now))
        return min(self._burst, tokens + (now - then) * self._rate)
