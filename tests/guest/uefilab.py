# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""UEFI firmware that boots from a disk behind the IOMMU, for guest tests."""

import pathlib
import shutil
import tempfile
import time

from viommud import DISK_LEN, Daemon
import firmware
import guest
from labkit import DEFAULT_KERNEL, LAB


class BootDaemon(Daemon):
    """A viommud whose disk has a kernel, for the firmware, in its first half."""

    def __init__(self, kind, iommu="", job="groups", mode="lazy", extras=()):
        firmware.prepare()
        self.image_folder = pathlib.Path(tempfile.mkdtemp(prefix="viommud-"))
        params = {"modules": "nvme", "offset": firmware.FAT_LEN, "size": "32m"}
        kernel = LAB / "kernel" / DEFAULT_KERNEL / "vmlinuz"
        initrd = guest.initrd.image(DEFAULT_KERNEL, extras)
        self.boot_len = kernel.stat().st_size + initrd.stat().st_size
        image = self.image_folder / "boot.img"
        firmware.boot_disk(image, DISK_LEN, kernel, initrd,
                           guest.kernel_words(job, params, mode))
        super().__init__(kind=kind, iommu=iommu, disk=f"file={image}")

    def __exit__(self, *_):
        super().__exit__(*_)
        shutil.rmtree(self.image_folder, ignore_errors=True)

    def faults(self):
        """Blocked accesses since its start."""
        return self.ask("stat")["iommu"]["faults"]["total"]

    def read_len(self):
        """Bytes that were read from the disk."""
        counters = self.endpoint("disk")["counters"]
        return counters.get("read_bytes", counters.get("bytes_read"))


def wait_until(vm, seconds, true):
    """Whether it came true while the guest ran."""
    end = time.monotonic() + seconds
    while not true():
        if vm.process.poll() is not None or time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def on_console(vm, text):
    """Whether it has been there; QEMU makes the file a moment after its start."""
    return vm.console.exists() and text in vm.console.read_text(errors="replace")
