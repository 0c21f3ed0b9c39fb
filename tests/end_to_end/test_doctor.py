"""`conductor-grpc doctor`: every planted fault is found, by its own finding and no other; a healthy set-up has none."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from command import conductor_grpc, end, environment, running
from doctor_faults import FAULTS, Asked, Site, define
from waiting import wait_for

from conductor_grpc import Configuration
from conductor_grpc.server import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import ServerAddress

pytestmark = pytest.mark.real_server

EXIT_CODES = {"ok": 0, "note": 0, "warning": 3, "error": 1}

Finding = dict[str, str]


@pytest.fixture
def site(real_server: ServerAddress, tmp_path: Path) -> Site:
    return Site.made(real_server, tmp_path)


def ask(site: Site, asked: Asked) -> tuple[int, list[Finding], str]:
    """The exit code, the findings, and all that was printed."""
    command = [sys.executable, "-m", "conductor_grpc", "doctor", str(site.module), *asked.arguments, "--json"]
    if asked.open_files is not None:
        command = ["sh", "-c", f'ulimit -n {asked.open_files} && exec "$@"', "sh", *command]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        env={**environment(site.server), "XDG_STATE_HOME": str(site.folder / "state"), **asked.environment},
        text=True,
        timeout=120,
    )
    assert done.stdout.startswith("{"), done.stderr
    return done.returncode, json.loads(done.stdout)["findings"], done.stdout + done.stderr


def told(findings: list[Finding]) -> set[str]:
    return {each["code"] for each in findings if each["severity"] in ("warning", "error")}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_by_its_own_finding(site: Site, name: str) -> None:
    fault = FAULTS[name]
    with fault.plant(site) as asked:
        exit_code, findings, printed = ask(site, asked)
    (found,) = [each for each in findings if each["code"] == fault.code]
    assert found["severity"] == fault.severity
    if fault.severity == "note":
        assert told(findings) == set()
    else:
        assert told(findings) == {fault.code, *asked.too}
        assert found["expected"]
        assert found["remedy"]
    assert exit_code == EXIT_CODES[fault.severity]
    assert "s3cret" not in printed
    assert "Traceback" not in printed


def test_a_healthy_set_up_has_none(site: Site) -> None:
    exit_code, findings, _ = ask(site, Asked(("--metrics-dir", str(site.folder))))
    assert exit_code == 0
    assert [each for each in findings if each["severity"] != "ok"] == []
    assert {each["code"] for each in findings} == {
        *("machine", "grpc", "rest", "version", "contract", "clock", "definition", "limit", "queue", "integers"),
        *("journal", "metrics"),
    }


def test_a_set_up_that_is_at_work_has_none(site: Site) -> None:
    """Also while its one slot is taken and more wait."""
    site.module_with("", "import pathlib, time")
    site.module.write_text(
        site.module.read_text().replace(
            "pass\n",
            f"pathlib.Path({str(site.folder)!r}, 'begun').touch()\n"
            f"    while not pathlib.Path({str(site.folder)!r}, 'finish').exists():\n        time.sleep(0.05)\n",
        )
    )
    with running(site.server, ["-m", "conductor_grpc", "run", str(site.module)], site.folder) as workers:
        runs = [site.user.start(site.workflow) for _ in range(3)]
        wait_for((site.folder / "begun").exists)
        exit_code, findings, _ = ask(site, Asked())
        (site.folder / "finish").touch()
        for run in runs:
            assert site.user.wait_until_closed(run)["status"] == "COMPLETED"
        assert end(workers)[0] == 0
    assert (exit_code, told(findings)) == (0, set()), findings


def test_without_rest_what_is_not_seen_is_a_note(site: Site) -> None:
    with EmbeddedServer(strict=True) as server:
        define(Configuration("", target=server.target), site)
        exit_code, findings, _ = ask(site, Asked(("--target", server.target, "--base-url", "")))
    assert exit_code == 0
    notes = {each["code"] for each in findings if each["severity"] != "ok"}
    assert notes == {"rest.none", "clock.unseen"}


def test_it_takes_no_task_and_changes_nothing(site: Site) -> None:
    run = site.user.start(site.workflow, {"x": 7})

    def state() -> Any:
        workflow = site.user.workflow(run)
        polls = site.user.call("GET", f"/tasks/queue/polldata?taskType={site.task_type}")
        definition = site.user.call("GET", f"/metadata/taskdefs/{site.task_type}")
        return workflow, polls, site.waiting(), definition

    before = state()
    assert before[0]["tasks"][0]["status"] == "SCHEDULED"
    assert ask(site, Asked())[0] == 3
    assert ask(site, Asked(("--base-url", "")))[0] == 0, "which integers wait, only REST tells"
    assert state() == before


def test_a_server_that_never_answers_is_told_in_time(site: Site) -> None:
    with FAULTS["grpc.unavailable"].plant(site) as asked:
        began = time.monotonic()
        ask(site, Asked((*asked.arguments[:2], "--timeout", "3", "--base-url", "")))
    assert time.monotonic() - began < 20


def test_people_read_a_table(site: Site) -> None:
    done = conductor_grpc(site.server, "doctor", str(site.module), "--no-journal")
    assert done.returncode == 0, done.stdout
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert {len(row) for row in rows} == {5}
    assert ["ok", "rest", f"{site.server.base_url} answers", "", ""] in rows
    assert rows[-1][:2] == ["note", "journal.none"], "the worst comes last"
