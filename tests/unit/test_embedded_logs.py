"""The embedded server's logs for tasks that it does not know."""

from __future__ import annotations

from driven_engine import DrivenEngine

from conductor_grpc.server.embedded.engine.logs import StrayLogs, add_log, logs_of


def lines(engine: DrivenEngine, task_id: str) -> list[str]:
    return [line.text for line in logs_of(engine.engine, task_id)]


def test_the_latest_lines_of_the_latest_ids_are_kept() -> None:
    engine = DrivenEngine()
    for number in range(StrayLogs.MOST_IDS + 1):
        add_log(engine.engine, f"id {number}", "only")
    assert (lines(engine, "id 0"), lines(engine, "id 1")) == ([], ["only"])
    for number in range(StrayLogs.MOST_LINES + 1):
        add_log(engine.engine, "id 1", f"line {number}")
    kept = lines(engine, "id 1")
    assert (len(kept), kept[0], kept[-1]) == (StrayLogs.MOST_LINES, "line 1", f"line {StrayLogs.MOST_LINES}")
