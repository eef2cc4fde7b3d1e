"""What comes from the code in documents, from measurements in README.md, and the JSON Schema of the preferences.

    python -m tests.readme                          what comes from the code; test_docs.py compares it
    python -m tests.readme build/bench.json         the numbers as well, of a run of `make bench`

Each part stands between `<!-- NAME: ... -->` and `<!-- end -->`.
"""

import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance.policy.preferences import preferences_schema
from appliance.reason import REASON_TEXT
from appliance.settings import describe_settings
from image.promises import PROMISES
from tests.attacks import render_table
from tests.lab.clients import render_ssh_clients, render_tls_clients

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
REFERENCE = ROOT / "appliance/REFERENCE.md"
CLIENTS = ROOT / "appliance/CLIENTS.md"
IMAGE = ROOT / "image/README.md"
SCHEMA = ROOT / "appliance/preferences.schema.json"
SECURITY = ROOT / "SECURITY.md"
SYSTEMS = {"nat": "plain NAT", "discriminat": "discriminat", "haproxy": "HAProxy", "squid": "Squid"}


def render_reasons() -> str:
    """Return the table of reason codes."""
    rows = [f"| `{reason.value}` | {text} |" for reason, text in REASON_TEXT.items()]
    return "\n".join(["| `code` | What it says in `reason` |", "| --- | --- |", *rows])


def render_settings() -> str:
    """Return the settings with their defaults, as TOML."""
    return f"```toml\n{describe_settings().strip()}\n```"


def render_preferences() -> str:
    """Return the table of preferences, from their schema."""
    properties: dict[str, dict[str, Any]] = preferences_schema()["properties"]["%default"]["properties"]  # type: ignore[index]
    rows = [
        f"| `{key}` | {_values(schema)} | `{json.dumps(schema['default'])}` | {schema['description']} |"
        for key, schema in properties.items()
    ]
    return "\n".join(["| Key | Values | Default | |", "| --- | --- | --- | --- |", *rows])


def _values(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "items" in schema:
        return "a list of hosts" if "maxItems" in schema else "a list of CIDR blocks"
    if schema.get("format") == "date":
        return '`"YYYY-MM-DD"`, `null`'
    return f"{schema['minimum']} to {schema['maximum']}, `null`"


def render_promises() -> str:
    """Return the table of what is promised of an image, each with the function that proves it."""
    rows = []
    for promise in PROMISES:
        path = Path(inspect.getfile(promise.check)).relative_to(IMAGE.parent).as_posix()
        rows.append(f"| `{promise.id}` | {promise.text} | [`{promise.check.__name__}`]({path}) |")
    return "\n".join(["| | Promise | Check |", "| --- | --- | --- |", *rows])


# What the root README promises: a sentence, the checks that prove it by opening the image, and the tests that do so
# otherwise. tests/test_docs.py wants each check to stand here once, and each test to be there.
BOOTED = "tests/image/boot/booting.py"
OVERVIEW: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "It boots closed, and whatever fails leaves forwarding refused.",
        ("closed-first", "forwarding-off"),
        (
            "tests/image/boot/test_closed.py::test_no_interface_comes_up",
            *(
                f"{BOOTED}::test_{name}"
                for name in ("a_killed_service_is_started_again", "without_aws_it_opens_nothing")
            ),
            f"{BOOTED}::test_settings_that_cannot_be_understood_open_nothing",
        ),
    ),
    (
        "Nobody logs in: no server, account, console, key or compiler.",
        ("no-sshd", "no-console-login", "accounts-locked", "no-secrets", "no-compilers", "session-manager"),
        (f"{BOOTED}::test_nobody_can_log_in",),
    ),
    (
        "Nothing listens but the health port and the DHCP client.",
        ("no-listeners", "nothing-else-runs"),
        (f"{BOOTED}::test_nothing_listens_but_health_and_the_dhcp_client",),
    ),
    (
        "Its root is read-only and verified; where it may write is bounded.",
        ("verified-root", "command-line", "no-setuid", "nothing-writable", "writing-bounded", "state-bounded"),
        (
            "tests/image/test_disk_file.py::test_one_changed_octet_of_the_root_is_found",
            f"{BOOTED}::test_only_the_state_outlives_a_boot",
        ),
    ),
    (
        "The engine is a user of its own with two capabilities.",
        ("engine-confined", "kernel-settings"),
        (f"{BOOTED}::test_the_engine_is_a_user_of_its_own_with_two_capabilities",),
    ),
    (
        "It comes back: from a panic, a hang, a pulled plug; with the right time, and says why.",
        ("comes-back", "time", "serial-console"),
        (f"{BOOTED}::test_it_filters_again", f"{BOOTED}::test_the_time_is_amazons"),
    ),
    (
        "It boots by UEFI and by BIOS, on x86_64 and arm64, and filters with the kernel's own queues.",
        ("layout", "boots-uefi", "boots-bios", "drivers"),
        (
            f"{BOOTED}::test_it_filters",
            f"{BOOTED}::test_the_kernel_itself_queues_and_spreads_flows",
            "tests/image/boot/test_arm64.py::test_it_filters",
        ),
    ),
    (
        "What is in it is written down: lock, manifest, bill of materials; nothing is left of the build.",
        ("locked", "manifest", "report", "sbom", "botocore", "nothing-left"),
        ("tests/image/test_sbom.py::test_it_is_cyclonedx", f"{BOOTED}::test_it_says_what_it_is"),
    ),
    ("Two builds of a commit are the same, bit for bit.", ("not-newer",), ("tests/image/twice.py::differences",)),
    ("Less than 1 GiB, and 300 MiB compressed.", ("sizes",), ()),
)


def render_overview() -> str:
    """Return the root README's table of promises, each with links to what proves it."""
    where = {promise.id: Path(inspect.getfile(promise.check)).relative_to(ROOT).as_posix() for promise in PROMISES}
    rows = []
    for text, checks, tests in OVERVIEW:
        links = [f"[{check}]({where[check]})" for check in checks]
        for test in tests:
            path, _, name = test.partition("::")
            links.append(f"[{name.removeprefix('test_').replace('_', ' ')}]({path})")
        rows.append(f"| {text} | {', '.join(links)} |")
    return "\n".join(["| Promise | Proved by |", "| --- | --- |", *rows])


Blocks = Mapping[str, Callable[[], str]]

BLOCKS: Blocks = {"reasons": render_reasons, "settings": render_settings, "preferences": render_preferences}
GENERATED: dict[Path, Blocks] = {
    README: {"promises": render_overview},
    REFERENCE: BLOCKS,
    IMAGE: {"promises": render_promises},
    SECURITY: {"attacks": render_table},
    CLIENTS: {"tls": render_tls_clients, "ssh": render_ssh_clients},
}


def render_schema() -> str:
    """Return the JSON Schema of the preferences."""
    return json.dumps(preferences_schema(), indent=2) + "\n"


def render_numbers(bench: dict[str, Any]) -> str:
    """Return the table of a benchmark's result."""
    systems = [name for name in SYSTEMS if name in bench["conn_rate"]]
    rows = [
        ("connections per second", [f"{bench['conn_rate'][name]:,}" for name in systems]),
        (
            "first octet, median and 99th percentile, microseconds",
            ["{p50:,} / {p99:,}".format(**bench["first_byte_us"][name]) for name in systems],
        ),
        ("CPU per connection, microseconds", [str(bench["cpu_us_per_conn"][name]) for name in systems]),
        ("bulk, gigabits per second", [str(bench["bulk_gbps"].get(name, "")) for name in systems]),
    ]
    head = ["| |" + "".join(f" {SYSTEMS[name]} |" for name in systems), "| --- |" + " ---: |" * len(systems)]
    table = [f"| {what} |" + "".join(f" {value} |" for value in values) for what, values in rows]
    ratios = ", ".join(f"`{name}` {value}" for name, value in bench["ratios"].items())
    return "\n".join([*head, *table, "", f"Ratios: {ratios}. Kernel {bench['kernel']}, {bench['date'][:10]}."])


def fill(text: str, blocks: Blocks = BLOCKS) -> str:
    """Return a document's text with its generated parts as they are now."""
    for name, render in blocks.items():
        block = re.compile(rf"(<!-- {name}:[^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
        found = block.findall(text)
        assert len(found) == 1, f"there are {len(found)} parts named {name}"
        before, rest = block.split(text)[0], block.split(text)[-1]
        text = f"{before}{found[0][0]}\n{render()}\n\n{found[0][1]}{rest}"
    return text


if __name__ == "__main__":
    for document, blocks in GENERATED.items():
        document.write_text(fill(document.read_text(), blocks))
    SCHEMA.write_text(render_schema())
    if len(sys.argv) > 1:
        bench = json.loads(Path(sys.argv[1]).read_text())
        README.write_text(fill(README.read_text(), {"numbers": lambda: render_numbers(bench)}))
