"""Allowlists to give to the module, and names of all kinds, as tables and from a seed: the same in every run."""

import hashlib
import random
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from appliance.policy.annotation import Allow, parse_description
from appliance.policy.fqdn import LABEL_MAX, Fqdn
from appliance.policy.pattern import Entry, Pattern
from appliance.policy.reference import Reference

TODAY = date(2027, 1, 5)
MODULUS_MAX = 1024  # of the module
LENGTH_MAX = 239  # characters of a name: 255 of a description, without "discriminat:tls:"

Names = dict[int, list[str]]


@dataclass(frozen=True)
class Asked:
    """One allowlist, as a user writes it: names by port."""

    tls: Names
    ssh: Names
    see_thru: date | None = None

    @property
    def granted(self) -> set[tuple[str, int, Entry | Reference]]:
        """What has to come out."""
        both = (("tls", self.tls), ("ssh", self.ssh))
        return {(proto, port, parse(name)) for proto, ports in both for port, names in ports.items() for name in names}

    @property
    def ports(self) -> set[int]:
        return {*self.tls, *self.ssh}


def parse(name: str) -> Entry | Reference:
    """Return what a name is to the engine: a name, a pattern, or a list."""
    if name.startswith("@"):
        return Reference.parse(name)
    return Pattern.parse(name) if re.search("[*+]", name) else Fqdn.parse(name)


# Lists

LABELS = ["a", "api", "files", "eu-west-2", "_dmarc", "xn--bcher-kva", "registry-1", "9", "x" * 63, "Amazonaws", "n_1"]
TOPS = ["com", "co.uk", "EXAMPLE.com", "io", "xn--p1ai", "1a", "0xg"]


def some_name(chance: random.Random) -> str:
    """Return a name that the engine takes, of any length up to what a description holds."""
    labels = [chance.choice([*LABELS, f"n{chance.randrange(1000)}"]) for _ in range(chance.choice([1, 1, 2, 2, 3]))]
    return f"{'.'.join(labels)}.{chance.choice(TOPS)}{chance.choice(['', '', '', '.'])}"


def plain_names(count: int, text: str = "service-{}.example.com") -> list[str]:
    return [text.format(index) for index in range(count)]


def of_length(length: int, first: str) -> str:
    """Return a name of so many characters, with labels as long as may be."""
    labels, missing = [first], length - len(first) - len(".example")
    while missing:
        label = min(LABEL_MAX, missing - 1)
        label -= missing - label == 2  # the next would be empty
        labels.append("y" * label)
        missing -= label + 1
    return ".".join([*labels, "example"])


def some_lists(chance: random.Random, count: int) -> Iterator[tuple[str, Asked]]:
    for index in range(count):
        ports = chance.sample([22, 443, 8443, 1, 65535], chance.choice([1, 1, 2, 3]))
        lists: tuple[Names, Names] = ({}, {})
        for port in ports:
            for names in chance.choice([lists[:1], lists[1:], lists]):
                size = chance.choice([1, 2, 3, 5, 8, 13, 21, 40])
                names[port] = [some_name(chance) for _ in range(size)]
        until = TODAY + timedelta(days=chance.randrange(365)) if chance.random() < 0.2 else None
        yield f"some-{index}", Asked(*lists, until)


def colliding() -> list[str]:
    """Return two names that share no description, and that none of the module's moduli parts."""
    seen: dict[int, str] = {}
    for name in (of_length(200, f"n{index}") for index in range(10_000)):
        number = int(hashlib.sha256(f"tls:{name}".encode()).hexdigest()[:8], 16) % MODULUS_MAX
        if number in seen:
            return [seen[number], name]
        seen[number] = name
    raise AssertionError(seen)


CHANCE = random.Random(20261125)
BASES = {
    "few": plain_names(6),
    "some": plain_names(40),
    "many": plain_names(120),
    **{f"mixed-{size}": [some_name(CHANCE) for _ in range(size)] for size in (3, 10, 25, 60)},
    "long": [of_length(100, f"n{index}") for index in range(12)],
}
ADDED = ["a.example.com", "service-20a.example.com", "zz.example.com", of_length(100, "new"), "x.test", "m.co"]

LISTS: dict[str, Asked] = {
    "nothing": Asked({}, {}),
    "one name": Asked({443: ["api.example.com"]}, {}),
    "see-thru alone": Asked({}, {}, TODAY),
    "all": Asked({443: ["api.example.com"], 8443: ["b.example.com"]}, {22: ["git.example.com"]}, TODAY),
    "both on one port": Asked({443: ["api.example.com"]}, {443: ["git.example.com", "api.example.com"]}),
    "many of both on one port": Asked({443: plain_names(40)}, {443: plain_names(40)}),
    "ends of the range": Asked({1: ["a.bc"], 65535: ["a.bc"]}, {}),
    "repetitions": Asked({443: ["api.example.com", "API.example.com", "api.example.com."]}, {}),
    "the longest": Asked({443: [of_length(239, "a"), of_length(239, "b")]}, {443: [of_length(239, "a")]}),
    "the longest, with a dot": Asked({443: [f"{of_length(239, 'a')}."]}, {}),
    "the shortest": Asked({443: [f"{a}.{b}" for a in "abcdefghij" for b in "klmnopqrst"]}, {}),
    "nearly all masks": Asked({443: [f"{CHANCE.randbytes(4).hex()}.example.com" for _ in range(220)]}, {}),
    "the same number": Asked({443: colliding()}, {}),
    **{f"of {length}": Asked({443: [of_length(length, f"n{i}") for i in range(5)]}, {}) for length in range(110, 124)},
    **{f"{size} together": Asked({443: plain_names(size, "n{}.test")}, {}) for size in range(20, 34)},
    **dict(some_lists(CHANCE, 60)),
    "patterns": Asked({443: ["*.example.com", "Web-++.*.Example.com", "api.example.org"]}, {22: ["git.example.com"]}),
    "lists": Asked(
        {443: ["@ssm/Apps/acme/a.b_c-d", "@SSM/apps/acme", "@list/Central", "@secret/A+b=c@d/e.", "a.com"]},
        {22: ["@Ssm/one"]},
    ),
    "many lists": Asked({443: [f"@ssm/apps/Team-{index}/allow" for index in range(60)]}, {}),
    "the longest list": Asked({443: [f"@secret/{'A' * 231}", f"@ssm/{'b' * 234}"]}, {443: [f"@ssm/{'b' * 234}"]}),
    # the same with one name more, and in another order
    **{f"before {base}": Asked({443: names}, {}) for base, names in BASES.items()},
    **{f"shuffled {base}": Asked({443: CHANCE.sample(names, len(names))}, {}) for base, names in BASES.items()},
    **{f"after {base} {added}": Asked({443: [*names, added]}, {}) for base, names in BASES.items() for added in ADDED},
}

# Names that are accepted or refused one by one; some are longer than a description has room for.
WRITTEN = """
api.example.com API.Example.COM api.example.com. a.b a.b. _x._y.example.com a_.b_ xn--bcher-kva.example 1.com
1.2.3.4.com a.1a a.0xg a.0x1-2 a.x0 0x1.com 3com.de a-b--c.d--e.com
localhost localhost. com _ 1 a 192.0.2.1 192.0.2.1. 1.2 a.1 a.b.123 a.0x a.0X1f a.0xff. 0x7f.1 1.2.3.4/32 10.0.0.0/8
2001:db8::1 ::1 [::1] :: fe80::1/64 *.example.com ?.example.com www*.example.com * a.*.com
web-+.example.com + a+b.com *.1 *-.a.com -*.a.com *..a.com a.b+c.d+e.f 1+.com *.com:443
-a.example.com a-.example.com a.-b.com a.b-.com a.com- - -.- a..b .a.com a.com.. . .. a...b
https://a.com a.com:443 a.com/x a.com/ http://a.com:80/x ftp:a.com a.com,b.com a.com;b.com a+b.com a&b.com a.com,
a@b.com a.com! a%b.com a#b.com $a.com a=b.com (a.com) a'b.com a"b.com a\\b.com ~.com a|b.com <a.com> {a.com}
discriminat:tls:a.com Discriminat:SSH:a.com tls:a.com
""".split()  # noqa: SIM905 -- a name a line would be two pages
REFERENCES = """
@ssm/apps/acme/allow @SSM/Apps/Acme @sSm/a @ssm/a. @ssm/.a @ssm/a_b-c.d/e @secret/apps/acme/allow @Secret/a @secret/a/
@secret/a//b @secret//a @secret/A1/_+=.@- @secret/a@b.com @list/central @LIST/Central-1 @list/9 @list/a-
@ssm/ssm @ssm/awsome @ssm/aw @ssm/b/aws @secret/aws/x @list/aws
@ @ssm @ssm/ @ssm// @ssm//a @ssm/a/ @ssm/a//b @ssm:/a @ssm:a @ssm.a @ssm/aws @ssm/aws/a @ssm/AWS/x @ssm/a+b
@ssm/a@b @ssm/a=b @ssm/a:1 @ssm/* @ssm/a? @ssm/a*b @@ssm/a ssm/a SSM/a/b /ssm/a @secret @secret/ @secrets/a @secret:a
@secret/a:b @secret/a?
@secret/a*b @secret/a#b @secret/a!b secret/a secrets/a @list @list/ @list/a/b @list/a_b @list/a.b @list/a+b @list/*
list/central @parameter/a @param/a parameter/a @arn:aws:ssm:eu-west-1:222222222222:parameter/a @a.com @sts/a a@ssm/a.com
arn:aws:ssm:eu-west-1:222222222222:parameter/a arn:aws:secretsmanager:eu-west-1:222222222222:secret:a-AbCdEf ARN:x
""".split()  # noqa: SIM905 -- likewise
STRANGE = [
    "@\u017fsm/a",  # a long s
    "@ssm/\u00fc",
    "@ssm/a b",
    "@ssm/a\n",
    " @ssm/a",
    "@ssm/a,@ssm/b",
    "@ssm/a,b.com",
    "",
    " ",
    "a.com ",
    " a.com",
    "a. com",
    "a.com b.com",
    "a.com\n",
    "\na.com",
    "a\tb.com",
    "b\u00fccher.example",
    "\u0430.com",  # a Cyrillic letter
    "\u212a.com",  # the Kelvin sign, a K to Unicode
    "\u017f.com",  # a long s
    "\uff41.com",  # a full-width a
    "a\u3002com",  # an ideographic full stop
    "a\u00ad.com",  # a soft hyphen
    "\u0661.com",  # a digit, and not one of ASCII
    "a.com\u200b",
]
LENGTHS = [
    *(f"{'a' * size}.com" for size in (62, 63, 64, 65)),
    *(f"a.{'b' * size}" for size in (62, 63, 64, 65)),
    *(f"@ssm/{'/'.join(['a'] * levels)}" for levels in (14, 15, 16)),
    *(f"@list/{'a' * size}" for size in (63, 64, 65)),
    *(f"@{store}/{'a' * (size - len(store) - 2)}" for store in ("ssm", "secret") for size in (238, 239, 240, 300)),
    *(f"{of_length(size, 'a')}{dot}" for size in (238, 239, 240, 241, 252, 253, 254, 255, 300) for dot in ("", ".")),
]


def some_texts(chance: random.Random, count: int) -> Iterator[str]:
    """Yield short texts of what names are made of, and of what they are not."""
    for _ in range(count):
        text = "".join(chance.choices(chance.choice(["aZ0x19-_....:/*", "aZ0x1_-."]), k=chance.randrange(1, 9)))
        yield text
        yield chance.choice(["@ssm/", "@secret/", "@list/", "@"]) + text


TEXTS = sorted(
    {
        unicodedata.normalize("NFC", text)
        for text in (*WRITTEN, *REFERENCES, *STRANGE, *LENGTHS, *some_texts(CHANCE, 400))
    }
)


def is_listed(name: str, protocol: str = "tls") -> bool:
    """Tell whether the engine takes a name or a pattern, and a description has room for it."""
    allows = [
        each for each in parse_description(f"discriminat:{protocol}:{name}").annotations if isinstance(each, Allow)
    ]
    listed = [
        str(each)
        for allow in allows
        for each in (*allow.names, *(entry for entry, _ in (*allow.patterns, *allow.references)))
    ]
    # AWS takes no `?`, and what is more than one name, or ends an annotation, is not one.
    return len(listed) == 1 and not re.search(r"[?,\s]", name) and len(listed[0]) <= LENGTH_MAX
