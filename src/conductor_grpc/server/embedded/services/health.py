"""grpc.health.v1: whoever asks, about whatever service, is told SERVING, as by the released server.

The service is described here, since the package that has its messages is not needed for anything else.
"""

# ruff: noqa: N802 - methods have the names of their RPCs

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import grpc
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from conductor_grpc.server.embedded.services.answers import StatusError

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor
    from google.protobuf.message import Message

_FILE: Final = """
name: "grpc/health/v1/health.proto" package: "grpc.health.v1" syntax: "proto3"
message_type {
  name: "HealthCheckRequest"
  field { name: "service" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
}
message_type {
  name: "HealthCheckResponse"
  field {
    name: "status" number: 1 type: TYPE_ENUM label: LABEL_OPTIONAL
    type_name: ".grpc.health.v1.HealthCheckResponse.ServingStatus"
  }
  enum_type {
    name: "ServingStatus"
    value { name: "UNKNOWN" number: 0 }
    value { name: "SERVING" number: 1 }
    value { name: "NOT_SERVING" number: 2 }
    value { name: "SERVICE_UNKNOWN" number: 3 }
  }
}
service {
  name: "Health"
  method {
    name: "Check"
    input_type: ".grpc.health.v1.HealthCheckRequest" output_type: ".grpc.health.v1.HealthCheckResponse"
  }
  method {
    name: "Watch" server_streaming: true
    input_type: ".grpc.health.v1.HealthCheckRequest" output_type: ".grpc.health.v1.HealthCheckResponse"
  }
}
"""

POOL: Final = DescriptorPool()
"""One of its own: another definition of the same names may be in the process."""
POOL.Add(text_format.Parse(_FILE, FileDescriptorProto()))

_SERVING: Final = b"\x08\x01"  # HealthCheckResponse with its one field set


class HealthService:
    """The RPCs of `grpc.health.v1.Health`. Thread-safe."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = POOL.FindServiceByName("grpc.health.v1.Health")
    UNCAUGHT: ClassVar[frozenset[str]] = frozenset({"Check", "Watch"})

    def Check(self, _request: Message, _context: grpc.ServicerContext) -> bytes:
        return _SERVING

    def Watch(self, _request: Message, _context: grpc.ServicerContext) -> list[bytes]:
        raise StatusError(grpc.StatusCode.UNIMPLEMENTED, "Method grpc.health.v1.Health/Watch is unimplemented")
