"""Which server it is, and whether it speaks the protocol that this client was built for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from conductor_grpc.doctor.finding import Finding, note, ok, warning
from conductor_grpc.errors import InvalidRequestError
from conductor_grpc.pb.services import (
    event_service_pb2,
    metadata_service_pb2,
    task_service_pb2,
    workflow_service_pb2,
)
from conductor_grpc.transport.reflection import files_of
from conductor_grpc.transport.server_version import LeaseSupport, lease_support

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor import Descriptor, ServiceDescriptor
    from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

    from conductor_grpc.doctor.setup import Setup

TESTED: Final = (3, 32)
"""The release that this client is tested with."""

_SERVICES: Final[tuple[ServiceDescriptor, ...]] = tuple(
    service
    for module in (task_service_pb2, workflow_service_pb2, metadata_service_pb2, event_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)

_NAMED: Final = 5
"""Missing parts that the report names; the others it counts."""


def check_version(setup: Setup) -> Iterator[Finding]:
    """By REST, and by what the server tells of itself."""
    expected = f"Conductor {TESTED[0]}.{TESTED[1]}, with which this client is tested"
    version = setup.rest.version() if setup.rest is not None else None
    numbers = re.match(r"v?(\d+)\.(\d+)", version or "")
    release = None if numbers is None else (int(numbers[1]), int(numbers[2]))
    support = lease_support(setup.channel, setup.rest)
    named = "a Conductor server of unknown version" if version is None else f"Conductor {version}"
    if support is LeaseSupport.NO:
        yield warning(
            "version.old",
            f"{named}, which does not extend leases",
            "3.32.0 or later",
            "update the server; until then a task that takes longer than its response timeout runs twice",
        )
    elif support is LeaseSupport.UNTOLD:
        remedy = "give --base-url the server's REST address"
        yield note("version.unknown", f"{named}: {support.value}", expected, remedy)
    elif release is not None and release != TESTED:
        yield note("version.untested", named, expected, "run your own tests against it")
    else:
        yield ok("version", f"{named}, extends leases")


def check_contract(setup: Setup) -> Iterator[Finding]:
    """Every method, message and field that this client knows must be there, under the same number and type."""
    try:
        files = {file.name: file for each in _SERVICES for file in files_of(setup.channel, each.full_name)}
    except InvalidRequestError:  # unimplemented
        files = {}
    if not files:
        yield note(
            "contract.untold",
            "the server has no gRPC reflection, so its protocol cannot be compared with ours",
            "reflection, as Conductor has it",
            "nothing, if a proxy hides it",
        )
        return
    missing = sorted(set(_missing(files.values())))
    if not missing:
        yield ok("contract", f"{len(_SERVICES)} services, as this client has them")
        return
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    yield warning(
        "contract.missing",
        f"the server lacks {', '.join(missing[:_NAMED])}{more}",
        "all that this client knows",
        f"update the server to {TESTED[0]}.{TESTED[1]} or later; what uses these parts fails or is ignored",
    )


def _missing(files: Iterable[FileDescriptorProto]) -> Iterator[str]:
    """What ours have and these have not."""
    messages: dict[str, DescriptorProto] = {}
    methods: dict[str, tuple[str, str]] = {}
    for file in files:
        for message in file.message_type:
            messages |= _with_nested(f"{file.package}.{message.name}", message)
        for service in file.service:
            for method in service.method:
                path = f"{file.package}.{service.name}.{method.name}"
                methods[path] = (method.input_type.lstrip("."), method.output_type.lstrip("."))
    for known in _SERVICES:
        for ours in known.methods:
            if methods.get(ours.full_name) != (ours.input_type.full_name, ours.output_type.full_name):
                yield ours.full_name.rpartition(".")[0].rpartition(".")[2] + f".{ours.name}"
    for descriptor in _carried():
        theirs = messages.get(descriptor.full_name)
        if theirs is None:
            yield descriptor.name
            continue
        fields = {field.number: (field.name, field.type) for field in theirs.field}
        for field in descriptor.fields:
            if fields.get(field.number) != (field.name, field.type):
                yield f"{descriptor.name}.{field.name}"


def _with_nested(name: str, message: DescriptorProto) -> dict[str, DescriptorProto]:
    found = {name: message}
    for nested in message.nested_type:
        found |= _with_nested(f"{name}.{nested.name}", nested)
    return found


def _carried() -> Iterator[Descriptor]:
    """The server's own messages that a method carries, directly or not."""
    methods = [method for service in _SERVICES for method in service.methods]
    unseen = [*(method.input_type for method in methods), *(method.output_type for method in methods)]
    seen: set[str] = set()
    while unseen:
        message = unseen.pop()
        if message.full_name in seen or not message.full_name.startswith("conductor."):
            continue
        seen.add(message.full_name)
        yield message
        unseen += [field.message_type for field in message.fields if field.message_type is not None]
