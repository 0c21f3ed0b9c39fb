"""What is installed: version pins that agree, types that are there, wheels that come out the same twice."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import conductor_grpc
from conductor_grpc.pb.model import task_pb2
from conductor_grpc.pb.services import task_service_pb2_grpc

ROOT = Path(__file__).parents[2]
PACKAGE = Path(conductor_grpc.__file__).parent
STUB_FOLDERS = [PACKAGE / "pb" / "model", PACKAGE / "pb" / "services"]
BUILD_INPUTS = [
    "pyproject.toml",
    "CMakeLists.txt",
    "LICENSE",
    "README.md",
    ".gitignore",
    "proto",
    "cpp",
    "src",
    "examples",
]
EXTENSION = """
cmake_minimum_required(VERSION 3.18...4.0)
project(cancellable LANGUAGES CXX)
find_package(pybind11 CONFIG REQUIRED)
find_package(conductor_grpc ${WANTED} CONFIG REQUIRED)
pybind11_add_module(cancellable cancellable.cpp)
target_link_libraries(cancellable PRIVATE conductor_grpc::conductor_grpc)
"""
FIND = "import conductor_grpc; print(conductor_grpc.get_cmake_dir()); print(conductor_grpc.get_include())"
CANCEL = """
import cancellable, conductor_grpc
cancellation = conductor_grpc.Cancellation()
before = cancellable.cancelled(cancellation)
cancellation.set("the test says so")
print(before, cancellable.cancelled(cancellation))
"""
STALE = "raise RuntimeError('stale')\n"


def only_match(pattern: str, path: Path) -> str:
    (found,) = re.findall(pattern, path.read_text("utf-8"), flags=re.MULTILINE)
    return str(found)


def floor(distribution: str) -> str:
    """The X of the ``>=X`` that the installed metadata asks of a run-time dependency."""
    stated = [Requirement(text) for text in requires("conductor-grpc-client") or []]
    (requirement,) = [one for one in stated if one.name == distribution and one.marker is None]
    (lowest,) = [one.version for one in requirement.specifier if one.operator == ">="]
    return lowest


def test_floors_are_what_the_stubs_accept() -> None:
    generated_by = only_match(r"^# Protobuf Python Version: (\S+)$", Path(task_pb2.__file__))
    assert floor("protobuf") == generated_by
    assert floor("grpcio") == task_service_pb2_grpc.GRPC_GENERATED_VERSION


def test_generator_pins_agree() -> None:
    in_build_system = only_match(r'"grpcio-tools==([^"]+)"', ROOT / "pyproject.toml")
    in_generator = only_match(r'^PINNED_GRPCIO_TOOLS = "([^"]+)"$', ROOT / "proto" / "generate.py")
    assert in_build_system == in_generator == floor("grpcio")


@pytest.mark.parametrize("folder", STUB_FOLDERS, ids=lambda folder: folder.name)
def test_every_stub_has_types(folder: Path) -> None:
    stubs = sorted(folder.glob("*_pb2*.py"))
    assert stubs
    assert [stub.name for stub in stubs if not stub.with_suffix(".pyi").is_file()] == []


def test_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that can build the package: this one if it has the pinned requirements, else a fresh one."""
    requirements = re.findall(r'"([^"]+)"', only_match(r"^requires = \[(.*)\]$", ROOT / "pyproject.toml"))
    if all(satisfied(Requirement(text)) for text in requirements):
        return sys.executable
    folder = tmp_path_factory.mktemp("builder")
    run(sys.executable, "-m", "venv", str(folder))
    python = str(folder / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", *requirements, "cmake", "ninja")
    return python


def satisfied(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name))
    except PackageNotFoundError:
        return False


def run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"CMAKE_BUILD_PARALLEL_LEVEL": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def builds(builder: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    """Wheel and sdist, from two copies of the sources in which stale generated files lie about."""
    first = tmp_path_factory.mktemp("first")
    for name in BUILD_INPUTS:
        source, copy = ROOT / name, first / name
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy2(source, copy)
    for name in ("zombie_pb2.py", "task_pb2.py", "zombie_pb2_grpc.pyi"):
        (first / "src" / "conductor_grpc" / "pb" / "model" / name).write_text(STALE, "utf-8")
    second = tmp_path_factory.mktemp("a-folder-with-another-name") / "nested"
    shutil.copytree(first, second)
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(build, [builder, builder], [first, second]))


def build(python: str, source: Path) -> tuple[Path, Path]:
    output = source.with_name(f"{source.name}-output")
    calls = "hooks.build_wheel(sys.argv[1]); hooks.build_sdist(sys.argv[1])"
    run(python, "-c", f"import sys, scikit_build_core.build as hooks; {calls}", str(output), cwd=source)
    (wheel,), (sdist,) = output.glob("*.whl"), output.glob("*.tar.gz")
    return wheel, sdist


def wheel_contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_wheels_are_the_same_to_the_bit(builds: list[tuple[Path, Path]]) -> None:
    (first, _), (second, _) = builds
    contents, again = wheel_contents(first), wheel_contents(second)
    assert [name for name in contents if contents[name] != again.get(name)] == []
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


def test_sdists_are_the_same_to_the_bit(builds: list[tuple[Path, Path]]) -> None:
    (_, first), (_, second) = builds
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


def test_wheel_holds_the_stubs_of_the_protos_and_no_others(builds: list[tuple[Path, Path]]) -> None:
    contents = wheel_contents(builds[0][0])
    protos = {path.relative_to(ROOT / "proto").with_suffix("") for path in (ROOT / "proto").rglob("*.proto")}
    expected = {f"{proto}_pb2{suffix}" for proto in protos for suffix in (".py", ".pyi")}
    expected |= {
        f"{proto}_pb2_grpc{suffix}" for proto in protos if proto.name.endswith("_service") for suffix in (".py", ".pyi")
    }
    assert {name for name in contents if "_pb2" in name} == expected
    assert [name for name, data in contents.items() if STALE.encode() in data] == []


def test_wheel_holds_what_an_installation_needs(builds: list[tuple[Path, Path]]) -> None:
    names = wheel_contents(builds[0][0]).keys()
    native = f"conductor_grpc/_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    assert {"conductor_grpc/py.typed", "conductor_grpc/pb/__init__.py", native} <= names
    assert [name for name in names if not re.match(r"conductor_grpc(/|_client-[\d.]+\.dist-info/)", name)] == []


def test_an_extension_is_built_with_the_headers_of_the_wheel(
    builds: list[tuple[Path, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By CMake's find_package, with nothing of the checkout in sight."""
    site, project = tmp_path / "site", tmp_path / "project"
    with zipfile.ZipFile(builds[0][0]) as archive:
        archive.extractall(site)
    project.mkdir()
    shutil.copy2(ROOT / "cpp" / "tests" / "cancellable.cpp", project)
    (project / "CMakeLists.txt").write_text(EXTENSION, "utf-8")
    # Without the site module (-S), or else the finder of an editable install would lead to the checkout.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), sysconfig.get_path("purelib")]))
    cmake_folder, include = map(Path, run(sys.executable, "-S", "-c", FIND).splitlines())
    assert (cmake_folder, include) == (site / "conductor_grpc" / "cmake", site / "conductor_grpc" / "include")
    headers = {path.name for path in include.rglob("*") if path.is_file()}
    assert headers == {"cancellation.hpp", "pybind11_cancellation.hpp"}
    settings = {
        "WANTED": version("conductor-grpc-client"),
        "conductor_grpc_DIR": cmake_folder,
        "pybind11_DIR": run(sys.executable, "-m", "pybind11", "--cmakedir").strip(),
        "Python_EXECUTABLE": sys.executable,
    }
    cmake = (sys.executable, "-m", "cmake")
    run(*cmake, "-S", str(project), "-B", str(tmp_path), *(f"-D{name}={value}" for name, value in settings.items()))
    run(*cmake, "--build", str(tmp_path))
    assert run(sys.executable, "-S", "-c", CANCEL, cwd=tmp_path) == "False True\n"


def test_sdist_holds_no_generated_file(builds: list[tuple[Path, Path]]) -> None:
    with tarfile.open(builds[0][1]) as archive:
        names = archive.getnames()
    assert [name for name in names if "_pb2" in name] == []
    assert sum(name.endswith(".proto") for name in names) == len(list((ROOT / "proto").rglob("*.proto")))
