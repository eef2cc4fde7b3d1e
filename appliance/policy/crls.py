"""Revocation lists of public CAs, which are fetched in plaintext: from which hosts, and whether a request may go there.

Certificates name these URLs in their CRL distribution points, over http as RFC 5280 section 4.2.1.13 has it: a list is
signed, and TLS to fetch it would need another one first. The hosts are known by name, each one's domain is the CA's
own, and a request goes to the addresses that our own look-ups of the name returned, as TLS does.
Everything here is pure.
"""

from typing import Final

from appliance.address import Ipv4
from appliance.policy.addresses import AddressBook
from appliance.policy.annotation import Protocol
from appliance.policy.decision import Decision, decide_name
from appliance.policy.fqdn import Fqdn
from appliance.policy.policy import PortRules, Rule
from appliance.reason import Reason

CRL_PORT: Final = 80
BY_PORT: Final = frozenset(
    {Reason.PORT_NOT_LISTED, Reason.CLIENT_NOT_ANNOTATED}
)  # refusals that the exception overrides

# Host, and what its paths begin with. As of November 2026. Let's Encrypt's are those of its page "Chains of
# Trust". Of the others, some are the distribution points of certificates that servers show, and the rest are well
# known, but not checked against CCADB (https://www.ccadb.org), which has them all. Of no host here is any part
# but the path named open to other tenants of the CA.
CRL_HOSTS: Final = {
    # DigiCert, with GeoTrust, RapidSSL and Thawte
    "crl3.digicert.com": "/",
    "crl4.digicert.com": "/",
    "cdp.geotrust.com": "/",
    "cdp.rapidssl.com": "/",
    "cdp.thawte.com": "/",
    # Let's Encrypt
    **{
        f"{ca}.c.lencr.org": "/" for ca in ("e5", "e6", "e7", "e8", "e9", "r10", "r11", "r12", "r13", "r14", "x1", "x2")
    },
    **{f"{ca}.c.lencr.org": "/" for ca in ("ye1", "ye2", "ye3", "yr1", "yr2", "yr3")},
    # Google Trust Services
    "c.pki.goog": "/",
    "crl.pki.goog": "/",
    # Amazon Trust Services
    "crl.rootca1.amazontrust.com": "/",
    "crl.rootg2.amazontrust.com": "/",
    **{f"crl.r2m0{number}.amazontrust.com": "/" for number in (1, 2, 3, 4)},
    # GlobalSign
    "crl.globalsign.com": "/",
    "crl.globalsign.net": "/",
    # Sectigo, with Comodo and USERTrust
    "crl.sectigo.com": "/",
    "crl.comodoca.com": "/",
    "crl.usertrust.com": "/",
    # GoDaddy and Starfield
    "crl.godaddy.com": "/",
    "crl.starfieldtech.com": "/",
    # Microsoft
    "crl.microsoft.com": "/pki/crl/",
    "www.microsoft.com": "/pkiops/crl/",
    # Apple, Entrust, IdenTrust, SSL.com, Certum, HARICA
    "crl.apple.com": "/",
    "crl.entrust.net": "/",
    "crl.identrust.com": "/",
    "validation.identrust.com": "/crl/",
    "crls.ssl.com": "/",
    "crl.certum.pl": "/",
    "crl.harica.gr": "/",
}

# The same as if every client had a rule that lists them.
_RULE: Final = Rule("%default", "x509_crls", Protocol.TLS, CRL_PORT, None)
CRL_RULES: Final = PortRules({Fqdn.parse(host): (_RULE,) for host in CRL_HOSTS}, {})


def decide_crl(host: str, path: str, destination: Ipv4, book: AddressBook, now: float) -> Decision:
    """Decide on a request for a revocation list. `host`: in lower case.

    After NAME_UNRESOLVED, ANSWER_PRIVATE and ADDRESS_MISMATCH a fresh look-up of the name may bring another decision.
    """
    prefix = CRL_HOSTS.get(host)
    if prefix is None:
        return Decision(allow=False, reason=Reason.HTTP_PLAINTEXT, name=host, detail="not a host of a public CA's CRLs")
    if not path.startswith(prefix):
        return Decision(allow=False, reason=Reason.HTTP_PLAINTEXT, name=host, detail=f"its CRLs are below {prefix}")
    decision = decide_name(CRL_RULES, Fqdn.parse(host), destination, book, now)
    return decision._replace(reason=Reason.CRL_LISTED) if decision.allow else decision
