"""IPv4 addresses and networks as integers."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.address import PRIVATE_NETWORKS, Ipv4, Network, format_ipv4, is_private, parse_ipv4
from appliance.errors import InvalidAddress

ADDRESSES = st.integers(0, 2**32 - 1).map(Ipv4)

NOT_ADDRESSES = {
    "empty": "",
    "three numbers": "10.0.0",
    "five numbers": "10.0.0.0.1",
    "above 255": "10.0.0.256",
    "leading zero, octal to some": "010.0.0.1",
    "hexadecimal": "0x0a.0.0.1",
    "negative": "10.0.0.-1",
    "space": " 10.0.0.1",
    "newline": "10.0.0.1\n",
    "another alphabet's digits": "\u0661\u0660.0.0.1",
    "IPv6": "::ffff:10.0.0.1",
    "network": "10.0.0.0/8",
}

NOT_NETWORKS = {
    "no length": "10.0.0.0",
    "empty length": "10.0.0.0/",
    "length above 32": "10.0.0.0/33",
    "length with a leading zero": "10.0.0.0/08",
    "negative length": "10.0.0.0/-1",
    "two lengths": "10.0.0.0/8/8",
    "mask": "10.0.0.0/255.0.0.0",
    "newline": "10.0.0.0/8\n",
    "IPv6": "2001:db8::/32",
}

# network, inside, outside
NETWORKS = [
    ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], []),
    ("128.0.0.0/1", ["128.0.0.0", "255.255.255.255"], ["127.255.255.255"]),
    ("10.1.0.0/16", ["10.1.0.0", "10.1.255.255"], ["10.0.255.255", "10.2.0.0"]),
    ("10.0.0.16/28", ["10.0.0.16", "10.0.0.31"], ["10.0.0.15", "10.0.0.32"]),
    ("203.0.113.7/32", ["203.0.113.7"], ["203.0.113.6", "203.0.113.8"]),
]

# network, its two ends, and what lies next to it: None where the neighbour is private as well, or is no address
BORDERS = [
    ("0.0.0.0", "0.255.255.255", None, "1.0.0.0"),
    ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
    ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
    ("127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
    ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
    ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
    ("192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"),
    ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
    ("198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
    ("224.0.0.0", "239.255.255.255", "223.255.255.255", None),
    ("240.0.0.0", "255.255.255.255", None, None),
]


@given(ADDRESSES)
def test_address_survives_its_text(address: Ipv4) -> None:
    """An address is written as the standard library writes it, and reads back as itself."""
    assert str(ipaddress.IPv4Address(address)) == format_ipv4(address)
    assert address == parse_ipv4(format_ipv4(address))


@pytest.mark.parametrize("text", NOT_ADDRESSES.values(), ids=NOT_ADDRESSES.keys())
def test_only_a_dotted_quad_is_an_address(text: str) -> None:
    """Anything but four plain decimal numbers is refused, with a hint."""
    with pytest.raises(InvalidAddress) as caught:
        parse_ipv4(text)
    assert caught.value.hint


@pytest.mark.parametrize("text", NOT_NETWORKS.values(), ids=NOT_NETWORKS.keys())
def test_only_a_cidr_block_is_a_network(text: str) -> None:
    """Anything but an address and a length of 0 to 32 is refused, with a hint."""
    with pytest.raises(InvalidAddress) as caught:
        Network.parse(text)
    assert caught.value.hint


@pytest.mark.parametrize(("text", "inside", "outside"), NETWORKS)
def test_network_holds_its_own_addresses_only(text: str, inside: list[str], outside: list[str]) -> None:
    """A network contains its first and its last address, and neither neighbour."""
    network = Network.parse(text)

    assert text == str(network)
    assert all(parse_ipv4(address) in network for address in inside)
    assert not any(parse_ipv4(address) in network for address in outside)


def test_host_bits_are_cleared() -> None:
    """A network written with host bits is the network of that address, as in AWS."""
    assert Network.parse("10.1.2.0/23") == Network.parse("10.1.3.77/23")


@given(ADDRESSES, st.integers(0, 32), ADDRESSES)
def test_network_agrees_with_the_standard_library(address: Ipv4, length: int, other: Ipv4) -> None:
    """Masks, sizes and membership are those of `ipaddress`."""
    network = Network.parse(f"{format_ipv4(address)}/{length}")
    theirs = ipaddress.IPv4Network((address, length), strict=False)

    assert str(theirs) == str(network)
    assert theirs.num_addresses == network.size
    assert (ipaddress.IPv4Address(other) in theirs) == (other in network)


@pytest.mark.parametrize(("first", "last", "before", "after"), BORDERS)
def test_private_networks_end_where_they_should(first: str, last: str, before: str | None, after: str | None) -> None:
    """Both ends of a special-purpose network are private, and what lies next to it is not."""
    assert is_private(parse_ipv4(first))
    assert is_private(parse_ipv4(last))
    assert before is None or not is_private(parse_ipv4(before))
    assert after is None or not is_private(parse_ipv4(after))


def test_every_private_network_has_a_border_test() -> None:
    """No special-purpose network can be added without the test above knowing its ends."""
    assert [str(network.address) for network in PRIVATE_NETWORKS] == [str(parse_ipv4(row[0])) for row in BORDERS]


@given(ADDRESSES)
def test_what_the_registry_calls_global_is_not_private(address: Ipv4) -> None:
    """No address that IANA's registry calls global is refused, multicast aside."""
    theirs = ipaddress.IPv4Address(address)
    if theirs.is_global and not theirs.is_multicast:
        assert not is_private(address)
