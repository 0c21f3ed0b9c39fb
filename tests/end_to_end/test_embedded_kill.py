"""`kill -9` of an embedded server on a file: what it has acknowledged is there when it is started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from conductor_grpc import Configuration, MetadataClient, TaskResult, TaskResultStatus, WorkflowClient, WorkflowStatus
from conductor_grpc.clients.task import TaskClient
from conductor_grpc.errors import ServerError
from conductor_grpc.server.embedded import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path

SERVE = """
import sys
from conductor_grpc.server.embedded import EmbeddedServer
with EmbeddedServer(database=sys.argv[1]) as server:
    print(server.target, flush=True)
    sys.stdin.read()
"""
NAME = "killed"
THREADS = 4
ENOUGH = 200


class Load:
    """Threads that start workflows and complete their tasks, and note what the server has acknowledged."""

    def __init__(self, target: str) -> None:
        self.started: set[str] = set()
        self.completed: set[str] = set()
        """Those whose only task is done."""
        self.enough = threading.Event()
        self._configuration = Configuration(target=target)
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _run(self) -> None:
        with (
            contextlib.suppress(ServerError),  # until the server is gone
            WorkflowClient(self._configuration) as workflows,
            TaskClient(self._configuration) as tasks,
        ):
            while True:
                self.started.add(workflows.start(NAME, {"text": "x" * 1_000}))
                for task in tasks.batch_poll(NAME, count=1, wait_ms=1_000).tasks:
                    tasks.update(TaskResult(task.workflow_instance_id, task.task_id, TaskResultStatus.COMPLETED))
                    self.completed.add(task.workflow_instance_id)
                if len(self.completed) >= ENOUGH:
                    self.enough.set()


def test_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    database = tmp_path / "server.db"
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        target = process.stdout.readline().strip()
        with MetadataClient(Configuration(target=target)) as metadata:
            metadata.register_task({"name": NAME, "ownerEmail": "a@example.com"})
            metadata.register_workflow(
                {
                    "name": NAME,
                    "version": 1,
                    "schemaVersion": 2,
                    "ownerEmail": "a@example.com",
                    "timeoutSeconds": 0,
                    "timeoutPolicy": "ALERT_ONLY",
                    "tasks": [{"name": NAME, "taskReferenceName": "only", "type": "SIMPLE"}],
                }
            )
        load = Load(target)
        load.start()
        assert load.enough.wait(60)
        os.kill(process.pid, signal.SIGKILL)
        load.join()

    with EmbeddedServer(database=database) as server, WorkflowClient(Configuration(target=server.target)) as workflows:
        for workflow_id in load.started:
            workflow = workflows.get(workflow_id)
            assert [task.reference_task_name for task in workflow.tasks] == ["only"]
            if workflow_id in load.completed:
                assert workflow.status is WorkflowStatus.COMPLETED
        # And it goes on: what waited in the queue is handed out.
        with TaskClient(Configuration(target=server.target)) as tasks:
            fresh = workflows.start(NAME, {})
            waiting = tasks.batch_poll(NAME, count=1_000, wait_ms=1_000)
            assert fresh in {task.workflow_instance_id for task in waiting.tasks}
    assert len(load.completed) >= ENOUGH
