#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""Boots a lab guest for a bounded time and returns what it reported.

As a library:

    import guest
    done = guest.boot([guest.QEMU_IOMMU, "qemu-nvme:null"], job="groups,fio",
                      params={"runtime": 5}, iommu="strict", extras=["fio"])
    done.ok, done.lines, done.blocks["fio"], done.console

    with guest.Guest(["vfio-user:/run/x/iommu.sock", ...], job="groups") as vm:
        vm.wait_line(boot="ok"); vm.qmp("query-status"); vm.process.pid

Devices are QEMU arguments ("-device", "...") or one of these short names; each
takes the next free slot from 00:03.0 on, or @SLOT (hexadecimal):

    qemu-iommu              QEMU's own virtio-iommu        intel-iommu[:off]  QEMU's VT-d
    qemu-blk[:FILE|:null]   QEMU's virtio-blk              qemu-edu     QEMU's edu
    qemu-nvme[:FILE|:null]  QEMU's NVMe                    qemu-net     user networking
    vfio-user:SOCKET        a function served by somebody else
    root-port:NAME          a PCI Express port; vfio-user:SOCKET@NAME sits in it

SLOT may name a function (@8.1): function 0 of that slot has to be there too.
Guest.plug() and unplug() put a function into a port and take it out.

intel-iommu:off is without caching mode, QEMU's default: enough for QEMU's own devices.
With vfio-user devices a VIOT is made that takes the first for the IOMMU and
the others, and whatever gets into a port, for its endpoints (viot="none" for
none, "3:4-5" for another shape).
"""

import argparse
import ctypes
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import initrd  # noqa: E402
from labkit import (DEFAULT_KERNEL, KERNELS, LAB, LabError, load_script, main,  # noqa: E402
                    write_file)

QEMU_IOMMU, INTEL_IOMMU = "qemu-iommu", "intel-iommu"
TCG = "tcg,thread=multi"
NULL_SIZE = 8 << 30
MODES = {"lazy": "iommu.strict=0", "strict": "iommu.strict=1", "bypass": "iommu.passthrough=1",
         "default": ""}


# ---- from short names to QEMU's arguments

class Devices:
    """Turns device names into arguments, giving out slots as it goes."""

    def __init__(self, names):
        self.argv, self.slot, self.count = [], 3, 0
        self.vfio_user, self.ports = [], {}
        self.machine = ""
        names = list(names)
        while names:
            name = names.pop(0)
            if name.startswith("-"):
                self.argv += [name, names.pop(0)]
            else:
                self._add(name)

    def _slot(self, at):
        if at is None:
            at, self.slot = f"{self.slot:x}", self.slot + 1
        return at

    def _add(self, name):
        name, _, at = name.partition("@")
        kind, _, value = name.partition(":")
        make = getattr(self, "_" + kind.replace("-", "_"), None)
        if not make:
            raise LabError(f"no such device: {name} (see tools/lab/guest.py --help)")
        self.count += 1
        make(value, at or None)

    def _drive(self, value):
        node = f"disk{self.count}"
        if value in ("", "null"):
            back = {"driver": "null-co", "size": NULL_SIZE, "read-zeroes": False}
        else:
            back = {"driver": "file", "filename": value, "aio": "io_uring",
                    "cache": {"direct": False}}
        top = {"node-name": node, **back} if value in ("", "null") else {
            "node-name": node, "driver": "raw", "file": back}
        self.argv += ["-blockdev", json.dumps(top)]
        return node

    def _device(self, **keys):
        self.argv += ["-device", json.dumps(keys)]

    def _qemu_iommu(self, _, at):
        self._device(driver="virtio-iommu-pci", addr=self._slot(at))

    def _intel_iommu(self, value, _):
        # Devices follow it on the command line; interrupts stay untouched.
        self.argv += ["-device", f"intel-iommu,caching-mode={value or 'on'},intremap=off"]
        self.machine = ",kernel-irqchip=split"

    def _qemu_blk(self, value, at):
        self._device(driver="virtio-blk-pci", drive=self._drive(value), addr=self._slot(at),
                     **{"disable-legacy": "on", "iommu_platform": True})

    def _qemu_nvme(self, value, at):
        self._device(driver="nvme", drive=self._drive(value), addr=self._slot(at),
                     serial=f"lab{self.count}")

    def _qemu_net(self, _, at):
        self.argv += ["-netdev", f"user,id=net{self.count}"]
        self._device(driver="virtio-net-pci", netdev=f"net{self.count}", addr=self._slot(at),
                     romfile="", **{"disable-legacy": "on", "iommu_platform": True})

    def _qemu_edu(self, _, at):
        self._device(driver="edu", addr=self._slot(at))

    def _vfio_user(self, value, at):
        where = {"bus": at} if at in self.ports else self._place(at)
        if at not in self.ports:
            self.vfio_user.append(where["addr"])
        self._device(driver="vfio-user-pci", socket={"type": "unix", "path": value}, **where)

    def _place(self, at):
        slot = self._slot(at)
        return {"addr": slot, "multifunction": True} if "." in slot else {"addr": slot}

    def _root_port(self, name, at):
        where = self._place(at)
        self.ports[name] = where["addr"]
        self._device(driver="pcie-root-port", id=name, chassis=len(self.ports), **where)

    def buses(self):
        """Bus behind each port: firmware numbers them in the order it finds them."""
        bdf = load_script("viot").bdf
        names = sorted(self.ports, key=lambda name: bdf(self.ports[name]))
        return {name: number for number, name in enumerate(names, 1)}

    def viot(self, shape):
        """The VIOT's bytes, or None."""
        module = load_script("viot")
        if shape == "auto":
            behind = self.vfio_user[1:] + [f"{bus:x}:0.0" for bus in self.buses().values()]
            if not self.vfio_user or not behind:
                return None
            shape = self.vfio_user[0] + ":" + ",".join(behind)
        if shape == "none":
            return None
        iommu, _, rest = shape.partition(":")
        return module.table(module.bdf(iommu), [module.parse_range(r) for r in rest.split(",")])


# ---- what a guest reports

@dataclasses.dataclass
class Result:
    """How a guest ended and what it said."""
    ok: bool                # ended by itself, all jobs with status 0
    reason: str             # "" or why not
    seconds: float
    lines: list             # dicts, one per result line, in order
    blocks: dict            # name: text
    console: str            # path of the console's log
    exit: int               # QEMU's exit status, negative: killed by signal
    accel: str

    def find(self, **want):
        """The lines that have these values; None as value: any."""
        return [line for line in self.lines if matches(line, want)]

    @property
    def skipped(self):
        """Names of the jobs that could not run in this guest."""
        return [line["job"] for line in self.find(status="77", job=None)]

    def as_dict(self):
        return dict(dataclasses.asdict(self), skipped=self.skipped)


def matches(line, want):
    return all(k in line and v in (None, line[k]) for k, v in want.items())


def parse(text):
    """Result lines and blocks out of a guest's result channel."""
    lines, blocks, block = [], {}, None
    for raw in text.splitlines():
        raw = raw.rstrip("\r")
        found = re.search(r"VIOMMU: (.*)", raw)
        if found:
            pairs = dict(word.partition("=")[::2] for word in found.group(1).split())
            if "begin" in pairs:
                block = pairs["begin"]
                blocks[block] = ""
            elif "end_of" in pairs:
                block = None
            else:
                lines.append(pairs)
        elif block is not None:
            blocks[block] += raw + "\n"
    return lines, blocks


# ---- the guest

def die_with_parent():
    """In the child: SIGKILL when the thread that made us ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def kernel_words(job="", params=None, iommu="lazy", append="", accel=None, out="/dev/ttyS1"):
    """The guest's command line."""
    words = ["console=ttyS0", "panic=-1", "random.trust_cpu=on", "mitigations=off",
             "tsc=reliable" if (accel or accelerator()).startswith("tcg") else "", MODES[iommu],
             f"viommu.out={out}", f"viommu.job={job}" if job else ""]
    words += [f"viommu.{k}={v}" for k, v in (params or {}).items()]
    return " ".join(w for w in [*words, append] if w)


class Guest:
    """A running guest. Use as a context manager: leaving it kills the guest.

    kernel=None: what its firmware finds on a disk is booted, with the words that are
    there; job, params, iommu, append, extras, files and script have no effect.
    """

    def __init__(self, devices=(), *, job=None, params=None, kernel=DEFAULT_KERNEL,
                 iommu="lazy", append="", memory="1G", cpus=2, cpu="max", extras=(),
                 files=None, script=None, viot="auto", accel=None, reboot=False,
                 qemu_args=(), console=None, interactive=False, commands=False):
        self.start = time.monotonic()
        self.accel = accel or accelerator()
        job = ("groups" if script is None else "") if job is None else job
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="viommu-guest-"))
        self.console = pathlib.Path(console) if console else self.folder / "console.log"
        self.output = self.folder / "result.log"
        self.keep_console = console is not None
        self.process, self.commands = None, None
        try:
            made = Devices(devices)
            argv = self._machine(made, memory, cpus, cpu, reboot)
            argv += self._serials(interactive, commands)
            append += " intel_iommu=on" if made.machine else ""
            if kernel:
                argv += self._boot(kernel, extras, files or {}, script)
                out = "/dev/console" if interactive else "/dev/ttyS1"
                argv += ["-append", kernel_words(job, params or {}, iommu, append, self.accel, out)]
            argv += made.argv
            table = made.viot(viot)
            if table:
                write_file(self.folder / "viot.bin", table)
                argv += ["-acpitable", f"file={self.folder}/viot.bin"]
            self.argv = argv + list(qemu_args)
            self._run(interactive)
        except BaseException:
            self.close()
            raise

    def _machine(self, made, memory, cpus, cpu, reboot):
        qemu = LAB / "qemu"
        if not qemu.exists():
            raise LabError("no QEMU in the lab: run tools/lab/prepare")
        argv = [str(qemu), "-nodefaults", "-no-user-config", "-display", "none",
                "-machine", f"q35,memory-backend=mem{made.machine}", "-accel", self.accel,
                "-cpu", cpu, "-smp", str(cpus), "-m", memory,
                "-object", f"memory-backend-memfd,id=mem,size={memory.split(',')[0]},share=on",
                "-qmp", f"unix:{self.folder}/qmp,server=on,wait=off"]
        return argv if reboot else argv + ["-no-reboot"]

    def _serials(self, interactive, commands):
        """The console and the result channel, which also takes send()'s lines."""
        if interactive:
            return ["-serial", "mon:stdio"]
        argv = ["-serial", f"file:{self.console}"]
        if not commands:
            return argv + ["-serial", f"file:{self.output}"]
        pipe = self.folder / "commands"
        os.mkfifo(pipe)
        self.commands = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        return argv + ["-chardev", f"file,id=result,path={self.output},input-path={pipe}",
                       "-serial", "chardev:result"]

    def _boot(self, kernel, extras, files, script):
        image = initrd.image(kernel, extras)
        if script is not None:
            files = dict(files, job=script)
        if files:
            own = initrd.Cpio()
            for name, data in files.items():
                if isinstance(data, str):
                    data = data.encode()
                elif isinstance(data, pathlib.Path):
                    data = data.read_bytes()
                own.file(name.lstrip("/"), data, 0o755)
            whole = self.folder / "initrd"
            shutil.copyfile(image, whole)
            with whole.open("ab") as file:
                file.write(own.bytes())
            image = whole
        return ["-kernel", str(LAB / "kernel" / kernel / "vmlinuz"), "-initrd", str(image)]

    def _run(self, interactive):
        self.output.touch()
        self.errors = (self.folder / "qemu.log").open("wb+")
        kw = {} if interactive else {"stdin": subprocess.DEVNULL, "stdout": self.errors,
                                     "stderr": self.errors}
        self.process = subprocess.Popen(self.argv, preexec_fn=die_with_parent, **kw)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Kills QEMU if it runs and removes what the run left, but a console
        that the caller asked for."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process and hasattr(self, "errors"):
            self.errors.close()
        if self.commands is not None:
            os.close(self.commands)
            self.commands = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def reported(self):
        """Lines and blocks so far."""
        text = self.output.read_text(errors="replace")
        return parse(text[:text.rfind("\n") + 1])

    def wait_line(self, timeout=60, **want):
        """The first line with these values; None when time is up or it ended."""
        end = time.monotonic() + timeout
        while True:
            over = self.process.poll() is not None
            for line in self.reported()[0]:
                if matches(line, want):
                    return line
            if over or time.monotonic() > end:
                return None
            time.sleep(0.05)

    def send(self, *words):
        """One line to the job that reads the result channel (commands=True)."""
        os.write(self.commands, (" ".join(map(str, words)) + "\n").encode())

    def qmp(self, command, **arguments):
        """Sends one QMP command; returns its result, LabError on its error."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(f"{self.folder}/qmp")
            stream = sock.makefile("rw")
            stream.readline()
            for name, args in (("qmp_capabilities", {}), (command, arguments)):
                stream.write(json.dumps({"execute": name, "arguments": args}) + "\n")
                stream.flush()
                while True:
                    reply = json.loads(stream.readline())
                    if "event" not in reply:
                        break
            if "error" in reply:
                raise LabError(f"QMP {command}: {reply['error']['desc']}")
            return reply["return"]

    def plug(self, port, path):
        """Puts a function that is served at path into a port."""
        self.qmp("device_add", driver="vfio-user-pci", id=f"in-{port}", bus=port,
                 socket={"type": "unix", "path": str(path)})

    def unplug(self, port, timeout=20):
        """Asks the guest to let go of what is in a port; whether it has."""
        self.qmp("device_del", id=f"in-{port}")
        end = time.monotonic() + timeout
        while any(each["name"] == f"in-{port}"
                  for each in self.qmp("qom-list", path="/machine/peripheral")):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def wait(self, timeout=120):
        """Waits for the guest to power off; kills it when time is up."""
        try:
            self.process.wait(max(0.1, timeout - (time.monotonic() - self.start)))
            reason = ""
        except subprocess.TimeoutExpired:
            reason = f"still running after {timeout} s"
            self.process.kill()
            self.process.wait()
        lines, blocks = self.reported()
        end = [line for line in lines if "end" in line]
        if not reason and self.process.returncode:
            self.errors.seek(0)
            reason = f"QEMU ended with {self.process.returncode}: " + \
                self.errors.read().decode(errors="replace").strip()[-500:]
        elif not reason and not end:
            reason = "the guest ended without a word (panic? see its console)"
        elif not reason and end[-1]["status"] != "0":
            reason = "failed: " + ", ".join(
                f"{line['job']} ({line['status']})" for line in lines
                if "job" in line and line.get("status") not in ("0", "77"))
        return Result(not reason, reason, round(time.monotonic() - self.start, 3), lines,
                      blocks, self._save_console(bool(reason)), self.process.returncode,
                      self.accel)

    def _save_console(self, failed):
        """The console's path; a failed guest's is kept in the lab folder."""
        if self.keep_console:
            return str(self.console)
        if not failed or not self.console.exists():
            return ""
        kept = LAB / "failed" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        kept.parent.mkdir(parents=True, exist_ok=True)
        self.errors.seek(0)
        kept.write_bytes(self.console.read_bytes() + b"\n--- QEMU ---\n" + self.errors.read())
        return str(kept)


def boot(devices=(), *, timeout=120, **kw):
    """Boots, waits, returns the Result. Keywords are Guest's."""
    with Guest(devices, **kw) as vm:
        return vm.wait(timeout)


def accelerator(again=False):
    """"kvm" where KVM boots a stock kernel within seconds, else TCG."""
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK)
    cache = LAB / "accel"
    try:
        known = json.loads(cache.read_text())
        if known["usable"] == usable and not again:
            return known["accel"]
    except (OSError, ValueError, KeyError):
        pass
    kernels = [k for k in KERNELS if (LAB / "kernel" / k / "vmlinuz").exists()]
    if not kernels:
        raise LabError("no kernel in the lab: run tools/lab/prepare")
    works = usable and boot(job="", kernel=kernels[0], accel="kvm", timeout=10,
                            cpus=1, console="/dev/null").ok
    answer = "kvm" if works else TCG
    write_file(cache, json.dumps({"usable": usable, "accel": answer}) + "\n")
    return answer


# ---- command line

def arguments():
    parser = argparse.ArgumentParser(prog="tools/lab/guest.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", nargs="*", help="short names as above")
    parser.add_argument("--job", default="groups", help="jobs of tests/guest/jobs, by comma")
    parser.add_argument("--script", type=pathlib.Path, help="a shell script to run as the job")
    parser.add_argument("-p", "--param", action="append", default=[], metavar="KEY=VALUE",
                        help="parameter of a job")
    parser.add_argument("--kernel", default=DEFAULT_KERNEL, choices=list(KERNELS))
    parser.add_argument("--iommu", default="lazy", choices=list(MODES))
    parser.add_argument("--append", default="", help="more words for the kernel")
    parser.add_argument("--memory", default="1G")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--extra", action="append", default=[], choices=list(initrd.EXTRAS),
                        help="programs in the guest (fio comes with the jobs that use it)")
    parser.add_argument("--viot", default="auto", help='auto, none or "IOMMU:FIRST[-LAST],..."')
    parser.add_argument("--accel", help="kvm or tcg,thread=multi (default: what works)")
    parser.add_argument("--reboot", action="store_true", help="the guest may restart")
    parser.add_argument("--timeout", type=float, default=120, help="seconds (120)")
    parser.add_argument("--console", help="keep the console's log in this file")
    parser.add_argument("--shell", action="store_true", help="a shell in the guest, here")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args, more = parser.parse_known_args()
    args.qemu_args = more[1:] if more[:1] == ["--"] else more
    return args


def keywords(args):
    """Guest's keywords out of the command line."""
    jobs = args.job.split(",")
    extras = set(args.extra)
    if {"fio", "verify"} & set(jobs):
        extras.add("fio")
    params = dict(pair.partition("=")[::2] for pair in args.param)
    return {"job": "" if args.script else args.job, "params": params, "kernel": args.kernel,
            "iommu": args.iommu, "append": args.append, "memory": args.memory,
            "cpus": args.cpus, "extras": extras, "viot": args.viot, "accel": args.accel,
            "script": args.script.read_text() if args.script else None,
            "reboot": args.reboot, "console": args.console, "qemu_args": args.qemu_args}


def show(done):
    for line in done.lines:
        print(" ".join(f"{k}={v}" for k, v in line.items()))
    for name, text in done.blocks.items():
        print(f"--- {name}\n{text}", end="")
    print(f"--- {'ok' if done.ok else done.reason}, {done.seconds:.1f} s, {done.accel}"
          + (f", console: {done.console}" if done.console else ""))


def command():
    args = arguments()
    kw = keywords(args)
    if args.shell:
        kw["params"]["shell"] = 1
        with Guest(args.device, interactive=True, **dict(kw, job="")) as vm:
            return vm.process.wait()
    done = boot(args.device, timeout=args.timeout, **kw)
    if args.json:
        print(json.dumps(done.as_dict(), indent=1))
    else:
        show(done)
    return 1 if not done.ok else 77 if done.skipped else 0


if __name__ == "__main__":
    main(command)
