"""Slots by the load of the machine: the rule, and the numbers it goes by."""

from __future__ import annotations

import os
import pickle
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from conductor_grpc import ConfigurationError, Load, ResourceBasedSlots, SlotSupplier, SlotUse
from conductor_grpc.poller.slots.allowance import Allowance
from conductor_grpc.worker.slots import resource_based
from conductor_grpc.worker.slots.cgroup import groups_of_this_process
from conductor_grpc.worker.slots.machine_load import INTERVAL, MachineLoad

if TYPE_CHECKING:
    from pathlib import Path

IDLE, BUSY, FULL = Load(0.2, 0.2), Load(0.8, 0.2), Load(0.2, 0.8)


class Machine:
    """A clock and a load, both at the test's will, and a worker that takes whatever it gets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, minimum: int = 1, **options: Any) -> None:
        self.now = 1000.0
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(resource_based, "time", clock)
        monkeypatch.setattr("conductor_grpc.poller.slots.allowance.time", clock)
        self.load: Load | None = IDLE
        self.supplier = ResourceBasedSlots(minimum, load=lambda: self.load, **options)

    def allowance(self, concurrency: int = 100) -> Allowance:
        worker: Any = SimpleNamespace(task_definition_name="work", concurrency=concurrency, slots=self.supplier)
        return Allowance(worker)


def test_below_the_targets_there_is_one_more_slot_every_ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 2, ramp=0.5)
    allowed = machine.allowance()
    assert allowed.ask(0) == 2
    assert allowed.ask(1) == 2, "there is one left to use first"
    assert allowed.ask(2) == 3
    assert allowed.ask(3) == 3
    machine.now += 0.4
    assert allowed.ask(3) == 3
    machine.now += 0.2
    assert allowed.ask(3) == 4


def test_concurrency_is_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, ramp=0)
    allowed = machine.allowance(concurrency=3)
    assert [allowed.ask(used) for used in (0, 1, 2, 3, 3)] == [1, 2, 3, 3, 3]
    assert Machine(monkeypatch, 5).allowance(concurrency=3).ask(0) == 3


@pytest.mark.parametrize("load", [BUSY, FULL, None])
@pytest.mark.feature("Slot suppliers, tuning by resources")
def test_above_a_target_there_are_none_beyond_those_in_use_and_the_minimum(
    monkeypatch: pytest.MonkeyPatch, load: Load | None
) -> None:
    machine = Machine(monkeypatch, 2, ramp=0)
    allowed = machine.allowance()
    for used in range(11):
        allowed.ask(used)
    assert allowed.granted == 11
    machine.load = load
    assert allowed.ask(10) == 10
    assert allowed.ask(6) == 6
    assert allowed.ask(0) == 2


def test_after_that_it_begins_again_with_those_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, ramp=1)
    allowed = machine.allowance()
    for used in range(11):
        allowed.ask(used)
        machine.now += 1
    machine.load = BUSY
    assert allowed.ask(6) == 6
    machine.load = IDLE
    assert allowed.ask(6) == 7, "although there were eleven a moment ago"
    assert allowed.ask(7) == 7


def test_slots_that_were_in_use_lately_are_free_to_be_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a worker with short tasks would begin no more of them a second than the ramp allows."""
    machine = Machine(monkeypatch, ramp=1)
    allowed = machine.allowance()
    for used in range(10):
        allowed.ask(used)
        machine.now += 1
    assert [allowed.ask(used) for used in (4, 7, 2, 9)] == [10, 10, 10, 10]


def test_slots_that_were_not_in_use_for_long_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after a quiet night may be heavier than what was there before."""
    machine = Machine(monkeypatch, ramp=1)
    allowed = machine.allowance()
    for used in range(10):
        allowed.ask(used)
        machine.now += 1
    for _ in range(5):
        machine.now += 5
        allowed.ask(2)
    assert allowed.ask(2) == 3


def test_tasks_beyond_the_permits_raise_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, ramp=1)
    allowed = machine.allowance()
    allowed.ask(0)
    machine.load = BUSY
    assert allowed.ask(80) == 1
    machine.load = IDLE
    assert allowed.ask(80) == 2
    assert allowed.ask(80) == 2


def test_workers_that_share_one_share_its_ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, ramp=1)
    first, second = machine.allowance(), machine.allowance()
    assert (first.ask(1), second.ask(1)) == (2, 1)
    machine.now += 1
    assert (second.ask(1), first.ask(2)) == (2, 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"minimum": 0}, "minimum 0: expected a whole number >= 1"),
        ({"minimum": 1.0}, "minimum 1.0: expected a whole number >= 1"),
        ({"target_cpu": 0}, "target_cpu 0: expected a share, more than 0 and at most 1"),
        ({"target_cpu": 80}, "target_cpu 80: expected a share"),
        ({"target_memory": "80%"}, "target_memory '80%': expected a share"),
        ({"target_memory": float("nan")}, "target_memory nan: expected a share"),
        ({"ramp": -1}, "ramp -1: expected seconds, a finite number >= 0"),
        ({"ramp": float("inf")}, "ramp inf: expected seconds"),
        ({"load": 0.5}, "load 0.5: expected a function that returns a Load"),
    ],
)
def test_settings_that_cannot_work(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        ResourceBasedSlots(**options)
    assert said in str(raised.value)


def test_it_can_be_sent_to_another_process() -> None:
    supplier = ResourceBasedSlots(3, target_cpu=0.5, target_memory=0.6, ramp=2)
    assert repr(pickle.loads(pickle.dumps(supplier))) == repr(supplier)
    assert repr(supplier) == "ResourceBasedSlots(3, target_cpu=0.5, target_memory=0.6, ramp=2)"
    assert isinstance(supplier, SlotSupplier)


def test_a_system_without_proc(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"can be read on Linux only: give ResourceBasedSlots\(load="):
        MachineLoad(tmp_path)


class Kernel:
    """The files of one, with two CPUs and 1000 kB, and a clock."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, cgroup: str = "", mounts: str = "") -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
        self.root = root
        self.now = 50.0
        self.cpu(0)
        self.write("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 400 kB\n")
        self.write("proc/self/cgroup", cgroup)
        self.write("proc/self/mountinfo", mounts)

    def write(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def cpu(self, busy: float, other: float = 0) -> None:
        """Seconds that each of the two was busy, and a third that is not for this process."""
        ticks = os.sysconf("SC_CLK_TCK")
        line = f"0 0 {{}} {10**6} {10**6} 0 0 0 0 0"
        mine, others = line.format(int(busy * ticks)), line.format(int(other * ticks))
        self.write("proc/stat", f"cpu  {mine}\ncpu0 {mine}\ncpu1 {mine}\ncpu10 {others}\nintr 1 2")

    def machine_load(self) -> MachineLoad:
        return MachineLoad(self.root, lambda: self.now)


V2 = "31 24 0:28 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"


def test_the_machine_where_no_group_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, monkeypatch, "0::/a", V2.format(root="/"))
    kernel.write("sys/fs/cgroup/a/cpu.max", "max 100000")
    kernel.write("sys/fs/cgroup/a/memory.max", "max")
    read = kernel.machine_load()
    assert read() is None, "there is no time yet over which to measure"
    kernel.now += 2
    kernel.cpu(1.5, other=100)
    assert read() == pytest.approx(Load(0.75, 0.6))
    kernel.now += INTERVAL / 2
    kernel.cpu(100)
    assert read() == pytest.approx(Load(0.75, 0.6)), "not over so short a time"


def test_the_limits_of_a_group_and_of_those_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, monkeypatch, "0::/pod/container", V2.format(root="/"))
    for group, cpus, seconds, limit, used, inactive in (
        ("pod", 1.5, 10, 2000, 1500, 100),
        ("pod/container", 0.5, 10, 1000, 900, 400),
    ):
        folder = f"sys/fs/cgroup/{group}"
        kernel.write(f"{folder}/cpu.max", f"{int(cpus * 100_000)} 100000")
        kernel.write(f"{folder}/cpu.stat", f"usage_usec {seconds * 10**6}\nuser_usec 1")
        kernel.write(f"{folder}/memory.max", limit)
        kernel.write(f"{folder}/memory.current", used)
        kernel.write(f"{folder}/memory.stat", f"anon 3\ninactive_file {inactive}\nactive_file 7")
    read = kernel.machine_load()
    read()
    kernel.now += 4
    kernel.cpu(4)
    kernel.write("sys/fs/cgroup/pod/cpu.stat", "usage_usec 13000000")  # 3 s of the 6 that it has
    kernel.write("sys/fs/cgroup/pod/container/cpu.stat", "usage_usec 10800000")  # 0.8 s of 2
    assert read() == pytest.approx(Load(0.5, 0.7)), "each of the group for which it is most"


def test_a_quota_of_more_cpus_than_there_are_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, monkeypatch, "0::/", V2.format(root="/"))
    kernel.write("sys/fs/cgroup/cpu.max", "400000 100000")
    kernel.write("sys/fs/cgroup/cpu.stat", "usage_usec 0")
    read = kernel.machine_load()
    read()
    kernel.now += 1
    kernel.cpu(1)
    loaded = read()
    assert loaded is not None
    assert loaded.cpu == pytest.approx(1)


@pytest.mark.parametrize(
    ("path", "root", "found"),
    [
        ("/", "/", ["."]),
        ("/docker/7", "/docker/7", ["."]),  # its own group is mounted, and known by the host's path
        ("/docker/7/inner", "/docker/7", ["inner", "."]),
        ("/../other", "/", ["."]),
        ("/not/mounted", "/", ["."]),
        ("/a/inner", "/elsewhere", ["."]),
    ],
)
def test_where_a_group_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, root: str, found: list[str]
) -> None:
    Kernel(tmp_path, monkeypatch, f"0::{path}", V2.format(root=root))
    mount = tmp_path / "sys/fs/cgroup"
    (mount / "inner").mkdir(parents=True)
    assert [group.folder for group in groups_of_this_process(tmp_path)] == [mount / each for each in found]  # type: ignore[attr-defined]


def test_version_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cgroup = "4:memory:/box\n3:cpu,cpuacct:/box\n1:name=systemd:/\n0::/"
    mount = "3{0} 31 0:2{0} / /sys/fs/cgroup/{1} rw,relatime shared:9 - cgroup cgroup rw,{1}"
    kernel = Kernel(
        tmp_path, monkeypatch, cgroup, "\n".join((mount.format(1, "cpu,cpuacct"), mount.format(2, "memory")))
    )
    cpu, memory = "sys/fs/cgroup/cpu,cpuacct/box", "sys/fs/cgroup/memory"
    kernel.write(f"{cpu}/cpu.cfs_quota_us", 50_000)
    kernel.write(f"{cpu}/cpu.cfs_period_us", 100_000)
    kernel.write(f"{cpu}/cpuacct.usage", 0)
    kernel.write(f"{memory}/memory.limit_in_bytes", 9_223_372_036_854_771_712)
    kernel.write(f"{memory}/box/memory.limit_in_bytes", 1000)
    kernel.write(f"{memory}/box/memory.usage_in_bytes", 800)
    kernel.write(f"{memory}/box/memory.stat", "inactive_file 1\ntotal_inactive_file 300")
    read = kernel.machine_load()
    read()
    kernel.now += 2
    kernel.write(f"{cpu}/cpuacct.usage", 900_000_000)
    assert read() == pytest.approx(Load(0.9, 0.5))


def test_a_limit_that_is_set_later_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, monkeypatch, "0::/", V2.format(root="/"))
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    read = kernel.machine_load()
    read()
    kernel.write("sys/fs/cgroup/cpu.max", "100000 100000")
    kernel.write("sys/fs/cgroup/cpu.stat", "usage_usec 5000000")
    kernel.write("sys/fs/cgroup/memory.max", 1000)
    kernel.write("sys/fs/cgroup/memory.current", 300)
    kernel.write("sys/fs/cgroup/memory.stat", "inactive_file 0")
    kernel.now += 1
    kernel.cpu(0.5)
    assert read() == pytest.approx(Load(0.5, 0.3)), "nobody knows yet what CPU time the group has used since"
    kernel.now += 1
    kernel.write("sys/fs/cgroup/cpu.stat", "usage_usec 5900000")
    assert read() == pytest.approx(Load(0.9, 0.3))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, monkeypatch, "0::/", V2.format(root="/"))
    kernel.write("sys/fs/cgroup/cpu.max", "100000 100000")
    kernel.write("sys/fs/cgroup/cpu.stat", "user_usec 0")
    with pytest.raises(ValueError, match=r"cpu.stat has no line 'usage_usec'"):
        kernel.machine_load()()


@pytest.mark.skipif(sys.platform != "linux", reason="it is of Linux")
def test_this_machine() -> None:
    read = MachineLoad()
    assert read() is None
    end = time.monotonic() + INTERVAL
    while time.monotonic() < end:
        sum(range(1000))  # at least this is busy
    load = read()
    assert load is not None
    assert 0.5 / (os.cpu_count() or 1) < load.cpu < 1.2
    assert 0 < load.memory < 1
    supplier = ResourceBasedSlots(2)
    assert supplier.slots(SlotUse("work", 0, 1, 0, 10)) == 2
