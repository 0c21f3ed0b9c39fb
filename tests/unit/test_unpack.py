"""The server's jar laid out as a folder: what happens to the cache, with another program in the tool's place.

That Spring Boot's own tool makes a server that works is shown by every test on a real server, see
``tests/end_to_end/test_real_server.py``.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from conductor_grpc.server.real.cache import staging
from conductor_grpc.server.real.jar import Step, silent
from conductor_grpc.server.real.java import find_java
from conductor_grpc.server.real.unpack import unpack, unpacked

if TYPE_CHECKING:
    from pathlib import Path

# Called as the tool is. Each run leaves a line in the file `runs` beside it.
TOOL = """\
#!{python}
import pathlib, sys
destination = pathlib.Path(sys.argv[sys.argv.index("--destination") + 1])
with pathlib.Path(__file__).with_name("runs").open("a") as runs:
    print(sys.argv[sys.argv.index("-jar") + 1], file=runs)
(destination / "lib").mkdir(parents=True)
(destination / "lib" / "library.jar").touch()
{ending}
(destination / sys.argv[sys.argv.index("--application-filename") + 1]).touch()
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "conductor-grpc"


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    path = tmp_path / "boot.jar"
    path.write_bytes(b"not a zip")
    return path


def tool(folder: Path, ending: str = "") -> Path:
    path = folder / "tool"
    path.write_text(TOOL.format(python=sys.executable, ending=ending))
    path.chmod(0o755)
    return path


def runs(folder: Path) -> list[str]:
    return (folder / "runs").read_text().splitlines()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_unpacked_once_and_found_without_the_jar(cache: Path, jar: Path, tmp_path: Path) -> None:
    assert unpacked() is None
    steps: list[Step] = []
    application = unpack(jar, tool(tmp_path), lambda step, *_: steps.append(step))
    assert application.is_relative_to(cache)
    assert (application.parent / "lib" / "library.jar").exists()
    assert steps == [Step.UNPACK]

    jar.unlink()
    assert unpacked() == application
    assert unpack(jar, tmp_path / "no such program", silent) == application
    assert runs(tmp_path) == [str(jar)]
    assert len(names(cache)) == 2  # the server and the lock: nothing of the work is left


def test_a_server_that_has_lost_its_jar_is_unpacked_again(cache: Path, jar: Path, tmp_path: Path) -> None:
    application = unpack(jar, tool(tmp_path), silent)
    application.unlink()
    (application.parent / "stray").touch()
    assert unpacked() is None
    assert unpack(jar, tool(tmp_path), silent) == application
    assert unpacked() == application
    assert sorted(names(application.parent)) == ["lib", application.name]
    assert len(names(cache)) == 2


def test_two_at_once_unpack_once(cache: Path, jar: Path, tmp_path: Path) -> None:
    java = tool(tmp_path)
    unpacking, waiting = threading.Event(), threading.Event()
    paths: list[Path] = []

    def first(step: Step, done: int, total: int) -> None:
        del step, done, total
        unpacking.set()
        assert waiting.wait(30)

    def second(step: Step, done: int, total: int) -> None:
        del done, total
        if step is Step.WAIT:
            waiting.set()

    threads = [threading.Thread(target=lambda: paths.append(unpack(jar, java, first)))]
    threads[0].start()
    assert unpacking.wait(30)
    threads.append(threading.Thread(target=lambda: paths.append(unpack(jar, java, second))))
    threads[1].start()
    for thread in threads:
        thread.join(30)
    assert paths == [unpacked()] * 2
    assert len(runs(tmp_path)) == 1
    assert len(names(cache)) == 2


def test_java_s_own_words_when_it_cannot_read_the_jar(cache: Path, jar: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert unpack(jar, find_java(), silent) == jar
    assert "it will start slowly: its tool ended with exit code 1: Error: Invalid or corrupt jarfile" in caplog.text
    assert names(cache) == [".conductor-grpc.lock"]
    assert unpacked() is None


def test_half_a_server_is_never_taken_for_one(
    cache: Path, jar: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = tool(tmp_path, ending="sys.exit('java.io.IOException: No space left on device')")
    assert unpack(jar, full, silent) == jar
    assert "exit code 1: java.io.IOException: No space left on device" in caplog.text
    assert names(cache) == [".conductor-grpc.lock"]
    assert unpack(jar, tool(tmp_path), silent) == unpacked()


def test_what_a_killed_process_left_is_removed(cache: Path, jar: Path, tmp_path: Path) -> None:
    cache.mkdir(parents=True)
    with staging(cache) as left_behind:
        pass
    (left_behind / "server" / "lib").mkdir(parents=True)
    unpack(jar, tool(tmp_path), silent)
    assert not left_behind.exists()


@pytest.mark.parametrize("missing", ["folder", "program"])
def test_where_it_cannot_be_done_the_jar_itself_must_do(
    missing: str, cache: Path, jar: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if missing == "folder":
        cache.parent.write_text("a file where the folder should be")
    java = tmp_path / "no such program" if missing == "program" else tool(tmp_path)
    assert unpack(jar, java, silent) == jar
    assert "it will start slowly" in caplog.text
    assert not (tmp_path / "runs").exists()
