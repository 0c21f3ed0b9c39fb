"""The codec in Python: what the native one has to do, and its stand-in under CONDUCTOR_GRPC_PURE=1.

Same names, values, errors and messages as `conductor_grpc._core`; written to be read, not to be fast.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast, final

from conductor_grpc.errors import PayloadDecodeError, PayloadEncodeError
from conductor_grpc.payload.plain import JsonValue, to_key, to_plain

if TYPE_CHECKING:
    from typing_extensions import Buffer
