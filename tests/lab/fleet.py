"""Fleet: an appliance for each instance that an Auto Scaling group of the emulator launches, for as long as it runs.

    with Fleet(lab) as fleet:
        terraform.apply()                            # returns once the appliances have completed their launch hooks
        fleet.appliances["egress-eu-west-1a"]        # the real program, on the host that has the group's interface

A host has what its instance has: the network interface, the user data and the role's name as the metadata service
tells them, the addresses. A terminated instance ends as on EC2: its program is asked to, then the interface is taken
away, then the host is gone. The VPC is that of the first instance: the lab adopts it. Instances in other VPCs are
nobody's here.
"""

import base64
import threading
from typing import Self

from tests.lab.appliance import Appliance, Config
from tests.lab.fabric import RESOLVERS
from tests.lab.lab import Lab, wait_until
from tests.lab.metadata import Host
from tests.lab.namespaces import Namespace

STOP = 30.0  # seconds

# For three appliances and their clients on a machine with two processors.
SETTINGS: Config = {
    "policy": {"poll_interval": 1.0},
    "preferences": {"interval": 1.0},
    "aws": {"replace_after": 3.0},
    "names": {"nameservers": [RESOLVERS[1]]},
    "engine": {"workers": 1},
}


class Fleet:
    """The appliances of a lab without any of its own."""

    def __init__(self, lab: Lab, settings: Config | None = None) -> None:
        """Follow the emulator from now on.

        Args:
            settings: of the file on every host; what user data says goes before it.
        """
        self._lab = lab
        self._settings = settings or SETTINGS
        self._iam = lab.emulator.client("iam")
        self._autoscaling = lab.emulator.client("autoscaling")
        self.appliances: dict[str, Appliance] = {}  # by Auto Scaling group, the one it has now
        self.gone: list[Appliance] = []  # those that were terminated
        self.fault: BaseException | None = None  # why the fleet has stopped following
        self._turn = threading.Condition()
        self._asked = self._done = 0  # how many changes there were, and after how many the hosts were right
        self._ending = False
        lab.emulator.follow(self._notice)
        lab.emulator.hold(self._settle)
        self._thread = threading.Thread(target=self._follow, name="fleet", daemon=True)
        self._thread.start()

    def wait_replaced(self, old: Appliance, timeout: float = 60.0) -> Appliance:
        """Return the appliance that has taken another one's place, once it is in service."""
        group = old.name

        def serving() -> bool:
            told = self._autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"][0]
            new = self.appliances.get(group, old)
            return new is not old and [(each["InstanceId"], each["LifecycleState"]) for each in told["Instances"]] == [
                (new.instance, "InService")
            ]

        if not wait_until(lambda: self.fault or serving(), timeout) or self.fault:
            raise TimeoutError(f"{group}: nobody has taken the place of {old.instance}: {self.fault or ''}")
        return self.appliances[group]

    def close(self) -> None:
        """Stop following, and switch off what is left."""
        with self._turn:
            self._ending = True
            self._turn.notify_all()
        self._thread.join(STOP)
        for each in self.appliances.values():
            each.close()

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _notice(self) -> None:
        with self._turn:
            self._asked += 1
            self._turn.notify_all()

    def _settle(self) -> None:
        """Wait until who was terminated has ended: on AWS, too, only then its interface is free."""
        with self._turn:
            wanted = self._asked
            self._turn.wait_for(lambda: self._done >= wanted or self._ending or self.fault, STOP)

    def _follow(self) -> None:
        try:
            while not self._ending:
                with self._turn:
                    self._turn.wait_for(lambda: self._asked > self._done or self._ending)
                    asked = self._asked
                self._catch_up()
                with self._turn:
                    self._done = asked
                    self._turn.notify_all()
        except BaseException as fault:  # noqa: BLE001 -- told to whoever waits
            with self._turn:
                self.fault = fault
                self._turn.notify_all()

    def _catch_up(self) -> None:
        """Make the hosts those that run in the emulator."""
        # Whom Auto Scaling names is launched; EC2 shows instances earlier, when they have only a part of what they get.
        members = self._autoscaling.describe_auto_scaling_instances()["AutoScalingInstances"]
        running = {each["AutoScalingGroupName"]: each["InstanceId"] for each in members}
        for group, appliance in list(self.appliances.items()):
            if running.get(group) != appliance.instance:
                self._end(group)
        for group, id in running.items():
            if group not in self.appliances:
                self._boot(group, id)

    def _boot(self, group: str, id: str) -> None:
        lab = self._lab
        instance = lab.ec2.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]
        if not hasattr(lab, "vpc"):
            lab.adopt(instance["VpcId"])
        if instance["VpcId"] != lab.vpc:
            return
        lab.fabric.sync()
        assert lab.fabric.state is not None
        interface = lab.fabric.state.interfaces[instance["NetworkInterfaces"][0]["NetworkInterfaceId"]]
        profile = instance["IamInstanceProfile"]["Arn"].rpartition("/")[2]
        told = lab.ec2.describe_instance_attribute(InstanceId=id, Attribute="userData")
        host = Host(
            id,
            lab.region,
            role=self._iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"][0]["RoleName"],
            type=instance["InstanceType"],
            user_data=base64.b64decode(told["UserData"].get("Value", "")).decode(),
        )
        namespace = Namespace(f"{group} {host.instance}")
        namespace.use_resolver(lab.resolver)
        directory = lab.directory / host.instance
        appliance = Appliance(group, namespace, directory, address=interface.addresses[0], interface=interface.id)
        appliance.public, appliance.region, appliance.instance = interface.public, lab.region, host.instance
        lab.metadata.register(interface.id, host)
        lab.fabric.plug(interface, namespace)
        self.appliances[group] = lab.appliances[group] = appliance
        appliance.start(self._settings, wait=False)

    def _end(self, group: str) -> None:
        appliance = self.appliances[group]
        appliance.stop()
        self._lab.fabric.unplug(appliance.interface)
        appliance.close()
        self.gone.append(appliance)
        del self.appliances[group], self._lab.appliances[group]
