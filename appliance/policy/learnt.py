"""Learnt names: those that patterns brought, and that were looked up because a client used them (D13).

They are bounded, as clients choose them: the one that was used least recently goes first. What could not be looked up
is believed for a while, so that a client that insists costs no question each time. Everything here is pure.
"""

from collections import OrderedDict
from collections.abc import Iterator

from appliance.policy.addresses import Answer
from appliance.policy.fqdn import Fqdn
from appliance.policy.policy import Policy

NEGATIVE_FLOOR = 1.0  # seconds
NEGATIVE_CEILING = 30.0  # seconds


class LearntNames:
    """The names, `most` of them."""

    __slots__ = ("_most", "_names")

    def __init__(self, most: int) -> None:
        self._most = most
        # Until when there is no sense in another look-up; least recently used first.
        self._names: OrderedDict[Fqdn, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def add(self, answer: Answer, now: float, *, is_usable: bool) -> Iterator[Fqdn]:
        """Take in an answer, usable if it brought an address; yield the names that had to go for it."""
        believed = min(max(answer.ttl, NEGATIVE_FLOOR), NEGATIVE_CEILING)
        self._names[answer.name] = 0.0 if is_usable else now + believed
        self._names.move_to_end(answer.name)
        while len(self._names) > self._most:
            yield self._names.popitem(last=False)[0]

    def use(self, name: Fqdn) -> None:
        """Remember that a name was used."""
        if name in self._names:
            self._names.move_to_end(name)

    def is_hopeless(self, name: Fqdn, now: float) -> bool:
        """Tell whether a name was looked up in vain a moment ago."""
        return self._names.get(name, 0.0) > now

    def keep(self, policy: Policy, *, is_same: bool) -> list[Fqdn]:
        """Forget what no pattern of a policy matches, and return it; a name that is listed by now is not ours.

        `is_same`: its patterns are those of before, all of which are matched.
        """
        gone = [name for name in self._names if name in policy.names or not (is_same or policy.patterns.matches(name))]
        for name in gone:
            del self._names[name]
        return [name for name in gone if name not in policy.names]
