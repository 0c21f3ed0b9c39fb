"""What the journal remembers, and what it does when the disk fails."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from journals import left_in, open_journal, opened
from waiting import wait_for

from conductor_grpc.errors import JournalError
from conductor_grpc.poller.journal import Claim, Outcome, Recovered, adopt
from conductor_grpc.poller.journal import journal as journal_module
from conductor_grpc.poller.journal.folder import journal_files
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def a_task(task_id: str, poll_count: int = 1) -> Task:
    return Task(
        task_id=task_id,
        poll_count=poll_count,
        workflow_instance_id=f"workflow of {task_id}",
        task_def_name="work\n\0é",
        worker_id="me/1",
    )


def ids(left: Recovered) -> tuple[list[str], list[str]]:
    return sorted(each.claim.task_id for each in left.outcomes), sorted(each.task_id for each in left.claims)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


class TestMemory:
    def test_a_new_one_knows_nothing(self, tmp_path: Path) -> None:
        assert left_in(tmp_path / "a" / "b") == Recovered()
        assert (tmp_path / "a" / "b").stat().st_mode & 0o077 == 0, "outputs of tasks are for this user only"

    def test_what_is_not_settled_is_there_in_the_next_run_and_in_the_one_after(self, tmp_path: Path) -> None:
        with opened(tmp_path) as journal:
            journal.worker("me/1", "work", "a domain")
            journal.worker("me/2", "other", None)
            journal.forget_worker("me/2")
            journal.integers("work")
            journal.claimed([a_task("claimed"), a_task("finished"), a_task("settled")])
            journal.finished(a_task("finished"), b"\n\0wire")
            journal.finished(a_task("settled"), b"wire")
            journal.settled(("settled", 1))
        for _ in range(2):
            left = left_in(tmp_path)
            assert left.claims == (Claim.of(a_task("claimed")),)
            assert left.outcomes == (Outcome(Claim.of(a_task("finished")), b"\n\0wire"),)
            assert [(each.worker_id, each.task_type, each.domain) for each in left.workers] == [
                ("me/1", "work", "a domain")
            ]
            assert left.integer_types == {"work"}

    def test_what_an_earlier_run_left_is_settled_like_anything_else(self, tmp_path: Path) -> None:
        with opened(tmp_path) as journal:
            journal.claimed([a_task("a"), a_task("b")])
        with opened(tmp_path) as journal:
            journal.claimed([a_task("c")])
            assert ids(journal.recover()) == ([], ["a", "b"]), "of earlier runs only"
            journal.settled(("a", 1))
        assert ids(left_in(tmp_path)) == ([], ["b", "c"])

    def test_a_task_handed_out_again_before_its_last_update_was_answered(self, tmp_path: Path) -> None:
        with opened(tmp_path) as journal:
            journal.claimed([a_task("a", 1)])
            journal.finished(a_task("a", 1), b"in progress")
            journal.claimed([a_task("a", 2)])
            journal.settled(("a", 1))
        left = left_in(tmp_path)
        assert [(claim.task_id, claim.poll_count) for claim in left.claims] == [("a", 2)]
        assert left.outcomes == ()

    def test_an_outcome_needs_no_claim(self, tmp_path: Path) -> None:
        with opened(tmp_path) as journal:
            journal.finished(a_task("unreadable"), b"wire")
        assert ids(left_in(tmp_path)) == (["unreadable"], [])

    def test_what_is_settled_goes_and_the_rest_stays_while_others_write(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journal_module, "GROWTH", 2_000)
        monkeypatch.setattr(journal_module, "SYNC_INTERVAL", 0.001)
        with opened(tmp_path) as journal:
            journal.claimed([a_task("kept")])
            journal.start()
            first = journal_files(tmp_path)

            def work(thread: int) -> None:
                for number in range(300):
                    task = a_task(f"{thread}-{number}")
                    journal.claimed([task])
                    journal.finished(task, b"wire")
                    if number % 100:
                        journal.settled((task.task_id, 1))

            threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            wait_for(lambda: journal_files(tmp_path) != first)
        assert len(journal_files(tmp_path)) == 1
        assert ids(left_in(tmp_path)) == (
            sorted(f"{thread}-{number}" for thread in range(8) for number in (0, 100, 200)),
            ["kept"],
        )

    def test_what_was_left_is_handed_over_once(self, tmp_path: Path) -> None:
        """Or it would stay in memory."""
        with opened(tmp_path) as journal:
            journal.finished(a_task("a"), b"wire")
        with opened(tmp_path) as journal:
            assert ids(journal.recover()) == (["a"], [])
            assert journal.recover() == Recovered()
        assert ids(left_in(tmp_path)) == (["a"], [])

    def test_what_is_given_up_leaves_memory_and_not_the_disk(self, tmp_path: Path) -> None:
        with opened(tmp_path) as journal:
            journal.claimed([a_task("a"), a_task("b"), a_task("c")])
            for task_id in ("a", "b"):
                journal.finished(a_task(task_id), b"wire of " + task_id.encode())
                journal.given_up((task_id, 1))
            journal.given_up(("c", 1))
            assert ids(journal._state.recovered()) == ([], ["c"])
        with opened(tmp_path) as journal:
            left = journal.recover()
            assert ids(left) == (["a", "b"], ["c"])
            assert sorted(each.wire for each in left.outcomes) == [b"wire of a", b"wire of b"]
            journal.settled(("a", 1))
            journal.given_up(("b", 1))
        assert ids(left_in(tmp_path)) == (["b"], ["c"])

    def test_what_is_given_up_survives_a_kill_at_any_moment(self, tmp_path: Path) -> None:
        with opened(tmp_path) as journal:
            journal.finished(a_task("a"), b"wire")
            before = {path.name: path.read_bytes() for path in journal_files(tmp_path)}
            journal.given_up(("a", 1))
        for name, data in before.items():  # killed between the two files
            (tmp_path / name).write_bytes(data)
        assert ids(left_in(tmp_path)) == (["a"], [])
        assert ids(left_in(tmp_path)) == (["a"], [])

    def test_what_cannot_be_put_aside_stays(self, tmp_path: Path) -> None:
        with opened(tmp_path) as journal:
            journal.finished(a_task("a"), b"wire")
            (tmp_path / "given-up").mkdir()
            journal.given_up(("a", 1))
            assert journal.failed is not None
            assert ids(journal._state.recovered()) == (["a"], [])
            (tmp_path / "given-up").rmdir()
        assert ids(left_in(tmp_path)) == (["a"], [])

    def test_types_with_integers_are_forgotten_after_a_long_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with opened(tmp_path) as journal:
            journal.integers("old")
        began = time.time_ns()
        monkeypatch.setattr(journal_module.time, "time_ns", lambda: began + int(20 * 86_400e9))
        with opened(tmp_path) as journal:
            journal.integers("new")
            assert journal.integer_types == {"old"}
        monkeypatch.setattr(journal_module.time, "time_ns", lambda: began + int(31 * 86_400e9))
        with opened(tmp_path) as journal:
            assert journal.integer_types == {"new"}
            journal.integers("new")
        monkeypatch.setattr(journal_module.time, "time_ns", lambda: began + int(55 * 86_400e9))
        assert left_in(tmp_path).integer_types == {"new"}, "which was noted again"

    def test_integers_are_noted_once_a_day(self, tmp_path: Path) -> None:
        with opened(tmp_path) as journal:
            journal.integers("work")
            (file,) = journal_files(tmp_path)
            size = file.stat().st_size
            journal.integers("work")
            assert file.stat().st_size == size


class TestOwnership:
    def test_a_second_process_is_refused(self, tmp_path: Path) -> None:
        command = (
            "import sys, pathlib; from conductor_grpc.poller.journal import Journal;"
            "Journal.open(pathlib.Path(sys.argv[1]), None)"
        )
        with opened(tmp_path):
            said = subprocess.run(
                [sys.executable, "-c", command, str(tmp_path)], check=False, capture_output=True, text=True, timeout=60
            )
        assert said.returncode == 1
        last = said.stderr.splitlines()[-1]
        assert "JournalError" in last
        assert str(tmp_path) in last
        assert f"process {os.getpid()} on " in last
        subprocess.run([sys.executable, "-c", command, str(tmp_path)], check=True, timeout=60)

    def test_a_second_poller_of_this_process_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path)
        with opened(tmp_path) as journal:
            with pytest.raises(JournalError, match=str(os.getpid())):
                open_journal(tmp_path / "link")
            journal.claimed([a_task("a")])
            assert journal.failed is None
        assert ids(left_in(tmp_path)) == ([], ["a"])

    def test_a_forked_child_does_not_keep_it(self, tmp_path: Path) -> None:
        """The worker may have forked one that outlives it; the next worker must get the journal all the same."""
        command = (
            "import os, sys, pathlib, time; from conductor_grpc.poller.journal import Journal;"
            "Journal.open(pathlib.Path(sys.argv[1]), None);"
            "pid = os.fork();"
            "pid or sys.stdin.read(); pid and print(pid, flush=True)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", command, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            process.wait(30)
            os.kill(child, 0)  # is alive
            assert left_in(tmp_path) == Recovered()
            assert process.stdin is not None
            process.stdin.close()


class TestAdoption:
    """Several processes were killed, and fewer are started again."""

    def test_what_the_folders_beside_it_hold_is_taken_over(self, tmp_path: Path) -> None:
        for number in ("0", "1", "2", "10"):
            with opened(tmp_path / number) as journal:
                journal.worker(f"me/{number}", "work", None)
                journal.claimed([a_task(f"claimed {number}")])
                journal.finished(a_task(f"finished {number}"), b"wire")
                journal.finished(a_task(f"given up {number}"), b"wire")
                journal.given_up((f"given up {number}", 1))
        with opened(tmp_path / "not a number") as journal:
            journal.claimed([a_task("not a number")])
        with opened(tmp_path / "2"):
            adopt(tmp_path / "0")
        left = left_in(tmp_path / "0")
        assert {each.worker_id for each in left.workers} == {"me/0", "me/1", "me/10"}
        assert ids(left) == (
            sorted(f"{how} {number}" for how in ("finished", "given up") for number in ("0", "1", "10")),
            ["claimed 0", "claimed 1", "claimed 10"],
        )
        assert left_in(tmp_path / "1") == Recovered()
        assert ids(left_in(tmp_path / "2")) == (["finished 2", "given up 2"], ["claimed 2"]), "it was in use"
        assert ids(left_in(tmp_path / "not a number")) == ([], ["not a number"])

    def test_a_folder_in_use_adopts_nothing(self, tmp_path: Path) -> None:
        with opened(tmp_path / "1") as journal:
            journal.claimed([a_task("a")])
        with opened(tmp_path / "0"), pytest.raises(JournalError):
            adopt(tmp_path / "0")
        assert ids(left_in(tmp_path / "1")) == ([], ["a"])

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "file").touch()
        adopt(tmp_path / "file" / "0")
        assert str(tmp_path / "file") in caplog.text


class TestKill:
    """A process that writes as fast as it can is killed at any moment."""

    PROGRAM = """
import itertools, pathlib, sys
from conductor_grpc.poller.journal import Journal, journal as module
from conductor_grpc.worker.task import Task
module.GROWTH, module.SYNC_INTERVAL = 20_000, 0.002
journal = Journal.open(pathlib.Path(sys.argv[1]), None)
journal.start()
for number in itertools.count():
    task = Task(task_id=str(number), poll_count=1)
    journal.claimed([task])
    journal.finished(task, b"x" * 500)
    if number % 10:
        journal.settled((task.task_id, 1))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""

    @pytest.mark.parametrize("seed", range(8))
    def test_whatever_was_written_is_there(self, tmp_path: Path, seed: int) -> None:
        lines = random.Random(seed).randrange(1, 1_500)
        with subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(lines)]
            process.kill()
            said += process.stdout.readlines()
        written = [int(line) for line in said if line.endswith("\n")]
        with opened(tmp_path) as journal:
            outcomes, claims = ids(journal.recover())
        kept = {number for number in written if number % 10 == 0}
        assert kept <= {int(each) for each in outcomes}
        assert len(claims) <= 1, "the one that was being worked on"
        assert len(journal_files(tmp_path)) == 1


@contextlib.contextmanager
def forbidden(folder: Path) -> Iterator[None]:
    """The folder cannot be written to, not by root either: the kernel asks for the effective user."""
    folder.chmod(0o500)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            (folder / "probe").touch()
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


class TestFailure:
    def test_a_folder_that_cannot_be_written(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with forbidden(tmp_path):
            journal = open_journal(tmp_path)
        with contextlib.closing(journal):
            assert journal.failed is not None
            journal.claimed([a_task("a")])
            journal.finished(a_task("a"), b"wire")
            journal.flush()
            (said,) = errors(caplog)
            assert str(tmp_path) in said
            assert "Make the folder writable" in said

    def test_a_file_in_place_of_the_folder(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "file").touch()
        with opened(tmp_path / "file" / "folder") as journal:
            assert journal.failed is not None
        assert len(errors(caplog)) == 1

    def test_it_comes_back_with_what_happened_meanwhile(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(journal_module, "SYNC_INTERVAL", 0.001)
        monkeypatch.setattr(journal_module, "RETRY_INTERVAL", 0.0)
        folder = tmp_path / "taken" / "folder"
        folder.parent.touch()
        with opened(folder) as journal:
            journal.worker("me/1", "work", None)
            journal.claimed([a_task("a"), a_task("b")])
            journal.settled(("b", 1))
            journal.start()
            folder.parent.unlink()
            wait_for(lambda: journal.failed is None)
            journal.claimed([a_task("c")])
        assert ids(left_in(folder)) == ([], ["a", "c"])
        assert len(errors(caplog)) == 1, "told once, however often it was tried"

    def test_a_full_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """/dev/full is the kernel's own full disk."""
        monkeypatch.setattr(journal_module, "SYNC_INTERVAL", 0.001)
        monkeypatch.setattr(journal_module, "RETRY_INTERVAL", 0.0)
        with opened(tmp_path) as journal:
            journal.claimed([a_task("before")])
            full = os.open("/dev/full", os.O_WRONLY)
            os.dup2(full, journal._descriptor, inheritable=False)
            os.close(full)
            journal.claimed([a_task("meanwhile")])
            assert journal.failed == f"[Errno {errno.ENOSPC}] No space left on device"
            journal.finished(a_task("before"), b"wire")
            (said,) = errors(caplog)
            assert "Free disk space" in said
            journal.start()
            wait_for(lambda: journal.failed is None)
        assert ids(left_in(tmp_path)) == (["before"], ["meanwhile"])

    def test_a_damaged_file_is_used_as_far_as_it_goes_and_kept(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with opened(tmp_path) as journal:
            for number in range(10):
                journal.finished(a_task(str(number)), b"x" * 100)
        (path,) = journal_files(tmp_path)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        outcomes, _ = ids(left_in(tmp_path))
        assert len(outcomes) == 9
        (said,) = errors(caplog)
        assert f"{path} is damaged" in said
        assert path.with_name(f"{path.name}.damaged").read_bytes() == data
        assert len(ids(left_in(tmp_path))[0]) == 9
        assert len(errors(caplog)) == 1

    @pytest.mark.parametrize("content", [b"\x7fELF and so on", b"conductor-grpc journal 2\nof the future"])
    def test_a_file_of_somebody_else(self, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
        path = tmp_path / "journal-000000007"
        path.write_bytes(content)
        with opened(tmp_path) as journal:
            assert journal.failed is None
            journal.claimed([a_task("a")])
        assert ids(left_in(tmp_path)) == ([], ["a"])
        assert path.with_name(f"{path.name}.damaged").read_bytes() == content
        assert len(errors(caplog)) == 1

    @pytest.mark.parametrize("length", [0, 5])
    def test_a_file_that_was_just_being_made_is_no_damage(
        self, tmp_path: Path, length: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "journal-000000007").write_bytes(b"conductor-grpc journal 1\n"[:length])
        assert left_in(tmp_path) == Recovered()
        assert errors(caplog) == []

    def test_after_the_end_nothing_is_written_and_nothing_is_told(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        journal = open_journal(tmp_path)
        journal.close()
        journal.claimed([a_task("late")])
        journal.close()
        assert errors(caplog) == []
        assert left_in(tmp_path) == Recovered()
