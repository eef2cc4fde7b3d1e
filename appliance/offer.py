"""The offer: how `discriminat suggest` puts a suggestion, as a table, annotations, Terraform or JSON.

Names are written as they are, for they have passed the parser of annotations: letters, digits, '-', '_' and '.' alone.
Whatever else came from a log stands in no Terraform, and quoted elsewhere. Everything here is pure.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from appliance.packing import write_entry
from appliance.policy.annotation import Protocol
from appliance.sighting import Unlistable
from appliance.suggestion import GroupSuggestion, Offered, Suggestion
from appliance.suspicion import SELDOM, Crowd
from appliance.usage import Other, Tally

SOURCE: Final = "./modules/allowlist"  # of the Terraform module, unless another is given
LOOK: Final = "look at each name before you list it: a workload chose it, while everything passed"

_HEADS = ("PORT", "PROTOCOL", "NAME", "FLOWS", "FIRST", "LAST")
_SHOWN = 3  # names of a crowd
_OTHERS_SHOWN = 20  # destinations for one reason, names of one pattern, patterns that are not proposed


def render_table(suggestion: Suggestion) -> str:
    """Return the suggestion for people: a table for each group, then what is apart, and the sums in the last line."""
    tables = [_table(group) for group in suggestion.groups if group.offered]
    return _join(tables, suggestion)


def render_annotations(suggestion: Suggestion) -> str:
    """Return the egress rules for each group, with their descriptions, and what is apart as in the table."""
    return _join([_annotations(group) for group in suggestion.groups if group.offered], suggestion)


def render_terraform(suggestion: Suggestion, source: str = SOURCE) -> str:
    """Return a block of the module `allowlist` for each group; what is apart stands in no Terraform.

    `source`: of the module.
    """
    blocks = [_block(group, source) for group in suggestion.groups if group.offered]
    lines = [
        f"# {_sums(suggestion)}",
        f"# By discriminat suggest; {LOOK}.",
        "# Where a group has such a block already, add the names to it: AWS refuses a second rule like the first.",
    ]
    return "\n\n".join(["\n".join(lines), *blocks]) + "\n"


def offer_document(suggestion: Suggestion) -> dict[str, object]:
    """Return the suggestion for programs, as JSON values: where the flow log has a field, under its name."""
    return {
        "lines": suggestion.lines,
        "unread": suggestion.unread,
        "flows": suggestion.flows,
        "left_out": suggestion.left_out,
        "unplaced": suggestion.unplaced,
        "names": suggestion.names,
        "held_back": suggestion.held_back,
        **({"patterns": len(suggestion.families)} if suggestion.fewest else {}),
        "groups": [_group_document(group, patterns=suggestion.fewest > 0) for group in suggestion.groups],
        "others": [
            {
                "gid": other.group,
                "dpt": other.port,
                "proto": other.protocol,
                "dhost": other.host,
                **_tally_document(tally),
                "reason": other.why.reason,
                "hint": other.why.hint,
            }
            for other, tally in suggestion.others
        ],
    }


def sums(suggestion: Suggestion) -> tuple[str, ...]:
    """Return how many of what there are, the flows last; of patterns only where they were asked for."""
    return (
        _count(len([group for group in suggestion.groups if group.offered]), "group"),
        _count(suggestion.names, "name"),
        *_sum_of_patterns(suggestion),
        f"{suggestion.held_back} held back",
        f"{len(suggestion.others)} without a rule",
        _count(suggestion.flows, "flow"),
    )


def heading(group: GroupSuggestion) -> str:
    """Return how a group is called."""
    if group.is_known:
        return f"{group.group} ({group.name})" if group.name else group.group
    if not group.worn:
        what = "its Security Group is not known: give --network-interfaces that hold it, unless it is gone"
        return f"client {group.group} ({what})"
    return f"client {group.group} (it wears {', '.join(group.worn)}: choose one with --group)"


def notes(suggestion: Suggestion) -> list[str]:
    """Return sentences on what the numbers leave out."""
    told = []
    if suggestion.unread:
        told.append(f"{_count(suggestion.unread, 'line')} could not be read as flow events of the appliance")
    if suggestion.left_out:
        told.append(f"{_count(suggestion.left_out, 'flow')} to ever more different names are not told apart")
    if suggestion.unplaced:
        what = "give --network-interfaces that hold them, unless they are gone"
        told.append(f"{_count(suggestion.unplaced, 'flow')} of clients whose groups are not known: {what}")
    for group in suggestion.groups:
        ports = sorted({rule.port for rule in group.rules if not rule.destination})
        told += (
            f"port {port} of {group.group} needs more rules than AWS takes: move names to a second group"
            for port in ports
        )
        if group.seldom:
            told.append(f"{_count(group.seldom, 'name')} of {group.group} below --min-count")
    return [*told, *_notes_on_patterns(suggestion)]


def about_family(offered: Offered) -> str:
    """Return what to say of a pattern, in front of the names that it stands for."""
    return f"stands for {_count(len(offered.names), 'name')} seen, and for all others like them"


def about_crowd(crowd: Crowd) -> tuple[str, str]:
    """Return what is wrong with a crowd, and what to do about it."""
    wrong = f"{len(crowd.names)} names below {crowd.parent}, each used {SELDOM} times at most"
    return (
        wrong,
        f"data can be carried out in such names: look at the client; where they are meant, --keep {crowd.parent}",
    )


def examples(crowd: Crowd) -> str:
    """Return a few names of a crowd."""
    return ", ".join([*map(str, crowd.names[:_SHOWN]), "..."])


def minute(time: str) -> str:
    """Return a time of the log for people, without its seconds."""
    return f"{time[:10]} {time[11:16]}"


def by_reason(suggestion: Suggestion) -> dict[Unlistable, list[tuple[Other, Tally]]]:
    """Return what cannot become a rule, by why."""
    reasons: dict[Unlistable, list[tuple[Other, Tally]]] = {}
    for other, tally in suggestion.others:
        reasons.setdefault(other.why, []).append((other, tally))
    return reasons


def _notes_on_patterns(suggestion: Suggestion) -> Iterator[str]:
    if suggestion.hindrance:
        yield f"no pattern is proposed: {suggestion.hindrance}"
    elif suggestion.fewest and not suggestion.families:
        yield (
            f"no pattern is proposed: no {suggestion.fewest} names that differ in one label, each used more than"
            f" {SELDOM} times, have one that is safe"
        )
    told = [
        f"no pattern {write_entry(refusal.pattern)} for {_count(len(refusal.names), 'name')} of {group.group},"
        f" port {port}: {refusal.why}"
        for group in suggestion.groups
        for port, refusal in group.refusals
    ]
    yield from told[:_OTHERS_SHOWN]
    if len(told) > _OTHERS_SHOWN:
        yield f"no pattern in {len(told) - _OTHERS_SHOWN} more cases"


def _sum_of_patterns(suggestion: Suggestion) -> Iterator[str]:
    if suggestion.fewest:
        covered = sum(len(family.names) for family in suggestion.families)
        yield f"{_count(len(suggestion.families), 'pattern')} for {_count(covered, 'name')}"


# ---- text ----


def _join(parts: list[str], suggestion: Suggestion) -> str:
    if not parts:
        parts = ["nothing to list: no flow with a name passed by see-thru alone"]
    parts += _held_back(suggestion)
    parts += _apart(suggestion)
    told = notes(suggestion)
    if told:
        parts.append("\n".join(f"note: {note}" for note in told))
    if suggestion.names or suggestion.families:
        parts.append(LOOK)
    return "\n\n".join([*parts, _sums(suggestion)]) + "\n"


def _table(group: GroupSuggestion) -> str:
    rows = [
        (
            str(each.port),
            each.protocol.value,
            write_entry(each.entry),
            str(each.tally.count),
            minute(each.tally.first),
            minute(each.tally.last),
        )
        for each in group.offered
    ]
    return "\n".join([heading(group), *_columns([_HEADS, *rows]), *_families(group)])


def _families(group: GroupSuggestion) -> Iterator[str]:
    """Yield what each pattern stands for."""
    for each in group.offered:
        if each.names:
            yield f"  {write_entry(each.entry)} on {each.port} {about_family(each)}: {_some(each.names)}"


def _some(names: Sequence[object]) -> str:
    more = [f"and {len(names) - _OTHERS_SHOWN} more"] if len(names) > _OTHERS_SHOWN else []
    return ", ".join([*_strings(names[:_OTHERS_SHOWN]), *more])


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield rows with their cells below each other; numbers, in the first and the fourth, end below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if index in (0, 3) else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()


def _annotations(group: GroupSuggestion) -> str:
    lines = [f"  tcp/{rule.port} {rule.destination or 'in another group'}  {rule.description}" for rule in group.rules]
    return "\n".join([heading(group), *lines, *_families(group)])


def _held_back(suggestion: Suggestion) -> Iterator[str]:
    for group in suggestion.groups:
        for crowd in group.crowds:
            wrong, hint = about_crowd(crowd)
            yield f"held back: {wrong}\n  {group.group}: {examples(crowd)}\n  hint: {hint}"


def _apart(suggestion: Suggestion) -> Iterator[str]:
    for why, found in by_reason(suggestion).items():
        lines = [
            f"  {other.group}, {other.port} {other.protocol}: {other.host}, {_count(tally.count, 'flow')}"
            for other, tally in found[:_OTHERS_SHOWN]
        ]
        if len(found) > _OTHERS_SHOWN:
            lines.append(f"  and {len(found) - _OTHERS_SHOWN} more")
        yield "\n".join([f"no rule: {why.reason}", *lines, f"  hint: {why.hint}"])


def _sums(suggestion: Suggestion) -> str:
    *counts, flows = sums(suggestion)
    return f"{', '.join(counts)}, from {flows}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# ---- Terraform ----


def _block(group: GroupSuggestion, source: str) -> str:
    label = re.sub(r"[^0-9a-z]", "_", group.group)
    lines = []
    gid = _quote(group.group)
    if not group.is_known:
        gid = f"var.group_of_{label}"
        lines += [
            f'variable "group_of_{label}" {{',
            f'  description = "Security Group of the client {group.group} that gets the rules."',
            "  type        = string",
            "}",
            "",
        ]
    lines += [
        f'module "allowlist_{label}" {{',
        f"  source = {_quote(source)}",
        "",
        f"  security_group_id = {gid}",
        *_lists(group),
        "}",
    ]
    return "\n".join(lines)


def _lists(group: GroupSuggestion) -> Iterator[str]:
    for protocol in Protocol:
        ports: dict[int, list[Offered]] = {}
        for each in group.offered:
            if each.protocol is protocol:
                ports.setdefault(each.port, []).append(each)
        if ports:
            yield ""
            yield f"  {protocol} = {{"
            for port, listed in ports.items():
                yield f"    {port} = ["
                for each in listed:
                    if each.names:
                        yield f"      # {about_family(each)}: {_some(each.names)}"
                    yield f"      {_quote(write_entry(each.entry))},"
                yield "    ]"
            yield "  }"


def _quote(text: str) -> str:
    """Return a text as a string of Terraform's language, in which nothing is a template."""
    return json.dumps(text).replace("${", "$${").replace("%{", "%%{")


# ---- JSON ----


def _group_document(group: GroupSuggestion, *, patterns: bool) -> dict[str, object]:
    return {
        "gid": group.group if group.is_known else "",
        "name": group.name,
        "client": "" if group.is_known else group.group,
        "groups_of_client": list(group.worn),
        "names": [
            {
                "dhost": str(row.use.name),
                "dpt": row.use.port,
                "proto": row.use.protocol.value,
                **_tally_document(row.tally),
            }
            for row in group.rows
        ],
        **(_patterns_document(group) if patterns else {}),
        "rules": [
            {"rule": f"tcp/{rule.port} {rule.destination}".rstrip(), "description": rule.description}
            for rule in group.rules
        ],
        "below_min_count": group.seldom,
        "held_back": [{"parent": str(crowd.parent), "names": _strings(crowd.names)} for crowd in group.crowds],
    }


def _patterns_document(group: GroupSuggestion) -> dict[str, object]:
    return {
        "patterns": [
            {
                "pattern": write_entry(family.pattern),
                "dpt": family.port,
                "proto": Protocol.TLS.value,
                **_tally_document(family.tally),
                "names": _strings(family.names),
            }
            for family in group.families
        ],
        "patterns_refused": [
            {
                "pattern": write_entry(refusal.pattern),
                "dpt": port,
                "proto": Protocol.TLS.value,
                "names": _strings(refusal.names),
                "reason": refusal.why,
            }
            for port, refusal in group.refusals
        ],
    }


def _tally_document(tally: Tally) -> dict[str, object]:
    return {"count": tally.count, "first": tally.first, "last": tally.last}


def _strings(items: Iterable[object]) -> list[str]:
    return [str(item) for item in items]
