"""A row of the catalogue of attacks."""

from dataclasses import dataclass

from appliance.reason import Reason


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way around an egress filter, and what meets it here.

    Attributes:
        mark: such as T4; the code's comments use it.
        attack: what a workload tries.
        defence: what becomes of it.
        codes: of the log, when it is tried; none where nothing is refused or the kernel only counts.
        unit: tests of the defence alone, as pytest names them; a parametrised test without its parameters stands
            for all of them.
        story: tests in the lab: through the running appliance, with the server's end looked at.
        no_story: why there is no story.
        unseen: why it cannot be seen without decryption; SECURITY.md lists it under what still works.
    """

    mark: str
    attack: str
    defence: str
    codes: tuple[Reason, ...] = ()
    unit: tuple[str, ...] = ()
    story: tuple[str, ...] = ()
    no_story: str = ""
    unseen: str = ""
