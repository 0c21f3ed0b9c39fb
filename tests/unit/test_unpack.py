"""The server's jar laid out as a folder, tried on a small jar of the same shape."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from conductor_grpc.server.jar import Step, silent
from conductor_grpc.server.unpack import unpacked

if TYPE_CHECKING:
    from pathlib import Path

# Not in alphabetical order, and long enough that the manifest's line must be folded.
LIBRARIES = [f"library-{number}-with-a-rather-long-name.jar" for number in (3, 1, 2)]


@pytest.fixture
def boot_jar(tmp_path: Path) -> Path:
    path = tmp_path / "boot.jar"
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Main-Class: org.springframework.boot.loader.launch.JarLauncher\n")
        jar.writestr("META-INF/BOOT.SF", "a signature of files that are elsewhere now")
        jar.writestr("META-INF/services/java.nio.file.spi.FileSystemProvider", "a class of the loader")
        jar.writestr("META-INF/build-info.properties", "build.version=3.32.1")
        jar.writestr("org/springframework/boot/loader/Loader.class", "not needed")
        jar.writestr("BOOT-INF/classes/application.properties", "a=b")
        jar.writestr("BOOT-INF/classpath.idx", "".join(f'- "BOOT-INF/lib/{name}"\n' for name in LIBRARIES))
        for name in sorted(LIBRARIES):
            jar.writestr(f"BOOT-INF/lib/{name}", name)
    return path


def test_classes_resources_and_libraries_in_their_order(
    boot_jar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    reports: list[tuple[Step, int, int]] = []
    path = unpacked(boot_jar, lambda *report: reports.append(report))
    assert path.is_relative_to(tmp_path / "cache")
    assert reports[-1][1] == reports[-1][2] > 0
    with zipfile.ZipFile(path) as application:
        assert set(application.namelist()) == {
            "META-INF/MANIFEST.MF",
            "META-INF/build-info.properties",
            "application.properties",
        }
        manifest = application.read("META-INF/MANIFEST.MF")
    assert all(len(line) <= 72 for line in manifest.splitlines(keepends=True))
    lines = manifest.replace(b"\r\n ", b"").decode().splitlines()
    assert f"Class-Path: {' '.join(f'lib/{name}' for name in LIBRARIES)}" in lines
    assert "Main-Class: com.netflix.conductor.Conductor" in lines
    assert {library.name: library.read_text() for library in (path.parent / "lib").iterdir()} == {
        name: name for name in LIBRARIES
    }

    boot_jar.unlink()
    assert unpacked(boot_jar, silent) == path  # found, not made again


def test_where_nothing_can_be_written_the_jar_itself_must_do(
    boot_jar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert unpacked(boot_jar, silent) == boot_jar
    assert "it will start slowly" in caplog.text


def test_an_interrupted_unpacking_leaves_nothing_that_looks_whole(
    boot_jar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def interrupt(step: Step, done: int, total: int) -> None:
        del step, done, total
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpacked(boot_jar, interrupt)
    assert [path.name for path in (tmp_path / "cache" / "conductor-grpc").iterdir()] == [".conductor-grpc.lock"]
    assert unpacked(boot_jar, silent).exists()
