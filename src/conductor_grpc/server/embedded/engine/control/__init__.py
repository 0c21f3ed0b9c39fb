"""The task types that the engine runs itself, one module each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.control.do_while import DoWhile
from conductor_grpc.server.embedded.engine.control.fork_join import ForkJoin
from conductor_grpc.server.embedded.engine.control.human import Human
from conductor_grpc.server.embedded.engine.control.join import Join
from conductor_grpc.server.embedded.engine.control.set_variable import SetVariable
from conductor_grpc.server.embedded.engine.control.sub_workflow import SubWorkflow
from conductor_grpc.server.embedded.engine.control.switch import Switch
from conductor_grpc.server.embedded.engine.control.terminate import Terminate
from conductor_grpc.server.embedded.engine.control.wait import Wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conductor_grpc.server.embedded.engine.control.base import Control

CONTROLS: Mapping[str, Control] = {
    "FORK_JOIN": ForkJoin(),
    "JOIN": Join(),
    "SWITCH": Switch(),
    "SUB_WORKFLOW": SubWorkflow(),
    "SET_VARIABLE": SetVariable(),
    "TERMINATE": Terminate(),
    "WAIT": Wait(),
    "DO_WHILE": DoWhile(),
    "HUMAN": Human(),
}
"""By the type that a workflow definition names."""

__all__ = ["CONTROLS"]
