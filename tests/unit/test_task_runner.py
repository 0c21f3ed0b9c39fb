"""A worker class running one task: the three cases every Conductor client starts with."""

from __future__ import annotations

from conductor_grpc.worker import Task, TaskResult, TaskResultStatus, WorkerInterface, run_worker


class OldFaultyExecutionWorker(WorkerInterface):
    def execute(self, task: Task) -> TaskResult:  # noqa: ARG002
        raise Exception("faulty execution")  # noqa: TRY002


class ClassWorker(WorkerInterface):
    executions = 0

    def execute(self, task: Task) -> TaskResult:
        self.executions += 1
        task_result = self.get_task_result_from_task(task)
        task_result.add_output_data("worker_style", "class")
        task_result.add_output_data("secret_number", 1234)
        task_result.status = TaskResultStatus.COMPLETED
        return task_result


def valid_task() -> Task:
    return Task(task_id="VALID_TASK_ID", workflow_instance_id="VALID_WORKFLOW_ID", task_def_name="task")


class TestTaskRunner:
    def test_execute_task(self) -> None:
        assert run_worker(ClassWorker("task"), valid_task(), "me") == TaskResult(
            task_id="VALID_TASK_ID",
            workflow_instance_id="VALID_WORKFLOW_ID",
            worker_id="me",
            status=TaskResultStatus.COMPLETED,
            output_data={"worker_style": "class", "secret_number": 1234},
        )

    def test_execute_task_with_faulty_execution_worker(self) -> None:
        result = run_worker(OldFaultyExecutionWorker("task"), valid_task(), "me")
        assert result.status is TaskResultStatus.FAILED
        assert (result.task_id, result.workflow_instance_id) == ("VALID_TASK_ID", "VALID_WORKFLOW_ID")
        assert result.worker_id == "me"
        assert result.reason_for_incompletion == "Exception: faulty execution"
        assert result.output_data == {}
        assert 'raise Exception("faulty execution")' in result.logs[-1].log

    def test_execute_task_with_invalid_task(self) -> None:
        worker = ClassWorker("task")
        for task in (None, Task(), Task(task_id="t"), Task(workflow_instance_id="w")):
            result = run_worker(worker, task, "me")
            assert result.status is TaskResultStatus.FAILED_WITH_TERMINAL_ERROR
            assert result.reason_for_incompletion.startswith("InputError: task")
        assert worker.executions == 0
