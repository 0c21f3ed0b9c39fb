"""Payloads that are too large for a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server import RealServer
from faults.row import REDIS, SQLITE, Row

if TYPE_CHECKING:
    from pathlib import Path

    from faults.scene import Scene

OUTPUT = 5 * 1024 * 1024
INPUT = 3_300_000
"""Bytes: over the 3 MiB beyond which a task's input is not delivered, and below what a start may have."""


def _without_storage(scene: Scene) -> None:
    """They fail, at once and with a reason; what else is on its way does not notice."""
    scene.worker(sizes={"large": OUTPUT})
    scene.feed()
    task_type, number = scene.work.task_types[0], _number(scene)
    scene.when_done(scene.scale.tasks // 3)
    outputs = [scene.work.start(task_type, {"size": "large"}) for _ in range(number)]
    inputs = [scene.work.start(task_type, {"text": "x" * INPUT}) for _ in range(number)]
    scene.expect_failed(outputs, "the server takes 4,194,304 at most")
    scene.expect_failed(inputs, "it is too large for the server to send")
    scene.fired(2 * number, "payloads too large")


def _with_storage(scene: Scene) -> None:
    """They go by way of the server's own storage."""
    assert isinstance(scene.server, RealServer)
    assert scene.server.folder is not None
    (folder,) = (scene.server.folder / "java-tmp").glob("payloads*")
    scene.worker(sizes={"large": OUTPUT}, storage=str(folder))
    scene.feed()
    task_type, number = scene.work.task_types[0], _number(scene)
    scene.when_done(scene.scale.tasks // 3)
    before = len(_files(folder))
    outputs = [scene.work.start(task_type, {"size": "large"}) for _ in range(number)]
    scene.expect(outputs)
    large = [scene.work.start(task_type, {"text": "x" * INPUT}) for _ in range(number)]
    scene.expect(large, seen=INPUT)
    scene.until(lambda: scene.done() > 0 and all(map(scene.finished, [*outputs, *large])), "the large ones done")
    stored = len(_files(folder)) - before
    scene.fired(min(stored, 2 * number), "payloads too large, in the storage")


def _number(scene: Scene) -> int:
    return max(3, scene.scale.tasks // 100)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


ROWS = [
    Row("sizes", "output over 4 MiB; input over 3 MiB", _without_storage, fires=6),
    Row("sizes-stored", "the same, with a storage", _with_storage, fires=6, servers=(SQLITE, REDIS)),
]
