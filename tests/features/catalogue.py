"""The rows: each worker feature and each bug found in seven SDKs that poll, run and acknowledge tasks.

The SDKs are Temporal's, pyzeebe, google-cloud-pubsub, Conductor's own for Java, Go and Python (conductor-python, over
REST), and Hatchet's. Names of rows are what markers give, so a name is changed in both places.
"""

from __future__ import annotations

from typing import Final

from features.row import Bug, Feature

FEATURES: Final = {
    "features of seven SDKs": [
        Feature("Long poll", "an idle queue is asked for one task, with a wait of 5 s on the server", "poller.md"),
        Feature(
            "Adaptive polling, backoff, jitter",
            "a full answer is followed at once by a poll for all free slots; errors double a pause, up to 10 s",
            "poller.md#decisions",
        ),
        Feature("Flow control: tasks", "a slot is reserved before the poll; nothing is prefetched", "poller.md"),
        Feature("Flow control: bytes", "polling pauses while the results not yet sent are more than `outbox_bytes`"),
        Feature("Lease extension", "automatic, from half of the response timeout on, until the result is passed on"),
        Feature("Graceful shutdown with a deadline", "one order, one deadline, one report", "poller.md#decisions"),
        Feature("Results are sent again", "until the server takes or refuses them, in no slot", "poller.md#decisions"),
        Feature("Results that cannot be sent", "stay in the journal, and the next run sends them", "poller.md#journal"),
        Feature("Help with idempotency", "`current_task().idempotency_key`, the same in every attempt"),
        Feature(
            "Executors: threads, asyncio, processes",
            "by the kind of the function or `executor=`; native code without the interpreter's lock, too",
            "executors.md",
        ),
        Feature(
            "Poller autoscaling",
            "One poll at a time asks for as many tasks as there are free slots, so there is nothing to scale.",
            absent=True,
        ),
        Feature("Slot suppliers, tuning by resources", "fixed, by load of machine or cgroup, or your own"),
        Feature("Middleware", "plain callables, sync and async, the first outermost", "middleware.md"),
        Feature("Typed inputs", "from the signature, errors by path, value and type", "typed.md"),
        Feature(
            "Data converter",
            "dataclasses, enums, dates, UUIDs, Decimals, bytes and pydantic models, both ways",
            "typed.md",
        ),
        Feature(
            "Codec of payloads (encryption, compression)",
            "Definitions read inputs and outputs on the server, which sees no codec: what is secret is better passed "
            "by reference.",
            absent=True,
        ),
        Feature("Large payloads", "go through external storage, in a folder, S3 or one of your own", "sizes.md"),
        Feature(
            "Context of the task",
            "`current_task()`: attempt, cancellation, log lines, progress, lease, idempotency key",
            "context.md",
        ),
        Feature("Cancellation reaches the worker", "as an event, a CancelledError or an atomic flag", "poller.md"),
        Feature("Log records know their task", "`TaskLogFilter`, also from worker processes", "context.md#log-records"),
        Feature("Metrics", "Conductor's canonical names and some of our own, as file or endpoint", "metrics.md"),
        Feature(
            "Tracing (OpenTelemetry)",
            "The server passes no trace context on; a span around each task is a middleware of a few lines.",
            absent=True,
        ),
        Feature("Test server, skipping of time", "an embedded server with a clock to advance", "testing.md"),
        Feature("Replay and chaos tests", "a seeded simulation of the loop, and a table of faults", "poller.md"),
        Feature("TLS, client certificates, keys", "and tokens, each refusal with an error of its own", "security.md"),
        Feature("Keepalive, reconnection", "a server that goes away or stops answering is found again"),
        Feature("Health endpoint", "`/livez` and `/readyz` say why in JSON", "metrics.md#the-endpoint"),
        Feature(
            "Command line",
            "`conductor-grpc` with `run`, `apply`, `start`, `status`, `doctor`, `schema`, `server`, `demo`",
        ),
        Feature("Domains", "per worker or for all"),
        Feature(
            "Rate limiting by the client", "`rate_limit(per_second)`, per worker or for all", "middleware.md#built-in"
        ),
        Feature(
            "Dependency injection",
            "`Resource[T]`: opened once in a process, closed after its last task",
            "middleware.md#resources",
        ),
        Feature("Change while running", "`pause(type)` and `resume(type)`"),
    ],
    "features of conductor-python": [
        Feature("conductor-python: worker class", "`WorkerInterface` with `execute(task)`", "migration.md"),
        Feature(
            "conductor-python: several task types in one worker",
            "one worker is of one type; two workers may share a function",
        ),
        Feature("conductor-python: function worker", "`worker_task(name)(function)`", "migration.md"),
        Feature("conductor-python: decorator", "`@worker_task`; the function stays callable", "migration.md"),
        Feature(
            "conductor-python: discovery of workers",
            "by module, package or entry point; `conductor-grpc run module`",
            "handler.md#finding-workers",
        ),
        Feature("conductor-python: inputs by parameter name", "checked; a missing one is an error, not None"),
        Feature("conductor-python: outputs by kind of value", "the same for plain and async functions"),
        Feature("conductor-python: async workers", "all on one loop in the same process", "executors.md#async"),
        Feature("conductor-python: non-retryable failures", "`NonRetryableError`, with the traceback in the log"),
        Feature("conductor-python: task context", "`current_task()`", "context.md"),
        Feature(
            "conductor-python: yield and come back",
            "`TaskInProgress(callback_after_seconds, output)`",
            "context.md#not-done-yet-come-back-later",
        ),
        Feature("conductor-python: pause", "`TaskPoller.pause(type)`, at any time"),
        Feature("conductor-python: domains", "by worker and configuration"),
        Feature(
            "conductor-python: handler of processes", "`TaskHandler`, as many for each worker as wanted", "handler.md"
        ),
        Feature(
            "conductor-python: start, join, stop, context manager",
            "the same names; a stop drains",
            "handler.md#the-end",
        ),
        Feature(
            "conductor-python: supervision",
            "with backoff that is forgotten; tasks are taken care of; hanging is seen",
            "handler.md#a-process-that-ends",
        ),
        Feature(
            "conductor-python: threads instead of processes", "the rule: `TaskPoller` has one process for all workers"
        ),
        Feature("conductor-python: health of the worker", "`health()` knows of polls and of the parts that run them"),
        Feature(
            "conductor-python: workers cross to a spawned process", "by reference, found out at the start, not later"
        ),
        Feature("conductor-python: embedding in an application", "`with TaskPoller(workers):` in any thread"),
        Feature(
            "conductor-python: worker settings by environment",
            "concurrency, domain, lease, grace, registration, pause: by type or for all; what is wrong is told",
            "executors.md#options-by-environment-variables",
        ),
        Feature("conductor-python: client configuration and its environment", "read once, at construction"),
        Feature("conductor-python: import without side effects", "no handler, no start method, no variable is set"),
        Feature("conductor-python: batch poll", "always, for free slots only"),
        Feature("conductor-python: long poll", "`poll_wait_ms` is what the server is asked to wait"),
        Feature("conductor-python: backoff on an empty queue", "the server waits; where it does not, 10 ms to 1 s"),
        Feature("conductor-python: waiting for a slot", "on a condition: no poll, no turn of a loop"),
        Feature("conductor-python: backoff after failures", "0.2 s to 10 s, the same for all kinds of workers"),
        Feature("conductor-python: backoff without a token", "no call is made, and the token is asked for ever less"),
        Feature("conductor-python: cost of an idle worker", "one poll in 5 s", "performance.md"),
        Feature(
            "conductor-python: chained poll (update-v2)",
            "gRPC has no such call; results go out while the next poll is under way.",
            absent=True,
        ),
        Feature("conductor-python: retried updates", "by kind of error, without a slot, for ever if that may help"),
        Feature("conductor-python: result that could not be sent", "`health()` and the report count it"),
        Feature("conductor-python: slot and lease while retrying", "the slot is free at once"),
        Feature("conductor-python: lease extension", "on unless `lease=False`"),
        Feature("conductor-python: lost lease", "cancels the task"),
        Feature("conductor-python: cancellation and timeouts", "a terminated or timed out task is told", "poller.md"),
        Feature("conductor-python: external payload storage", "for inputs and outputs", "sizes.md"),
        Feature(
            "conductor-python: poll filter",
            "whether to poll is said by `pause(type)` and `resume(type)`",
        ),
        Feature(
            "conductor-python: registration of task definitions",
            "`register=True`, `conductor-grpc apply --from`; none is overwritten unasked",
            "registration.md",
        ),
        Feature(
            "conductor-python: JSON schemas of workers", "of inputs and outputs, by `conductor-grpc schema`", "typed.md"
        ),
        Feature(
            "conductor-python: events and listeners",
            "a middleware, such as `timing`; metrics for polls",
            "middleware.md",
        ),
        Feature("conductor-python: metrics settings", "the same three, and an endpoint", "metrics.md"),
        Feature("conductor-python: canonical metrics", "always; sizes are bytes on the wire", "metrics.md"),
        Feature("conductor-python: key and secret", "one request for all threads, renewed before it expires"),
        Feature("conductor-python: TLS and proxies", "settings that work", "security.md"),
        Feature("conductor-python: HTTP/2", "by gRPC; a connection that is closed or silent is replaced"),
        Feature("conductor-python: logging", "loggers below `conductor_grpc`; none is configured"),
        Feature(
            "conductor-python: workflows in code",
            "Definitions are the JSON that server, UI and documentation use; `MetadataClient` takes it as a dict.",
            absent=True,
        ),
        Feature("conductor-python: clients", "all 42 calls, with Python types"),
        Feature("conductor-python: test helpers", "pytest fixtures, one worker or a whole workflow", "testing.md"),
        Feature("conductor-python: command line", "it has none, we do"),
    ],
}
"""By the name of the table's place in the page."""

BUGS: Final = {
    "bugs of SDKs": [
        Bug(
            "pyzeebe: errors of a lifetime",
            "ten transport errors, ever, end the worker",
            "only failures in a row count, for the pause; no number of them ends a poller",
        ),
        Bug(
            "pyzeebe: unbounded queue",
            "a worker with no free slot is sent more; leases expire in the queue",
            "no poll without a slot; tasks beyond it wait under lease and hold the next poll back",
        ),
        Bug(
            "pyzeebe: unmapped status",
            "a gRPC status that nobody thought of ends all workers",
            "every status is an error of some kind, and every kind is a pause",
        ),
        Bug(
            "pyzeebe: swallowed middleware errors",
            "what a hook before or after a job raises is swallowed",
            "it fails the task, and the reason names the middleware",
        ),
        Bug(
            "pubsub: success after failure",
            "the future of an acknowledgement succeeds though the call has failed",
            "a result counts as accepted when the server has said so, not before",
        ),
        Bug(
            "pubsub: literal braces",
            "a missing f: logs show `{len(requests)}`",
            "no text of the sources holds a placeholder that nobody fills",
        ),
        Bug(
            "pubsub: deadlock of pausing and acknowledging",
            "flow control waits for what only the paused thread could do",
            "only the intake waits for room; slots, leases and the drain never do",
        ),
        Bug(
            "Java: over-delivery",
            "more tasks than permits: an exception, tasks dropped, permits lost",
            "such tasks are a debt of permits, worked off before the next poll",
        ),
        Bug(
            "Java: rejected task",
            "a task that the pool rejects is dropped",
            "a task that no slot takes is handed back",
        ),
        Bug(
            "Java: leases end before the drain",
            "shutdown cancels extensions first, then waits for the tasks",
            "the keeper stops after the last task",
        ),
        Bug(
            "Java: deadlines add up",
            "each runner takes its own timeout, one after the other",
            "one deadline for all workers",
        ),
        Bug(
            "Java: fixed pause",
            "a wrong variable makes the growing pause between attempts a fixed one",
            "it doubles up to 10 s, with jitter",
        ),
        Bug(
            "Java: sleeps when full",
            "full, paused and empty all sleep the whole polling interval",
            "the end of a task, and `resume`, wake the poller",
        ),
        Bug(
            "Go: recovered panic",
            "a panic is logged, and the task hangs until its response timeout",
            "whatever escapes the worker, SystemExit too, is a result",
        ),
        Bug(
            "Go, Python: retries hold the slot",
            "a minute of retries blocks a slot",
            "the outbox retries, the slot is free",
        ),
        Bug(
            "Hatchet: retry that never runs",
            "the retry wraps a fire-and-forget call, which cannot fail",
            "the answer itself is awaited",
        ),
        Bug(
            "Hatchet: dead worker, living listener",
            "the process that runs tasks is dead, another goes on taking them",
            "a dead process is replaced; a dead part ends the poller, loudly",
        ),
        Bug(
            "Hatchet: killed threads",
            "SystemExit is raised in a thread that may be out of the worker's code by then",
            "no thread is ever killed: cancellation is an event, processes have a grace",
        ),
        Bug(
            "Python: lease ends before the update",
            "nothing extends the task while its result is retried for a minute; at shutdown all leases end first",
            "an extension is an UpdateTask as well: it fails when the result does, and may undo it where they overlap. "
            "So none is sent then; a result that comes late is looked after instead",
        ),
        Bug(
            "Python: next task dropped at shutdown",
            "a task that came with the answer to an update is forgotten",
            "what the last poll brings is handed back",
        ),
        Bug(
            "Python: busy wait",
            "a full worker wakes a thousand times a second; long intervals are ignored",
            "it waits on a condition",
        ),
        Bug(
            "Temporal: completion dropped after ten seconds",
            "ten seconds of network trouble lose a result, with a warning",
            "errors that may pass are retried for ever",
        ),
        Bug(
            "Temporal: deadlock with the interpreter's lock",
            "native code waits for its mutex with the lock held, and the other way round",
            "native code takes no lock at all: a flag is atomic, and the worker runs without the interpreter's lock",
        ),
        Bug(
            "Temporal: exception after the end",
            "an asynchronous exception that comes too late kills a thread of the pool",
            "no thread is ever killed; a cancellation after the end has no effect",
        ),
    ],
    "defects of conductor-python": [
        Bug("D1", "`stop_processes()` kills running tasks; they run again an hour later", "running tasks end first"),
        Bug("D2", "SIGTERM to the parent: its children go on taking tasks", "they end with it, even after a kill"),
        Bug("D3", "a worker that raises counts as a success in events and metrics", "it is a failure, with its class"),
        Bug("D4", "`async def f(task: Task)` gets None", "one binding for all kinds of functions"),
        Bug("D5", "a class with `async def execute` fails each task", "runs on the loop like an async function"),
        Bug("D6", "one failed renewal: no token is ever sent again", "the old one goes on, and renewal is tried again"),
        Bug("D7", "404 for one task changes how all others are sent", "it concerns that update alone"),
        Bug("D8", "in thread mode `stop_processes()` stops nothing", "every thread ends with `stop`"),
        Bug(
            "D9",
            "`list`, `Any`, `Dict[str, int]`, and all that stands in a module with postponed annotations, fail",
            "annotations are resolved at declaration; what is not supported is refused there",
        ),
        Bug("D10", "`sys.exit()` in a worker: no result; a KeyError's key becomes the reason", "a failure, in text"),
        Bug(
            "D11",
            "an Enum in the output loses the result after a minute; NaN is sent as invalid JSON; sets become text",
            "an Enum is its value, a set a list; what has no JSON form fails the task, with its path",
        ),
        Bug("D12", "poll timeout, long intervals, TLS and documented variables are ignored", "each shows on the wire"),
    ],
    "issues of conductor-python": [
        Bug("python-sdk#224", "SIGTERM kills running work at each deployment", "SIGTERM drains"),
        Bug("python-sdk#243", "no way to stop polling, finish and exit", "`stop(timeout)` does just that"),
        Bug("python-sdk#395", "memory grows by 450 KB a minute", "nothing holds a task after its end"),
        Bug(
            "python-sdk#412", "a half-open connection: no poll ever again", "every call has a deadline, and pings tell"
        ),
        Bug("python-sdk#410", "load balancers close connections (GOAWAY), and polling stops", "the next call connects"),
        Bug(
            "python-sdk#271",
            "on Windows and macOS workers cannot be pickled",
            "threads need no pickling; a worker with processes that cannot be is refused at the start",
        ),
        Bug("python-sdk#436", "where processes cannot be started, no task is polled", "the poller needs none"),
        Bug("python-sdk#384", "a polling interval of 5 s polls every second", "the wait asked for is the wait sent"),
        Bug("python-sdk#167", "a process for each async worker", "thousands of tasks on one loop"),
        Bug("python-sdk#278", "tasks of hours time out", "their leases are extended"),
        Bug("python-sdk#299", "an invalid token until the restart", "a refused token is replaced once"),
        Bug("python-sdk#348", "workers poll a domain that nobody asked for", "no domain unless one is given"),
        Bug("python-sdk#376", "threads and processes spoil each other's metrics", "each process has a file of its own"),
        Bug("python-sdk#97", "one task at a time per type", "`concurrency` many, each in its own slot"),
        Bug(
            "python-sdk#387",
            "the update call is one that released servers do not have",
            "calls are those of the released server's contract",
        ),
    ],
}
