"""What the page about registration tells its readers to run, and what it says they will see."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from command import conductor_grpc
from conftest import ServerAddress
from guide import text, write_files

from conductor_grpc import Configuration, MetadataClient
from conductor_grpc.server import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/registration.md"


def test_its_commands_print_what_it_shows(tmp_path: Path) -> None:
    write_files(tmp_path, PAGE)
    (shown,) = re.findall(r"^```shell\n(.*?)^```$", text(PAGE), re.MULTILINE | re.DOTALL)
    steps = [step.partition("\n") for step in shown.split("$ conductor-grpc ")[1:]]
    with EmbeddedServer(strict=True) as server, MetadataClient(Configuration("", target=server.target)) as client:
        address = ServerAddress(server.target, "")
        created = conductor_grpc(address, "apply", "--from", "charge", "--base-url", "", folder=tmp_path)
        assert created.stdout == "task\tcharge\t\tcreated\n"
        client.register_task({**client.get_task("charge"), "retryCount": 3})
        for command, _, promised in steps:
            done = conductor_grpc(address, *shlex.split(command), "--base-url", "", folder=tmp_path)
            assert done.stdout + done.stderr == promised
            assert done.returncode == ("Error" in promised)
        assert client.get_task("charge")["retryCount"] == 5
        assert len(steps) == 2
