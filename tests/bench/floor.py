"""The floor: our ruleset with queues behind which nothing looks, in C. No program that inspects can be faster.

It shows how much of the distance to plain NAT is the kernel's queue, and how much is ours. It filters nothing, and is
measured only when asked for: `make bench ARGS="--systems nat,floor,discriminat,haproxy --scale-rounds 0"`.
"""

import os
import subprocess
from pathlib import Path

from appliance.address import Ipv4, Network, parse_ipv4
from appliance.edge.netfilter import Mark, Netfilter, NetfilterConfig
from tests.bench.native import compile_program
from tests.bench.site import CLIENT_COUNT, CLIENTS, FIRST_CLIENT, PORT, Box, Target
from tests.bench.systems import Running, System


def start_floor(box: Box, targets: list[Target], folder: Path) -> System:
    """Load our ruleset, open the port for the clients, and accept whatever is queued."""
    first = parse_ipv4(FIRST_CLIENT)
    queues = os.cpu_count() or 1
    with box.namespace.entered():
        kernel = Netfilter()
        nft_queue = kernel.has_nft_queue()
        config = NetfilterConfig(
            (Network.parse(CLIENTS),), queues, nft_queue=nft_queue, isn_reversed=kernel.has_reversed_isn()
        )
        kernel.load(config)
        kernel.open_ports([(Ipv4(first + number), PORT) for number in range(CLIENT_COUNT)], [], config.clients)
    marks = ("--pass", f"{Mark.PASS.bits}", "--allowed", f"{Mark.ALLOWED.bits}", "--server", f"{Mark.SERVER.value}")
    program = str(compile_program("floor", folder))
    process = box.namespace.popen(program, "--queues", str(queues), *marks, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n", "the floor did not bind its queues"
    return Running("floor", box, filters=False, process=process)
