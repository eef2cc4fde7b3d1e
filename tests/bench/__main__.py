"""`python -m tests.bench`: measure plain NAT, discriminat, HAProxy and Squid side by side, and write a JSON file.

Exit status 0 whatever the figures are, 1 if something did not work: connections fail, or a filter lets a name pass
that is not listed.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench import results as figures
from tests.bench import systems
from tests.bench.cloud import Cloud
from tests.bench.discriminat import SEE_THRU_CLIENT, Discriminat, NotReady, Size
from tests.bench.floor import start_floor
from tests.bench.hello import UNLISTED, listed_name, record_exchange
from tests.bench.measure import Meter, Sample, resident_mib
from tests.bench.native import compile_programs
from tests.bench.site import BOXES, CLIENT_COUNT, CLIENTS, Load, Site, Target, building
from tests.lab import enclosure
from tests.lab.namespaces import NamespaceError

NAMES = 10
STARTERS = {
    "nat": systems.start_nat,
    "floor": start_floor,
    "haproxy": systems.start_haproxy,
    "squid": systems.start_squid,
}
ORDER = ("nat", "discriminat", "haproxy", "squid")  # what is measured unless told otherwise
PROGRAMS = {"haproxy", "squid"}  # systems that are somebody else's program
START_WAIT = 20.0  # seconds until a system lets a listed name through
WARM_UP = 0.3  # seconds of load before each measurement
LIGHT = 4  # connections in flight when the time to the first octet is measured: no queue forms
IPERF3_SERVER = "203.0.113.200"


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="measurements of each system, interleaved (default: 6)")
    parser.add_argument("--seconds", type=float, default=2.5, help="of each measurement (default: 2.5)")
    parser.add_argument("--in-flight", type=int, default=64, help="connections open at a time (default: 64)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="load generators (default: one per processor)"
    )
    parser.add_argument("--bulk-seconds", type=int, default=2, help="of each stream (default: 2)")
    parser.add_argument("--bulk-rounds", type=int, default=5, help="streams through each system (default: 5)")
    parser.add_argument(
        "--scale-rounds", type=int, default=5, help="measurements of each policy size (default: 5; 0: none)"
    )
    parser.add_argument("--names", type=int, default=100_000, help="listed names of the large policy")
    parser.add_argument("--clients", type=int, default=10_000, help="clients of the large VPC")
    parser.add_argument("--systems", default=",".join(ORDER), help="which, with commas (default: all but the floor)")
    parser.add_argument("--before", type=Path, help="folder of another build, for the system `before`")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    if figures.BEFORE in options.systems.split(",") and options.before is None:
        parser.error("the system `before` needs --before")
    if unknown := set(options.systems.split(",")) - {figures.OURS, figures.BEFORE, *STARTERS}:
        parser.error(f"no such system: {', '.join(sorted(unknown))}; there are {', '.join((*ORDER, 'floor'))}")
    return options


class Benchmark:
    """One run: the site, the systems on it, and what has been measured so far."""

    def __init__(self, options: argparse.Namespace, site: Site, cloud: Cloud, folder: Path) -> None:
        self._options = options
        self._site = site
        self._cloud = cloud
        self._folder = folder
        self._meter = Meter()
        self._running: dict[str, systems.System] = {}
        self.results = figures.Results(" ".join(["python", "-m", "tests.bench", *sys.argv[1:]]))
        self._targets = [Target(address_of(listed_name(number)), listed_name(number)) for number in range(NAMES)]

    def run(self) -> None:
        """Measure everything."""
        try:
            for name in self._options.systems.split(","):
                try:
                    self._start(name)
                except NotReady as fault:  # the others are measured all the same
                    self.results.faults.append(str(fault))
                    if (broken := self._running.pop(name, None)) is not None:
                        broken.close()
            self._measure_connections()
            self._measure_bulk()
            self.results.resident = {name: resident_mib(one.processes()) for name, one in self._running.items()}
            if self._options.scale_rounds and figures.OURS in self._running:
                self._measure_scale()
        finally:
            for one in self._running.values():
                one.close()

    def _start(self, name: str) -> None:
        if name in {figures.OURS, figures.BEFORE}:
            build = self._options.before if name == figures.BEFORE else None
            self._start_discriminat(name, Size("vpc-small", NAMES, CLIENT_COUNT), build)
            return
        if name in PROGRAMS and shutil.which(name) is None:
            raise NotReady(f"{name} is not installed")
        self._add(STARTERS[name](self._site.add_box(name), self._targets, self._folder))

    def _start_discriminat(self, name: str, size: Size, build: Path | None = None) -> None:
        say(f"{name}: {size.names:,} names, {size.clients:,} clients")
        began = time.monotonic()
        self._add(Discriminat(name, self._site.add_box(name), self._cloud, size, self._folder, build))
        say(f"{name}: ready after {time.monotonic() - began:.1f} s")

    def _add(self, one: systems.System) -> None:
        """Take a system in once it lets the listed names through, and only those."""
        self._running[one.name] = one
        self._site.steer(one.box)
        deadline = time.monotonic() + START_WAIT
        while self._site.load(self._targets, clients=CLIENT_COUNT, in_flight=1, count=1, deadline=1).failures:
            if time.monotonic() > deadline:
                raise NotReady(f"{one.name} lets nothing through")
            time.sleep(0.2)
        passed = self._site.load(self._targets, clients=CLIENT_COUNT, in_flight=1, count=NAMES)
        if passed.failures:
            raise NotReady(f"{one.name} refuses {passed.failures} of {NAMES} listed names: {passed}")
        if one.filters:
            unlisted = Target(address_of(UNLISTED), UNLISTED)
            refused = self._site.load([unlisted], clients=CLIENT_COUNT, in_flight=1, count=3, deadline=2)
            if refused.completed:
                raise NotReady(f"{one.name} lets a name through that is not listed")

    def _measure_connections(self) -> None:
        options, results = self._options, self.results
        for number in range(options.rounds):
            for name in self._running:
                sample = self._measure_rate(name, CLIENT_COUNT)
                results.rates.setdefault(name, []).append(sample)
                self._meter.wait_for_quiet()
                light = self._site.load(self._targets, clients=CLIENT_COUNT, in_flight=LIGHT, seconds=0.6)
                results.latencies.setdefault(name, []).append((light.p50_us, light.p99_us))
                self._forget_flows(name)
            say(f"round {number + 1}: " + self._line(results.rates))

    def _measure_rate(self, name: str, clients: int) -> Sample:
        options = self._options
        self._site.steer(self._running[name].box)

        def run(seconds: float) -> Load:
            return self._site.load(
                self._targets,
                clients=clients,
                in_flight=options.in_flight,
                processes=options.processes,
                seconds=seconds,
            )

        run(WARM_UP)
        sample = self._meter.measure(lambda: run(options.seconds), self._running[name].processes())
        self.results.check(name, sample)
        return sample

    def _forget_flows(self, name: str) -> None:
        """Empty the box of the clients' flows, lest the kernel clears up during the next one's measurement."""
        # Not of all flows: those of the box itself, to AWS, live on.
        self._running[name].box.namespace.run("sh", "-c", f"conntrack -D -s {CLIENTS} >/dev/null", check=False)

    def _measure_bulk(self) -> None:
        options, results = self._options, self.results
        for _ in range(options.bulk_rounds):
            for name, one in self._running.items():
                self._site.steer(one.box)
                self._meter.wait_for_quiet()
                results.bulk.setdefault(name, []).append(self._site.bulk(self._targets[0], options.bulk_seconds))
        if results.bulk:
            say("bulk: " + ", ".join(f"{name} {max(values):.1f} Gbit/s" for name, values in results.bulk.items()))
        if shutil.which("iperf3"):
            self._measure_iperf3()

    def _measure_iperf3(self) -> None:
        """The same by iperf3, which does not speak TLS: through NAT, and through us under see-thru."""
        options = self._options
        server = self._site.server.popen("iperf3", "-s", "-B", IPERF3_SERVER, stdout=-3)
        try:
            for _ in range(options.bulk_rounds):
                for name in (figures.NAT, figures.OURS):
                    if name not in self._running:
                        continue
                    self._site.steer(self._running[name].box)
                    self._meter.wait_for_quiet()
                    said = self._site.client.run(
                        *("iperf3", "-c", IPERF3_SERVER, "-B", SEE_THRU_CLIENT, "-R", "-J"),
                        *("-t", str(options.bulk_seconds)),
                        check=False,
                        timeout=options.bulk_seconds + 30,
                    )
                    report = json.loads(said.stdout or "{}")
                    if "sum_received" not in report.get("end", {}):
                        self.results.faults.append(f"iperf3 through {name}: {report.get('error', 'no answer')}")
                        return
                    rate = report["end"]["sum_received"]["bits_per_second"] / 1e9
                    self.results.iperf3.setdefault(name, []).append(rate)
        finally:
            server.kill()
            server.wait()

    def _measure_scale(self) -> None:
        """The same load with ten times a thousand times as much policy, beside the small one."""
        options, results = self._options, self.results
        many = Size("vpc-names", options.names, CLIENT_COUNT, poll_interval=3600.0, look_ups=1000.0)
        self._start_discriminat(figures.MANY_NAMES, many)
        self._start_discriminat(figures.MANY_CLIENTS, Size("vpc-clients", NAMES, options.clients, poll_interval=3600.0))
        clients = {figures.OURS: CLIENT_COUNT, figures.MANY_NAMES: CLIENT_COUNT, figures.MANY_CLIENTS: options.clients}
        for number in range(options.scale_rounds):
            for name, count in clients.items():
                results.scale.setdefault(name, []).append(self._measure_rate(name, count))
                self._forget_flows(name)
            say(f"scale round {number + 1}: " + self._line(results.scale))
        for name in (figures.MANY_NAMES, figures.MANY_CLIENTS):
            results.resident[name] = resident_mib(self._running[name].processes())

    @staticmethod
    def _line(samples: dict[str, list[Sample]]) -> str:
        return ", ".join(f"{name} {each[-1].rate:,.0f}/s" for name, each in samples.items())


def address_of(name: str) -> str:
    """Return the public address of a name of ours, or the empty text: what the resolver says."""
    number = name.removeprefix("host-").removesuffix(".bench.example")
    return f"203.0.113.{1 + int(number) % 100}" if number.isdecimal() else ""


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Run the benchmark; return the exit status."""
    options = parse_arguments()
    enclosure.ensure()
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps haproxy and nft, and a user's PATH does not look
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    folder = (options.output.parent / "bench").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        site = stack.enter_context(building(compile_programs(folder), record_exchange(folder), folder))
        cloud = Cloud(site.fabric, (CLIENTS, BOXES), address_of)
        stack.callback(cloud.close)
        benchmark = Benchmark(options, site, cloud, folder)
        try:
            benchmark.run()
        except (NotReady, NamespaceError) as fault:
            benchmark.results.faults.append(str(fault))
    results = benchmark.results
    options.output.write_text(json.dumps(results.document(), indent=2) + "\n")
    print(results.table() if results.latencies else "\n".join(f"FAULT: {fault}" for fault in results.faults))
    print(f"written to {options.output}")
    return 1 if results.faults else 0


if __name__ == "__main__":
    sys.exit(main())
