"""What a user reads when the stubs cannot be loaded. Each case spoils a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from conductor_grpc.pb.model import taskexeclog_pb2

if TYPE_CHECKING:
    from pathlib import Path

IMPORT_AND_REPORT = """
try:
    import conductor_grpc.pb.model.task_pb2
except Exception as error:
    print(type(error).__name__, error, sep=": ")
else:
    print("loaded")
"""

OLD_GRPC = "import grpc; grpc.__version__ = '1.70.0'"

OLD_PROTOBUF = """
import google.protobuf
from google.protobuf import runtime_version
google.protobuf.__version__ = '6.30.2'
runtime_version.MAJOR, runtime_version.MINOR, runtime_version.PATCH = 6, 30, 2
"""

ANCIENT_PROTOBUF = """
import sys, google.protobuf
google.protobuf.__version__ = '4.25.3'
sys.modules['google.protobuf.runtime_version'] = None
"""

NOT_GENERATED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == 'conductor_grpc.pb.services.task_service_pb2_grpc':
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Absent())
"""


def report(spoil: str, **environment: str) -> str:
    """The outcome of importing a stub in a process in which ``spoil`` has run."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", spoil + IMPORT_AND_REPORT],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_unspoilt() -> None:
    assert report("") == "loaded\n"


@pytest.fixture
def other_stubs(tmp_path: Path) -> Path:
    """A folder with a module such as protoc makes of the server's own ``model/taskexeclog.proto``."""
    file = FileDescriptorProto.FromString(taskexeclog_pb2.DESCRIPTOR.serialized_pb)
    file.name = "model/taskexeclog.proto"
    file.message_type[0].field[0].name = "line"
    (tmp_path / "their_taskexeclog_pb2.py").write_text(
        "from google.protobuf import descriptor_pool\n"
        f"DESCRIPTOR = descriptor_pool.Default().AddSerializedFile({file.SerializeToString()!r})\n",
        encoding="utf-8",
    )
    return tmp_path


@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_other_stubs_in_the_process(other_stubs: Path, implementation: str) -> None:
    told = report(
        "import their_taskexeclog_pb2",
        PYTHONPATH=str(other_stubs),
        PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=implementation,
    )
    assert told.startswith("ImportError: Another set of Conductor's protobuf stubs")
    assert f"their_taskexeclog_pb2 ({other_stubs / 'their_taskexeclog_pb2.py'})" in told
    assert "Use the stubs in conductor_grpc.pb" in told
    assert "conductor.proto.TaskExecLog" in told  # protobuf's own words


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (OLD_GRPC, "grpcio 1.70.0"),
        (OLD_PROTOBUF, "protobuf 6.30.2"),
        (ANCIENT_PROTOBUF, "protobuf 4.25.3"),
    ],
    ids=["grpcio", "protobuf", "protobuf without a check"],
)
def test_old_runtime(spoil: str, found: str) -> None:
    told = report(spoil)
    assert told.startswith("ImportError: Found grpcio ")
    assert found in told
    assert "but the stubs need grpcio>=" in told
    assert 'Run `pip install "grpcio>=' in told


def test_not_generated() -> None:
    told = report(NOT_GENERATED)
    assert told.startswith("ImportError: conductor_grpc.pb.services.task_service_pb2_grpc does not exist")
    assert "pip install ." in told


def test_other_errors_keep_their_own_words() -> None:
    told = report("import sys; sys.modules['grpc'] = None")
    assert told.startswith("ModuleNotFoundError: import of grpc halted")
