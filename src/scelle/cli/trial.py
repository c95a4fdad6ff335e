"""Say to people what a sample of a source showed."""

from typing import TYPE_CHECKING

from scelle.cli.output import human_bytes, utc

if TYPE_CHECKING:
    from scelle.sources.trial import Trial


def trial_lines(name: str, trial: "Trial") -> list[str]:
    """Return what `source test` prints: the counts first, then what is wrong, then how it would be sealed."""
    extent = "all of it" if trial.units_read == trial.units else "all that can be read"
    if not trial.is_whole:
        extent = "a sample"
    if trial.members:
        counted = f"{trial.items} records; read {trial.units_read} of {trial.units} files, tables or parts"
    else:
        counted = f"read {trial.units_read} of {trial.units} documents"
    lines = [f"source {name} can be read; {extent}: {counted}; nothing was kept"]
    if not trial.units:
        return [*lines, "  nothing is there yet, or nothing that this source reads: compare its URL"]
    failed = trial.items - trial.fit
    lines.append(
        f"  {'fit the schema' if trial.members else 'read'}: {_share(trial.fit, trial.items)}, "
        f"{human_bytes(trial.bytes)}; failed: {failed}"
    )
    for cause, count in sorted(trial.failed.items()):
        lines.append(f"  failed, {cause}: {count}")
        lines += [
            f"    {each.place}: {each.detail}".removesuffix(": ")
            for each in trial.failures
            if each.cause == cause
        ]
    if trial.fit:
        lines += _fit_lines(trial)
    lines += [f"  waiting: {each}" for each in trial.waiting]
    lines += [
        f"  {each.name}: {trial.by_member[each.name]} records; {'; '.join(each.notes) or 'as its schema says'}"
        for each in trial.members
    ]
    return lines + [f"  mind: {warning}" for warning in trial.warnings]


def _fit_lines(trial: "Trial") -> list[str]:
    holder = "account or custodian"
    first, last = utc(trial.earliest_us), utc(trial.latest_us)
    return [
        f"  time: {'none has one' if first is None else f'{first} to {last}'}; "
        f"undated: {_share(trial.undated, trial.fit)}",
        f"  without {holder}: {_share(trial.without_holder, trial.fit)}",
    ]


def _share(part: int, whole: int) -> str:
    """Write a part with its whole and its percentage; never 0 % or 100 % where that is not so."""
    if not whole:
        return "0 of 0"
    percent = round(100 * part / whole)
    if 0 < part < whole:
        percent = min(max(percent, 1), 99)
    return f"{part} of {whole} ({percent} %)"
