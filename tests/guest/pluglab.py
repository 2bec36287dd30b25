# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""Guests whose endpoints come and go, or are many."""

import time

from viommud import Daemon

IMAGE_LEN = 64 << 20


class PlugDaemon(Daemon):
    """A viommud with an IOMMU and a disk that stays, and what is plugged: a
    controller for the port nvme0 and a disk for the port blk0, each on a file."""

    SLOTS = {"iommu": 3, "disk": 4, "dma": 5}
    PORTS = {"nvme0": ("nvme", "8.0", 0x100), "blk0": ("blk", "8.1", 0x200)}

    def __init__(self, *options):
        super().__init__(*options)
        for name, (kind, _, ep) in self.PORTS.items():
            self.argv += ["--endpoint", f"{kind},id={name},ep={ep:#x},msix=off,"
                          f"path={self.image(name)}"]

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
    return ""
