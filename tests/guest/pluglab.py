# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""Guests whose endpoints come and go, or are many."""

import subprocess
import time

from labkit import LabError
from viommud import Daemon, built

IMAGE_LEN = 64 << 20


class PlugDaemon(Daemon):
    """A viommud with an IOMMU and a disk that stays, and what is plugged: a
    controller for the port nvme0 and a disk for the port blk0, each on a file."""

    SLOTS = {"iommu": 3, "disk": 4, "dma": 5}
    PORTS = {"nvme0": ("nvme", "8.0", 0x100), "blk0": ("blk", "8.1", 0x200)}

    def __init__(self, *options):
        super().__init__(*options)
        for name in self.PORTS:
            self.argv += ["--endpoint", self.settings(name)]

    def settings(self, name):
        kind, _, ep = self.PORTS[name]
        return f"{kind},id={name},ep={ep:#x},msix=off,path={self.image(name)}"

    def image(self, name):
        image = self.folder / f"{name}.img"
        if not image.exists():
            with image.open("wb") as file:
                file.truncate(IMAGE_LEN)
        return image

    def path(self, name):
        return self.folder / f"{name}.sock"

    @property
    def devices(self):
        return super().devices + [f"root-port:{name}@{slot}"
                                  for name, (_, slot, _) in self.PORTS.items()]

    def make_anew(self, name):
        """Ends an endpoint and makes it again, as an operator would; "" or a problem."""
        self.ask("remove-endpoint", endpoint=name)
        if self.endpoint(name):
            return f"{name} is removed and still in stat"
        # Behind its filter viommud opens no file: the program passes it.
        done = subprocess.run([built("release/cli/viommu", "release"), "control", "--control",
                               str(self.folder / "control"), "add-endpoint",
                               f"endpoint={self.settings(name)}"],
                              capture_output=True, text=True, timeout=20, check=False)
        return done.stderr

    def left_behind(self, name, timeout=5):
        """What is left of an endpoint that was taken out; "" when nothing is."""
        end = time.monotonic() + timeout
        while True:
            found = self.endpoint(name)
            if not found:
                return f"{name} is not in stat"
            left = [key for key, value in (("connected", found["socket"]["connected"]),
                                           ("attached", found["attached"]),
                                           ("in_flight", found["counters"].get("in_flight")))
                    if value]
            if not left:
                return ""
            if time.monotonic() > end:
                return f"{name} is taken out, but still {', '.join(left)}"
            time.sleep(0.05)


def plug_rounds(vm, daemon, rounds):
    """Plays the operator for jobs/plug; "" or what went wrong."""
    if not vm.wait_line(plug="ready", timeout=60):
        return "the guest did not come up"
    before = len(daemon.ask("domains"))
    for number in range(rounds):
        for name in daemon.PORTS:
            vm.plug(name, daemon.path(name))
            if not vm.wait_line(plug="busy", round=str(number), port=name, timeout=40):
                return f"round {number}: {name} does no I/O in the guest"
            if not vm.unplug(name):
                return f"round {number}: the guest does not let go of {name}"
            if not vm.wait_line(plug="gone", round=str(number), port=name, timeout=30):
                return f"round {number}: fio on {name} hangs"
            left = daemon.left_behind(name)
            if left:
                return f"round {number}: {left}"
            after = len(daemon.ask("domains"))
            if after != before:
                return f"round {number}: {before} domains before {name}, {after} after"
            problem = daemon.make_anew(name) if number == 0 else ""
            if problem:
                return problem
    return ""


class ManyDaemon(Daemon):
    """A viommud with 32 endpoints: 24 behind a port each, 8 in one slot."""

    KINDS = ("nvme,backend=mem,size=16M", "blk,backend=mem,size=16M", "dmatest")
    PORTS, FUNCTIONS, MOST = 24, 8, 64

    def __init__(self, *options):
        super().__init__(*options)
        made = [(f"e{i}", self.KINDS[i % 3], (i + 1) << 8) for i in range(self.PORTS)]
        made += [(f"e{self.PORTS + i}", self.KINDS[1 + i % 2], 0x10 << 3 | i)
                 for i in range(self.FUNCTIONS)]
        self.made = made
        self.argv = self.argv[:self.argv.index("--endpoint")] + list(options)
        for name, kind, ep in made:
            self.argv += ["--endpoint", f"{kind},id={name},ep={ep:#x}"]
        self.SLOTS = dict.fromkeys(["iommu", *(name for name, _, _ in made)])

    @property
    def devices(self):
        ports = [f"root-port:port{i}@{8 + i // 8:x}.{i % 8}" for i in range(self.PORTS)]
        wheres = [f"port{i}" for i in range(self.PORTS)]
        wheres += [f"10.{i}" for i in range(self.FUNCTIONS)]
        return [f"vfio-user:{self.folder}/iommu.sock@3", *ports] + [
            f"vfio-user:{self.folder}/{name}.sock@{where}"
            for (name, _, _), where in zip(self.made, wheres)]

    @property
    def params(self):
        tests = sum(kind == "dmatest" for _, kind, _ in self.made)
        return {"modules": "nvme", "tests": tests, "disks": len(self.made) - tests,
                "groups": self.PORTS + 1}

    def weight(self):
        """(resident KiB, threads) of the process."""
        status = dict(line.split(":", 1) for line in
                      open(f"/proc/{self.process.pid}/status", encoding="ascii"))
        return int(status["VmRSS"].split()[0]), int(status["Threads"])

    def fill(self):
        """Adds endpoints up to the most there may be, and one more; "" or a problem."""
        for i in range(len(self.made), self.MOST):
            self.ask("add-endpoint", endpoint=f"blk,id=e{i},ep={0x4000 + i},backend=null,size=1M")
        try:
            self.ask("add-endpoint", endpoint="dmatest,id=more,ep=0x5000")
        except LabError as error:
            if f"there are {self.MOST} endpoints, the most" not in str(error):
                return str(error)
        else:
            return f"{self.MOST + 1} endpoints were taken"
        found = [each["id"] for each in self.ask("endpoints")]
        return "" if found == [f"e{i}" for i in range(self.MOST)] else f"stat lists {found}"
