"""Payloads that are too large for the server's messages: kept in a storage that server and workers share.

The server's messages then hold a path only. Which storage it is, the server's configuration says
(`conductor.external-payload-storage.type`); an `ExternalPayloadStorage` leads to the same one.
"""

from __future__ import annotations

from conductor_grpc.payload.external.filesystem import FilesystemPayloadStorage
from conductor_grpc.payload.external.s3 import S3PayloadStorage
from conductor_grpc.payload.external.storage import ExternalPayloadStorage, PayloadKind

__all__ = ["ExternalPayloadStorage", "FilesystemPayloadStorage", "PayloadKind", "S3PayloadStorage"]
