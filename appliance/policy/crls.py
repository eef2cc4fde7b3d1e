"""Revocation lists and OCSP responders, which are asked in plaintext: which hosts, and whether a request may go there.

Certificates name these URLs, over http as RFC 5280 section 4.2.1.13 has it: what comes back is signed, and TLS to fetch
it would need another one first. The hosts are known by name, each one's domain is the CA's own, and a request goes to
the addresses that our own look-ups of the name returned, as TLS does.

The rule of the tables: a host stands here because CCADB (https://www.ccadb.org), as of November 2026, has a current CA
that Mozilla or Chrome trusts for TLS name it, or because certificates of a CA that Debian's ca-certificates trusts do,
or of Microsoft's and Apple's own. Never a wildcard, and of a host that serves other things only the folder that is
named. Left out are CAs whose URLs are no plain paths of a .crl (Actalis, SwissSign, Izenpe, NETLOCK, emSign), and hosts
of one CA each where somebody has made dozens (Certum, e-Szigno). Whoever runs a CA of his own adds its hosts by
preference, as may be done with those.
Everything here is pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

# Host of lists, and what their paths begin with. Those marked * are in the roots of Debian's ca-certificates; those
# marked + only in Microsoft's or Apple's own certificates, or in Let's Encrypt's page "Chains of Trust". As far
# as is known, no part but the path that is named is open to other tenants of a CA.
CRL_HOSTS: Final = {
    # DigiCert, with GeoTrust, RapidSSL, Thawte and QuoVadis, and those that it runs for others
    "crl3.digicert.com": "/",
    "crl4.digicert.com": "/",
    "crl.digicert.cn": "/",
    "crl.digicert.eu": "/",
    "cdp.geotrust.com": "/",
    "cdp.rapidssl.com": "/",
    "cdp.thawte.com": "/",
    "crl.quovadisglobal.com": "/",
    **{f"cdp{letter}.digitalcertvalidation.com": "/" for letter in "abcdefghi"},
    # Let's Encrypt
    **{f"{ca}.c.lencr.org": "/" for ca in ("e5", "e6", "e7", "e8", "r10", "r11", "r12", "r13", "x1", "x2")},
    **{f"{ca}.c.lencr.org": "/" for ca in ("ye", "ye1", "ye2", "yr", "yr1", "yr2")},
    **{f"{ca}.c.lencr.org": "/" for ca in ("e9", "r14", "ye3", "yr3")},  # +
    # Google Trust Services
    "c.pki.goog": "/",
    "crl.pki.goog": "/",
    # Amazon Trust Services: of its roots, of its M CAs by key and number, and of the S CAs, which share some hosts
    **{f"crl.root{root}.amazontrust.com": "/" for root in ("ca1", "ca2", "ca3", "ca4", "g2")},
    **{f"crl.{key}m0{number}.amazontrust.com": "/" for key in ("r2", "r4", "e2", "e3") for number in (1, 2, 3, 4)},
    **{f"crl.r{number}001.amazontrust.com": "/" for number in (1, 2, 3, 4)},
    **{f"crl.r2s{number}.amazontrust.com": "/" for number in (20, 21, 23, 24, 25)},
    **{f"crl.e2s{number}.amazontrust.com": "/" for number in (14, 15, 16, 17, 20, 21)},
    **{f"crl.e3s{number}.amazontrust.com": "/" for number in (22, 24, 28)},
    "crl-01.r1.ica.amazontrust.com": "/crl/",
    # GlobalSign
    "crl.globalsign.com": "/",
    "crl.globalsign.net": "/",
    # Sectigo, with Comodo, USERTrust and Entrust, and those that it runs for others
    "crl.sectigo.com": "/",
    **{f"{brand}.crl.sectigo.com": "/" for brand in ("digitaltrust", "verokey", "zerossl")},
    "crl.sectigochina.com": "/",
    "crl.trust-provider.cn": "/",
    "crl.crlocsp.cn": "/",
    "crl.comodoca.com": "/",  # *
    "crl.comodo.net": "/",  # *
    "crl.usertrust.com": "/",
    "crl.entrust.net": "/",
    # GoDaddy and Starfield
    "crl.godaddy.com": "/",
    "crl.starfieldtech.com": "/",
    # Microsoft
    "crl.microsoft.com": "/pki/crl/",  # +
    "crl2.microsoft.com": "/pkiops/crl/",
    "www.microsoft.com": "/pkiops/crl/",
    # Certum
    "crl.certum.pl": "/",
    "subca.crl.certum.pl": "/",
    # Apple, IdenTrust, SSL.com, HARICA
    "crl.apple.com": "/",  # +
    "validation.identrust.com": "/crl/",
    "crls.ssl.com": "/",
    "crl.harica.gr": "/",
    # D-Trust, Telekom Security, Buypass, Certigna, SecureTrust, ACCV, FNMT, Disig, OISTE, certSIGN, SZAFIR
    "crl.d-trust.net": "/crl/",
    "cdn.d-trust-cloudcrl.net": "/crl/",
    "www.d-trust.net": "/crl/",  # *
    **{f"crl.{kind}.telesec.de": "/rl/" for kind in ("serverid", "businessid")},
    **{f"{root}.crl.telesec.de": "/rl/" for root in ("tstlsrr23", "tstlser20")},
    "crl.buypass.no": "/crl/",
    "crl.certigna.fr": "/",  # *
    "crl.dhimyotis.com": "/",
    "crl.securetrust.com": "/",  # *
    "www.accv.es": "/fileadmin/Archivos/certificados/",  # *
    "www.cert.fnmt.es": "/crls/",
    "cdp.disig.sk": "/",
    "public.wisekey.com": "/crl/",
    "crl.certsign.ro": "/",
    "pkipro.certsign.ro": "/",
    "cdp.elektronicznypodpis.pl": "/",
    # SECOM, JPRS, Cybertrust Japan, TWCA, Chunghwa, NAVER, TrustAsia, SHECA
    "repo1.secomtrust.net": "/",
    "repo.pubcert.jprs.jp": "/sppca/jprs/",
    "sscrl.cybertrust.ne.jp": "/SureServer/",
    "evcrl.cybertrust.ne.jp": "/SureServer/",
    "rootca.twca.com.tw": "/TWCARCA/",
    "sslserver.twca.com.tw": "/sslserver/",
    "repository.tls.hinet.net": "/crl/",
    "eca.hinet.net": "/repository/",
    "rca.navercorp.com": "/arl/",
    "ica.navercorp.com": "/naverica2/",
    "ica.navercloudtrust.com": "/g1ec3/",
    "crl.litessl.com": "/",
    "crl-pro.litessl.com": "/",
    "crl.oem.trustca.net": "/",
    "crl.global.sheca.com": "/",
}
# Hosts of one list, at the path /, as Let's Encrypt names those of its roots.
ROOT_LISTS: Final = frozenset({"x1.c.lencr.org", "x2.c.lencr.org", "ye.c.lencr.org", "yr.c.lencr.org"})

# Responders, and how many words their paths have at most: http://o.pki.goog/s/we1/abc has three. As of November 2026,
# those that are still run, for certificates that name them: many CAs have left OCSP (Let's Encrypt switched it off in
# August 2025) or name no responder in new certificates (Google since the second half of 2025 in most chains, HARICA
# since March 2026). Most were seen in certificates of their CA; that they answer was not tried.
OCSP_HOSTS: Final = {
    "ocsp.digicert.com": 0,
    "status.geotrust.com": 0,
    "status.rapidssl.com": 0,
    "status.thawte.com": 0,
    "ocsp.quovadisglobal.com": 0,
    "o.pki.goog": 3,
    "ocsp.rootca1.amazontrust.com": 0,
    "ocsp.rootg2.amazontrust.com": 0,
    **{f"ocsp.r2m0{number}.amazontrust.com": 0 for number in (1, 2, 3, 4)},
    "ocsp.globalsign.com": 2,
    "ocsp2.globalsign.com": 2,
    "ocsp.sectigo.com": 0,
    "ocsp.comodoca.com": 0,
    "ocsp.usertrust.com": 0,
    "ocsp.godaddy.com": 0,
    "ocsp.starfieldtech.com": 0,
    "oneocsp.microsoft.com": 1,
    "ocsp.apple.com": 1,
    "ocsp.entrust.net": 0,
    "commercial.ocsp.identrust.com": 0,
    "ocsps.ssl.com": 0,
    "ocsp.harica.gr": 0,
    "ocsp.accv.es": 0,
}

_ALLOWED: Final = {False: Reason.CRL_LISTED, True: Reason.OCSP_LISTED}  # by whether it is OCSP
# The same as if every client had a rule that lists them.
_RULE: Final = Rule("%default", "x509_crls", Protocol.TLS, CRL_PORT, None)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where clients may fetch from.

    `rules`: of all hosts. `own`: of those that preferences add, what paths begin with, and end with, in a slash.
    """

    rules: PortRules
    own: Mapping[str, tuple[str, ...]]

    def __contains__(self, host: str) -> bool:
        return host in self.own or host in CRL_HOSTS or host in OCSP_HOSTS


def endpoints_of(hosts: Iterable[str]) -> Endpoints:
    """Return the known endpoints, and those of a CA of one's own. `hosts`: as `kind.UrlPrefixes` has them."""
    own: dict[str, tuple[str, ...]] = {}
    for each in hosts:
        host, _, path = each.partition("/")
        own[host] = (*own.get(host, ()), f"/{path}/" if path else "/")
    names = dict.fromkeys((*CRL_HOSTS, *OCSP_HOSTS, *own))
    return Endpoints(PortRules({Fqdn.parse(name): (_RULE,) for name in names}, {}), own)


PUBLIC_ENDPOINTS: Final = endpoints_of(())


def decide_fetch(  # noqa: PLR0917 -- a request, where it goes, and what that is compared with
    endpoints: Endpoints, host: str, path: str, destination: Ipv4, book: AddressBook, now: float, *, is_ocsp: bool
) -> Decision:
    """Decide on a request for a revocation list, or for a certificate's status. `host`: in lower case.

    `path`: of a list, or of a responder with a slash at its end.

    After NAME_UNRESOLVED, ANSWER_PRIVATE and ADDRESS_MISMATCH a fresh look-up of the name may bring another decision.
    """
    fault = _fault_of_url(endpoints, host, path, is_ocsp=is_ocsp)
    if fault:
        return Decision(allow=False, reason=Reason.HTTP_PLAINTEXT, name=host, detail=fault)
    decision = decide_name(endpoints.rules, Fqdn.parse(host), destination, book, now)
    return decision._replace(reason=_ALLOWED[is_ocsp]) if decision.allow else decision


def decide_host(endpoints: Endpoints, name: Fqdn, destination: Ipv4, book: AddressBook, now: float) -> Decision:
    """Decide on a flawless request for whatever there is at a host."""
    host = str(name)
    if host not in endpoints:
        detail = "not a host of a public CA's CRLs or OCSP"
        return Decision(allow=False, reason=Reason.HTTP_PLAINTEXT, name=host, detail=detail)
    decision = decide_name(endpoints.rules, name, destination, book, now)
    serves_lists = host in CRL_HOSTS or host in endpoints.own
    return decision._replace(reason=_ALLOWED[not serves_lists]) if decision.allow else decision


def _fault_of_url(endpoints: Endpoints, host: str, path: str, *, is_ocsp: bool) -> str:
    """Return why nothing is fetched from there; empty if it may be."""
    own = endpoints.own.get(host, ())
    if is_ocsp:
        words = OCSP_HOSTS.get(host)
        if path in own or (words is not None and path.count("/") - 1 <= words):
            return ""
        if words is None and not own:
            return "not a host of a public CA's OCSP"
        return f"its responder is at {' or '.join(own)}" if words is None else f"the path has more than {words} words"
    if path == "/":
        return "" if host in ROOT_LISTS else "no list is known at its root"
    prefix = CRL_HOSTS.get(host)
    known = own if prefix is None else (prefix, *own)
    if path.startswith(known):
        return ""
    return f"its CRLs are below {' or '.join(known)}" if known else "not a host of a public CA's CRLs"
