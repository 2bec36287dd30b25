# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""What is measured, and in which order."""

import dataclasses
import fnmatch
import random

# What a step costs beside its jobs, in seconds: for the estimate of the time left.
BOOT_SECONDS = 7.0
SWITCH_SECONDS = {"nvme": 0.7, "blk": 0.7, "net": 1.2}
JOB_SECONDS = 1.2


@dataclasses.dataclass(frozen=True)
class Row:
    """One way to give a guest its device."""
    name: str   # as --rows takes it
    vmm: str    # whose device and IOMMU: viommu or qemu
    iommu: str  # value of the key in guest.json
    guest: str  # kind of guest that it runs in: one guest serves several rows
    type: str   # of the IOMMU group, as the kernel names it; none: no IOMMU
    label: str


ROWS = {row.name: row for row in (
    Row("viommu-none", "viommu", "none", "viommu", "none", "no vIOMMU"),
    Row("viommu-bypass", "viommu", "bypass", "viommu", "identity", "bypass domain"),
    Row("viommu-lazy", "viommu", "lazy", "viommu", "DMA-FQ", "lazy"),
    Row("viommu-strict", "viommu", "strict", "viommu", "DMA", "strict"),
    Row("qemu-none", "qemu", "none", "qemu", "none", "no vIOMMU"),
    Row("qemu-virtio-lazy", "qemu", "virtio-lazy", "qemu-virtio", "DMA-FQ",
        "virtio-iommu, lazy"),
    Row("qemu-virtio-strict", "qemu", "virtio-strict", "qemu-virtio", "DMA",
        "virtio-iommu, strict"),
    Row("qemu-intel-lazy", "qemu", "intel-lazy", "qemu-intel", "DMA-FQ", "intel-iommu, lazy"),
    Row("qemu-intel-strict", "qemu", "intel-strict", "qemu-intel", "DMA",
        "intel-iommu, strict"),
)}


@dataclasses.dataclass(frozen=True)
class Job:
    """One measurement on a device."""
    name: str
    title: str
    kinds: tuple      # of endpoints it runs on
    unit: str
    fio: tuple = ()   # rw, bs, jobs, depth
    iperf: str = ""   # up or down
    huge: bool = False     # fio's buffers lie in huge pages
    extra: bool = False    # measured only when it is named


JOBS = {job.name: job for job in (
    Job("write64k", "64 KiB random write, {} jobs x depth 16", ("nvme", "blk"), "MiB/s",
        fio=("randwrite", "64k", 16, 16)),
    Job("write64h", "64 KiB random write, {} x 16, huge pages", ("nvme", "blk"), "MiB/s",
        fio=("randwrite", "64k", 16, 16), huge=True, extra=True),
    Job("rw4k", "4 KiB random read/write, depth 128", ("nvme", "blk"), "IOPS",
        fio=("randrw", "4k", 1, 128)),
    Job("stream", "TCP_STREAM, guest to host", ("net",), "Mbit/s", iperf="up"),
    Job("maerts", "TCP_MAERTS, host to guest", ("net",), "Mbit/s", iperf="down"),
)}

ENDPOINTS = {"nvme": "NVMe", "net": "virtio-net", "blk": "virtio-blk"}
IOMMUS = ("viommu", "qemu-virtio", "qemu-intel")  # kinds of guests that have one


@dataclasses.dataclass
class Options:
    """What was asked for."""
    rounds: int = 5
    seconds: int = 4
    ramp: float = 0.5      # seconds of fio before it measures
    vcpus: tuple = (1, 2)
    endpoints: tuple = ("nvme", "net")
    jobs: tuple = tuple(name for name, job in JOBS.items() if not job.extra)
    rows: tuple = tuple(ROWS)
    write_jobs: int = 16   # fio jobs of write64k and write64h
    seed: int = 1
    count: bool = True     # QEMU's requests and kicks, in runs of their own
    daemon: tuple = ()     # more options for viommud


@dataclasses.dataclass(frozen=True)
class Step:
    """A device in one mode, and the jobs that run on it."""
    vcpus: int
    round: int      # from 1; 0: counts and measures nothing
    row: Row
    endpoint: str
    jobs: tuple


def select(patterns, names, what):
    """The names that a comma-separated list of patterns means, in their order.
    A pattern without its front ("lazy") means all that end with it."""
    found = set()
    for pattern in patterns.split(","):
        hits = {n for n in names if fnmatch.fnmatch(n, pattern) or n.endswith("-" + pattern)}
        if not hits:
            raise ValueError(f"no {what} \"{pattern}\"; there are {', '.join(names)}")
        found |= hits
    return tuple(n for n in names if n in found)


def fio_of(job, options):
    """rw, bs, jobs, depth."""
    rw, bs, jobs, depth = job.fio
    return rw, bs, options.write_jobs if jobs > 1 else jobs, depth


def title_of(job, write_jobs):
    return job.title.format(write_jobs)


def shuffled(options, vcpus, number):
    """The steps of one round: another order in each, the same for the same seed."""
    made = []
    for endpoint in options.endpoints:
        jobs = tuple(n for n in options.jobs if endpoint in JOBS[n].kinds)
        if jobs:
            made += [Step(vcpus, number, ROWS[name], endpoint, jobs) for name in options.rows]
    random.Random(f"{options.seed}/{vcpus}/{number}").shuffle(made)
    return made


def countable(step):
    return step.row.vmm == "qemu"


def plan(options):
    """All steps in order. What QEMU's devices are asked is counted once, after
    the first round: the counting slows them down."""
    steps = []
    for vcpus in options.vcpus:
        for number in range(1, options.rounds + 1):
            steps += shuffled(options, vcpus, number)
            if number == 1 and options.count:
                steps += [dataclasses.replace(s, round=0)
                          for s in shuffled(options, vcpus, 0) if countable(s)]
    return steps


def cost(step, options):
    """Expected seconds."""
    own = 1.0 if step.round == 0 else options.seconds + options.ramp
    return SWITCH_SECONDS[step.endpoint] + len(step.jobs) * (own + JOB_SECONDS)


def guest_key(step):
    """Which guest a step runs in. Each round has guests of its own, as two boots of one
    kind may differ by more than two rounds of a boot; counting is done in the first
    round's."""
    return step.vcpus, step.round or 1, step.row.guest


def total_cost(steps, options):
    boots = {guest_key(s) for s in steps}
    return sum(cost(s, options) for s in steps) + BOOT_SECONDS * len(boots)
