"""TLS to the server: whom to trust, and what to show."""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import NoReturn

from conductor_grpc.errors import ConfigurationError
from conductor_grpc.transport.certificate_dates import Validity

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, repr=False)
class TlsSettings:
    """TLS for the calls to `target`, and for `base_url` where that is https. All of it in PEM.

    A str or Path is a file, bytes (or text that begins with `-----BEGIN`) is the content itself. Files are read here,
    to check them, and again whenever a connection is opened; a renewed file counts for connections opened from then on.
    Raises ConfigurationError, which never holds the key.
    """

    ca: str | Path | bytes | None = None
    """The authorities to trust in place of the public ones. None: for gRPC those that come with grpcio, for REST those
    of this machine."""

    certificate: str | Path | bytes | None = None
    """The client's certificate and any between it and the authority; with `key`, for a server that asks for one."""

    key: str | Path | bytes | None = None
    """The private key of `certificate`, not encrypted. As a path it is not part of a pickle, as bytes it is."""

    server_name: str | None = None
    """The name that the certificate of `target` must be for, where that is not the one in its address."""

    def __post_init__(self) -> None:
        for name in ("ca", "certificate", "key"):
            object.__setattr__(self, name, _checked(name, getattr(self, name)))
        if (self.certificate is None) != (self.key is None):
            there, missing = ("key", "certificate") if self.certificate is None else ("certificate", "key")
            raise ConfigurationError(f"tls has a {there} and no {missing}: a client certificate needs both")
        if self.server_name is not None and not re.fullmatch(r"[\w.:-]+", str(self.server_name), re.ASCII):
            raise ConfigurationError(f"tls: server_name {self.server_name!r}: expected a host name, or None")
        self.load()

    def load(self) -> LoadedTls:
        """Read and check everything. Raises ConfigurationError, which names the part and the file."""
        certificate = self._read("certificate")
        return LoadedTls(
            settings=self,
            ca=self._certificates("ca"),
            certificate=self._certificates("certificate"),
            key=self._read("key"),
            context=self._context(certificate),
            validity=None if certificate is None else _validity(certificate),
        )

    def shown(self, name: str) -> str:
        """A part as an error message may name it: its path, never its content."""
        value = getattr(self, name)
        return repr(str(value)) if isinstance(value, Path) else f"(given as {len(value)} bytes)"

    def _context(self, certificate: bytes | None) -> ssl.SSLContext:
        authorities = self._certificates("ca")
        try:
            context = ssl.create_default_context(cadata=None if authorities is None else authorities.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise ConfigurationError(f"tls: ca {self.shown('ca')} cannot be read as certificates: {error}") from None
        key = self._read("key")
        if certificate is not None and key is not None:
            self._load_pair(context, certificate, key)
        return context

    def _load_pair(self, context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
        def no_password() -> NoReturn:
            raise ConfigurationError(
                f"tls: key {self.shown('key')} is encrypted, which gRPC cannot read: decrypt it (openssl pkey -in KEY)"
            )

        # Python loads these from files only. This one is in memory and nowhere else.
        with os.fdopen(os.memfd_create("conductor-grpc-tls"), "w+b", buffering=0) as file:
            file.write(certificate + b"\n" + key)
            try:
                context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=no_password)
            except (ssl.SSLError, ValueError) as error:
                mismatch = "KEY_VALUES_MISMATCH" in str(error)
                raise ConfigurationError(
                    f"tls: key {self.shown('key')} is not that of certificate {self.shown('certificate')}: take the"
                    " two that were made together"
                    if mismatch
                    else f"tls: certificate {self.shown('certificate')} and key {self.shown('key')} cannot be read as"
                    " a PEM certificate and a PEM private key"
                ) from None

    def _certificates(self, name: str) -> bytes | None:
        """The certificates only: bundles hold comments, some of them not in ASCII."""
        data = self._read(name)
        if data is None:
            return None
        found = _CERTIFICATE.findall(data)
        if not found:
            raise ConfigurationError(
                f"tls: {name} {self.shown(name)} holds no certificate in PEM, which begins with"
                " '-----BEGIN CERTIFICATE-----'"
            )
        return b"\n".join(found) + b"\n"

    def _read(self, name: str) -> bytes | None:
        value: Path | bytes | None = getattr(self, name)
        if value is None or isinstance(value, bytes):
            return value
        try:
            return value.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"tls: {name} {str(value)!r} cannot be read: {error.strerror}") from None

    def __repr__(self) -> str:
        names = [name for name in ("ca", "certificate", "key") if getattr(self, name) is not None]
        shown = [f"{name}={self.shown(name)}" for name in names]
        if self.server_name is not None:
            shown.append(f"server_name={self.server_name!r}")
        return f"TlsSettings({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class LoadedTls:
    """What one connection uses: the files may have changed since."""

    settings: TlsSettings
    ca: bytes | None
    certificate: bytes | None
    key: bytes | None
    context: ssl.SSLContext
    """The same for HTTPS."""
    validity: Validity | None
    """Of the client's certificate."""

    def unwanted_certificate(self) -> str:
        """What is wrong with the client's certificate, for a server that does not accept it, and what to do."""
        if self.validity is None:
            return "No client certificate was sent: give TlsSettings(certificate=..., key=...) one that it accepts."
        name = f"The client certificate {self.settings.shown('certificate')}"
        now = datetime.now(timezone.utc)
        first, last = (f"{date:%Y-%m-%d %H:%M} UTC" for date in (self.validity.not_before, self.validity.not_after))
        if now > self.validity.not_after:
            return f"{name} has expired on {last}: renew it, and open a new client."
        if now < self.validity.not_before:
            return f"{name} is valid only from {first} on: check this machine's clock."
        return (
            f"{name} has not expired (valid until {last}), so mostly it comes from an authority that is not trusted"
            " there: use one issued for this server."
        )


def _checked(name: str, value: object) -> Path | bytes | None:
    if isinstance(value, str) and value.lstrip().startswith("-----BEGIN"):
        return value.encode("utf-8")
    if value is None or (isinstance(value, bytes) and value.strip()):
        return value
    if not isinstance(value, (str, Path)) or not str(value).strip() or "\0" in str(value):
        problem = "empty" if value in ("", b"") else f"a {type(value).__name__}"
        raise ConfigurationError(f"tls: {name} is {problem}: expected the path of a PEM file, or its bytes, or None")
    # Absolute from now on: a process may change its folder before it opens a connection.
    return Path(value).expanduser().absolute()


def _validity(certificate: bytes) -> Validity | None:
    found = _CERTIFICATE.search(certificate)
    try:
        return None if found is None else Validity.of_certificate(found.group().decode("ascii"))
    except ValueError:
        return None  # only explanations are made of it
