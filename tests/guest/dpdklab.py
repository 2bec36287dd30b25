# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""DPDK's testpmd in a guest, driven from the host: what it counts against what
viommud counts."""

import re
import socket
import time

from netlab import NetDaemon
from labkit import LabError

RESULTS = ("RX-packets", "RX-bytes", "TX-packets", "TX-bytes", "RX-missed", "RX-errors",
           "RX-nombuf", "TX-errors")
DEADLINE = 150  # seconds since the guest's start, for all that it is told
LOST = ("tx_dropped", "rx_dropped", "rx_too_big", "rx_filtered", "blocked", "malformed", "lost",
        "commands_refused")


class Cards(NetDaemon):
    """Three cards of two queue pairs: testpmd's ports 0 (user-mode networking, for the
    kernel afterwards), 1 (packed rings, looped) and 2 (split rings, looped)."""

    SLOTS = {"iommu": 3, "net": 4, "packed": 5, "split": 6}
    PORTS = {"net": 0, "packed": 1, "split": 2}

    def __init__(self, port):
        loop = "backend=loopback,queues=2,mtu=9000"
        # DPDK (24.11) marks the header in a packed indirect table as writable.
        super().__init__(f"backend=user,queues=2,hostfwd=tcp:127.0.0.1:{port}-:7000",
                         "--endpoint", f"net,id=packed,ep=0x28,indirect=off,{loop}",
                         "--endpoint", f"net,id=split,ep=0x30,packed=off,{loop}")

    def counters(self, name):
        return self.endpoint(name)["counters"]

    def requests(self, kind):
        return self.ask("stat")["iommu"]["requests"][kind]["total"]

    def mapped(self):
        return self.ask("stat")["iommu"]["mapped_bytes"]

    def lookups(self):
        """Hits and misses of the looped cards' IOTLBs."""
        found = [self.endpoint(name) for name in LOOPED]
        return [sum(each[key] for each in found) for key in ("iotlb_hits", "iotlb_misses")]

    def link(self, name, state):
        self.ask("endpoint-control", endpoint=name, verb="link", args=f"state={state}")

    def settles(self, name, timeout=20):
        """Waits until a card has nothing to do."""
        seen, end = None, time.monotonic() + timeout
        while seen != (now := self.counters(name)["rx_frames"]):
            if time.monotonic() > end:
                raise LabError(f"{name} does not settle")
            seen = now
            time.sleep(0.2)

    def grows(self, name, key, by, timeout=20):
        """Waits until a counter has grown; LabError if it does not."""
        self.reaches(name, key, self.counters(name)[key] + by, timeout)

    def reaches(self, name, key, value, timeout=20):
        end = time.monotonic() + timeout
        while self.counters(name)[key] < value:
            if time.monotonic() > end:
                raise LabError(f"{name}: {key} stays at {self.counters(name)[key]}")
            time.sleep(0.05)


class Testpmd:
    """The job "dpdk" of a guest, command by command."""

    def __init__(self, vm):
        self.vm, self.number = vm, 0
        if not vm.wait_line(dpdk="ready", timeout=60):
            raise LabError("the job did not begin")

    def tell(self, verb, *words):
        """LabError, with what testpmd has said, if it does not do it in time."""
        self.number += 1
        timeout = min(60, self.vm.start + DEADLINE - time.monotonic())
        self.vm.send(verb, self.number, *words)
        done = self.vm.wait_line(done=str(self.number), timeout=timeout)
        if not done or done["status"] != "0" or done["faults"] != "0":
            raise LabError(f"{verb} {' '.join(words)}: {done}\n{self.said()}")

    def do(self, *commands):
        for command in commands:
            self.tell("do", command)

    def quit(self):
        """Ends it; what it said."""
        self.tell("quit")
        return self.said()

    def said(self):
        blocks = self.vm.reported()[1]
        return blocks.get("testpmd", "") + blocks.get("testpmd-log", "")


def statistics(text, port):
    """What testpmd showed last for a port."""
    found = re.findall(rf"NIC statistics for port {port} .*?#{{70}}", text, re.S)
    values = dict(re.findall(r"([A-Za-z-]+):\s*(\d+)", found[-1])) if found else {}
    if not values.keys() >= set(RESULTS):
        raise LabError(f"no statistics of port {port}\n{text}")
    return {key: int(values[key]) for key in RESULTS}


def lost(counters):
    return {key: counters[key] for key in LOST if counters[key]}


def compare(counters, name, seen):
    """All that one side sent the other has, of frames and of bytes."""
    want = {"RX-packets": counters["rx_frames"], "RX-bytes": counters["rx_bytes"],
            "TX-packets": counters["tx_frames"], "TX-bytes": counters["tx_bytes"]}
    if {**seen, **want} != seen or any(v for k, v in seen.items() if k not in want):
        return f"{name}: testpmd has {seen}, viommud {counters}"
    return f"{name}: {lost(counters)}" if lost(counters) else ""


LOOPED = ("packed", "split")
# Pieces of 500 and 2000 bytes, received into buffers of 2048; checksums may be left
# to the card, but testpmd's own frames have none.
OPTIONS = ("--log-level=pmd.net.virtio.init:debug", "--", "-i", "--port-topology=loop",
           "--total-num-mbufs=8192", "--rxq=2", "--txq=2", "--enable-scatter",
           "--max-pkt-len=9018", "--tx-offloads=0x800c")
SMALL, LARGE = "set txpkts 64", "set txpkts 500,2000,2000,2000,2000"


def forward(pmd, daemon, size, bursts, frames):
    """Frames go round and round on both looped cards. At the end nothing is sent any
    more, and a start takes in what was received, so that both sides count the same."""
    pmd.do("set portlist 1,2", size, "set fwd io", f"start tx_first {bursts}")
    for name in LOOPED:
        daemon.grows(name, "rx_frames", frames)
    pmd.do("stop", "set fwd rxonly", "start")
    for name in LOOPED:
        daemon.settles(name)
    pmd.do("stop", "start", "stop")


def first_owner(pmd, daemon, port):
    """Small frames, large ones in pieces, the link, frames from elsewhere; then it
    goes as it should. What is wrong."""
    maps = daemon.requests("map")
    pmd.tell("start", *OPTIONS)
    maps = daemon.requests("map") - maps
    start = daemon.lookups()
    forward(pmd, daemon, SMALL, 2, 2000)
    forward(pmd, daemon, LARGE, 1, 500)
    hits, misses = (b - a for a, b in zip(start, daemon.lookups()))
    print(f"# testpmd: {maps} MAP requests to start, {daemon.mapped() >> 20} MiB mapped; "
          f"IOTLB: {hits} hits, {misses} misses", flush=True)
    if misses * 100 > hits:
        return f"{misses} misses of {hits + misses} look-ups of static mappings"
    link_returns(pmd, daemon)
    from_elsewhere(pmd, daemon, port)
    pmd.do("show port stats all")
    seen = {name: daemon.counters(name) for name in daemon.PORTS}
    text = pmd.quit()
    problems = [compare(seen[n], n, statistics(text, p)) for n, p in daemon.PORTS.items()]
    problems += [f"{n}: no frame took several buffers" for n in LOOPED if not seen[n]["rx_merged"]]
    return "\n".join(filter(None, [*problems, said_wrong(text)]))


def link_returns(pmd, daemon):
    """The driver announces itself when the link is there again: one frame, looped."""
    announced = daemon.counters("split")["rx_frames"] + 1
    daemon.link("split", "off")
    pmd.do("show port summary all")
    daemon.link("split", "on")
    daemon.reaches("split", "rx_frames", announced)


def from_elsewhere(pmd, daemon, port):
    """A connection to a forwarded port makes the back end ask for the guest's
    address, and testpmd answers. It also takes in the announcement."""
    pmd.do("set portlist 0,2", "set fwd icmpecho", "start")
    answered = daemon.counters("net")["tx_frames"] + 1
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        daemon.reaches("net", "tx_frames", answered)
    pmd.do("stop", "set fwd rxonly", "start")
    daemon.settles("net")
    pmd.do("stop", "start", "stop")


def said_wrong(text):
    """What is missing from what testpmd said."""
    wanted = ("Selected IOVA mode 'VA'", "Port 2: link state change event",
              "using packed ring mergeable buffer Rx path on port 1",
              "using mergeable buffer Rx path on port 2")
    missing = [word for word in wanted if word not in text]
    return f"testpmd did not say {missing}\n{text}" if missing else ""


def second_owner(pmd, daemon):
    """Is killed while frames come and go. What is left of it."""
    pmd.tell("start", *OPTIONS)
    pmd.do("set portlist 1,2", LARGE, "set fwd io", "start tx_first 1")
    for name in LOOPED:
        daemon.grows(name, "rx_frames", 200)
    pmd.tell("kill")
    if daemon.mapped():
        return f"{daemon.mapped()} bytes are still mapped"
    return "".join(f"{n}: {lost(daemon.counters(n))}" for n in daemon.PORTS
                   if lost(daemon.counters(n)))
