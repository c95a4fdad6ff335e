"""What the hourly systemd units run, run here as they say it: only the program's path and who acts are others."""

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.recorded_platform import Platform

DEPLOY = Path(__file__).parents[2] / "deploy"


def command_of(unit: str, instance: str) -> list[str]:
    """Return what a unit runs as systemd would read it: one word in quotes at most, `$$` and `%%` for themselves."""
    text = (DEPLOY / unit).read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=((?:.*\\\n)*.*)$", text, re.MULTILINE)
    line = line.replace("\\\n", " ")
    line = re.sub("%(.)", lambda found: {"i": instance, "%": "%"}[found[1]], line).replace("$$", "$")
    scelle = str(Path(sys.executable).with_name("scelle"))
    line = line.replace("/usr/bin/scelle --as watcher", scelle)
    head, quote, rest = line.partition("'")
    return [*head.split(), rest.rstrip("'")] if quote else head.split()


def test_the_canary_unit_asks_each_surface(platform: Platform) -> None:
    url = platform.proxy().url.removesuffix("/v1")
    platform.run("surface", "add", "web", "--owner", "team", "--url", url)
    subprocess.run(command_of("scelle-canary.service", ""), env=platform.env, check=True, timeout=60)
    (web,) = platform.json("surface", "list")["surfaces"]
    assert web["state"] == "green"
    timer = (DEPLOY / "scelle-canary.timer").read_text(encoding="utf-8")
    assert "OnCalendar=hourly\n" in timer


@pytest.mark.parametrize(("count", "code"), [("0", 0), ("7", 1)])
def test_the_reconcile_unit_compares_the_hour_before(platform: Platform, count: str, code: int) -> None:
    platform.run("surface", "add", "web", "--owner", "team", "--url", "http://127.0.0.1:9")
    program, asked = platform.folder / "count", platform.folder / "asked"
    program.write_text(f'#!/bin/sh\necho "$1 $2" > {asked}\necho {count}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    env = {**platform.env, "ORDER": "o-1", "COUNT": str(program)}
    done = subprocess.run(
        command_of("scelle-reconcile@.service", "web"),
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    (said,) = (each for each in platform.events("reconciliation") if each["event"] == "reconciled")
    since, until = asked.read_text().split()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:00:00Z", since)
    assert (said["from"][:20], said["until"][:20]) == (since[:-1] + ".", until[:-1] + ".")
    assert (said["surface"], said["generated"], said["gap"]) == ("web", int(count), int(count))


def test_the_reconcile_unit_fails_where_the_generator_cannot_be_asked(platform: Platform) -> None:
    env = {**platform.env, "ORDER": "o-1", "COUNT": "/bin/false"}
    command = command_of("scelle-reconcile@.service", "web")
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=60)
    assert done.returncode == 1
    assert platform.events("reconciliation") == []
