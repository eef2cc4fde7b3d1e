"""Run the demo: `python -m tests.demo`. Exits 0 when everything came out as expected, 1 when not."""

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.demo.applied import applied_stage
from tests.demo.report import Report
from tests.demo.scenarios import scenarios
from tests.demo.stage import Stage
from tests.lab import enclosure
from tests.lab.appliance import ApplianceError
from tests.lab.lab import Lab
from tests.terraform import plugins
from tests.terraform.terraform import TerraformError


def main() -> int:
    """Play all scenarios and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what came of each scenario there as well")
    parser.add_argument(
        "--terraform", action="store_true", help="let Terraform make the VPC, the groups and the appliance"
    )
    arguments = parser.parse_args()
    if arguments.terraform and (obstacle := plugins.obstacle()):
        sys.stderr.write(f"demo: error: {obstacle}\n")
        return 1
    if obstacle := enclosure.obstacle():
        told = obstacle.splitlines()[-1].removeprefix("enclosure: error: ")
        sys.stderr.write(f"demo: error: no network namespaces can be made here: {told}\n")
        return 1
    enclosure.ensure()
    report = Report(sys.stdout)
    report.say("A VPC in network namespaces; curl, openssl, ssh and Python behind the real appliance.\n")
    began = time.monotonic()
    with ExitStack() as stack:
        if arguments.terraform:
            report.say("terraform apply of terraform/examples/three-zones, and of the groups below ...\n")
            lab = stack.enter_context(Lab.without_vpc())
            stage = stack.enter_context(applied_stage(lab))
        else:
            lab = stack.enter_context(Lab.start())
            stage = Stage.set_up(lab)
        report.groups(stage)
        ready = time.monotonic()
        report.head()
        for scenario in scenarios(lambda: lab.internet.authority.bundle):
            report.row(stage.play(scenario))
        played = time.monotonic()
        stage.close_down()
        report.log(stage)
        outcomes = stage.outcomes
    # The servers' records are complete only now.
    wrong = [outcome.scenario.title for outcome in outcomes if outcome.faults]
    report.say()
    for fault in stage.faults:
        report.say(fault, "31")
    report.say(
        f"{len(outcomes) - len(wrong)} of {len(outcomes)} as expected; {ready - began:.1f} s to build the VPC and start"
        f" the appliance, {played - ready:.1f} s to play."
    )
    report.say(
        "What servers got is their own record of every octet: of what was refused, nothing but the hello to which one"
        "\nreplied in TLS 1.0. An edit is in force after the next reading of AWS: each second here, each 10 by default."
        if not wrong
        else f"Not as expected: {', '.join(wrong)}"
    )
    if arguments.json is not None:
        rows = {outcome.scenario.title: outcome.faults for outcome in outcomes}
        arguments.json.write_text(json.dumps({"scenarios": rows, "faults": stage.faults}, indent=2) + "\n")
    return 1 if wrong or stage.faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ApplianceError as fault:
        sys.exit(f"demo: error: the appliance did not do as it was told: {fault}")
    except TerraformError as fault:
        sys.exit(f"demo: error: {fault}")
    except KeyboardInterrupt:
        sys.exit(130)
