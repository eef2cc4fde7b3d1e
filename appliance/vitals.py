"""Vital signs of the appliance: what /healthz shows of it, and what its metrics count."""

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.chronicle import Chronicle
from appliance.crew import Crew
from appliance.edge import system
from appliance.edge.resolver import Resolver
from appliance.messages import Statistics
from appliance.metrics import Reading
from appliance.policy.policy import Policy


@dataclass(frozen=True, slots=True)
class Vitals:
    """The signs at one moment. `workers`: by number; the counts of each are since it was started."""

    policy: Policy
    policy_age: float | None  # seconds
    names_to_look_up: int
    workers: Mapping[str, Statistics]
    workers_restarted: int
    queue_drops: Mapping[str, int]  # by queue
    conntrack: tuple[int, int]  # entries, and the most there may be
    lines_lost: int
    logs: Mapping[str, object]

    @classmethod
    def take(
        cls, policy: Policy, policy_age: float | None, *, crew: Crew, resolver: Resolver, chronicle: Chronicle
    ) -> "Vitals":
        """Return the vital signs now. May be called from any thread."""
        return cls(
            policy=policy,
            policy_age=policy_age,
            names_to_look_up=resolver.backlog,
            workers={str(number): statistics for number, statistics in enumerate(crew.statistics)},
            workers_restarted=crew.restarts,
            queue_drops={str(queue): drops for queue, drops in system.queue_drops().items()},
            conntrack=system.conntrack_use(),
            lines_lost=chronicle.lost,
            logs=chronicle.report(),
        )

    def document(self) -> dict[str, object]:
        """Return what /healthz says beside who and how it is."""
        workers = self.workers.values()
        entries, most = self.conntrack
        return {
            "policy_digest": self.policy.digest,
            "policy_age_seconds": None if self.policy_age is None else round(self.policy_age, 1),
            "clients": len(self.policy.clients),
            "names": len(self.policy.names),
            "names_to_look_up": self.names_to_look_up,
            "workers_restarted": self.workers_restarted,
            "flows_under_inspection": sum(one.flows for one in workers),
            "packets_held": sum(one.held for one in workers),
            "packets_inspected": sum(one.packets for one in workers),
            "engine_errors": sum(one.errors for one in workers),
            "queue_drops": sum(self.queue_drops.values()),
            "conntrack_entries": entries,
            "conntrack_most": most,
            "logs": self.logs,
        }

    def reading(self, *, is_well: bool) -> Reading:
        """Return what the metrics are made from."""
        entries, most = self.conntrack
        lost = {name: one.events_lost for name, one in self.workers.items()}
        return Reading(
            ready=is_well,
            policy_age=self.policy_age,
            conntrack_entries=entries,
            conntrack_most=most,
            clients=len(self.policy.clients),
            names=len(self.policy.names),
            packets_held=sum(one.held for one in self.workers.values()),
            packets_inspected={name: one.packets for name, one in self.workers.items()},
            flow_events={name: one.events for name, one in self.workers.items()},
            queue_drops=self.queue_drops,
            log_lines_lost={**lost, "logs": self.lines_lost},
            worker_restarts={"crew": self.workers_restarted},
            engine_errors={name: one.errors for name, one in self.workers.items()},
        )
