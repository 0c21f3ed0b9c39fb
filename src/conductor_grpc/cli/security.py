"""The options for a guarded server: TLS, headers, and the access key, which comes from the environment only."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from conductor_grpc.transport.authentication import AuthenticationSettings
from conductor_grpc.transport.tls import TlsSettings

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

_FILE = click.Path(dir_okay=False, path_type=Path)


def security_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Adds the options below; the command is called with `security`, the settings of a Configuration made of them."""

    @click.option("--tls", is_flag=True, help="TLS to --target. Implied by the options --tls-...")
    @click.option("--tls-ca", type=_FILE, metavar="PEM", help="Authorities to trust in place of the public ones.")
    @click.option("--tls-certificate", type=_FILE, metavar="PEM", help="This client's certificate, with --tls-key.")
    @click.option("--tls-key", type=_FILE, metavar="PEM", help="The private key of --tls-certificate.")
    @click.option("--tls-server-name", metavar="NAME", help="Name in the certificate of --target, if it is another.")
    @click.option(
        "--header",
        "headers",
        multiple=True,
        metavar="NAME=VALUE",
        help="Send a header with every call; NAME=@FILE takes its value from a file. Repeatable. "
        "An access key comes from CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET.",
    )
    @click.option(
        "--allow-plaintext-credentials",
        is_flag=True,
        help="Send key, token and secret headers to another host without TLS.",
    )
    @functools.wraps(command)
    def with_security(
        *args: Any,
        tls: bool,
        tls_ca: Path | None,
        tls_certificate: Path | None,
        tls_key: Path | None,
        tls_server_name: str | None,
        headers: tuple[str, ...],
        allow_plaintext_credentials: bool,
        **kwargs: Any,
    ) -> Result:
        wanted = tls or any(part is not None for part in (tls_ca, tls_certificate, tls_key, tls_server_name))
        security = {
            "authentication_settings": AuthenticationSettings.from_environment(),
            "tls": TlsSettings(tls_ca, tls_certificate, tls_key, tls_server_name) if wanted else None,
            "headers": dict(_header(each) for each in headers),
            "allow_plaintext_credentials": allow_plaintext_credentials,
        }
        return command(*args, security=security, **kwargs)

    return with_security


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        # The text is not repeated: it may be a secret that lacks its name.
        raise click.BadParameter("expected NAME=VALUE or NAME=@FILE", param_hint="--header")
    if not value.startswith("@"):
        return name, value
    try:
        return name, Path(value[1:]).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise click.BadParameter(f"{name}: {value[1:]!r} cannot be read: {reason}", param_hint="--header") from None
