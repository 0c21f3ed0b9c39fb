"""Python values <-> the wire bytes of protobuf messages, without protobuf objects in between.

The codec is native; `CONDUCTOR_GRPC_PURE=1` in the environment puts the Python reference in its place, which
behaves the same and is about fifty times slower.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from conductor_grpc.payload.plain import JsonValue

if TYPE_CHECKING or os.environ.get("CONDUCTOR_GRPC_PURE") != "1":
    from conductor_grpc._core import Layout, decode_map, encode_map
else:
    from conductor_grpc.payload.reference import Layout, decode_map, encode_map

__all__ = ["JsonValue", "Layout", "decode_map", "encode_map"]
