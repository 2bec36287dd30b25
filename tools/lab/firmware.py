# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""UEFI firmware (OVMF) and disks that it boots a stock kernel from.

Only the tests that use it fetch it. Disks are made with mtools, from the archive as
well: the whole is one FAT file system without a partition table, shorter than the
disk, so that a guest may write behind it.
"""

import functools
import shutil

import archive
from labkit import LAB, LabError, Missing, lock, read_stamp, run, say, write_stamp

TREE = LAB / "firmware"
PACKAGES = ["ovmf", "mtools"]
UNIFIED = TREE / "usr/share/ovmf/OVMF.fd"          # for -bios: code and variables
CODE = TREE / "usr/share/OVMF/OVMF_CODE_4M.fd"     # for pflash 0: read-only
VARIABLES = TREE / "usr/share/OVMF/OVMF_VARS_4M.fd"  # for pflash 1: each machine's own copy
MTOOLS = TREE / "usr/bin/mtools"
FAT_LEN = 128 << 20
SECTOR = 512


@functools.cache
def prepare(update=False):
    """Makes sure of the firmware; Missing where it cannot be had."""
    wanted = (UNIFIED, CODE, VARIABLES, MTOOLS)
    if read_stamp("firmware") and all(p.exists() for p in wanted) and not update:
        return
    with lock():
        try:
            packages = archive.closure(PACKAGES)
            archive.unpack(archive.fetch(packages, "UEFI firmware"), TREE, "UEFI firmware")
        except LabError as error:
            why = str(error).splitlines()[0]
            raise Missing(f"no UEFI firmware (Debian's ovmf and mtools): {why}") from None
        absent = [p.name for p in wanted if not p.exists()]
        if absent:
            raise Missing(f"Debian's ovmf and mtools are without {', '.join(absent)}")
        version = dict(packages)["ovmf"]
        write_stamp("firmware", {"version": version})
    say(f"UEFI firmware {version}")


def flash(folder):
    """QEMU's arguments for firmware in flash, with variables of its own in folder."""
    own = folder / "variables.fd"
    shutil.copyfile(VARIABLES, own)
    return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={CODE}",
            "-drive", f"if=pflash,unit=1,format=raw,file={own}"]


def mtools(tool, image, *argv):
    """A tool of mtools, with its own loader and libraries."""
    return run([TREE / "usr/lib64/ld-linux-x86-64.so.2", "--argv0", tool,
                "--library-path", TREE / "usr/lib/x86_64-linux-gnu", MTOOLS,
                "-i", image, *argv])


def boot_disk(image, disk_len, kernel, initrd, words):
    """A disk whose kernel the firmware's shell starts with these words."""
    with image.open("wb") as file:
        file.truncate(disk_len)
    mtools("mformat", image, "-F", "-T", FAT_LEN // SECTOR, "-h", "64", "-s", "32", "::")
    script = image.with_suffix(".nsh")
    script.write_bytes(f"\\vmlinuz.efi initrd=\\initrd {words}\r\n".encode())
    for source, name in ((kernel, "vmlinuz.efi"), (initrd, "initrd"), (script, "startup.nsh")):
        mtools("mcopy", image, source, f"::/{name}")
