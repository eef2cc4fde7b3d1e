"""Compiles the engine with mypyc when the package is built; all else stands in pyproject.toml.

The modules that a packet meets become one extension, from the same typed source, unchanged: it takes half the
processor time. An editable install is interpreted, lest an edited module go on as it was. So is one with
INTERPRETED_ENGINE=1, where there is no compiler: the same program, slower.
"""

import os
import sys

from setuptools import setup

# Without `limits`, `policy.addresses` and `policy.policy`: their objects travel between processes, and a frozen
# dataclass that mypyc has compiled cannot be unpickled.
COMPILED = [
    *("address", "closing", "command", "engine", "event", "flow", "gate", "holding", "inspection", "judge"),
    *("oddity", "origin", "plaintext", "reason", "recall", "standing", "syn_gate", "waiting"),
    *("policy/crls", "policy/decision", "policy/fqdn", "policy/pattern", "policy/pattern_index", "policy/reach"),
    *("wire/client_hello", "wire/extensions", "wire/fetch", "wire/groups", "wire/http", "wire/ip", "wire/ocsp_request"),
    *(
        "wire/reader",
        "wire/server_hello",
        "wire/server_name",
        "wire/sniff",
        "wire/ssh",
        "wire/stream",
        "wire/tls",
        "wire/tls_record",
    ),
]

extensions = []
if "editable_wheel" not in sys.argv and os.environ.get("INTERPRETED_ENGINE", "0") == "0":
    from mypyc.build import mypycify

    paths = [f"appliance/{module}.py" for module in COMPILED]
    extensions = mypycify(paths, opt_level="2", target_dir="build/mypyc")

setup(ext_modules=extensions)
