"""Learnt names: those that patterns brought, and that were looked up because a client used them (D13).

They are bounded, as clients choose them: the one that was used least recently goes first. Only a name that a client of
this worker asked for is one, though answers go to every worker. What could not be looked up is believed for a while, so
that a client that insists costs no question each time. Everything here is pure.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.policy.addresses import Answer
from appliance.policy.fqdn import Fqdn
from appliance.policy.pattern import Pattern
from appliance.policy.policy import Policy

NEGATIVE_FLOOR = 1.0  # seconds
NEGATIVE_CEILING = 30.0  # seconds


@dataclass(slots=True)
class _Learnt:
    """A name. `pattern`: the one that it was last used by; `hopeless_until`: no sense in another look-up before."""

    pattern: str
    hopeless_until: float = 0.0


class LearntNames:
    """The names, `most` of them."""

    __slots__ = ("_most", "_names", "_overheard")

    def __init__(self, most: int) -> None:
        self._most = most
        self._overheard: OrderedDict[Fqdn, None] = OrderedDict()  # as many as there may be of ours
        self._names: OrderedDict[Fqdn, _Learnt] = OrderedDict()  # least recently used first

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: Fqdn) -> bool:
        return name in self._names

    def overhear(self, name: Fqdn) -> None:
        """Remember that somebody else's client asked for a name."""
        self._overheard[name] = None
        if len(self._overheard) > self._most:
            self._overheard.popitem(last=False)

    def was_overheard(self, name: Fqdn) -> bool:
        """Tell, once, whether somebody else's client asked for a name: to ask for the same is not rationed again."""
        return self._overheard.pop(name, self) is None

    def want(self, name: Fqdn, pattern: str) -> Iterator[Fqdn]:
        """Take in a name that is about to be looked up for a client; yield the names that have to go for it."""
        self.use(name, pattern)
        self._names.setdefault(name, _Learnt(pattern))
        while len(self._names) > self._most:
            yield self._names.popitem(last=False)[0]

    def answered(self, answer: Answer, now: float, *, is_usable: bool) -> None:
        """Remember of a name that is wanted whether its answer brought an address."""
        believed = min(max(answer.ttl, NEGATIVE_FLOOR), NEGATIVE_CEILING)
        self._names[answer.name].hopeless_until = 0.0 if is_usable else now + believed
        self._names.move_to_end(answer.name)

    def use(self, name: Fqdn, pattern: str) -> None:
        """Remember that a name was used, and by which pattern."""
        known = self._names.get(name)
        if known is not None:
            known.pattern = pattern
            self._names.move_to_end(name)

    def is_hopeless(self, name: Fqdn, now: float) -> bool:
        """Tell whether a name was looked up in vain a moment ago."""
        known = self._names.get(name)
        return known is not None and known.hopeless_until > now

    def keep(self, policy: Policy) -> list[Fqdn]:
        """Forget the names whose pattern a policy lacks, and return them; a name that is listed by now is not ours.

        Another pattern may match one of them: it is looked up again when it is used. To compare all with all would
        take long, and no packet is decided meanwhile.
        """
        gone = [
            name
            for name, known in self._names.items()
            if name in policy.names or Pattern(tuple(known.pattern.split("."))) not in policy.patterns
        ]
        for name in gone:
            del self._names[name]
        return [name for name in gone if name not in policy.names]
