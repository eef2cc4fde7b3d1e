"""It starts closed, runs what it needs and nothing else, and what it runs is bounded."""

import re
from collections.abc import Iterator

from image.opened import Opened
from image.promises.machinery import MACHINERY
from image.promises.promise import Promise
from image.units import configuration, sysctl

FIREWALL = "discriminat-firewall.service"
ENGINE = "discriminat.service"
NETWORK = "systemd-networkd.service"
# A chain that drops what is forwarded, and has no rule that could let something through first.
FORWARD_CLOSED = re.compile(r"chain \w+ \{\s*type filter hook forward priority [^;]+; policy drop;\s*\}")
YES = {"yes", "true", "on", "1"}
NO = {"no", "false", "off", "0"}
TIME_SERVER = "169.254.169.123"  # Amazon Time Sync Service

# Of the engine's unit: setting and what it has to be.
HARDENED = {
    "NoNewPrivileges": YES,
    "MemoryDenyWriteExecute": YES,
    "PrivateDevices": YES,
    "PrivateTmp": YES | {"disconnected"},
    "ProtectHome": YES | {"tmpfs", "read-only"},
    "ProtectKernelLogs": YES,
    "ProtectKernelModules": YES,
    "ProtectKernelTunables": YES,
    "ProtectSystem": {"strict"},
    "RestrictNamespaces": YES | {"net", "user net"},  # the self-test of the data plane has one
    "RestrictRealtime": YES,
    "RestrictSUIDSGID": YES,
    "LockPersonality": YES,
}
CAPABILITIES = {"CAP_NET_ADMIN", "CAP_NET_RAW"}
STATE_OPTIONS = ("nodev", "nosuid", "noexec")


def closed_first(image: Opened) -> Iterator[str]:
    """Find a way for an interface to come up before the closed ruleset, or without it."""
    unit = image.units.unit(FIREWALL)
    if unit is None or unit.masked or FIREWALL not in image.units.started():
        yield f"{FIREWALL} is not started at boot"
        return
    if "network-pre.target" not in unit.values("Unit", "Before"):
        yield f"{FIREWALL} is not ordered before network-pre.target"
    if "network-pre.target" not in unit.values("Unit", "Wants") + unit.values("Unit", "Requires"):
        yield f"{FIREWALL} does not pull in network-pre.target, which nothing would wait for"
    network = image.units.unit(NETWORK)
    if network is not None and not network.masked:
        needed = network.values("Unit", "Requires") + network.values("Unit", "BindsTo")
        if FIREWALL not in needed or FIREWALL not in network.values("Unit", "After"):
            yield f"{NETWORK} comes up although {FIREWALL} has failed"
    rulesets = [word for word in unit.values("Service", "ExecStart") if word.endswith(".nft")]
    if not rulesets:
        yield f"{FIREWALL} loads no ruleset"
    for path in rulesets:
        if FORWARD_CLOSED.search(image.tree.text(path)) is None:
            yield f"the ruleset {path} does not drop what is forwarded"


def forwarding_off(image: Opened) -> Iterator[str]:
    """Find what lets the kernel forward before the engine says so."""
    settings = sysctl(image.tree)
    if settings.get("net.ipv4.ip_forward") != "0":
        yield f"net.ipv4.ip_forward is {settings.get('net.ipv4.ip_forward', 'not set')} after boot, expected 0"
    for name, value in settings.items():
        if re.fullmatch(r"net\.ipv6\.conf\..+\.forwarding|net\.ipv4\.conf\..+\.forwarding", name) and value != "0":
            yield f"{name} is {value} after boot"
    for entry in image.tree.under("/etc/systemd/network", "/usr/lib/systemd/network"):
        for setting in re.findall(
            r"^\s*(IP(?:v[46])?Forward(?:ing)?)\s*=\s*(\S+)", image.tree.text(entry.path), re.MULTILINE
        ):
            if setting[1] not in NO:
                yield f"{entry.path} sets {'='.join(setting)}"


def engine_confined(image: Opened) -> Iterator[str]:
    """Find rights that the engine's unit leaves it."""
    unit = image.units.unit(ENGINE)
    if unit is None or unit.masked or ENGINE not in image.units.started():
        yield f"{ENGINE} is not started at boot"
        return
    if unit.value("Service", "User") in {"", "root", "0"}:
        yield f"{ENGINE} runs as root"
    if unit.value("Service", "Type") != "notify" or not unit.value("Service", "WatchdogSec"):
        yield f"{ENGINE} is not watched: it wants Type=notify and WatchdogSec"
    for name, wanted in HARDENED.items():
        if unit.value("Service", name) not in wanted:
            yield f"{ENGINE} has {name}={unit.value('Service', name)}, expected {' or '.join(sorted(wanted))}"
    for name in ("CapabilityBoundingSet", "AmbientCapabilities"):
        given = set(unit.values("Service", name))
        if not given or given - CAPABILITIES:
            yield f"{ENGINE} has {name}={' '.join(sorted(given - CAPABILITIES)) or 'everything'}"


def kernel_settings(image: Opened) -> Iterator[str]:
    """Find why conntrack and its like would keep the kernel's own sizes."""
    unit = image.units.unit(ENGINE)
    commands = unit.settings.get(("Service", "ExecStartPre"), []) if unit else []
    if not any(re.fullmatch(r"\+/usr/bin/discriminat prepare", command) for command in commands):
        yield f"{ENGINE} does not run `discriminat prepare` as root before it starts"
    if not image.tree.has("/usr/bin/discriminat"):
        yield "/usr/bin/discriminat is not there"


def nothing_else_runs(image: Opened) -> Iterator[str]:
    """Find units that start at boot and that the recipe does not name, and the other way round."""
    started = image.units.started()
    for name in sorted(started - image.wanted.units - MACHINERY):
        if name.endswith((".service", ".socket", ".timer", ".path")):
            yield f"{name} is started at boot"
    yield from (f"{name} is not started at boot" for name in sorted(image.wanted.units - started))


def no_listeners(image: Opened) -> Iterator[str]:
    """Find what would listen on an address of the machine."""
    for name in sorted(image.units.started()):
        unit = image.units.unit(name)
        if unit is None or not name.endswith(".socket"):
            continue
        for kind in ("ListenStream", "ListenDatagram", "ListenSequentialPacket"):
            for address in unit.settings.get(("Socket", kind), []):
                if not address.startswith(("/", "@", "%t")):
                    yield f"{name} listens at {address}"
    resolved = configuration(image.tree, "systemd/resolved.conf")
    for name in ("DNSStubListener", "LLMNR", "MulticastDNS"):
        if resolved.get(("Resolve", name), ["yes"])[-1] not in NO:
            yield f"systemd-resolved has {name} on"
    words = _chrony(image)
    for name in ("port", "cmdport"):
        if [name, "0"] not in words:
            yield f"chrony has no `{name} 0`, and listens"


def time(image: Opened) -> Iterator[str]:
    """Find a clock that follows anybody but Amazon."""
    words = _chrony(image)
    sources = [line for line in words if line[0] in {"server", "pool", "peer", "refclock"}]
    if [line[:2] for line in sources] != [["server", TIME_SERVER]]:
        yield f"chrony follows {'; '.join(' '.join(line) for line in sources) or 'nobody'}, expected {TIME_SERVER}"
    for line in words:
        if line[0] in {"sourcedir", "confdir", "include"} and not image.tree.has(line[1]):
            yield f"chrony reads {line[1]}, which is filled while it runs"
    if not image.units.started() & {"chrony.service", "chronyd.service"}:
        yield "chrony is not started at boot"
    if "systemd-timesyncd.service" in image.units.started():
        yield "systemd-timesyncd follows servers of its own"


def comes_back(image: Opened) -> Iterator[str]:
    """Find a way to hang for ever: a panic that stays, a system that nobody watches."""
    settings = sysctl(image.tree)
    for name, wanted in (("kernel.panic", "10"), ("kernel.panic_on_oops", "1")):
        if settings.get(name) != wanted:
            yield f"{name} is {settings.get(name, 'not set')}, expected {wanted}"
    manager = configuration(image.tree, "systemd/system.conf")
    for name in ("RuntimeWatchdogSec", "RebootWatchdogSec"):
        if manager.get(("Manager", name), ["0"])[-1] in {"0", "off", "infinity"}:
            yield f"systemd has no {name}"
    modules = [
        line.strip()
        for entry in image.tree.under("/etc/modules-load.d", "/usr/lib/modules-load.d")
        for line in image.tree.text(entry.path).splitlines()
    ]
    if "softdog" not in modules:
        yield "softdog is not loaded at boot: EC2 has no watchdog of its own"


def writing_bounded(image: Opened) -> Iterator[str]:
    """Find a place that can be written to without end."""
    journal = configuration(image.tree, "systemd/journald.conf")
    if journal.get(("Journal", "Storage"), [""])[-1] not in {"volatile", "none"}:
        yield "the journal is kept on a disk"
    if not journal.get(("Journal", "RuntimeMaxUse")):
        yield "the journal has no RuntimeMaxUse"
    if journal.get(("Journal", "ForwardToConsole"), ["no"])[-1] not in YES:
        yield "the journal is not forwarded to the console, where EC2 keeps what a failing machine says"
    mounts = _mounts(image)
    for where, options in mounts.items():
        if where in {"/tmp", "/var"} and not any(option.startswith("size=") for option in options):  # noqa: S108
            yield f"{where} is mounted without a size"
    state = mounts.get("/var/lib/discriminat", [])
    for option in STATE_OPTIONS:
        if option not in state:
            yield f"/var/lib/discriminat is not mounted {option}"
    if "/tmp" not in mounts:  # noqa: S108
        yield "nothing is mounted at /tmp"


def _chrony(image: Opened) -> list[list[str]]:
    paths = [
        "/etc/chrony/chrony.conf",
        *(entry.path for entry in image.tree.under("/etc/chrony/conf.d", "/etc/chrony/sources.d")),
    ]
    lines = (line.split() for path in paths for line in image.tree.text(path).splitlines())
    return [words for words in lines if words and words[0][0] not in "#!;%"]


def _mounts(image: Opened) -> dict[str, list[str]]:
    found = {}
    for line in image.tree.text("/etc/fstab").splitlines():
        fields = line.split()
        if len(fields) > 3 and not line.startswith("#"):
            found[fields[1]] = fields[3].split(",")
    for name in image.units.started():
        unit = image.units.unit(name)
        if unit is not None and name.endswith(".mount"):
            found[unit.value("Mount", "Where")] = unit.value("Mount", "Options").split(",")
    return found


SERVICES = (
    Promise(
        "closed-first",
        "The closed ruleset is loaded before any interface comes up; without it none does.",
        closed_first,
    ),
    Promise("forwarding-off", "The kernel forwards nothing until the engine says so.", forwarding_off),
    Promise("engine-confined", "The engine runs as a user of its own, hardened and watched.", engine_confined),
    Promise(
        "kernel-settings",
        "The filter's kernel settings are sized from memory before the engine starts, and again at each start.",
        kernel_settings,
    ),
    Promise("nothing-else-runs", "What starts at boot is what the recipe names.", nothing_else_runs),
    Promise("no-listeners", "Nothing listens but the health port and the DHCP client.", no_listeners),
    Promise("time", "The clock follows Amazon's time service alone.", time),
    Promise("comes-back", "A panic reboots the machine, a watchdog a hanging one.", comes_back),
    Promise(
        "writing-bounded", "Every place that can be written to has a bound; the journal is in memory.", writing_bounded
    ),
)
