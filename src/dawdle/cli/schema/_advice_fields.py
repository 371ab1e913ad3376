"""Says what becomes of messages whose data does not fit, and what to write. Texts only.

Names of classes are shown without their modules; the file has them whole.
"""

from typing import Final

from dawdle.cli._findings import Finding
from dawdle.cli.schema._advice_code import Subject, forbidding, in_class, kept_name, short, upcaster_body, versioned
from dawdle.cli.schema._file import Field
from dawdle.cli.schema._gaps import Gap, Problem

__all__ = ["default_changed", "in_deploy", "in_queue"]

QUEUE_RULES: Final[dict[Problem, str]] = {
    "missing": "field-added",
    "unknown": "field-removed",
    "renamed": "field-renamed",
    "maybe_renamed": "field-maybe-renamed",
    "default": "default-changed",
    "type": "type-changed",
    "values": "values-removed",
    "limits": "limits-narrowed",
    "tag": "tag-changed",
    "layout": "layout-changed",
    "unclear": "union-unclear",
    "unreadable": "type-unreadable",
}

DEPLOY_RULES: Final[dict[Problem, str]] = {
    **QUEUE_RULES,
    "missing": "field-removed",
    "unknown": "field-added",
    "values": "values-added",
    "limits": "limits-widened",
}


def in_queue(subject: Subject, gap: Gap) -> Finding:
    """Tell of data in the queue that the new code does not read."""
    some = "may not" if gap.partly else "cannot"
    if subject.event is None:
        lost = "workers leave it to others, and after a day (`unclaimed`) it is dead-lettered"
        why = f"A call in the queue {some} be read: {lost}."
        rule = QUEUE_RULES[gap.problem].replace("field", "parameter")
    else:
        why = f"An event in the queue {some} be read: it is dead-lettered, with the reason."
        rule = QUEUE_RULES[gap.problem]
    if gap.problem == "renamed":
        why = f"Events in the queue have {gap.written!r}, which is not read: they are dead-lettered, or get a default."
    if gap.problem == "default":
        why = (
            f"An event in the queue that was signaled with {gap.written} lacks {gap.place!r}: it is read as {gap.read}."
        )
    if gap.problem == "maybe_renamed":
        rule = QUEUE_RULES[gap.problem]  # a parameter never is: its function refuses the old one
        why = f"If it is the same field, its values in the queue are lost: {gap.path[-1]!r} is read as {gap.read}."
    if gap.problem == "unclear":
        why = "An event in the queue may be read as another member of the union."
    return Finding(
        severity="warning" if gap.problem == "maybe_renamed" else "error",
        rule=f"schema.{rule}",
        where=subject.where,
        what=_what_in_queue(subject, gap),
        why=why,
        fix=_fix_in_queue(subject, gap),
    )


def in_deploy(subject: Subject, gap: Gap) -> Finding:
    """Tell of data that the new code writes and the old code does not read."""
    # What only some values do, the new code can avoid until the deploy is over: it is told, and is no failure. But what
    # may be left out is left out sooner or later.
    sure = not gap.partly or gap.problem in {"missing", "renamed", "maybe_renamed", "default"}
    else_read = ", or read something else" if gap.problem in {"renamed", "unclear"} else ""
    lost = f"{'cannot' if sure else 'may not'} read events of the new code: they dead-letter them{else_read}"
    if gap.problem == "default":
        lost = f"read {gap.place!r} as {gap.read} where the new code means {gap.written}, and leaves it out of data"
    if gap.problem == "maybe_renamed":
        lost = (
            f"read {gap.path[-1]!r} as {gap.read}, and skip {gap.was!r}: if it is the same field, its values are lost"
        )
    return Finding(
        severity="warning" if sure else "note",
        rule=f"schema.deploy.{DEPLOY_RULES[gap.problem]}",
        where=subject.where,
        what=_what_in_deploy(gap),
        why=f"While old workers run, they {lost}.",
        fix=_fix_in_deploy(subject, gap) if sure else "do not signal such values until no old worker runs",
    )


def _fix_in_deploy(subject: Subject, gap: Gap) -> str:
    match gap.problem:
        case "missing":
            steps = f"give {gap.place!r} a default in this deploy, and remove it in the next one"
        case "unknown":
            steps = f"take {_forbidding(subject, gap)} in this deploy, and add the field in the next one"
        case "renamed" | "maybe_renamed":
            steps = f"read both names in this deploy, and write {(gap.was or gap.written)!r} in the next one"
        case "default":
            steps = "write it each time in this deploy, and leave it out of data in the next one"
        case _:
            steps = "make the change in two deploys: let all workers read both first, and write the new one then"
    version = versioned(subject, "the data of the next version")
    return (
        f"{steps}. Or {version}: old workers leave newer versions to new workers. Or stop all old workers first, and "
        f"check with --stopped"
    )


def default_changed(subject: Subject, name: str, old: Field, new: Field) -> Finding:
    """Tell of another default, which old data without the field gets."""
    return Finding(
        severity="note",
        rule="schema.default-changed",
        where=subject.where,
        what=f"{name} = {old.default} is {name} = {new.default} now",
        why=f"An event in the queue without {name!r} is read with the new default.",
        fix="nothing, if that is meant",
    )


def _what_in_queue(subject: Subject, gap: Gap) -> str:
    place = gap.place or "its data"
    match gap.problem:
        case "missing":
            left_out = f"{place} may be left out of old data, and has no default"
            return left_out if gap.partly else f"{place}: {short(gap.read)} is new, without a default"
        case "unknown":
            extra = "" if subject.event is None else f", and {forbidding(subject.read_by(gap))} refuses it"
            return f"{place} is gone{extra}"
        case "renamed":
            return f"{gap.written!r} is {gap.read!r} in data now"
        case "maybe_renamed":
            return f"{gap.place_before!r} is gone, and {place!r} of the same type is new"
        case "default":
            return f"{place} = {gap.written} is {place} = {gap.read} now, and a default is left out of data"
        case "unreadable":
            return "a type in it is unknown, or is not supported"
        case "values":
            return f"{place} does not take {short(gap.written)} any more"
        case "layout":
            return f"{place} was {gap.written}, and is {gap.read} now"
        case "tag":
            return f"{place} had the tag {gap.written}, and has {gap.read} now"
        case _:
            return f"{place}: {short(gap.written)} is {short(gap.read)} now"


def _what_in_deploy(gap: Gap) -> str:
    place = gap.place or "its data"
    match gap.problem:
        case "missing" if gap.partly:
            return f"{place} may be left out now, and old workers need it"
        case "missing":
            return f"{place}: {short(gap.read)} is not written any more, and old workers need it"
        case "unknown":
            return f"{place} is new, and old workers forbid unknown fields"
        case "renamed":
            return f"{gap.written!r} is written now, and old workers read {gap.read!r}"
        case "maybe_renamed":
            return f"{gap.place_before!r} is written now, and old workers read {place!r} of the same type"
        case "default":
            return f"{place} = {gap.written} is left out of data now, and old workers read {gap.read}"
        case "values":
            return f"{place} may be {short(gap.written)} now, which old workers do not know"
        case _:
            return f"{place}: old workers read {short(gap.read)}, and {short(gap.written)} is written now"


def _fix_in_queue(subject: Subject, gap: Gap) -> str:
    name = gap.path[-1] if gap.path else ""
    renamed = kept_name(subject, gap, gap.was) if gap.was is not None else ""
    accept = "If not: dawdle schema snapshot accepts it"
    if subject.event is None:
        return {
            "maybe_renamed": f"if it was renamed, {renamed}. {accept}",
            "missing": f"give {name} a default",
            "unknown": f"keep {name}, with a default, until no call that has it is left",
        }.get(gap.problem, "keep it as it was, and register the new function under a name of its own")
    upcast = versioned(subject, upcaster_body(gap))
    match gap.problem:
        case "missing":
            return f"give {name!r} a default{in_class(gap)}; or {upcast}"
        case "unknown":
            return f"take {_forbidding(subject, gap)}; or {upcast}"
        case "renamed":
            return f"{kept_name(subject, gap, str(gap.written))}; or {upcast}"
        case "maybe_renamed":
            return f"if it was renamed, {renamed}; or {upcast}. {accept}"
        case "values":
            return f"keep what was there until no event that has it is left; or {upcast}"
        case "unreadable":
            return "see which field it is: dawdle check --offline"
        case "default":
            return f"keep the default {gap.written}; or {upcast}"
        case "type" | "limits" | "unclear":
            return f"let it take what it took, {short(gap.written)}; or {upcast}"
        case _:
            return f"keep it as it was; or {upcast}"


def _forbidding(subject: Subject, gap: Gap) -> str:
    """Return what forbids unknown fields, and in which class."""
    return f"{forbidding(subject.read_by(gap))} from {'the class' if gap.owner is None else short(gap.owner)}"
