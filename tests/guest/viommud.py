# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""Starts and ends a viommud for a guest test."""

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

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "lab"))

from guest import die_with_parent  # noqa: E402
from labkit import LabError, Missing  # noqa: E402

DISK_LEN = 256 << 20


def built(path, target):
    """A program of the build folder."""
    path = pathlib.Path(os.environ.get("VIOMMU_BUILD") or ROOT / "build") / path
    if not path.exists():
        raise Missing(f"{path.name} is not built (make {target})")
    return path


def binary():
    """The daemon to test: VIOMMUD, else the one of the release build."""
    given = os.environ.get("VIOMMUD")
    return pathlib.Path(given) if given else built("release/daemon/viommud", "release")


class Daemon:
    """A viommud with an IOMMU, a disk and a dmatest behind it.

    Slots of the guest: 3 the IOMMU, 4 the disk, 5 dmatest. As a context
    manager; leaving it ends the daemon and removes its folder.
    """

    SLOTS = {"iommu": 3, "disk": 4, "dma": 5}

    def __init__(self, *options, iommu="", disk="", kind="blk", program=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="viommud-"))
        self.log = self.folder / "log"
        if not disk:
            image = self.folder / "disk.img"
            with image.open("wb") as file:
                file.truncate(DISK_LEN)
            disk = f"file={image}"
        self.argv = [str(program or binary()), "--socket-dir", str(self.folder),
                     "--control", str(self.folder / "control"),
                     "--iommu", ",".join(filter(None, ["id=iommu", iommu])),
                     "--endpoint", f"{kind},id=disk,ep=0x20,{disk}",
                     "--endpoint", "dmatest,id=dma,ep=0x28", *options]
        self.process = None

    @property
    def devices(self):
        """Names of the functions for guest.boot()."""
        return [f"vfio-user:{self.folder}/{name}.sock@{slot:x}"
                for name, slot in self.SLOTS.items()]

    def __enter__(self):
        try:
            with self.log.open("wb") as log:
                self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log,
                                                stderr=log, preexec_fn=die_with_parent)
            self._wait_sockets()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_sockets(self):
        end = time.monotonic() + 10
        while not all((self.folder / f"{name}.sock").exists() for name in self.SLOTS):
            if self.process.poll() is not None or time.monotonic() > end:
                raise LabError(f"viommud did not start:\n{self.said()}")
            time.sleep(0.02)

    def ask(self, command, **args):
        """A command over the control socket; its result, LabError on its error."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.folder / "control"))
            sock.sendall(json.dumps({"command": command, **args}).encode() + b"\n")
            reply = json.loads(sock.makefile().readline())
        if not reply["ok"]:
            raise LabError(f"viommud: {reply['error']}")
        return reply["result"]

    def endpoint(self, name):
        """What stat says of an endpoint; None if it is not there."""
        found = [each for each in self.ask("endpoints") if each["id"] == name]
        return found[0] if found else None

    def said(self):
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4000:]

    def healthy(self):
        """Ends it as a user would; "" or what is wrong with how it ended."""
        if self.process.poll() is not None:
            return f"viommud ended with {self.process.returncode} before its time"
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            return "viommud does not end on SIGTERM"
        if code not in (0, -signal.SIGTERM):
            return f"viommud ended with {code}"
        return "a sanitizer complains" if "ERROR: " in self.said() else ""

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Disks(Daemon):
    """A viommud with both disks: virtio-blk in slot 4, NVMe in slot 6. Without
    an IOMMU they are used as they are."""

    SLOTS = {"iommu": 3, "disk": 4, "dma": 5, "nvme": 6}

    def __init__(self, behind=True):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="viommud-"))
        image = folder / "nvme.img"
        with image.open("wb") as file:
            file.truncate(DISK_LEN)
        super().__init__("--endpoint", f"nvme,id=nvme,ep=0x30,file={image}")
        self.image_folder = folder
        if not behind:
            self.SLOTS = {"disk": 4, "nvme": 6}
            self.argv = [re.sub("ep=0x[0-9a-f]+", "iommu=off", word) for word in self.argv]

    def __exit__(self, *_):
        super().__exit__(*_)
        shutil.rmtree(self.image_folder, ignore_errors=True)
