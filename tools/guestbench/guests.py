# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""Guests that stand by: each is booted once a round, told what to do through its result
channel, and stopped while another one is measured."""

import json
import socket
import time

import guest
from labkit import LabError
from viommud import Daemon, binary

from .plan import JOBS, fio_of

SLOTS = {"nvme": 4, "net": 5, "blk": 6}         # of what is behind the IOMMU
PLAIN_SLOTS = {"nvme": 7, "net": 8, "blk": 9}   # of the same outside of it
IOMMU_SLOT = 3
BACKENDS = {"nvme": "backend=null,size=8G", "blk": "backend=null,size=8G",
            "net": "backend=user"}
QEMU_DEVICES = {"nvme": "qemu-nvme:null", "blk": "qemu-blk:null", "net": "qemu-net"}

# QEMU's trace events that stand for a request to its IOMMU, and for a notification
# by the guest that reaches it.
REQUESTS = {"qemu-virtio": ("virtio_iommu_map", "virtio_iommu_unmap"),
            "qemu-intel": ("vtd_inv_desc_iotlb_global", "vtd_inv_desc_iotlb_domain",
                           "vtd_inv_desc_iotlb_pages")}
KICKS = {"qemu": (), "qemu-virtio": (), "qemu-intel": ("vtd_inv_qi_tail",)}
DEVICE_KICKS = {"nvme": ("pci_nvme_mmio_doorbell_sq", "pci_nvme_mmio_doorbell_cq"),
                "net": ("virtio_queue_notify",), "blk": ("virtio_queue_notify",)}


class BenchDaemon(Daemon):
    """A viommud with each endpoint twice: behind the IOMMU and outside of it."""

    def __init__(self, endpoints, more=()):
        super().__init__(disk="backend=null")
        self.SLOTS = {"iommu": IOMMU_SLOT, **{e: SLOTS[e] for e in endpoints},
                      **{f"plain-{e}": PLAIN_SLOTS[e] for e in endpoints}}
        self.argv = [str(binary()), "--socket-dir", str(self.folder),
                     "--control", str(self.folder / "control"), "--iommu", "id=iommu"]
        for kind in endpoints:
            self.argv += ["--endpoint", f"{kind},id={kind},ep={SLOTS[kind] << 3},"
                          f"{BACKENDS[kind]}", "--endpoint",
                          f"{kind},id=plain-{kind},iommu=off,{BACKENDS[kind]}"]
        self.argv += more

    def stat(self):
        """All its counters."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.folder / "control"))
            sock.sendall(b'{"command": "stat"}\n')
            reply = json.loads(sock.makefile("rb").readline())
        if not reply.get("ok"):
            raise LabError(f"viommud: {reply.get('error')}")
        return reply["result"]


def totals(stat, name):
    """(requests of the IOMMU, kicks of both, I/Os) out of viommud's counters. An
    I/O is a command of a disk, or a frame of a network card."""
    iommu = stat["iommu"]
    own = next(e for e in stat["endpoints"] if e["id"] == name)["counters"]
    plain = name.startswith("plain-")
    requests = 0 if plain else sum(v["total"] for v in iommu["requests"].values()
                                   if isinstance(v, dict))
    kicks = own["kicks"] + (0 if plain else sum(q["kicks"] for q in iommu["queues"]))
    ios = sum(own.get(k, 0) for k in ("reads", "writes", "tx_frames", "rx_frames"))
    return requests, kicks, ios


def per_io(before, after):
    """Requests and kicks an I/O, from totals()."""
    requests, kicks, ios = (b - a for a, b in zip(before, after))
    if not ios:
        return {}
    return {"requests_per_io": requests / ios, "kicks_per_io": kicks / ios}


def huge_pages(options):
    """For the kernel's command line, as a guest that has run for a while finds none: a
    process of fio, whose buffers are 1 MiB, takes one, and there are twice as many."""
    jobs = [JOBS[name] for name in options.jobs if JOBS[name].huge]
    return f"hugepages={2 * options.write_jobs}" if jobs else ""


def fio_figures(text, job):
    """The median's value, mean latency and number of I/Os of a fio run."""
    found = json.loads(text[text.index("{"):])["jobs"][0]
    ways = [found["read"], found["write"]]
    iops = sum(w["iops"] for w in ways)
    if not iops:
        raise LabError("fio did no I/O")
    latency = sum(w["iops"] * w["lat_ns"]["mean"] for w in ways) / iops / 1000
    value = iops if job.unit == "IOPS" else sum(w["bw_bytes"] for w in ways) / (1 << 20)
    return {"value": value, "latency_us": latency, "ios": sum(w["total_ios"] for w in ways)}


def iperf_figures(text):
    end = json.loads(text)["end"]
    return {"value": end["sum_received"]["bits_per_second"] / 1e6}


class BenchGuest:
    """One kind of guest (plan.Row.guest) with its devices, and for ours a viommud.
    As a context manager."""

    def __init__(self, kind, vcpus, options):
        self.kind, self.options, self.number, self.text_at = kind, options, 0, 0
        self.daemon, self.vm = None, None
        self.vcpus, self.release = vcpus, ""

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.vm:
            self.vm.close()
        if self.daemon:
            self.daemon.__exit__()

    def _start(self):
        endpoints, devices, viot = self.options.endpoints, [], "none"
        if self.kind == "viommu":
            self.daemon = BenchDaemon(endpoints, self.options.daemon).__enter__()
            devices = self.daemon.devices
            viot = f"{IOMMU_SLOT:x}:" + ",".join(f"{SLOTS[e]:x}" for e in endpoints)
        else:
            devices = {"qemu": [], "qemu-virtio": [f"qemu-iommu@{IOMMU_SLOT:x}"],
                       "qemu-intel": ["intel-iommu:off"]}[self.kind]
            devices = devices + [f"{QEMU_DEVICES[e]}@{SLOTS[e]:x}" for e in endpoints]
        self.vm = guest.Guest(devices, job="bench", params={"modules": "nvme,virtio_net"},
                              extras=["fio", "iperf"], cpus=self.vcpus, viot=viot,
                              iommu="lazy", commands=True,
                              append=huge_pages(self.options))
        boot = self.vm.wait_line(boot="ok", timeout=60)
        if not boot or not self.vm.wait_line(bench="ready", timeout=60):
            raise LabError(f"the {self.kind} guest did not boot: {self.vm.wait(1).reason}")
        self.release = boot["kernel"]
        self.text_at = self.vm.output.stat().st_size

    def pause(self):
        self.vm.qmp("stop")

    def resume(self):
        self.vm.qmp("cont")

    # ---- commands

    def ask(self, timeout, verb, *words):
        """Runs a command of the guest's job; its lines and blocks."""
        self.number += 1
        self.vm.send(verb, self.number, *words)
        mark = f"VIOMMU: done={self.number} "
        end, text = time.monotonic() + timeout, ""
        while mark not in text or not text.endswith("\n"):
            if self.vm.process.poll() is not None:
                raise LabError(f"QEMU ended with {self.vm.process.returncode} during {verb}")
            if self.daemon and self.daemon.process.poll() is not None:
                raise LabError(f"viommud ended during {verb}:\n{self.daemon.said()}")
            if time.monotonic() > end:
                raise LabError(f"the guest did not answer to {verb} in {timeout:.0f} s")
            time.sleep(0.05)
            text += self._more()
        lines, blocks = guest.parse(text)
        done = next(line for line in lines if line.get("done") == str(self.number))
        if done["status"] != "0":
            why = [line["failed"] for line in lines if "failed" in line]
            raise LabError(f"{verb} failed in the guest: {' '.join(why)}")
        if done["faults"] != "0":
            raise LabError(f"{done['faults']} faults of the IOMMU in the guest's log")
        return lines, blocks

    def _more(self):
        """What the guest has said since the last call. It may end in a half line."""
        with self.vm.output.open("rb") as file:
            file.seek(self.text_at)
            data = file.read()
        self.text_at += len(data)
        return data.decode(errors="replace")

    # ---- measuring

    def prepare(self, step):
        """A fresh domain of the row's type for the device."""
        self.ask(60, "mode", self.address(step), step.row.type)

    def address(self, step):
        outside = step.row.guest == "viommu" and step.row.type == "none"
        slot = (PLAIN_SLOTS if outside else SLOTS)[step.endpoint]
        return f"0000:00:{slot:02x}.0"

    def run(self, step, name, port):
        """Figures of one job: "value", and what else there is to say."""
        options = self.options
        if not self.daemon:
            return self._job(step, JOBS[name], port, options.seconds, options.ramp)
        device = ("plain-" if step.row.type == "none" else "") + step.endpoint
        before = totals(self.daemon.stat(), device)
        figures = self._job(step, JOBS[name], port, options.seconds, options.ramp)
        figures.update(per_io(before, totals(self.daemon.stat(), device)))
        return figures

    def _job(self, step, job, port, seconds, ramp):
        limit = seconds + ramp + 45
        address = self.address(step)
        if job.fio:
            words = [*fio_of(job, self.options), seconds, f"{int(1000 * ramp)}ms",
                     "huge" if job.huge else "any"]
            _, blocks = self.ask(limit, "fio", address, *words)
            return fio_figures(blocks["bench"], job)
        _, blocks = self.ask(limit, "iperf", address, job.iperf, port, seconds)
        return iperf_figures(blocks["bench"])

    def count(self, step, name, port):
        """Requests and kicks an I/O of QEMU's device, as its trace shows them."""
        requests = REQUESTS.get(self.kind, ())
        kicks = tuple(dict.fromkeys(KICKS[self.kind] + DEVICE_KICKS[step.endpoint] + (
            ("virtio_queue_notify",) if self.kind == "qemu-virtio" else ())))
        log = self.vm.folder / "qemu.log"
        start = log.stat().st_size
        packets = self._packets(step)
        self._trace(requests + kicks, True)
        try:
            figures = self._job(step, JOBS[name], port, 1, 0)
        finally:
            self._trace(requests + kicks, False)
        ios = figures.get("ios") or self._packets(step) - packets
        with log.open("rb") as file:
            file.seek(start)
            seen = file.read().decode(errors="replace").splitlines()
        number = {}
        for line in seen:
            event = line.partition(" ")[0]
            number[event] = number.get(event, 0) + 1
        return self._counted(number, requests, kicks, ios, step)

    def _counted(self, number, requests, kicks, ios, step):
        def share(events):
            return sum(number.get(e, 0) for e in events) / ios
        if not ios:
            return {}
        out = {"requests_per_io": share(requests)}
        silent = step.endpoint == "nvme" and not share(DEVICE_KICKS["nvme"])
        if silent:
            out["reason"] = "QEMU does not trace the doorbells that its NVMe takes as eventfds"
        else:
            out["kicks_per_io"] = share(kicks)
        return out

    def _trace(self, events, on):
        for event in events:
            self.vm.qmp("trace-event-set-state", name=event, enable=on)

    def _packets(self, step):
        """Frames that the guest's card has sent and received."""
        if step.endpoint != "net":
            return 0
        lines, _ = self.ask(10, "packets", self.address(step))
        return int(next(line["packets"] for line in lines if "packets" in line))
