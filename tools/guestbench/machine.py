# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""What a benchmark ran on."""

import os
import pathlib
import platform
import re
import time

import guest
from labkit import LAB, read_stamp


def processor():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*: (.*)$", text, re.M)
    return found.group(1) if found else platform.machine()


def memory_gib():
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1)


def cpu_times():
    """(stolen by the hypervisor, all) of this machine's processors, in ticks."""
    try:
        words = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0, 0
    return int(words[7]), sum(map(int, words))


def steal_share(before):
    """Of the processors' time since cpu_times() said before."""
    stolen, every = (b - a for a, b in zip(before, cpu_times()))
    return round(stolen / every, 4) if every else 0.0


def describe():
    """As it is at the start."""
    accel = guest.accelerator()
    qemu = read_stamp("qemu") or {}
    return {"cpu": processor(), "cores": len(os.sched_getaffinity(0)),
            "memory_gib": memory_gib(), "kernel": platform.release(),
            "qemu": qemu.get("version", "unknown"), "accel": accel, "guest_kernel": "",
            "fio": program("fio"), "iperf3": program("iperf"),
            "load_at_start": [round(x, 2) for x in os.getloadavg()],
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def program(extra):
    """The version of a guest program's package."""
    stamp = read_stamp(f"userland-{extra}") or {"packages": []}
    name = {"iperf": "iperf3"}.get(extra, extra)
    return next((p.partition("=")[2] for p in stamp["packages"]
                 if p.startswith(name + "=")), f"unknown, in {LAB}")
