"""The key by which this program gets its tokens."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from conductor_grpc.errors import ConfigurationError

KEY_ID_VARIABLE = "CONDUCTOR_AUTH_KEY"
KEY_SECRET_VARIABLE = "CONDUCTOR_AUTH_SECRET"


@dataclass(frozen=True, repr=False)
class AuthenticationSettings:
    """The access key of an application: exchanged for a token at `base_url`, which goes with every call.

    Raises ConfigurationError, which never holds the secret.
    """

    key_id: str
    """The name of the key. Not a secret."""

    key_secret: str | Path
    """Its secret; or the Path of a file that holds it, read whenever a token is needed. A pickle, such as a process
    started by "spawn" gets, then has the path in it and not the secret."""

    def __post_init__(self) -> None:
        if not isinstance(self.key_id, str) or not self.key_id.strip():
            raise ConfigurationError(f"key_id {self.key_id!r}: expected the id of an access key, a string")
        if isinstance(self.key_secret, Path):
            # Absolute from now on: a process may change its folder before it needs a token.
            object.__setattr__(self, "key_secret", self.key_secret.expanduser().absolute())
        elif not isinstance(self.key_secret, str) or not self.key_secret.strip():
            raise ConfigurationError(
                f"key_secret of key_id {self.key_id!r} is {'empty' if isinstance(self.key_secret, str) else 'no text'}:"
                " expected the secret as a string, or the Path of a file that holds it"
            )

    @classmethod
    def from_environment(cls) -> AuthenticationSettings | None:
        """The key in `CONDUCTOR_AUTH_KEY` and `CONDUCTOR_AUTH_SECRET`; None if neither is set."""
        key_id, key_secret = os.environ.get(KEY_ID_VARIABLE), os.environ.get(KEY_SECRET_VARIABLE)
        if not key_id and not key_secret:
            return None
        if not key_id or not key_secret:
            there, missing = (
                (KEY_ID_VARIABLE, KEY_SECRET_VARIABLE) if key_id else (KEY_SECRET_VARIABLE, KEY_ID_VARIABLE)
            )
            raise ConfigurationError(f"{there} is set and {missing} is not: set both, or neither")
        return cls(key_id, key_secret)

    def secret(self) -> str:
        """The secret itself. Raises ConfigurationError if its file cannot be read."""
        if isinstance(self.key_secret, str):
            return self.key_secret
        try:
            secret = self.key_secret.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigurationError(f"key_secret {str(self.key_secret)!r} cannot be read: {reason}") from None
        if not secret:
            raise ConfigurationError(f"key_secret {str(self.key_secret)!r} is empty: expected the secret in that file")
        return secret

    def __repr__(self) -> str:
        shown = f"Path({str(self.key_secret)!r})" if isinstance(self.key_secret, Path) else "***"
        return f"AuthenticationSettings(key_id={self.key_id!r}, key_secret={shown})"
