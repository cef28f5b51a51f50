"""Quotas of CPU time, read from prepared files; test_load.py has a real one where it may."""

from __future__ import annotations

from pathlib import Path

import pytest

from bptt import _core


def version_1(folder: str, quota: int) -> dict[str, str]:
    """The files of a group in version 1."""
    return {f"{folder}cpu.cfs_quota_us": str(quota), f"{folder}cpu.cfs_period_us": "100000"}


MEMBERSHIPS = {
    "none": ("", {}, 0),
    "version 2": ("0::/", {"cpu.max": "100000 100000"}, 1),
    "no limit": ("0::/", {"cpu.max": "max 100000"}, 0),
    "rounded up": ("0::/a", {"a/cpu.max": "110000 100000"}, 2),
    "of a parent": ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2),
    "the least": ("0::/a/b", {"a/cpu.max": "100000 50000", "a/b/cpu.max": "300000 100000"}, 2),
    "not of a sibling": ("0::/a", {"b/cpu.max": "1000 100000"}, 0),
    "a path outside": ("0::/docker/ab12", {"cpu.max": "300000 100000"}, 3),
    "with a colon": ("0::/a:b", {"a:b/cpu.max": "300000 100000"}, 3),
    "not numbers": ("0::/a", {"a/cpu.max": "", "cpu.max": "? 1"}, 0),
    "not lines": ("0:\n\n::\nx", {}, 0),
    "version 1": (
        "3:memory:/m\n2:cpu,cpuacct:/a/b",
        version_1("cpu/a/", 150000),
        2,
    ),
    "no limit of version 1": (
        "2:cpuacct,cpu:/",
        version_1("cpu/", -1),
        0,
    ),
    "another controller": (
        "2:cpuset:/",
        version_1("cpu/", 1000),
        0,
    ),
    "both versions": (
        "1:cpu:/\n0::/user",
        version_1("cpu/", 200000),
        2,
    ),
}


@pytest.mark.parametrize(("groups", "files", "cpus"), MEMBERSHIPS.values(), ids=MEMBERSHIPS)
def test_quotas(groups: str, files: dict[str, str], cpus: int, tmp_path: Path) -> None:
    (tmp_path / "membership").write_text(groups + "\n")
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert _core.cgroup_cpus(str(tmp_path / "membership"), str(tmp_path / "mount")) == cpus
