"""The network of the benchmark: clients, servers, and one box per system under test, in network namespaces.

    client --- fabric --- server            every line is a veth pair; the fabric routes and nothing else
                 |
         box box box box ...                one interface each, as on AWS: in and out the same way

What a client sends goes to the box the fabric is steered to; the box sends it on to the server by way of the
fabric. All boxes are up at the same time, so that changing from one system to the next is one route.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.hello import PLACEHOLDER, Exchange
from tests.bench.native import Programs
from tests.lab.namespaces import Namespace, veth

CLIENTS = "10.50.0.0/16"  # every address of it is the client's
BOXES = "10.60.0.0/16"
SERVERS = "203.0.113.0/24"  # every address of it is the server's
FIRST_CLIENT = "10.50.0.1"
CLIENT_COUNT = 10  # clients that the load comes from, unless the number of clients is what is measured
PORT = 443
STEERED = 100  # routing table of what comes from the client

# A box, a client or a server that opens tens of thousands of connections a second, whatever it runs.
BUSY_HOST: dict[str, str | int] = {
    "net__ipv4__ip_local_port_range": "1024 65535",
    "net__ipv4__tcp_tw_reuse": 1,
    "net__ipv4__ip_forward": 1,
    "net__ipv4__conf__all__rp_filter": 0,
    "net__ipv4__conf__default__rp_filter": 0,
    "net__ipv4__conf__all__send_redirects": 0,
    "net__ipv4__conf__default__send_redirects": 0,
    "net__core__somaxconn": 8192,
}


@dataclass(frozen=True, slots=True)
class Box:
    """The machine a system under test runs on."""

    namespace: Namespace
    address: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Target:
    """One destination, and the name that is asked for there."""

    address: str
    name: str


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the load generator saw."""

    completed: int
    seconds: float
    p50_us: int
    p99_us: int
    reset: int
    timeout: int
    wrong: int
    local: int

    @property
    def failures(self) -> int:
        """Connections that did not get the server's flight."""
        return self.reset + self.timeout + self.wrong + self.local


class Site:
    """The namespaces, the reply server, and the load generator's command line."""

    def __init__(self, programs: Programs, exchange: Exchange, folder: Path) -> None:
        self._programs = programs
        self._exchange = exchange
        self._folder = folder
        self._stack = ExitStack()
        self._boxes = 0
        self.client, self.fabric, self.server = (self._host(name) for name in ("client", "fabric", "server"))
        veth(self.fabric, "client", self.client, "eth0")
        veth(self.fabric, "server", self.server, "eth0")
        self.fabric.address("client", "192.0.2.1/30")
        self.client.address("eth0", "192.0.2.2/30")
        self.fabric.address("server", "192.0.2.5/30")
        self.server.address("eth0", "192.0.2.6/30")
        self.client.ip(f"route add local {CLIENTS} dev lo", "route add default via 192.0.2.1")
        self.server.ip(f"route add local {SERVERS} dev lo", "route add default via 192.0.2.5")
        self.fabric.ip(
            f"route add {CLIENTS} via 192.0.2.2",
            f"route add {SERVERS} via 192.0.2.6",
            f"rule add iif client lookup {STEERED}",
        )
        self.reply = self._start_reply_server()

    def close(self) -> None:
        """End the reply server and the namespaces."""
        self._stack.close()

    def add_box(self, name: str) -> Box:
        """Add a machine with one interface, which forwards and does not filter yet."""
        self._boxes += 1
        network = f"10.60.{self._boxes}"
        box = Box(self._host(name), f"{network}.10", f"{network}.1")
        veth(self.fabric, f"box{self._boxes}", box.namespace, "eth0")
        self.fabric.address(f"box{self._boxes}", f"{box.gateway}/24")
        box.namespace.address("eth0", f"{box.address}/24")
        box.namespace.route("default", via=box.gateway)
        box.namespace.sysctl(net__ipv4__conf__eth0__rp_filter=0, net__ipv4__conf__eth0__send_redirects=0)
        return box

    def steer(self, box: Box) -> None:
        """Send what the client sends from now on to this box."""
        self.fabric.ip(f"route replace default via {box.address} table {STEERED}")

    def load(
        self,
        targets: list[Target],
        *,
        clients: int,
        in_flight: int,
        processes: int = 1,
        seconds: float = 0.0,
        count: int = 0,
        deadline: float = 5.0,
    ) -> Load:
        """Open connections for some seconds or some number, and return what came of it.

        Args:
            targets: used in turn.
            clients: number of source addresses, used in turn.
            in_flight: connections open at a time, by all processes together.
            count: connections that each process opens; 0: as many as fit in `seconds`.
            deadline: seconds after which a connection has failed.
        """
        limit = ["--count", str(count)] if count else ["--seconds", str(seconds)]
        command = [*self._load_command(targets, clients), *limit, "--deadline-ms", str(int(deadline * 1000))]
        command += ["--processes", str(processes), "--in-flight", str(max(1, in_flight // processes))]
        said = self.client.run(*command, timeout=seconds + count * deadline + 30)
        return Load(**json.loads(said.stdout))

    def bulk(self, target: Target, seconds: int) -> float:
        """Stream to the first client for some seconds over a connection that was let through; return Gbit/s."""
        command = [*self._load_command([target], 1), "--bulk", str(seconds)]
        return float(json.loads(self.client.run(*command, timeout=seconds + 30).stdout)["gbps"])

    def _load_command(self, targets: list[Target], clients: int) -> list[str]:
        path = self._folder / "targets.txt"
        path.write_text("".join(f"{target.address} {PORT} {target.name}\n" for target in targets))
        command = [str(self._programs.load), "--hello", str(self._exchange.hello), "--placeholder", PLACEHOLDER]
        command += ["--flight", str(self._exchange.flight_length), "--targets", str(path)]
        return [*command, "--sources", f"{FIRST_CLIENT}/{clients}"]

    def _start_reply_server(self) -> "subprocess.Popen[bytes]":
        command = [str(self._programs.reply), "--flight", str(self._exchange.flight), "--port", str(PORT)]
        server = self.server.popen(*command, stdout=subprocess.PIPE)
        self._stack.callback(end, server)
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n", "the reply server did not start"
        return server

    def _host(self, name: str) -> Namespace:
        host = self._stack.enter_context(Namespace(f"bench/{name}"))
        host.sysctl(**BUSY_HOST)
        return host


def end(process: "subprocess.Popen[bytes]", patience: float = 10.0) -> None:
    """Ask a process to end, and kill it if it has not within some seconds."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def building(programs: Programs, exchange: Exchange, folder: Path) -> Iterator[Site]:
    """Yield a site, and take it down at the end of the block."""
    site = Site(programs, exchange, folder)
    try:
        yield site
    finally:
        site.close()
