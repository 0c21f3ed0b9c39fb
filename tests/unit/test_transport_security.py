"""The settings of TLS, key and headers: what is refused, and that nothing of it shows."""

from __future__ import annotations

import pickle
import subprocess
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tls_stand import Certificates

from conductor_grpc import AuthenticationSettings, Configuration, ConfigurationError, TlsSettings
from conductor_grpc.errors import ErrorKind, TlsError, UnavailableError
from conductor_grpc.transport.classify import classify, from_rpc_error

if TYPE_CHECKING:
    from pathlib import Path

KEY = AuthenticationSettings("the-key", "the-s3cret")
REMOTE, REMOTE_REST = "conductor.example.com:8090", "https://conductor.example.com/api"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def refused(match: str, **settings: Any) -> None:
    with pytest.raises(ConfigurationError, match=match) as caught:
        Configuration(**settings)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"target": REMOTE, "base_url": REMOTE_REST, "authentication_settings": KEY}, "target 'conductor"),
        ({"target": REMOTE, "headers": {"Authorization": "Bearer the-s3cret"}}, "the header 'authorization'"),
        ({"target": REMOTE, "headers": {"x-api-key": "the-s3cret"}}, "the header 'x-api-key'"),
        ({"target": "ipv4:127.0.0.1:1,10.0.0.1:1", "headers": {"cookie": "the-s3cret"}}, "target 'ipv4"),
        ({"target": "dns://8.8.8.8/localhost:1", "headers": {"cookie": "the-s3cret"}}, "target 'dns"),
        (
            {"target": "localhost:1", "base_url": "http://conductor.example.com", "authentication_settings": KEY},
            "base_url 'http://conductor",
        ),
        (
            {
                "target": REMOTE,
                "tls": TlsSettings(),
                "base_url": "http://conductor.example.com",
                "authentication_settings": KEY,
            },
            "base_url 'http://conductor",
        ),
    ],
)
def test_no_credentials_to_another_host_in_plaintext(settings: dict[str, Any], named: str) -> None:
    refused(f"{named}.*plaintext", **settings)
    refused(r"allow_plaintext_credentials=True \(--allow-plaintext-credentials\)", **settings)
    assert Configuration(**settings, allow_plaintext_credentials=True).allow_plaintext_credentials


@pytest.mark.parametrize(
    "settings",
    [
        {"target": REMOTE, "tls": TlsSettings(), "base_url": REMOTE_REST, "authentication_settings": KEY},
        {"target": "localhost:1", "authentication_settings": KEY},
        {"target": "[::1]:1", "headers": {"authorization": "x"}},
        {"target": "dns:///localhost:1", "headers": {"authorization": "x"}},
        {"target": "unix:/run/c.sock", "base_url": "http://127.0.0.1:8080", "authentication_settings": KEY},
        {"target": REMOTE, "headers": {"x-tenant": "a"}},
    ],
)
def test_what_may_be_sent(settings: dict[str, Any]) -> None:
    Configuration(**settings)


def test_settings_that_contradict_each_other() -> None:
    refused("authentication_settings needs base_url", base_url="", target="localhost:1", authentication_settings=KEY)
    refused("give one of the two", authentication_settings=KEY, headers={"X-Authorization": "the-s3cret"})
    refused("authentication_settings is a tuple", authentication_settings=("the-key", "the-s3cret"))
    refused(r"tls True: expected TlsSettings\(", tls=True)
    refused("allow_plaintext_credentials 1: expected True or False", allow_plaintext_credentials=1)


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"x tenant": "the-s3cret"}, "'x tenant' is not the name of a header"),
        ({"": "the-s3cret"}, "'' is not the name"),
        ({"x-ä": "the-s3cret"}, "'x-ä' is not the name"),
        ({"x-\N{KELVIN SIGN}": "the-s3cret"}, "is not the name"),  # in lower case it is a k
        ({":path": "the-s3cret"}, "':path' is not the name"),
        ({7: "the-s3cret"}, "7 is not the name"),
        ({"x-data-bin": "the-s3cret"}, "binary"),
        ({"grpc-timeout": "the-s3cret"}, "set by gRPC"),
        ({"Content-Type": "the-s3cret"}, "set by gRPC"),
        ({"x-a": "the-s3cret\n"}, "the value of 'x-a' is empty or cannot be sent.*newline"),
        ({"x-a": "ä the-s3cret"}, "cannot be sent"),
        ({"x-a": ""}, "is empty"),
        ({"x-a": b"the-s3cret"}, "is a bytes"),
        ({"x-a": "1", "X-A": "the-s3cret"}, "there twice"),
        ([("x-a", "the-s3cret")], "headers is a list"),
    ],
)
def test_headers_that_cannot_be_sent(headers: Any, says: str) -> None:
    refused(says, headers=headers, target="localhost:1")


def test_headers_stay_what_they_are(certificates: Certificates) -> None:
    configuration = Configuration(
        target="localhost:1",
        headers={"X-Tenant": "a", "authorization": "the-s3cret"},
        authentication_settings=KEY,
        tls=TlsSettings(certificates.ca),
    )
    assert dict(configuration.headers) == {"x-tenant": "a", "authorization": "the-s3cret"}
    assert "headers={'x-tenant': ***, 'authorization': ***}" in repr(configuration)
    assert "s3cret" not in repr(configuration)
    again = pickle.loads(pickle.dumps(configuration))
    assert again == configuration == configuration.with_changes()
    assert hash(again) == hash(configuration)


@pytest.mark.parametrize(
    ("key_id", "key_secret", "says"),
    [("", "the-s3cret", "key_id ''"), ("id", " ", "is empty"), ("id", None, "is no text"), (None, "x", "key_id None")],
)
def test_keys_that_cannot_work(key_id: Any, key_secret: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        AuthenticationSettings(key_id, key_secret)
    assert "s3cret" not in str(caught.value)


def test_a_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONDUCTOR_AUTH_KEY", raising=False)
    monkeypatch.delenv("CONDUCTOR_AUTH_SECRET", raising=False)
    assert AuthenticationSettings.from_environment() is None
    monkeypatch.setenv("CONDUCTOR_AUTH_SECRET", "the-s3cret")
    with pytest.raises(ConfigurationError, match="CONDUCTOR_AUTH_KEY is not"):
        AuthenticationSettings.from_environment()
    monkeypatch.setenv("CONDUCTOR_AUTH_KEY", "the-key")
    assert AuthenticationSettings.from_environment() == KEY
    assert Configuration(target="localhost:1").authentication_settings is None, "only if asked for"


def test_tls_is_checked_when_it_is_given(certificates: Certificates, tmp_path: Path) -> None:
    certificate, key = certificates.issue("one", "client")
    other_certificate, other_key = certificates.issue("two", "client")
    missing, garbage, encrypted = tmp_path / "missing.pem", tmp_path / "garbage.pem", tmp_path / "encrypted.key"
    garbage.write_text("the-s3cret")
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", encrypted], check=True, timeout=30
    )
    for arguments, says in (
        ({"ca": missing}, f"ca '{missing}' cannot be read: No such file"),
        ({"ca": garbage}, f"ca '{garbage}' holds no certificate in PEM"),
        ({"ca": b"-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----"}, "cannot be read as certificates"),
        ({"ca": ""}, "ca is empty"),
        ({"ca": 7}, "ca is a int"),
        ({"certificate": certificate}, "a certificate and no key"),
        ({"key": key}, "a key and no certificate"),
        ({"certificate": certificate, "key": other_key}, "is not that of certificate"),
        ({"certificate": certificate, "key": garbage}, "cannot be read as a PEM certificate and a PEM private key"),
        ({"certificate": certificate, "key": encrypted}, "is encrypted, which gRPC cannot read"),
        ({"server_name": "https://x"}, "expected a host name"),
    ):
        with pytest.raises(ConfigurationError, match=says) as caught:
            TlsSettings(**arguments)  # type: ignore[arg-type]
        assert "s3cret" not in str(caught.value)
    TlsSettings(certificates.ca, other_certificate, other_key, "server.example")


def test_bytes_and_text_do_as_well_as_files_and_do_not_show(certificates: Certificates) -> None:
    certificate, key = certificates.issue("three", "client")
    in_memory = TlsSettings(certificates.ca.read_text(), certificate.read_bytes(), key.read_bytes())
    assert "BEGIN" not in repr(in_memory)
    assert repr(TlsSettings(str(certificates.ca), server_name="x")) == (
        f"TlsSettings(ca='{certificates.ca}', server_name='x')"
    )
    loaded = in_memory.load()
    assert "BEGIN" not in repr(loaded)
    assert loaded.key == key.read_bytes()
    assert pickle.loads(pickle.dumps(in_memory)) == in_memory
    assert b"PRIVATE KEY" not in pickle.dumps(TlsSettings(certificates.ca, certificate, key))


def test_the_dates_of_a_certificate_are_those_that_openssl_reads(certificates: Certificates) -> None:
    certificate, key = certificates.issue("dates", "client", expired=True)
    validity = TlsSettings(certificate=certificate, key=key).load().validity
    assert validity is not None
    command = ["openssl", "x509", "-in", certificate, "-noout", "-dates", "-dateopt", "iso_8601"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    assert (
        shown
        == f"notBefore={validity.not_before:%Y-%m-%d %H:%M:%S}Z\nnotAfter={validity.not_after:%Y-%m-%d %H:%M:%S}Z\n"
    )


class Failed(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self.code = lambda: code
        self.details = lambda: details


@pytest.mark.parametrize(
    ("details", "says"),
    [
        ("SSL_ERROR_SSL: error:1000007d: CERTIFICATE_VERIFY_FAILED: certificate has expired: OK", "has expired"),
        ("error: CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate", "authority that is not trusted"),
        ("Custom verification check failed with error: Hostname Verification Check failed.", "for another name"),
        ("Ssl handshake failed: SSL_ERROR_SSL: WRONG_VERSION_NUMBER", "does not speak TLS"),
        ("SSL_ERROR_SSL: TLSV1_ALERT_UNKNOWN_CA", "does not accept this client. None was sent"),
        ("SSL_ERROR_SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED", "does not accept this client. None was sent"),
        ("SSL_ERROR_SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED", "does not accept this client. None was sent"),
    ],
)
def test_failures_of_tls_are_told_from_a_server_that_is_down(details: str, says: str) -> None:
    failed = Failed(grpc.StatusCode.UNAVAILABLE, f"failed to connect to all addresses; last error: UNKNOWN: {details}")
    error = from_rpc_error(failed, "/a.B/C", "host:1")
    assert isinstance(error, TlsError)
    assert classify(failed) is error.kind is ErrorKind.AUTH
    assert says in str(error)


def test_a_server_that_is_down_is_no_failure_of_tls() -> None:
    failed = Failed(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; connection refused")
    assert type(from_rpc_error(failed, "/a.B/C", "host:1")) is UnavailableError
