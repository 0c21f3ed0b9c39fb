"""The limits that this process's control groups set, versions 1 and 2, and what of them is used."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol


class CpuUse(NamedTuple):
    seconds: float
    """CPU time used so far, since whenever."""
    cpus: float
    """How many CPUs may be used at a time."""


class Group(Protocol):
    """One control group that this process is in, or is below of.

    Its files are read at each call, for limits may be changed. Raises OSError or ValueError where one cannot be read.
    """

    def cpu(self) -> CpuUse | None:
        """None: it sets no limit."""
        ...

    def memory(self) -> float | None:
        """The share of its limit that is used, without what the kernel can free at once; None: it sets no limit."""
        ...


@dataclass(frozen=True)
class GroupV2:
    folder: Path

    def cpu(self) -> CpuUse | None:
        limit = _text(self.folder / "cpu.max")
        if limit is None or limit.startswith("max"):
            return None
        quota, period = map(int, limit.split())
        return CpuUse(_field(self.folder / "cpu.stat", "usage_usec") / 1e6, quota / period)

    def memory(self) -> float | None:
        limit = _text(self.folder / "memory.max")
        if limit is None or limit == "max":
            return None
        used = int((self.folder / "memory.current").read_text()) - _field(self.folder / "memory.stat", "inactive_file")
        return used / max(1, int(limit))


@dataclass(frozen=True)
class CpuGroupV1:
    folder: Path
    accounts: Path
    """The folder of the same group in the hierarchy that counts CPU time."""

    def cpu(self) -> CpuUse | None:
        quota = _text(self.folder / "cpu.cfs_quota_us")
        if quota is None or int(quota) < 0:
            return None
        period = int((self.folder / "cpu.cfs_period_us").read_text())
        return CpuUse(int((self.accounts / "cpuacct.usage").read_text()) / 1e9, int(quota) / period)

    def memory(self) -> None:
        return None


@dataclass(frozen=True)
class MemoryGroupV1:
    folder: Path

    def cpu(self) -> None:
        return None

    def memory(self) -> float | None:
        limit = int(_text(self.folder / "memory.limit_in_bytes") or _NO_LIMIT_V1)
        if limit >= _NO_LIMIT_V1:
            return None
        used = int((self.folder / "memory.usage_in_bytes").read_text())
        return (used - _field(self.folder / "memory.stat", "total_inactive_file")) / max(1, limit)


_NO_LIMIT_V1 = 2**62
"""Bytes; the kernel says the largest number of whole pages where there is none."""


class _Mount(NamedTuple):
    kind: str
    """`cgroup2` or, for version 1, `cgroup`."""
    controllers: frozenset[str]
    root: str
    """The group that is mounted."""
    point: Path


def groups_of_this_process(root: Path = Path("/")) -> list[Group]:
    """Those that are visible from here, with all above them, since the narrowest limit counts. `root` is where `proc`
    and `sys` are."""
    paths = {}  # by controller; "" is version 2
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    folders: dict[str, list[Path]] = {}
    for mount in _mounts(root):
        for controller in {""} if mount.kind == "cgroup2" else mount.controllers & paths.keys():
            folders.setdefault(controller, _folders(mount, paths.get(controller, "/")))
    groups: list[Group] = [GroupV2(folder) for folder in folders.get("", [])]
    cpu, accounts = folders.get("cpu", []), folders.get("cpuacct", [])
    if len(cpu) == len(accounts):  # in the same groups, as everywhere; or else nothing is known of what they use
        groups += [CpuGroupV1(*each) for each in zip(cpu, accounts, strict=True)]
    return groups + [MemoryGroupV1(folder) for folder in folders.get("memory", [])]


def _mounts(root: Path) -> list[_Mount]:
    mounts = []
    for line in (_text(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            group, point = before.split(" ")[3:5]
            point = point.replace("\\040", " ").lstrip("/")
            mounts.append(_Mount(kind, frozenset(options.split(",")), group, root / point))
    return mounts


def _folders(mount: _Mount, path: str) -> list[Path]:
    """Those of the group and of all above it, as far as they are mounted."""
    # A container may see its own group mounted under a path that is the host's; or be told one that is not mounted.
    relative = os.path.relpath(path, mount.root)
    below = PurePosixPath("." if relative.startswith("..") or mount.root.startswith("/..") else relative)
    folders = [mount.point / each for each in (below, *below.parents)]
    return [folder for folder in folders if folder.is_dir()]


def _text(path: Path) -> str | None:
    """None: there is no such file."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return None


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    raise ValueError(f"{path} has no line {name!r}")
