"""A task definition said in code, beside the worker that it is for."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final, Literal

from conductor_grpc.definitions import task_definition_to_proto
from conductor_grpc.errors import DefinitionError

if TYPE_CHECKING:
    from typing import Any

RESPONSE_TIMEOUT_SECONDS: Final = 600
"""Of a definition that names none. The server's own default is an hour."""


@dataclass(frozen=True, kw_only=True)
class TaskDefinition:
    """How the server treats the tasks of a worker: retries, timeouts, limits.

    The names are Conductor's, in snake case, and so are the defaults, but for `response_timeout_seconds`. Checked when
    it is made; immutable, and equal to another that says the same. The name of the task is the worker's.

    Raises:
        DefinitionError: A value that the server would refuse, or that gRPC cannot carry. `path` names the argument.
    """

    description: str = ""
    """Free text."""

    retry_count: int = 3
    """Retries after the first attempt."""

    retry_logic: Literal["FIXED", "EXPONENTIAL_BACKOFF", "LINEAR_BACKOFF"] = "FIXED"
    """How the delay d before retry n (from 0) grows: d, d * 2^n, or d * backoff_scale_factor * (n + 1)."""

    retry_delay_seconds: int = 60
    """The delay d."""

    backoff_scale_factor: int = 1
    """Of LINEAR_BACKOFF; at least 1."""

    max_retry_delay_seconds: int = 0
    """The most that a delay may grow to; 0 for no limit. Server 3.30.0 or later."""

    backoff_jitter_ms: int = 0
    """Up to so many milliseconds, at random, are added to a delay. Server 3.30.0 or later."""

    timeout_seconds: int = 0
    """Seconds that one attempt may take from its poll to its end, whatever it reports meanwhile; 0 for no limit."""

    timeout_policy: Literal["RETRY", "TIME_OUT_WF", "ALERT_ONLY"] = "TIME_OUT_WF"
    """What happens after `timeout_seconds` or `poll_timeout_seconds`: the task is retried, the workflow ends as
    TIMED_OUT, or nothing does but a line in the server's log."""

    total_timeout_seconds: int = 0
    """Seconds for all attempts together; 0 for no limit. Server 3.21.11 or later."""

    response_timeout_seconds: int | None = None
    """Seconds without a sign of life from its worker after which an attempt ends as TIMED_OUT and is retried: what a
    worker that was lost costs. One that runs for longer extends its lease before (see `WorkerInterface.lease`).
    None: 600, or `timeout_seconds` where that is less. The server's own default is 3600."""

    poll_timeout_seconds: int = 0
    """Seconds that a task may wait for a worker; 0 for no limit."""

    concurrent_exec_limit: int = 0
    """Most tasks of this type that run at once, over all workers; 0 for no limit."""

    rate_limit_per_frequency: int = 0
    """Most tasks handed out in `rate_limit_frequency_in_seconds`; 0 for no limit. Without effect on SQL backends."""

    rate_limit_frequency_in_seconds: int = 1
    """The window of the rate limit."""

    owner_email: str = ""
    """Whom to ask about it. A server may be set up to demand one."""

    input_keys: Sequence[str] | None = None
    """Names of the inputs, for documentation. None: those of the worker function's parameters."""

    output_keys: Sequence[str] = ()
    """Names of the outputs, for documentation."""

    input_template: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Inputs where a task has none of that name, or null. Numbers arrive at the server as floating point."""

    task_status_listener_enabled: bool = True
    """Whether the server tells its listener, if it has one, about these tasks. Server 3.23.0 or later."""

    def __post_init__(self) -> None:
        for name in ("input_keys", "output_keys"):
            value = getattr(self, name)
            if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
                object.__setattr__(self, name, tuple(value))
        if isinstance(self.input_template, Mapping):
            # A copy, since the caller's may change; a dict, since a worker must pickle.
            object.__setattr__(self, "input_template", _copy_of(self.input_template))
        self._check_presence_and_sign()
        try:
            task_definition_to_proto(self.to_json("checked"), _OURS)
        except DefinitionError as error:
            raise _in_our_words(error) from None

    def to_json(self, name: str, input_keys: Iterable[str] = ()) -> dict[str, object]:
        """The definition of task `name` as Conductor's JSON, every setting spelled out.

        Args:
            name: The name of the task.
            input_keys: Where the definition names none.
        """
        settings = {_camel(each.name): getattr(self, each.name) for each in fields(self)}
        if self.response_timeout_seconds is None:
            settings["responseTimeoutSeconds"] = self._default_response_timeout()
        if self.input_keys is None:
            settings["inputKeys"] = tuple(input_keys)
        return {"name": name, **settings}

    def _check_presence_and_sign(self) -> None:
        """What JSON and the server let pass: null for "the default", and negative numbers that mean nothing."""
        for each in fields(self):
            value, path = getattr(self, each.name), f"{_OURS}.{each.name}"
            if value is None and each.default is not None:
                raise DefinitionError(f"{path}: None says nothing: leave the argument out for its default", path)
            if isinstance(value, int) and value < 0:
                raise DefinitionError(f"{path}: {value} is negative: expected a whole number of at least 0", path)

    def _default_response_timeout(self) -> int:
        # The server demands that it does not exceed the timeout. One that is no number is refused by its own name.
        timeout: object = self.timeout_seconds
        if isinstance(timeout, float) and timeout.is_integer():
            timeout = int(timeout)
        if isinstance(timeout, int) and timeout > 0:
            return min(RESPONSE_TIMEOUT_SECONDS, timeout)
        return RESPONSE_TIMEOUT_SECONDS


_OURS: Final = "TaskDefinition"


def _copy_of(template: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return copy.deepcopy(dict(template))
    except Exception as error:
        path = f"{_OURS}.input_template"
        raise DefinitionError(
            f"{path}: cannot be copied ({type(error).__name__}: {error}): expected values that have a JSON form", path
        ) from error


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


_SNAKE: Final = {_camel(each.name): each.name for each in fields(TaskDefinition)}


def _in_our_words(error: DefinitionError) -> DefinitionError:
    """The same, with the names of the arguments in place of JSON's."""
    template = error.path.startswith(f"{_OURS}.inputTemplate")  # below it the names are the user's
    ours = {"inputTemplate": "input_template"} if template else _SNAKE
    words = re.compile(rf"\b({'|'.join(ours)})\b")
    return DefinitionError(
        words.sub(lambda found: ours[found[1]], _text_of(error), count=1 if template else 0),
        words.sub(lambda found: ours[found[1]], error.path, count=1),
    )


def _text_of(error: DefinitionError) -> str:
    return str(error).replace(" (3600 where absent)", "")  # true of JSON; here it is `_default_response_timeout`
