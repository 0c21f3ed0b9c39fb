"""Server reflection, v1alpha and in the words of the released server (seen on 3.32.1).

Its messages come from the package `grpcio-reflection`, which belongs to the extra `cli`. Without it all else works,
and a call of reflection says what is missing.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
from google.protobuf import descriptor_pool

from conductor_grpc.server.embedded.services import health
from conductor_grpc.server.embedded.services.answers import StatusError, parsed, refusing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from google.protobuf.descriptor import FileDescriptor

    from conductor_grpc.server.embedded.services.answers import Handlers

Found = TypeVar("Found")

SERVICE: Final = "grpc.reflection.v1alpha.ServerReflection"

_MISSING: Final = (
    "this embedded server has no reflection, which needs a package that is not installed: pip install grpcio-reflection"
)


def handlers(services: Sequence[str], *, strict: bool) -> Handlers:
    """Of the reflection of these services, and of itself, by path."""
    path = f"/{SERVICE}/ServerReflectionInfo"
    try:
        # By name, as Any: it may be missing where types are checked too.
        messages: Any = importlib.import_module("grpc_reflection.v1alpha.reflection_pb2")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("grpc_reflection"):
            raise
        return {path: refusing(grpc.StatusCode.UNIMPLEMENTED, _MISSING)}
    reflection = _Reflection(messages, (*services, SERVICE), strict=strict)
    return {path: grpc.stream_stream_rpc_method_handler(reflection.answers)}


class _Reflection:
    """Answers the questions of one stream after the other. Thread-safe."""

    def __init__(self, messages: Any, services: Sequence[str], *, strict: bool) -> None:
        self._messages = messages
        self._services = services
        self._strict = strict
        pools = (descriptor_pool.Default(), health.POOL)
        self._by_name = [pool.FindFileByName for pool in pools]
        self._by_symbol = [pool.FindFileContainingSymbol for pool in pools]
        self._by_method = [pool.FindMethodByName for pool in pools]

    def answers(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            for data in requests:
                request = parsed(self._messages.ServerReflectionRequest, data, strict=self._strict)
                yield self._answer(request).SerializeToString()
        except StatusError as error:
            context.abort(error.code, error.details)

    def _answer(self, request: Any) -> Any:
        answer = self._messages.ServerReflectionResponse(valid_host=request.host, original_request=request)
        question = request.WhichOneof("message_request")
        if question == "list_services":
            for name in self._services:
                answer.list_services_response.service.add(name=name)
        elif question == "file_by_filename":
            _show(answer, _first(self._by_name, request.file_by_filename), "File not found.")
        elif question == "file_containing_symbol":
            _show(answer, self._file_of(request.file_containing_symbol), "Symbol not found.")
        elif question == "file_containing_extension":
            _fail(answer, grpc.StatusCode.NOT_FOUND, "Extension not found.")  # there are none
        elif question == "all_extension_numbers_of_type":
            _fail(answer, grpc.StatusCode.NOT_FOUND, "Type not found.")  # not one that has any
        else:
            _fail(answer, grpc.StatusCode.UNIMPLEMENTED, "not implemented MESSAGEREQUEST_NOT_SET")
        return answer

    def _file_of(self, symbol: str) -> FileDescriptor | None:
        method = _first(self._by_method, symbol)
        return _first(self._by_symbol, symbol) if method is None else method.containing_service.file


def _first(finders: Sequence[Callable[[str], Found]], name: str) -> Found | None:
    """What the first of them finds that does not raise KeyError."""
    for find in finders:
        with contextlib.suppress(KeyError):
            return find(name)
    return None


def _show(answer: Any, file: FileDescriptor | None, missing: str) -> None:
    """Puts a file into the answer, and what it imports, directly or not; or else says that it is missing."""
    if file is None:
        _fail(answer, grpc.StatusCode.NOT_FOUND, missing)
        return
    files = [file]
    for each in files:
        names = {known.name for known in files}
        files.extend(imported for imported in each.dependencies if imported.name not in names)
    answer.file_descriptor_response.file_descriptor_proto.extend(each.serialized_pb for each in files)


def _fail(answer: Any, code: grpc.StatusCode, message: str) -> None:
    answer.error_response.error_code = code.value[0]
    answer.error_response.error_message = message
