"""Large payloads as objects in an S3 bucket (extra `s3`)."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from conductor_grpc.errors import ConfigurationError
from conductor_grpc.payload.external.storage import new_path

if TYPE_CHECKING:
    from conductor_grpc.payload.external.storage import PayloadKind

_CONNECT_SECONDS = 10
_READ_SECONDS = 60


@dataclass(frozen=True)
class S3PayloadStorage:
    """A bucket of Amazon S3 or of anything that speaks its protocol.

    The server needs `conductor.external-payload-storage.type=s3` and the same bucket. Objects are never removed:
    give the bucket a lifecycle rule. Raises ConfigurationError where boto3 is not installed or a setting cannot work;
    `upload` and `download` raise what boto3 raises, after its own retries.
    """

    bucket: str

    prefix: str = ""
    """Put before the key of each object uploaded, as in `payloads/`. Paths are whole keys, so what is found under
    them does not depend on it."""

    endpoint_url: str | None = None
    """Address of a service other than Amazon's, as in `http://localhost:9000`."""

    region: str | None = None
    """None: as boto3 finds it (environment, profile)."""

    access_key_id: str | None = field(default=None, repr=False)
    """None, best: credentials as boto3 finds them (environment, profile, role of the machine)."""

    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.bucket, str) or not self.bucket:
            raise ConfigurationError(f"bucket {self.bucket!r}: expected the name of a bucket")
        if self.prefix.startswith("/"):
            raise ConfigurationError(f"prefix {self.prefix!r}: expected a key's beginning, without a leading slash")
        if self.endpoint_url is not None:
            parts = urlsplit(self.endpoint_url)
            if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
                # Not repeated here: it may hold a password.
                raise ConfigurationError("endpoint_url: expected http(s)://host[:port], without user and password")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ConfigurationError("access_key_id and secret_access_key: give both, or none of them")
        if importlib.util.find_spec("boto3") is None:
            raise ConfigurationError("S3PayloadStorage needs boto3: pip install 'conductor-grpc-client[s3]'")

    def upload(self, kind: PayloadKind, task_id: str, data: bytes) -> str:
        """Store the document under a new key and return that."""
        key = self.prefix + new_path(kind, task_id)
        self._client().put_object(Bucket=self.bucket, Key=key, Body=data, ContentType="application/json")
        return key

    def download(self, path: str) -> bytes:
        """The object with the key `path`."""
        answer = self._client().get_object(Bucket=self.bucket, Key=path)
        with answer["Body"] as body:
            return bytes(body.read())

    def _client(self) -> Any:
        # Beside the storage, not in it: clients do not pickle, nor survive a fork.
        key = (os.getpid(), self)
        client = _clients.get(key)
        if client is None:
            client = _clients.setdefault(key, self._new_client())
        return client

    def _new_client(self) -> Any:
        import boto3  # late: it takes a third of a second, and most processes never meet a large payload
        from botocore.config import Config

        # A session of its own: making clients from boto3's common one is not thread-safe.
        session = boto3.session.Session(
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            aws_session_token=self.session_token,
            region_name=self.region,
        )
        patience = Config(retries={"mode": "standard"}, connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS)
        return session.client("s3", endpoint_url=self.endpoint_url, config=patience)


_clients: dict[tuple[int, S3PayloadStorage], Any] = {}
