"""Lab: a VPC in a box, and the verbs stories about it are told with.

             private-a 10.0.1.0/24        public-a 10.0.0.0/24            203.0.113.0/24, 198.51.100.0/24,
             private-b 10.0.2.0/24                                        192.0.2.0/24
    +----------+           +-----------------+           +-----------+          +----------------------+
    | web      |eth0       |     fabric      |       eth0| appliance |          | internet             |
    | workload +-----------+ plays AWS:      +-----------+ 10.0.0.10 |          | TLS, HTTP, SSH, UDP, |
    +----------+           | routes, groups, |           +-----------+          | odd servers          |
    +----------+           | source check,   | igw, EIP <-> private             |                      |
    | ...      +-----------+ Internet gateway+----------------------------------+ eth0                 |
    +----------+           +--------+--------+ 192.0.0.1              192.0.0.2 +----------------------+
                                    | on its loopback
                10.0.0.2, 169.254.169.253   the VPC's resolver: `lab.names`
                169.254.169.254             instance metadata: `lab.metadata`
                169.254.169.247 - 250       the AWS API: `lab.ec2`, `lab.logs`, `lab.ssm`; bad days: `lab.trouble`

Packets of private subnets go workload -> fabric -> appliance -> fabric -> Internet, over the appliance's single
interface. The whole of it must run in an enclosure (enclosure.py), whose end is the lab's end.
"""

import dataclasses
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.dns_server import DnsServer, Record, record
from tests.lab import enclosure
from tests.lab.appliance import Appliance
from tests.lab.fabric import API, METADATA, RESOLVERS, Fabric
from tests.lab.internet import Internet
from tests.lab.metadata import Host, Metadata
from tests.lab.names import Names
from tests.lab.namespaces import MTU, Namespace
from tests.lab.security_group import ANYWHERE, Group, Rule, egress
from tests.lab.switchboard import Trouble
from tests.lab.vpc_state import VpcState, read_state
from tests.lab.workload import Workload

if TYPE_CHECKING:
    from tests.lab.emulator import Emulator

NETWORK = "10.0.0.0/16"
SUBNETS = {  # name -> network, zone
    "public-a": ("10.0.0.0/24", "a"),
    "private-a": ("10.0.1.0/24", "a"),
    "private-b": ("10.0.2.0/24", "b"),
}
APPLIANCE_ADDRESS = "10.0.0.10"
LOG_GROUP = "discrimiNAT"


class Lab:
    """The VPC, its Internet, and the AWS API they obey. Use `Lab.start()`."""

    def __init__(self, directory: Path, emulator: "Emulator", internet: Internet, fabric: Fabric) -> None:
        self.directory = directory
        self.emulator = emulator
        self.internet = internet
        self.fabric = fabric
        self.ec2 = emulator.client("ec2")
        self.logs = emulator.client("logs")
        self.ssm = emulator.client("ssm")
        self.region: str = self.ec2.meta.region_name
        self.subnets: dict[str, str] = {}  # name -> id
        self.route_tables: dict[str, str] = {}  # subnet's name -> id
        self.resolver = RESOLVERS[0]
        self.log_group = LOG_GROUP
        self.workloads: dict[str, Workload] = {}
        self.appliances: dict[str, Appliance] = {}
        self._groups = 0
        self._dns: list[DnsServer] = []

    # ---- making it ----

    @classmethod
    def start(cls, *, mtu: int = MTU, directory: Path | None = None) -> Self:
        """Return a running lab: subnets, an idle appliance that private subnets route to, no workload yet.

        One at a time in a process: moto's state is the process's.

        Args:
            mtu: octets, of the VPC's links (9001 on AWS; the Internet has 1500).
            directory: for keys, settings and logs; by default one that goes with the enclosure.
        """
        lab = cls.without_vpc(mtu=mtu, directory=directory)
        with lab.fabric.paused():
            lab._make_vpc()
        lab.add_appliance("appliance", "public-a", APPLIANCE_ADDRESS)
        with lab.fabric.paused():
            for name in SUBNETS:
                if name.startswith("private"):
                    lab.route_default(name, lab.appliance)
        return lab

    @classmethod
    def without_vpc(cls, *, mtu: int = MTU, directory: Path | None = None) -> Self:
        """Return a running lab of which only the Internet and the AWS API are there, for `adopt`."""
        if not enclosure.inside():
            raise enclosure.EnclosureError("the lab runs inside an enclosure: python tests/lab/enclosure.py COMMAND")
        directory = directory or Path(tempfile.mkdtemp(prefix="lab-", dir="/run"))
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)  # the appliance's user writes below it
        with ThreadPoolExecutor(1) as pool:  # importing moto takes longer than everything else
            emulator: Future[Emulator] = pool.submit(_make_emulator)
            names: dict[str, Record] = {}
            internet = Internet(Namespace("internet"), directory, lambda name, at: names.update({name: record([at])}))
            fabric = Fabric(internet.namespace, mtu=mtu)
            lab_emulator = emulator.result()
        lab = cls(directory, lab_emulator, internet, fabric)
        lab._serve(names)
        return lab

    def _serve(self, names: dict[str, Record]) -> None:
        """Answer at AWS's own addresses."""
        here = self.fabric.namespace
        for address in API.values():
            self.emulator.serve(here.listen(address, 80))
        self.metadata = Metadata(here.listen(METADATA, 80), lambda: self.fabric.state)
        for address in RESOLVERS:
            server = DnsServer(address, 53)
            server.zone = names
            with here.entered():
                server.start()
            self._dns.append(server)
        self.dns = self._dns[0]
        self.names = Names(names)

    def _make_vpc(self) -> None:
        self._follow(self.ec2.create_vpc(CidrBlock=NETWORK)["Vpc"]["VpcId"])
        self.gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=self.gateway, VpcId=self.vpc)
        for name, (network, zone) in SUBNETS.items():
            self.add_subnet(name, network, zone)
        self.logs.create_log_group(logGroupName=LOG_GROUP)

    def adopt(self, vpc: str) -> None:
        """Obey a VPC that somebody else makes through the AWS API; its subnets go by their Name tags.

        Hosts in it ask the resolver at 169.254.169.253: that at the VPC's third address is for 10.0.0.0/16 alone.
        """
        self.resolver = RESOLVERS[1]
        self._follow(vpc)
        self.fabric.sync()
        self.find_subnets()

    def find_subnets(self) -> None:
        """Look again what subnets there are."""
        for each in self.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}])["Subnets"]:
            names = [tag["Value"] for tag in each.get("Tags", []) if tag["Key"] == "Name"]
            self.subnets[names[0] if names else each["SubnetId"]] = each["SubnetId"]

    def _follow(self, vpc: str) -> None:
        self.vpc = vpc
        self.emulator.follow(self.fabric.sync)
        self.fabric.attach(self.state, self.emulator.switchboard.refused)

    def state(self) -> VpcState:
        """Return what the AWS API says now."""
        return read_state(self.ec2, self.vpc)

    def close(self) -> None:
        """End everything; only needed where several labs follow one another in one enclosure."""
        hosts: list[Workload | Appliance] = [*self.workloads.values(), *self.appliances.values()]
        for host in hosts:
            host.close()
        for server in self._dns:
            server.stop()
        self.metadata.close()
        self.emulator.close()
        self.fabric.close()
        self.internet.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- the VPC ----

    def add_subnet(self, name: str, network: str, zone: str = "a") -> None:
        """Add a subnet with a route table of its own; public ones route to the Internet gateway.

        A network outside 10.0.0.0/16, such as 100.64.1.0/24, becomes a secondary CIDR of the VPC (its /16).
        """
        if not network.startswith("10.0."):
            block = ".".join(network.split(".")[:2]) + ".0.0/16"
            self.ec2.associate_vpc_cidr_block(VpcId=self.vpc, CidrBlock=block)
        place = f"{self.region}{zone}"
        made = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=network, AvailabilityZone=place)["Subnet"]
        table = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        self.ec2.associate_route_table(RouteTableId=table, SubnetId=made["SubnetId"])
        self.subnets[name], self.route_tables[name] = made["SubnetId"], table
        if name.startswith("public"):
            self.ec2.create_route(RouteTableId=table, DestinationCidrBlock=ANYWHERE, GatewayId=self.gateway)

    def route_default(self, subnet: str, target: Appliance | str | None) -> None:
        """Point a subnet's default route at an appliance, at the Internet gateway ("igw"), or nowhere (None)."""
        where = {"RouteTableId": self.route_tables[subnet], "DestinationCidrBlock": ANYWHERE}
        routes = self.ec2.describe_route_tables(RouteTableIds=[where["RouteTableId"]])["RouteTables"][0]["Routes"]
        exists = any(each.get("DestinationCidrBlock") == ANYWHERE for each in routes)
        if target is None:
            if exists:
                self.ec2.delete_route(**where)
            return
        hop = {"GatewayId": self.gateway} if target == "igw" else {"NetworkInterfaceId": target.interface}  # type: ignore[union-attr]
        (self.ec2.replace_route if exists else self.ec2.create_route)(**where, **hop)

    def security_group(self, name: str, *rules: Rule, ingress: tuple[Rule, ...] = ()) -> Group:
        """Create a Security Group with these egress rules and no other."""
        with self.fabric.paused():
            self._groups += 1
            made = self.ec2.create_security_group(
                GroupName=f"{name}-{self._groups}", Description=f"lab: {name}", VpcId=self.vpc
            )
            group = Group(made["GroupId"], name)
            self.ec2.revoke_security_group_egress(GroupId=group.id, IpPermissions=[egress("-1", None).permission()])
            for rule in rules:
                self.add_rule(group, rule)
            for rule in ingress:
                self.ec2.authorize_security_group_ingress(GroupId=group.id, IpPermissions=[rule.permission()])
        return group

    def group(self, id: str) -> Group:
        """Return a Security Group that somebody else made, with the egress rules that name CIDR blocks."""
        described = self.ec2.describe_security_groups(GroupIds=[id])["SecurityGroups"][0]
        rules = [
            Rule(
                each["IpProtocol"],
                each.get("FromPort", -1),
                each.get("ToPort", -1),
                at["CidrIp"],
                at.get("Description", ""),
            )
            for each in described["IpPermissionsEgress"]
            for at in each["IpRanges"]
        ]
        return Group(id, described["GroupName"], rules)

    def add_rule(self, group: Group, rule: Rule) -> None:
        """Add an egress rule."""
        self.ec2.authorize_security_group_egress(GroupId=group.id, IpPermissions=[rule.permission()])
        group.rules.append(rule)

    def remove_rule(self, group: Group, rule: Rule | int = 0) -> None:
        """Remove an egress rule, given itself or its place."""
        rule = group.rules[rule] if isinstance(rule, int) else rule
        self.ec2.revoke_security_group_egress(GroupId=group.id, IpPermissions=[rule.permission()])
        group.rules.remove(rule)

    def edit_rule(self, group: Group, rule: Rule | int = 0, **changes: Any) -> Rule:
        """Change an egress rule in place, as the console does: `edit_rule(group, description="...")`."""
        place = rule if isinstance(rule, int) else group.rules.index(rule)
        old, new = group.rules[place], dataclasses.replace(group.rules[place], **changes)
        filters = [{"Name": "group-id", "Values": [group.id]}]
        for each in self.ec2.describe_security_group_rules(Filters=filters)["SecurityGroupRules"]:
            key = (each["IpProtocol"], each["FromPort"], each["ToPort"], each.get("CidrIpv4"))
            if each["IsEgress"] and key == (old.protocol, old.from_port, old.to_port, old.peer):
                wanted = {
                    "IpProtocol": new.protocol,
                    "FromPort": new.from_port,
                    "ToPort": new.to_port,
                    "CidrIpv4": new.peer,
                    "Description": new.description,
                }
                update = {"SecurityGroupRuleId": each["SecurityGroupRuleId"], "SecurityGroupRule": wanted}
                self.ec2.modify_security_group_rules(GroupId=group.id, SecurityGroupRules=[update])
                group.rules[place] = new
                return new
        raise LookupError(f"{group.id} has no rule {old}")

    # ---- hosts ----

    def workload(
        self,
        name: str,
        *,
        groups: list[Group],
        subnet: str = "private-a",
        secondary: int = 0,
        prefixes: tuple[str, ...] = (),
    ) -> Workload:
        """Launch a client: an interface in the API and a host that has it.

        Args:
            secondary: how many secondary addresses.
            prefixes: delegated /28s, such as 10.0.1.208/28; the host uses addresses of them once it adds them
                (`workload.namespace.address("eth0", "10.0.1.209/32")`).
        """
        wanted: dict[str, Any] = {"SubnetId": self.subnets[subnet], "Groups": [each.id for each in groups]}
        if prefixes:
            wanted["Ipv4Prefixes"] = [{"Ipv4Prefix": each} for each in prefixes]
        environment = {each: str(self.internet.authority.bundle) for each in ("CURL_CA_BUNDLE", "SSL_CERT_FILE")}
        with self.fabric.paused():
            made = self.ec2.create_network_interface(**wanted, Description=name)["NetworkInterface"]
            id = made["NetworkInterfaceId"]
            if secondary:
                taken = {each for host in self.state().interfaces.values() for each in host.addresses}
                base = made["PrivateIpAddress"].rpartition(".")[0]
                free = [f"{base}.{last}" for last in range(200, 255) if f"{base}.{last}" not in taken][:secondary]
                self.ec2.assign_private_ip_addresses(NetworkInterfaceId=id, PrivateIpAddresses=free)
        assert self.fabric.state is not None
        interface = self.fabric.state.interfaces[id]
        namespace = Namespace(name, environment=environment)
        namespace.use_resolver(self.resolver)
        self.fabric.plug(interface, namespace)
        workload = Workload(name, namespace, id, interface.addresses)
        workload.ssh_options = self.internet.ssh_options
        self.workloads[id] = workload
        return workload

    def set_groups(self, host: Workload | Appliance, groups: list[Group]) -> None:
        """Replace the Security Groups of a host's interface."""
        self.ec2.modify_network_interface_attribute(
            NetworkInterfaceId=host.interface, Groups=[each.id for each in groups]
        )

    def terminate(self, workload: Workload) -> None:
        """Delete a client and its interface."""
        self.fabric.unplug(workload.interface)
        self.workloads.pop(workload.interface)
        workload.close()
        self.ec2.delete_network_interface(NetworkInterfaceId=workload.interface)

    @property
    def appliance(self) -> Appliance:
        """The appliance that private subnets route to at first."""
        return self.appliances["appliance"]

    def plain_nat(self) -> AbstractContextManager[None]:
        """Let the appliance's kernel do the NAT alone, for the duration of a block."""
        return self.appliance.plain_nat()

    def add_appliance(self, name: str, subnet: str, address: str) -> Appliance:
        """Launch an idle appliance: instance, interface without source check, Elastic IP, a group that allows all."""
        group = self.security_group(name, egress("-1", None), ingress=(egress("-1", None, NETWORK),))
        with self.fabric.paused():
            made = self.ec2.create_network_interface(
                SubnetId=self.subnets[subnet], Groups=[group.id], PrivateIpAddress=address, Description=name
            )
            id = made["NetworkInterface"]["NetworkInterfaceId"]
            self.ec2.modify_network_interface_attribute(NetworkInterfaceId=id, SourceDestCheck={"Value": False})
            public = self.ec2.allocate_address(Domain="vpc")
            self.ec2.associate_address(AllocationId=public["AllocationId"], NetworkInterfaceId=id)
            started = self.ec2.run_instances(
                ImageId="ami-0123456789abcdef0",
                MinCount=1,
                MaxCount=1,
                NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": id}],
            )
        assert self.fabric.state is not None
        appliance = Appliance(name, Namespace(name), self.directory / name, address=address, interface=id)
        appliance.public, appliance.region = public["PublicIp"], self.region
        appliance.instance = started["Instances"][0]["InstanceId"]
        appliance.namespace.use_resolver(RESOLVERS[0])
        self.metadata.register(id, Host(appliance.instance, self.region))
        self.fabric.plug(self.fabric.state.interfaces[id], appliance.namespace)
        self.appliances[name] = appliance
        return appliance

    # ---- bad days, and what was logged ----

    @contextmanager
    def trouble(self, service: str, trouble: Trouble | str, *actions: str) -> Iterator[None]:
        """Give an AWS service ("ec2", "logs", "ssm") a bad day for the duration of a block; see switchboard.Trouble."""
        with self.emulator.switchboard.trouble(service, Trouble(trouble), *actions):
            yield

    def log_events(self, stream: str) -> list[str]:
        """Return the messages of a CloudWatch Logs stream of the appliance's log group; none when there is none."""
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(
                logGroupName=self.log_group, logStreamNames=[stream]
            )
            return [each["message"] for page in pages for each in page["events"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return []


def _make_emulator() -> "Emulator":
    from tests.lab.emulator import Emulator  # moto: imported while namespaces are being made

    return Emulator()


def wait_until(condition: Callable[[], object], timeout: float = 20.0) -> bool:
    """Return whether a condition came true within so many seconds: far more than it takes on a machine that is busy."""
    end = time.monotonic() + timeout
    pause = threading.Event()
    while not condition():
        if time.monotonic() > end:
            return False
        pause.wait(0.01)
    return True
