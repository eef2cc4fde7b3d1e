"""Replay: captures through the engine, flow events out. The composition root of the verb of this name."""

import heapq
from collections.abc import Iterable
from contextlib import ExitStack, closing
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from appliance.directory import Directory
from appliance.edge.captures import Capture
from appliance.edge.journal import render
from appliance.errors import InputError
from appliance.player import Player, Told
from appliance.policy.inventory import Inventory
from appliance.policy.policy import compile_policy


def replay(paths: Iterable[Path], inventory: Inventory, directory: Directory, out: BinaryIO) -> None:
    """Play captures, merged by time, and write the flow events, a line of JSON each, as soon as there are some.

    Args:
        paths: of the captures; `-` is standard input.
        inventory: whose clients are known, and what they may reach.
        directory: what stands in for DNS.
        out: where to write.

    Raises:
        InputError: a capture cannot be read, or not to its end; what could be read was played.
    """
    with ExitStack() as stack:
        captures = [stack.enter_context(closing(Capture(path))) for path in paths]
        player = Player(compile_policy(inventory), directory)
        for time, octets in heapq.merge(*(capture.packets() for capture in captures), key=itemgetter(0)):
            told = player.on_packet(octets, time)
            if told:
                out.write(_lines(told))
                out.flush()
        out.write(_lines(player.finish()))
    faults = [capture.fault for capture in captures if capture.fault is not None]
    if faults:
        raise InputError("; ".join(fault.message for fault in faults), hint=faults[0].hint)


def _lines(told: Iterable[Told]) -> bytes:
    return b"".join(render(event, when) for when, event in told)
