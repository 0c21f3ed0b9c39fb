"""From when to when a certificate is valid: what tells an expired client certificate from an unwanted one.

A server that does not accept a certificate seldom says why, and Python's standard library reads no certificate but
that of a peer. Two dates in DER need no dependency.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime, timezone

_UTC_TIME = 0x17
_VERSION = 0xA0


@dataclass(frozen=True)
class Validity:
    """The dates of a certificate, in UTC."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def of_certificate(cls, pem: str) -> Validity:
        """Of one certificate in PEM, which OpenSSL has accepted before. Raises ValueError for other data."""
        der = ssl.PEM_cert_to_DER_cert(pem)
        try:
            _, position, _ = _element(der, 0)  # Certificate
            _, position, _ = _element(der, position)  # TBSCertificate
            if der[position] == _VERSION:
                position = _element(der, position)[2]
            for _field in ("serialNumber", "signature", "issuer"):
                position = _element(der, position)[2]
            _, position, _ = _element(der, position)
            not_before, position = _time(der, position)
            not_after, _ = _time(der, position)
        except IndexError as error:
            raise ValueError("the certificate is cut off") from error
        return cls(not_before, not_after)


def _element(der: bytes, position: int) -> tuple[int, int, int]:
    """Tag, where the content begins, where it ends."""
    tag, length, begin = der[position], der[position + 1], position + 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(der[position + 2 : begin], "big")
    return tag, begin, begin + length


def _time(der: bytes, position: int) -> tuple[datetime, int]:
    tag, begin, end = _element(der, position)
    text = der[begin:end].decode("ascii")
    if tag == _UTC_TIME:  # two digits for the year, 1950 to 2049 (RFC 5280)
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc), end
