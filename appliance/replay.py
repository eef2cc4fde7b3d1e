"""Replay: captures through the engine, flow events out. The composition root of the verb of this name."""

import heapq
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from appliance.address import Network, without
from appliance.directory import Directory
from appliance.edge.captures import Capture
from appliance.edge.journal import render
from appliance.edge.suffix_list import read_suffixes
from appliance.errors import InputError
from appliance.player import LIMITS, Player, Told
from appliance.policy.exposure import Guard
from appliance.policy.inventory import Inventory
from appliance.policy.policy import Policy, compile_policy
from appliance.policy.preferences import Preferences


def replay(
    paths: Iterable[Path], inventory: Inventory, directory: Directory, preferences: Preferences, out: BinaryIO
) -> None:
    """Play captures, merged by time, and write the flow events, a line of JSON each, as soon as there are some.

    All of them are written, whatever `flow_log_verbosity` says.

    Args:
        paths: of the captures; `-` is standard input.
        inventory: whose clients are known, and what they may reach.
        directory: what stands in for DNS.
        preferences: of the deployment.
        out: where to write.

    Raises:
        InputError: a capture cannot be read, or not to its end; what could be read was played.
    """
    with ExitStack() as stack:
        captures = [stack.enter_context(closing(Capture(path))) for path in paths]
        policy = compile_policy(inventory, Guard(preferences.wildcard_exposure, read_suffixes()))
        player = Player(policy, directory, LIMITS, _close_own(preferences, policy))
        for time, octets in heapq.merge(*(capture.packets() for capture in captures), key=itemgetter(0)):
            told = player.on_packet(octets, time)
            if told:
                out.write(_lines(told))
                out.flush()
        out.write(_lines(player.finish()))
    faults = [capture.fault for capture in captures if capture.fault is not None]
    if faults:
        raise InputError("; ".join(fault.message for fault in faults), hint=faults[0].hint)


def _close_own(preferences: Preferences, policy: Policy) -> Preferences:
    """Take what is known to be the VPC's own, or as good as that, out of the private destinations."""
    opened = preferences.private_destinations
    own = [Network(client, 32) for client in policy.clients if any(client in network for network in opened)]
    return replace(preferences, private_destinations=without(opened, (*preferences.clients, *own)))


def _lines(told: Iterable[Told]) -> bytes:
    return b"".join(render(event, when) for when, event in told)
