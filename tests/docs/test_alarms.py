"""Every alarm asks for metrics that are there, and leads to its own section of the runbook."""

import re
from pathlib import Path
from typing import Any

import yaml

from scelle.bootstrap.watch_metrics import FAMILIES, OWN

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus-rules.yml"
UNIT = ROOT / "deploy" / "scelle-watch@.service"
_WORDS = frozenset(
    {
        "absent",
        "by",
        "increase",
        "instance",
        "job",
        "max",
        "offset",
        "on",
        "or",
        "scelle",
        "sum",
        "time",
        "unless",
        "up",
    }
)


def alarms() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def labels_of(name: str) -> set[str]:
    """Return the labels of a metric; raises KeyError where there is none of this name."""
    found = {each.full_name: {"source", "instance", *each.labels} for each in FAMILIES}
    return (found | {name: {"instance"} for name in OWN})[name]


def test_each_alarm_asks_for_metrics_and_labels_that_are_there() -> None:
    for alarm in alarms():
        asked = set(re.findall(r"\bscelle_\w+", alarm["expr"]))
        assert asked, alarm["alert"]
        known = set.union(*(labels_of(name) for name in asked))
        words = re.sub(r'"[^"]*"|\[\w+\]|\boffset \w+|\b[0-9.]+(e[0-9]+)?\b', "", alarm["expr"])
        assert set(re.findall(r"\b[a-z]\w*", words)) <= asked | known | _WORDS, alarm["alert"]
        used = set(re.findall(r"\$labels\.(\w+)", alarm["annotations"]["summary"]))
        assert used <= known, alarm["alert"]


def test_each_alarm_says_how_bad_it_is_and_leads_to_its_section() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## )", runbook, re.MULTILINE | re.DOTALL))
    for alarm in alarms():
        name = alarm["alert"]
        assert alarm["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
        assert alarm["labels"]["severity"] in ("warning", "critical")
        for part in ("**Means:**", "**First five minutes:**", "**Never:**", "**Tell:**"):
            assert part in sections[name], (name, part)
    assert set(sections) == {alarm["alert"] for alarm in alarms()}


def test_each_alarm_but_of_what_happened_waits_before_it_calls() -> None:
    for alarm in alarms():
        assert "for" in alarm or "increase(" in alarm["expr"], alarm["alert"]


def test_the_alarms_that_must_be_are_there() -> None:
    asked = " ".join(alarm["expr"] for alarm in alarms())
    for name in (
        "scelle_watch_lag_seconds",
        "scelle_watch_open_gaps",
        "scelle_guard_last_probe_timestamp_seconds",
        "scelle_guard_outbox_rows",
        "scelle_watch_slot_kept_bytes",
        "scelle_guard_diverted_rows_total",
    ):
        assert name in asked


def test_the_unit_runs_a_command_that_there_is() -> None:
    text = UNIT.read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=\S+ (.*)$", text, re.MULTILINE)
    commands = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    watch = commands.partition("## scelle watch\n")[2].partition("\n## ")[0]
    for option in re.findall(r"--[a-z-]+", command.partition(" watch ")[2]):
        assert option in watch
    assert "KillSignal=SIGTERM" in text
