"""Names: what the VPC's resolver answers, changed while it runs."""

from collections.abc import Iterator, MutableMapping

from tests.dns_server import Record, record


class Names(MutableMapping[str, Record]):
    """What the VPC's resolver answers; a list of addresses, a CNAME or a tests.dns_server.Record may be assigned."""

    def __init__(self, zone: dict[str, Record]) -> None:
        self._zone = zone

    def __getitem__(self, name: str) -> Record:
        return self._zone[name.lower().rstrip(".")]

    def __setitem__(self, name: str, value: object) -> None:
        self._zone[name.lower().rstrip(".")] = record(value)

    def __delitem__(self, name: str) -> None:
        del self._zone[name.lower().rstrip(".")]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._zone))

    def __len__(self) -> int:
        return len(self._zone)
