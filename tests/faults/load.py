"""The work that faults come into the middle of: workflows of one task, started little by little."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from conductor_grpc import Configuration, MetadataClient, WorkflowClient
from conductor_grpc.clients import TaskClient
from conductor_grpc.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from faults.processes import Server

STARTERS: Final = 3
OWNER: Final = "owner@example.com"
_BETWEEN_LOOKS: Final = 0.02


class Work:
    """Task types with a workflow each, on one server; not through any proxy."""

    def __init__(self, server: Server, task_types: Sequence[str], definition: Mapping[str, object]) -> None:
        self.configuration = Configuration(server.base_url or "", target=server.target)
        self.task_types = list(task_types)
        self.workflows = WorkflowClient(self.configuration)
        self.tasks = TaskClient(self.configuration)
        task = {"retryCount": 0, "timeoutSeconds": 0, "responseTimeoutSeconds": 3600, "ownerEmail": OWNER}
        with MetadataClient(self.configuration) as metadata:
            for name in self.task_types:
                metadata.register_task({**task, **definition, "name": name})
                metadata.register_workflow(_workflow(name))

    def close(self) -> None:
        self.workflows.close()
        self.tasks.close()

    def start(self, task_type: str, inputs: Mapping[str, object]) -> str:
        return self.workflows.start(task_type, inputs)

    def start_by_rest(self, task_type: str, inputs: Mapping[str, object]) -> str:
        """As with curl: integers stay integers."""
        request = urllib.request.Request(
            f"{self.configuration.base_url}/workflow/{quote(task_type)}",
            json.dumps(inputs).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(answer.read().decode())

    def in_progress(self) -> set[str]:
        """The ids of the tasks that the server believes somebody is working on. Raises OSError or ServerError."""
        found: set[str] = set()
        for task_type in self.task_types:
            if self.configuration.base_url:
                url = f"{self.configuration.base_url}/admin/task/{quote(task_type)}?count=10000"
                with urllib.request.urlopen(url, timeout=30) as answer:
                    pending = json.loads(answer.read())
                found |= {task["taskId"] for task in pending if task["status"] == "IN_PROGRESS"}
            else:
                query = f"taskType={task_type} AND status=IN_PROGRESS"
                hits = self.tasks.search(query, size=5_000).results
                found |= {task.task_id for task in hits}
        return found


def _workflow(name: str) -> dict[str, object]:
    keys = ("text", "size", "number")
    task = {
        "name": name,
        "taskReferenceName": "only",
        "type": "SIMPLE",
        "inputParameters": {key: f"${{workflow.input.{key}}}" for key in keys},
    }
    return {
        "name": name,
        "version": 1,
        "schemaVersion": 2,
        "ownerEmail": OWNER,
        "timeoutPolicy": "ALERT_ONLY",
        "timeoutSeconds": 0,
        "tasks": [task],
        "outputParameters": {"by": "${only.output.by}", "seen": "${only.output.seen}"},
    }


class Feeder:
    """Starts workflows in threads, so many ahead of the workers and no more, until all are started.

    A start whose answer is lost, since the server is gone, is tried again; the first one may exist, and is nobody's.
    """

    def __init__(
        self, work: Work, total: int, window: int, done: Callable[[], int], inputs: Mapping[str, object]
    ) -> None:
        """`done` tells how many of the started ones need no more waiting for."""
        self._work = work
        self._total = total
        self._window = window
        self._done = done
        self._inputs = inputs
        self._lock = threading.Lock()
        self._taken = 0
        self._given_up = False
        self.started: list[str] = []
        self.in_doubt = 0
        """Starts without an answer."""
        self._threads = [threading.Thread(target=self._run, name="feeder", daemon=True) for _ in range(STARTERS)]
        for thread in self._threads:
            thread.start()

    @property
    def finished(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def give_up(self) -> None:
        self._given_up = True
        for thread in self._threads:
            thread.join(60)

    def _run(self) -> None:
        while not self._given_up:
            if len(self.started) - self._done() >= self._window:
                time.sleep(_BETWEEN_LOOKS)
                continue
            with self._lock:
                if self._taken >= self._total:
                    return
                number = self._taken
                self._taken += 1
            task_type = self._work.task_types[number % len(self._work.task_types)]
            self._start(task_type)

    def _start(self, task_type: str) -> None:
        while not self._given_up:
            try:
                workflow_id = self._work.start(task_type, self._inputs)
            except ServerError:
                with self._lock:
                    self.in_doubt += 1
                time.sleep(0.5)
                continue
            with self._lock:
                self.started.append(workflow_id)
            return
