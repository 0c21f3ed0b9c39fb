"""What the released server's REST API shows of the same data; the embedded server has none."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


def rest(server: ServerUnderTest, method: str, path: str, body: object = None) -> Any:
    """The decoded answer; a text that is no JSON (the id of a started workflow) as it is."""
    assert server.base_url is not None, f"the {server.name} server has no REST"
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(server.base_url + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read().decode()
    return json.loads(text) if text[:1] in ("{", "[") else text
