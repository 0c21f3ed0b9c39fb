"""Task domains: which queue a task goes to, and who gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wire import simple

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

# A domain counts as worked in for 10 s after a poll.
FORGOTTEN_AFTER = 10.3


def domain_of_a_new_task(server: ServerUnderTest, task_type: str, task_to_domain: dict[str, str]) -> str:
    """Where a new task of the type goes; the type itself is written TYPE in the map."""
    name = server.workflow(simple(task_type))
    mapped = {key.replace("TYPE", task_type): domain for key, domain in task_to_domain.items()}
    workflow = server.get(server.start(name, task_to_domain=mapped))
    assert dict(workflow.task_to_domain) == mapped
    return workflow.tasks[0].domain


def test_only_a_poll_of_its_domain_gets_the_task(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    domain_of_a_new_task(server, task_type, {"TYPE": "ours"})
    assert server.poll(task_type, wait=100) == []
    assert server.poll(task_type, wait=100, domain="theirs") == []
    task = server.take(task_type, domain="ours")
    assert (task.domain, task.task_type) == ("ours", task_type)


def test_a_poll_of_a_domain_gets_no_task_without_one(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    assert server.poll(task_type, wait=100, domain="ours") == []
    assert server.take(task_type).domain == ""


def test_a_domain_has_a_queue_of_its_own(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    domain_of_a_new_task(server, task_type, {"TYPE": "ours"})
    assert (server.queue_size(f"ours:{task_type}"), server.queue_size(task_type)) == (1, 0)


@pytest.mark.parametrize(
    ("task_to_domain", "expected"),
    [
        ({"*": "all"}, "all"),
        ({"*": "all", "TYPE": "own"}, "own"),
        ({"*": "all", "TYPE": "NO_DOMAIN"}, ""),
        ({"*": "all", "other": "own"}, "all"),
        ({"other": "own"}, ""),
        ({"TYPE": ""}, ""),
        ({"TYPE": "first,last"}, "last"),
        ({"TYPE": "first,NO_DOMAIN"}, ""),
    ],
    ids=["all", "own wins", "none", "another type", "not this type", "empty", "last of a list", "none at last"],
)
def test_where_a_task_goes(server: ServerUnderTest, task_to_domain: dict[str, str], expected: str) -> None:
    assert domain_of_a_new_task(server, server.task_definition(), task_to_domain) == expected


@pytest.mark.parametrize("listed", ["idle,worked,last", "idle , worked , last"])
def test_the_first_domain_of_a_list_that_is_polled_wins(server: ServerUnderTest, listed: str) -> None:
    task_type = server.task_definition()
    server.poll(task_type, wait=1, domain="worked")
    assert domain_of_a_new_task(server, task_type, {"TYPE": listed}) == "worked"


def test_a_poll_of_another_type_does_not_count(server: ServerUnderTest) -> None:
    server.poll(server.task_definition(), wait=1, domain="worked")
    assert domain_of_a_new_task(server, server.task_definition(), {"TYPE": "worked,last"}) == "last"


def test_a_poll_counts_for_10_seconds(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    server.poll(task_type, wait=1, domain="worked")
    server.pass_time(FORGOTTEN_AFTER)
    assert domain_of_a_new_task(server, task_type, {"TYPE": "worked,last"}) == "last"


def test_a_retry_stays_in_the_domain(server: ServerUnderTest) -> None:
    task_type = server.task_definition(retry_count=1)
    name = server.workflow(simple(task_type))
    server.start(name, task_to_domain={task_type: "ours"})
    server.fail(server.take(task_type, domain="ours"))
    assert server.take(task_type, domain="ours").retry_count == 1


def test_later_tasks_of_a_workflow_go_to_the_domain_too(server: ServerUnderTest) -> None:
    first, second = server.task_definition(), server.task_definition()
    server.start(server.workflow(simple(first), simple(second)), task_to_domain={"*": "ours"})
    server.complete(server.take(first, domain="ours"))
    assert server.take(second, domain="ours").domain == "ours"
