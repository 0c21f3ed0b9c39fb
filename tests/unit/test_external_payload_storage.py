"""The storages for large payloads, and the documents in them."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest
from s3_service import S3Service

from conductor_grpc import (
    ConductorError,
    Configuration,
    ConfigurationError,
    ExternalPayloadError,
    ExternalPayloadStorage,
    FilesystemPayloadStorage,
    PayloadDecodeError,
    S3PayloadStorage,
    TaskClient,
)
from conductor_grpc.payload.external.document import from_document, to_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "do-not-show-me"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Service]:
    with S3Service() as service:
        yield service


def bucket(service: S3Service, **settings: Any) -> S3PayloadStorage:
    keys = {"region": "us-east-1", "access_key_id": "somebody", "secret_access_key": SECRET}
    return S3PayloadStorage("payloads", endpoint_url=service.url, **{**keys, **settings})


@pytest.fixture(params=["filesystem", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Service) -> ExternalPayloadStorage:
    return FilesystemPayloadStorage(tmp_path) if request.param == "filesystem" else bucket(s3)


# -- what holds for both --


def test_what_was_uploaded_is_downloaded(storage: ExternalPayloadStorage) -> None:
    data = json.dumps({"text": "é" * 100_000}).encode()
    path = storage.upload("task/output", "t1", data)
    assert storage.download(path) == data
    assert path.startswith("task/output/t1-")


def test_no_two_payloads_share_a_path(storage: ExternalPayloadStorage) -> None:
    first, second = (storage.upload("task/output", "t1", data) for data in (b"1", b"2"))
    assert (storage.download(first), storage.download(second)) == (b"1", b"2")


def test_many_threads_may_use_it_at_once(storage: ExternalPayloadStorage) -> None:
    wrong: list[int] = []

    def use(number: int) -> None:
        for _ in range(5):
            data = str(number).encode() * 1000
            if storage.download(storage.upload("task/output", "t", data)) != data:
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_path_without_a_payload_is_an_error(storage: ExternalPayloadStorage) -> None:
    with pytest.raises(Exception, match=r"NoSuchKey|No such file"):
        storage.download("task/output/none.json")


def test_it_may_be_a_part_of_a_configuration(storage: ExternalPayloadStorage) -> None:
    path = storage.upload("task/output", "t1", b"{}")
    configuration = Configuration("", target="localhost:1", external_payload_storage=storage)
    copy = pickle.loads(pickle.dumps(configuration))
    assert copy == configuration
    assert hash(copy) == hash(configuration)
    assert copy.external_payload_storage.download(path) == b"{}"
    assert configuration.with_changes(debug=True).external_payload_storage is storage
    assert SECRET not in repr(configuration)


# -- a folder --


def test_paths_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    for path in ("../secret", str(tmp_path / "secret"), "link/secret", "a/../../secret", ""):
        with pytest.raises(ExternalPayloadError, match="leads out") as caught:
            FilesystemPayloadStorage(folder).download(path)
        assert caught.value.path == path


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="share"):
        FilesystemPayloadStorage(tmp_path / "share").upload("task/output", "t1", b"{}")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        FilesystemPayloadStorage(tmp_path).upload("task/output", "t1", b"{}")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_others_may_read_the_file_as_far_as_the_umask_allows(tmp_path: Path) -> None:
    path = tmp_path / FilesystemPayloadStorage(tmp_path).upload("task/output", "t1", b"{}")
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_folder_stays_the_same_when_the_process_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = FilesystemPayloadStorage("payloads")
    monkeypatch.chdir("/")
    assert storage.folder == tmp_path / "payloads"


# -- S3 --


def test_keys_begin_with_the_prefix_and_paths_are_whole_keys(s3: S3Service) -> None:
    path = bucket(s3, prefix="here/").upload("task/output", "t1", b"{}")
    assert path.startswith("here/task/output/t1-")
    assert s3.objects["payloads", path] == b"{}"
    assert bucket(s3, prefix="elsewhere/").download(path) == b"{}"


def test_the_secret_is_in_no_text(s3: S3Service) -> None:
    storage = bucket(s3, session_token=SECRET)
    assert SECRET not in f"{storage!r} {storage}"
    assert "somebody" not in repr(storage)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"bucket": ""}, "bucket ''"),
        ({"bucket": "b", "prefix": "/a"}, "prefix '/a'"),
        ({"bucket": "b", "endpoint_url": "localhost:9000"}, "endpoint_url"),
        ({"bucket": "b", "endpoint_url": f"http://user:{SECRET}@localhost:9000"}, "without user and password"),
        ({"bucket": "b", "access_key_id": "somebody"}, "give both"),
        ({"bucket": "b", "secret_access_key": SECRET}, "give both"),
    ],
)
def test_settings_that_cannot_work_are_errors_at_once(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        S3PayloadStorage(**settings)
    assert SECRET not in str(caught.value)


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"conductor-grpc-client\[s3\]"):
        S3PayloadStorage("payloads")


# -- settings --


@pytest.mark.parametrize("value", ["/a/folder", object(), SECRET])
def test_what_is_no_storage_is_refused_without_being_shown(value: object) -> None:
    with pytest.raises(ConfigurationError, match="upload and download") as caught:
        Configuration("", target="localhost:1", external_payload_storage=value)  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["external_payload_threshold", "external_payload_limit"])
def test_sizes_are_at_least_one_byte(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Configuration("", target="localhost:1", **{name: 0})  # type: ignore[arg-type]


# -- documents --


def test_all_numbers_of_a_document_have_a_point_or_an_exponent() -> None:
    """An integer in the storage would be one for the tasks behind this one, which could not be polled over gRPC."""
    values = {"whole": 7, "list": [1, {"deep": -3}], "half": 2.5, "huge": 2**53, "yes": True, "no": None}
    document = to_document(values)
    numbers = b'"whole":7.0,"list":[1.0,{"deep":-3.0}],"half":2.5,"huge":9007199254740992.0'
    assert document == b"{" + numbers + b',"yes":true,"no":null}'
    assert from_document(document) == values
    assert type(from_document(document)["whole"]) is int


def test_text_of_a_document_is_plain_utf8() -> None:
    assert to_document({"é": "\u2603 \U0001f600 \x01"}) == '{"é":"\u2603 \U0001f600 \\u0001"}'.encode()


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 200_000])
def test_what_is_no_payload_is_an_error(data: bytes) -> None:
    with pytest.raises(PayloadDecodeError):
        from_document(data)


# -- clients --


def test_a_client_follows_a_path_when_asked(tmp_path: Path) -> None:
    storage = FilesystemPayloadStorage(tmp_path)
    path = storage.upload("task/output", "t1", b'{"n":7.0}')
    configuration = Configuration("", target="localhost:1", external_payload_storage=storage)
    with TaskClient(configuration) as client:
        assert client.external_payload(path) == {"n": 7}
        with pytest.raises(ExternalPayloadError, match="could not read 'none'"):
            client.external_payload("none")


def test_a_client_without_a_storage_says_what_to_set() -> None:
    with (
        TaskClient(Configuration("", target="localhost:1")) as client,
        pytest.raises(ConductorError, match="external_payload_storage"),
    ):
        client.external_payload("some/path")
