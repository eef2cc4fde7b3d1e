"""Public resolvers that answer over HTTPS, TLS or QUIC: who may reach one may ask it for anything (D7).

The list is for advice alone: nothing is refused by it, and nobody can know them all. Everything here is pure.

Source: what their operators publish, and what browsers and systems offer to choose from.
"""

from appliance.policy.fqdn import Fqdn
from appliance.policy.pattern import Pattern

# With all names below them: some operators give each customer one.
PUBLIC_RESOLVERS = frozenset(
    map(
        Fqdn.parse,
        (
            "cloudflare-dns.com",
            "cloudflare-gateway.com",
            "dns.adguard-dns.com",
            "dns.adguard.com",
            "dns.alidns.com",
            "dns.controld.com",
            "dns.digitale-gesellschaft.ch",
            "dns.google",
            "dns.google.com",
            "dns.mullvad.net",
            "dns.nextdns.io",
            "dns.opendns.com",
            "dns.quad9.net",
            "dns.sb",
            "dns.switch.ch",
            "dns.twnic.tw",
            "dns0.eu",
            "dns10.quad9.net",
            "dns11.quad9.net",
            "dns9.quad9.net",
            "doh.applied-privacy.net",
            "doh.cleanbrowsing.org",
            "doh.dns.apple.com",
            "doh.ffmuc.net",
            "doh.libredns.gr",
            "doh.mullvad.net",
            "doh.opendns.com",
            "doh.pub",
            "doh.umbrella.com",
            "doh.xfinity.com",
            "dot.pub",
            "family.adguard-dns.com",
            "freedns.controld.com",
            "one.one.one.one",
            "unfiltered.adguard-dns.com",
            "wikimedia-dns.org",
        ),
    )
)


def is_public_resolver(name: Fqdn) -> bool:
    """Tell whether a name is one of PUBLIC_RESOLVERS, or lies below one."""
    return any(Fqdn(name.labels[start:]) in PUBLIC_RESOLVERS for start in range(len(name.labels) - 1))


def reached_by(pattern: Pattern) -> Fqdn | None:
    """Return one of PUBLIC_RESOLVERS that a pattern matches, or that it matches names below; None if there is none."""
    for resolver in sorted(PUBLIC_RESOLVERS):
        if Pattern(pattern.labels[-len(resolver.labels) :]).matches(resolver):
            return resolver
    return None
