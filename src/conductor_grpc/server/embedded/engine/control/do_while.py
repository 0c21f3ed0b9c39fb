"""DO_WHILE: its body again and again, while a condition holds or for each item of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conductor_grpc.server.embedded.engine.control.base import SingleTask, begin, end
from conductor_grpc.server.embedded.engine.expressions import evaluate, scope_of
from conductor_grpc.server.embedded.engine.keep_last import keep_last
from conductor_grpc.server.embedded.engine.loop_condition import InvalidLoopConditionError, LoopCondition
from conductor_grpc.server.embedded.engine.plan import TaskPlan
from conductor_grpc.server.embedded.engine.scheduling import enter, tasks_for
from conductor_grpc.server.embedded.engine.tasks import input_of, loop_reference
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord


class DoWhile(SingleTask):
    """IN_PROGRESS while the tasks of its body come and go; its `iteration` counts their turns from 1.

    Its output holds the number of the turn, and of each turn that is over the outputs of all tasks inside under their
    names: `{"iteration": 2, "1": {"t1": {...}}}`. With a list of items also `loopIndex` (from 0) and `loopItem`.
    """

    def start(self, engine: Engine, task: TaskRecord) -> None:
        begin(engine, task)
        task.iteration = 0
        task.output = {"iteration": 0}
        if task.plan.proto.items and not _items(task):
            end(engine, task)
        else:
            _turn(engine, task)

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        body = _body(task)
        failed = next((each for each in body.values() if each.has_failed), None)
        if failed is None and not _is_turn_over(task, body):
            return False
        outputs: dict[str, Any] = {}
        for each in body.values():
            outputs[each.plan.reference_name] = each.output
            if each is failed:
                break
        task.output = {**task.output, str(task.iteration): outputs}
        kept = keep_last(task.plan)
        if kept:
            task.output.pop(str(task.iteration - kept), None)
        if failed is not None:
            # Only a permissive task comes so far: any other ends the workflow.
            end(engine, task, TaskStatus.FAILED, f"{failed.reason} ")
        else:
            self._go_on(engine, task)
        return True

    def _go_on(self, engine: Engine, task: TaskRecord) -> None:
        try:
            goes_on = _goes_on(task)
        except InvalidLoopConditionError as error:
            end(engine, task, TaskStatus.FAILED_WITH_TERMINAL_ERROR, str(error))
            return
        if goes_on:
            _turn(engine, task)
        else:
            end(engine, task)


def _turn(engine: Engine, task: TaskRecord) -> None:
    """Schedules the body's first task once more; the decider does the rest."""
    task.iteration += 1
    task.output = {**task.output, "iteration": task.iteration}
    if task.plan.proto.items:
        index = task.iteration - 1
        task.output |= {"loopIndex": index, "loopItem": _items(task)[index]}
    kept = keep_last(task.plan)
    if kept:
        _forget(engine, task, task.iteration - kept)
    workflow = task.workflow
    first = task.plan.branches[TaskPlan.LOOP_BODY][0]
    enter(engine, workflow, tasks_for(engine, workflow, first, task.iteration))
    engine.touch(task)


def _goes_on(task: TaskRecord) -> bool:
    """Whether there is another turn. Raises InvalidLoopConditionError."""
    condition = task.plan.proto.loop_condition
    if task.plan.proto.items:
        if task.iteration >= len(_items(task)):
            return False
        if not condition:
            return True
    # Its input as it is now: what was stored when it was scheduled cannot know of the turns.
    scope = input_of(task)
    scope[task.reference_name] = task.output
    scope.update((each.plan.reference_name, each.output) for each in _inside(task))
    return LoopCondition.parse(condition).holds(scope)


def _items(task: TaskRecord) -> list[Any]:
    """What to go through. Anything but a list counts as the only item of one, as on the released server."""
    items = evaluate(task.plan.proto.items, scope_of(task.workflow, task.task_id))
    if items is None:
        return []
    return items if isinstance(items, list) else [items]


def _body(task: TaskRecord) -> dict[str, TaskRecord]:
    """The latest attempts of this turn's tasks by reference name, in their order."""
    return {each.reference_name: each for each in _inside(task) if each.iteration == task.iteration}


def _inside(task: TaskRecord) -> list[TaskRecord]:
    """The tasks of all its turns."""
    names = {each.reference_name for each in task.plan.walk()}
    return [
        each
        for each in task.workflow.tasks
        if each.iteration > 0 and each is not task and each.plan.reference_name in names
    ]


def _is_turn_over(task: TaskRecord, body: dict[str, TaskRecord]) -> bool:
    names = (loop_reference(each.reference_name, task.iteration) for each in task.plan.branches[TaskPlan.LOOP_BODY])
    return all(name in body for name in names) and not any(each.is_open for each in body.values())


def _forget(engine: Engine, task: TaskRecord, last: int) -> None:
    """Takes away the tasks of all turns up to this one."""
    for each in _inside(task):
        if each.iteration <= last:
            engine.forget(each)
