from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conductor_grpc.configuration import BASE_URL_VARIABLE, JOURNAL_VARIABLE, TARGET_VARIABLE, Configuration
from conductor_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_addresses_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TARGET_VARIABLE, raising=False)
    monkeypatch.delenv(BASE_URL_VARIABLE, raising=False)
    monkeypatch.delenv(JOURNAL_VARIABLE, raising=False)


@pytest.fixture
def package_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("conductor_grpc")
    before = logger.level, list(logger.handlers)
    yield logger
    logger.setLevel(before[0])
    logger.handlers[:] = before[1]


@pytest.mark.parametrize(
    ("given", "target", "base_url"),
    [
        ({}, "localhost:8090", "http://localhost:8080/api"),
        ({"target": "localhost:9000"}, "localhost:9000", "http://localhost:8080/api"),
        ({"target": "127.0.0.1:9000"}, "127.0.0.1:9000", "http://127.0.0.1:8080/api"),
        ({"target": "[::1]:9000"}, "[::1]:9000", "http://[::1]:8080/api"),
        ({"target": "dns:///localhost:9000"}, "dns:///localhost:9000", "http://localhost:8080/api"),
        ({"target": "ipv4:127.0.0.1:9000"}, "ipv4:127.0.0.1:9000", "http://127.0.0.1:8080/api"),
        ({"target": "conductor:8090"}, "conductor:8090", None),
        ({"target": "ipv4:10.0.0.1:8090,10.0.0.2:8090"}, "ipv4:10.0.0.1:8090,10.0.0.2:8090", None),
        ({"target": "unix:///run/conductor.sock"}, "unix:///run/conductor.sock", None),
        ({"target": "unix-abstract:conductor"}, "unix-abstract:conductor", None),
        ({"target": " localhost:9000 "}, "localhost:9000", "http://localhost:8080/api"),
        ({"base_url": "http://localhost:9080/api"}, "localhost:8090", "http://localhost:9080/api"),
        ({"base_url": "http://[::1]:9080/api"}, "[::1]:8090", "http://[::1]:9080/api"),
        ({"base_url": ""}, "localhost:8090", None),
        ({"base_url": "", "target": "localhost:9000"}, "localhost:9000", None),
        ({"base_url": "rest:80", "target": "grpc:81"}, "grpc:81", "http://rest:80/api"),
    ],
)
def test_addresses_follow_from_each_other(given: dict[str, str], target: str, base_url: str | None) -> None:
    configuration = Configuration(**given)
    assert (configuration.target, configuration.base_url) == (target, base_url)


@pytest.mark.parametrize(
    ("base_url", "normalised"),
    [
        ("localhost:8080", "http://localhost:8080/api"),
        ("localhost", "http://localhost/api"),
        ("localhost:8080/api/", "http://localhost:8080/api"),
        ("https://localhost/", "https://localhost/api"),
        ("HTTP://LOCALHOST:8080/Api", "http://LOCALHOST:8080/Api"),
        ("http://localhost:8080/conductor/api//", "http://localhost:8080/conductor/api"),
        ("http://[::1]/api", "http://[::1]/api"),
    ],
)
def test_base_urls_are_normalised(base_url: str, normalised: str) -> None:
    assert Configuration(base_url).base_url == normalised


@pytest.mark.feature("conductor-python: client configuration and its environment")
@pytest.mark.bug("D12")
def test_the_environment_fills_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TARGET_VARIABLE, "grpc:8090")
    monkeypatch.setenv(BASE_URL_VARIABLE, "http://rest:8080/api")
    assert (Configuration().target, Configuration().base_url) == ("grpc:8090", "http://rest:8080/api")
    assert Configuration(target="other:1").target == "other:1"
    assert Configuration("http://other/api").base_url == "http://other/api"
    assert Configuration("").base_url is None


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TARGET_VARIABLE, "")
    monkeypatch.setenv(BASE_URL_VARIABLE, "")
    assert Configuration() == Configuration(target="localhost:8090", base_url="http://localhost:8080/api")


def test_the_environment_is_read_at_construction_only(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = Configuration()
    data = pickle.dumps(configuration)
    monkeypatch.setenv(TARGET_VARIABLE, "elsewhere:1")
    assert configuration.target == "localhost:8090"
    assert pickle.loads(data) == configuration


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"target": "http://localhost:8090"},
            ["'http://localhost:8090'", "without a scheme", "'localhost:8090'"],
        ),
        ({"target": "http://localhost:8080/api"}, ["base_url", "8090"]),
        ({"target": "grpc://conductor"}, ["'conductor:8090'"]),
        ({"target": "conductor"}, ["'conductor' has no port", "'conductor:8090'"]),
        ({"target": "8090"}, ["'8090' has no port", "'localhost:8090'"]),
        ({"target": "[::1]"}, ["no port", "'[::1]:8090'"]),
        ({"target": "conductor:"}, ["no port", "'conductor:8090'"]),
        ({"target": "::1:8090"}, ["'::1' is not a host name", "brackets"]),
        ({"target": "localhost:0"}, ["port '0'", "1 to 65535"]),
        ({"target": "localhost:65536"}, ["port '65536'", "1 to 65535"]),
        ({"target": "localhost:99999999999999999999"}, ["1 to 65535"]),
        ({"target": "localhost:80a"}, ["port '80a'"]),
        ({"target": "localhost:8090/api"}, ["port '8090/api'"]),
        ({"target": "local host:8090"}, ["'local host' is not a host name"]),
        ({"target": "dns:///conductor"}, ["no port"]),
        ({"target": "ipv4:10.0.0.1:8090,10.0.0.2"}, ["'10.0.0.2:8090'"]),
        ({"target": "unix:"}, ["expected a socket"]),
        ({"target": " "}, ["target is empty", "'localhost:8090'"]),
        ({"target": 8090}, ["target 8090", "expected a string", "int"]),
        ({"base_url": "ftp://localhost/api"}, ["scheme 'ftp'", "http or https"]),
        ({"base_url": "http://localhost:99999/api"}, ["port '99999'"]),
        ({"base_url": "http://localhost:8080/api?x=1"}, ["query"]),
        ({"base_url": "http:///api"}, ["'' is not a host name"]),
        ({"base_url": "http://[::1/api"}, ["'http://[::1/api'"]),
        ({"base_url": "http://local host/api"}, ["not a host name"]),
        ({"base_url": "http://localhost/a pi"}, ["blanks"]),
        (
            {"base_url": "http://conductor:8080/api"},
            ["another host", "target='conductor:8090'", TARGET_VARIABLE],
        ),
        ({"debug": "yes"}, ["debug 'yes'", "True or False"]),
        ({"big_integers": "float"}, ["big_integers 'float'", "'error' or 'string'"]),
        ({"poll_wait_ms": 5001}, ["poll_wait_ms 5001", "1 to 5000"]),
        ({"poll_wait_ms": 0}, ["poll_wait_ms 0"]),
        ({"poll_wait_ms": 1.5}, ["poll_wait_ms 1.5", "whole number"]),
        ({"outbox_limit": -1}, ["outbox_limit -1", ">= 1"]),
        ({"outbox_limit": True}, ["outbox_limit True"]),
        ({"outbox_bytes": 0}, ["outbox_bytes 0", ">= 1"]),
        ({"cancellation_check": 0}, ["cancellation_check 0", "> 0"]),
        ({"cancellation_check": "5s"}, ["cancellation_check '5s'", "seconds"]),
        ({"lease_limit": 0}, ["lease_limit 0", "> 0"]),
        ({"lease_limit": "1h"}, ["lease_limit '1h'", "seconds"]),
        ({"drain_timeout": -0.1}, ["drain_timeout -0.1", ">= 0"]),
        ({"drain_timeout": float("nan")}, ["drain_timeout nan", "finite"]),
        ({"drain_timeout": "30"}, ["drain_timeout '30'", "seconds"]),
        ({"call_timeout": 0}, ["call_timeout 0", "> 0"]),
        ({"worker_id": " "}, ["worker_id ' '", "not blank"]),
        ({"worker_id": "a\nb"}, ["worker_id 'a\\nb'", "control characters"]),
        ({"domain": 7}, ["domain 7"]),
    ],
)
def test_a_bad_value_is_named_with_the_remedy(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Configuration(**given)
    for word in words:
        assert word in str(caught.value)


def test_a_password_in_the_base_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Configuration("http://user:hunter2@localhost/api")
    assert "hunter2" not in str(caught.value)


def test_configurations_are_values() -> None:
    one, other = Configuration(debug=True, domain="d"), Configuration(debug=True, domain="d")
    assert one == other
    assert hash(one) == hash(other)
    assert "target='localhost:8090'" in repr(one)
    with pytest.raises(AttributeError):
        one.target = "elsewhere:1"  # type: ignore[misc]


def test_changes_keep_the_addresses_even_an_absent_one() -> None:
    changed = Configuration("").with_changes(worker_id="other")
    assert (changed.base_url, changed.target, changed.worker_id) == (None, "localhost:8090", "other")
    assert Configuration().with_changes(target="conductor:1").base_url == "http://localhost:8080/api"
    with pytest.raises(ConfigurationError):
        changed.with_changes(poll_wait_ms=9000)


def test_the_default_worker_id_is_one_per_process() -> None:
    own = Configuration().worker_id
    assert Configuration().worker_id == own
    assert f"-{os.getpid()}-" in own
    assert pickle.loads(pickle.dumps(Configuration())).worker_id == own


def test_an_empty_domain_is_no_domain() -> None:
    assert Configuration(domain="").domain is None


@pytest.mark.feature("conductor-python: logging")
def test_debug_sets_the_package_logger(package_logger: logging.Logger) -> None:
    package_logger.setLevel(logging.WARNING)
    Configuration().configure_logging()
    assert package_logger.level == logging.WARNING
    Configuration(debug=True).configure_logging()
    assert package_logger.level == logging.DEBUG


def test_debug_makes_output_visible_where_no_logging_is_set_up(
    package_logger: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_logger, "propagate", False)  # pytest's own handlers hang on the root
    package_logger.handlers[:] = []
    for _ in range(2):
        Configuration(debug=True).configure_logging()
    logging.getLogger("conductor_grpc.poller").debug("polled %d", 3)
    assert capsys.readouterr().err.count("conductor_grpc.poller [MainThread] polled 3") == 1


def test_the_journal_is_a_folder_of_this_moment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Configuration().journal is None
    assert Configuration(journal="a/../b").journal == tmp_path / "b"
    assert Configuration(journal=Path("~/journal")).journal == tmp_path / "home" / "journal"
    monkeypatch.setenv(JOURNAL_VARIABLE, "from outside")
    assert Configuration().journal == tmp_path / "from outside"
    assert Configuration(journal="mine").journal == tmp_path / "mine"
    without = Configuration(journal="")
    assert without.journal is None
    assert without.with_changes(debug=True).journal is None
    monkeypatch.chdir("/")
    assert Configuration(journal=tmp_path / "b").with_changes(debug=True).journal == tmp_path / "b"


@pytest.mark.parametrize("journal", [7, b"bytes", "with\0nul"])
def test_a_journal_that_is_no_path_is_refused(journal: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"journal .*expected the path of a folder"):
        Configuration(journal=journal)
