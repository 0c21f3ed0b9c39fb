"""What somebody does with curl: registers and starts over REST, with plain JSON."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any
from urllib.parse import quote


class RestUser:
    """A user of the server's REST API who knows nothing of this package."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base_url + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read().decode()
        return json.loads(text) if text[:1] in ("{", "[") else text

    def register(self, task_type: str, workflow: str, inputs: dict[str, Any] | None = None, **task: Any) -> None:
        """One task type and a workflow of one such task, which gets `inputs`."""
        definition = {
            "name": task_type,
            "retryCount": 0,
            "timeoutSeconds": 600,
            "responseTimeoutSeconds": 500,
            "ownerEmail": "owner@example.com",
        }
        self.call("POST", "/metadata/taskdefs", [{**definition, **task}])
        self.call(
            "POST",
            "/metadata/workflow",
            {
                "name": workflow,
                "version": 1,
                "schemaVersion": 2,
                "ownerEmail": "owner@example.com",
                "timeoutPolicy": "ALERT_ONLY",
                "timeoutSeconds": 0,
                "tasks": [
                    {
                        "name": task_type,
                        "taskReferenceName": "only",
                        "type": "SIMPLE",
                        "inputParameters": inputs or {},
                    }
                ],
                "outputParameters": {"workerOutput": "${only.output}"},
            },
        )

    def start(self, workflow: str, inputs: dict[str, Any] | None = None) -> str:
        return str(self.call("POST", f"/workflow/{quote(workflow)}", inputs or {}))

    def workflow(self, workflow_id: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/workflow/{workflow_id}?includeTasks=true"))

    def wait_until_closed(self, workflow_id: str, seconds: float = 30.0) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            workflow = self.workflow(workflow_id)
            if workflow["status"] not in ("RUNNING", "PAUSED") or time.monotonic() > end:
                return workflow
            time.sleep(0.05)

    def in_progress(self, task_type: str) -> list[dict[str, Any]]:
        """Tasks that the server believes somebody is working on."""
        pending = self.call("GET", f"/admin/task/{quote(task_type)}?count=10000")
        return [task for task in pending if task["status"] == "IN_PROGRESS"]
