"""The memory that a process may still take, on systems and in control groups that say it or not."""
import os
from pathlib import Path

import pytest

from ldl_cy import available


def system(monkeypatch, tmp_path, text):
    path = tmp_path / "meminfo"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(available, "Path", lambda name: path if name == "/proc/meminfo" else tmp_path / "cgroup")


def group(folder, most, taken, version, statistics=""):
    folder.mkdir()
    names = {2: ("memory.max", "memory.current", "memory.stat"),
             1: ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat")}
    for name, value in zip(names[version], (most, taken, statistics)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"{value}\n")
    return folder


def test_what_the_system_says(monkeypatch, tmp_path):
    system(monkeypatch, tmp_path, "MemTotal: 5000 kB\nMemFree: 10 kB\nMemAvailable:   3000 kB\n")
    assert available._of_system() == 3000 * 1024


@pytest.mark.parametrize("text", [None, "", "MemAvailable: much kB\n"])
def test_a_system_that_does_not_say(text, monkeypatch, tmp_path):
    system(monkeypatch, tmp_path, text)
    known = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", lambda name: known[name], raising=False)
    assert available._of_system() == 500 * 4096
    monkeypatch.delattr(os, "sysconf")
    assert available._of_system() == available.WHERE_UNKNOWN == 2**31


@pytest.mark.parametrize("version", [1, 2])
def test_control_groups(version, tmp_path):
    assert available._of_cgroups(tmp_path / "none") == []
    assert available._of_cgroups(group(tmp_path / "a", 1000, 300, version)) == [700]
    assert available._of_cgroups(group(tmp_path / "b", 1000, 1300, version)) == [0]
    assert available._of_cgroups(group(tmp_path / "c", "max", 300, version)) == []
    name = {1: "total_inactive_file", 2: "inactive_file"}[version]
    known = f"anon 7\n{name} 200\nactive_file 50"
    assert available._of_cgroups(group(tmp_path / "d", 1000, 300, version, known)) == [900]


def test_the_smallest_of_all(monkeypatch):
    monkeypatch.setattr(available, "_of_system", lambda: 50)
    for groups, least in (([], 50), ([40], 40), ([70, 60], 50)):
        monkeypatch.setattr(available, "_of_cgroups", lambda groups=groups: groups)
        assert available.available_bytes() == least


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="this system has no /proc/meminfo")
def test_this_system():
    assert 2**20 < available.available_bytes() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
