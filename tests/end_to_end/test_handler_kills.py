"""Processes of a handler are killed under load: every task completes, none is stranded, kills are seen to fire.

The whole minute is `python tests/end_to_end/handler_kills.py`; here the tasks that are done set the pace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from handler_kills import Kills, scene
from handler_stage import Stage, staged, temporary_in
from waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import ServerAddress

KILLS = 3
WORKFLOWS = 150


def kill_three(kills: Kills) -> None:
    for _ in range(WORKFLOWS):
        kills.start_workflow()
    for number in range(KILLS):
        wait_for(lambda done=WORKFLOWS * (number + 1) // (KILLS + 2): len(kills.lines("finished")) >= done, 60)
        kills.kill()
    figures = kills.finish()
    assert (figures.workflows, figures.completed, figures.stranded) == (WORKFLOWS, WORKFLOWS, 0), figures
    assert (figures.kills, figures.unsent) == (KILLS, 0), figures
    assert figures.held > 0, "the kills were to hit running tasks"
    assert figures.restarts >= 1, figures


@pytest.mark.feature("conductor-python: supervision")
def test_every_task_completes(tmp_path: Path) -> None:
    with staged(tmp_path) as stage, scene(stage, tmp_path) as kills:
        kill_three(kills)


def test_every_task_completes_on_the_real_server(real_server: ServerAddress, tmp_path: Path) -> None:
    stage = Stage(real_server.target, real_server.base_url)
    with temporary_in(tmp_path), stage.metadata, stage.workflows, scene(stage, tmp_path) as kills:
        kill_three(kills)
