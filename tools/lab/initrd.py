# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""The guest's file system: cpio archives that the kernel unpacks one by one.

  base     busybox, kernel modules, tests/guest (init, jobs, C programs)
  extras   fio, nvme-cli, iperf3, QEMU, DPDK with their libraries, each a cpio of its own
  per run  whatever guest.py adds (a job script, a disk image for the guest)

All are uncompressed: under TCG unpacking costs more than reading.
"""

import lzma
import os
import pathlib
import re
import shutil
import stat
import time

import archive
from labkit import (DEFAULT_KERNEL, LAB, ROOT, LabError, Step, digest, need,
                    read_stamp, run, say, write_file, write_stamp)

GUEST = ROOT / "tests" / "guest"
BUSYBOX = "busybox-static"
QEMU = [f"{p}/trixie-backports" for p in (
    "qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")]
# What testpmd loads when told to, beside the libraries it names.
PLUGINS = {"dpdk": ["librte_net_virtio", "librte_mempool_ring"]}
EXTRAS = {"fio": ["fio"], "nvme": ["nvme-cli"], "iperf": ["iperf3"], "qemu": QEMU,
          "dpdk": ["dpdk-dev"]}
PROGRAMS = {"fio": ["usr/bin/fio"], "nvme": ["usr/sbin/nvme"], "iperf": ["usr/bin/iperf3"],
            "qemu": ["usr/bin/qemu-system-x86_64"], "dpdk": ["usr/bin/dpdk-testpmd"]}
# Files that go into the guest's /share/EXTRA.
DATA = {"qemu": ["usr/share/qemu/qboot.rom", "usr/share/qemu/kvmvapic.bin"],
        "dpdk": ["usr/libexec/coreutils/libstdbuf.so"]}  # makes what it prints come in lines
LIBS = "usr/lib/x86_64-linux-gnu"
# What programs load while they run (pthread_cancel does), beside what they name.
LOADED = ["libgcc_s.so.1"]
FORMAT = 2  # of what is made from packages; another number makes it anew
MODULES = ["virtio_iommu", "vfio", "vfio_iommu_type1", "vfio_pci", "virtio_blk",
           "virtio_net", "nvme", "virtio_pci", "ext4", "qemu_fw_cfg", "kvm_amd",
           "kvm_intel", "tun"]
KEEP = 8  # images kept per lab folder


class Cpio:
    """A "newc" archive in memory; adds the folders a path needs."""

    def __init__(self):
        self.parts, self.inode, self.dirs = [], 0, set()

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        self.inode += 1
        raw = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(raw), 0)
        head = b"070701" + b"".join(b"%08x" % f for f in fields)
        for part in (head + raw, data):
            self.parts.append(part + b"\0" * (-len(part) % 4))

    def folder(self, name):
        parent = os.path.dirname(name)
        if parent and parent not in self.dirs:
            self.folder(parent)
        if name not in self.dirs:
            self.dirs.add(name)
            self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o644):
        if os.path.dirname(name):
            self.folder(os.path.dirname(name))
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        if os.path.dirname(name):
            self.folder(os.path.dirname(name))
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def node(self, name, major, minor):
        self.folder(os.path.dirname(name))
        self._entry(name, stat.S_IFCHR | 0o600, rdev=(major, minor))

    def bytes(self):
        self._entry("TRAILER!!!", 0)
        data = b"".join(self.parts)
        return data + b"\0" * (-len(data) % 512)


# ---- programs from the archive

def packages_of(name):
    """What to fetch for a part of the guest: [(package, version)]."""
    if name == "base":
        return [p for p in archive.closure([BUSYBOX]) if p[0] == BUSYBOX]
    return dpdk_packages() if name == "dpdk" else archive.closure(EXTRAS[name])


def dpdk_packages():
    """dpdk-dev has testpmd, but depends on what compiling takes, five times of what
    testpmd loads. Its libraries are named after DPDK's release: the archive knows it."""
    version, depends = archive.show("dpdk-dev")
    wanted = [each for each in depends if each.startswith("lib") and not each.endswith("-dev")]
    release = [m.group(1) for each in wanted if (m := re.fullmatch(r"librte-eal(\d+)", each))]
    if not release:
        raise LabError(f"dpdk-dev {version} depends on no librte-eal")
    wanted += [plugin.replace("_", "-") + release[0] for plugin in PLUGINS["dpdk"]]
    return [*archive.closure([*wanted, "coreutils"]), ("dpdk-dev", version)]


def prepare_userland(sets, update=False):
    """Makes sure of userland/base.tree and userland/EXTRA.cpio."""
    for name in sets:
        target = LAB / "userland" / name
        stamp = read_stamp(f"userland-{name}")
        if stamp and stamp.get("format") == FORMAT and not update:
            continue
        tree = LAB / "qemu-tree"
        if name == "qemu" and tree.exists():  # what prepare has unpacked for itself
            write_file(LAB / "userland" / "qemu.cpio", extra_cpio(name, tree))
            write_stamp("userland-qemu", {"packages": read_stamp("qemu"), "format": FORMAT})
            continue
        packages = packages_of(name)
        files = archive.fetch(packages, f"the guest's {'busybox' if name == 'base' else name}")
        archive.unpack(files, target, name)
        if name != "base":
            write_file(LAB / "userland" / f"{name}.cpio", extra_cpio(name, target))
            shutil.rmtree(target)
        write_stamp(f"userland-{name}", {"packages": ["=".join(p) for p in packages],
                                         "format": FORMAT})


def libraries(tree, program):
    """The shared objects a program of a tree loads, as paths in the tree."""
    loader = tree / "usr/lib64/ld-linux-x86-64.so.2"
    out = run([loader, "--library-path", f"{tree / LIBS}:{tree / LIBS}/ceph", "--list", program])
    if "not found" in out:
        raise LabError(f"{program.name} lacks libraries:\n{out}")
    found = re.findall(r"=> (\S+) \(", out)
    found += [str(p) for p in (tree / LIBS / name for name in LOADED) if p.exists()]
    return [pathlib.Path(p) for p in found if p.startswith(str(tree))]


def extra_cpio(name, tree):
    """A program with its libraries, in one flat library folder."""
    cpio = Cpio()
    found = {}
    for inside in PROGRAMS[name]:
        program = tree / inside
        cpio.file(f"bin/{program.name}", program.read_bytes(), 0o755)
        found.update((path.name, path) for path in libraries(tree, program))
    for plugin in PLUGINS.get(name, []):
        path = min((tree / LIBS).glob(f"{plugin}.so.*"), key=lambda each: len(each.name))
        found.update((each.name, each) for each in [path, *libraries(tree, path)])
    for path in found.values():
        cpio.file(f"lib/x86_64-linux-gnu/{path.name}", path.read_bytes(), 0o755)
    for inside in DATA.get(name, []):
        cpio.file(f"share/{name}/{pathlib.Path(inside).name}", (tree / inside).read_bytes())
    loader = (tree / "usr/lib64/ld-linux-x86-64.so.2").read_bytes()
    cpio.file("lib64/ld-linux-x86-64.so.2", loader, 0o755)
    return cpio.bytes()


# ---- kernel modules

def module_name(path):
    return path.name.split(".ko")[0].replace("-", "_")


def module_data(path):
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def add_modules(cpio, kernel):
    """Adds MODULES and what they need, with a modules.dep for modprobe."""
    top = next((LAB / "kernel" / kernel / "usr/lib/modules").iterdir())
    by_name = {module_name(p): p for p in top.rglob("*.ko*")}
    added, lines, todo = set(), [], list(MODULES)
    deps = {}

    def needs(name):
        if name not in deps:
            found = re.search(rb"\0depends=([^\0]*)\0", module_data(by_name[name]))
            direct = found.group(1).decode().split(",") if found else []
            deps[name] = [d.replace("-", "_") for d in direct if d]
        return deps[name]

    def closure(name):
        order = []
        for dep in needs(name):
            for each in [dep, *closure(dep)]:
                if each in order:
                    order.remove(each)
                order.append(each)
        return order

    while todo:
        name = todo.pop()
        if name in added or name not in by_name:
            continue  # built into the kernel
        added.add(name)
        todo += needs(name)
        cpio.file(f"lib/modules/{top.name}/{name}.ko", module_data(by_name[name]))
        lines.append(f"{name}.ko: " + " ".join(f"{d}.ko" for d in closure(name)))
    cpio.file(f"lib/modules/{top.name}/modules.dep", ("\n".join(lines) + "\n").encode())


# ---- our own programs

def compile_guest(out):
    """Compiles tests/guest/*.c: every file with a main() links with the rest."""
    need("gcc", "gcc")
    sources = sorted(GUEST.glob("*.c"))
    mains = [s for s in sources if re.search(r"^int main\(", s.read_text(), re.M)]
    common = [s for s in sources if s not in mains]
    out.mkdir(parents=True, exist_ok=True)
    for source in mains:
        run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g0", "-Wall", "-Wextra", "-Werror", "-static",
             "-pthread", "-s", "-o", out / source.stem, source, *common])
    return [out / s.stem for s in mains]


def guest_sources():
    return [p for p in sorted(GUEST.rglob("*")) if p.is_file()
            and p.suffix in ("", ".c", ".h", ".sh")]


def build_base(kernel, path):
    need("gcc", "gcc")
    with Step(f"guest programs and modules for {kernel}", 5):
        cpio = Cpio()
        for name in ("bin", "dev", "proc", "sys", "tmp", "run", "etc", "mnt", "root"):
            cpio.folder(name)
        cpio.node("dev/console", 5, 1)
        cpio.node("dev/null", 1, 3)
        busybox = LAB / "userland" / "base"
        found = [p for p in (busybox / "usr/bin/busybox", busybox / "bin/busybox") if p.exists()]
        cpio.file("bin/busybox", found[0].read_bytes(), 0o755)
        cpio.link("bin/sh", "busybox")
        programs = LAB / "guest" / path.stem
        for program in compile_guest(programs):
            cpio.file(f"bin/{program.name}", program.read_bytes(), 0o755)
        shutil.rmtree(programs)
        cpio.file("init", (GUEST / "init").read_bytes(), 0o755)
        cpio.file("lib/guest.sh", (GUEST / "guest.sh").read_bytes())
        for job in sorted((GUEST / "jobs").iterdir()):
            cpio.file(f"jobs/{job.name}", job.read_bytes(), 0o755)
        cpio.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        add_modules(cpio, kernel)
        write_file(path, cpio.bytes())


def prune(folder):
    """Removes images that no source tree has used for a day, beyond KEEP."""
    files = sorted(folder.glob("*.cpio"), key=lambda p: p.stat().st_mtime, reverse=True)
    for old in files[KEEP:]:
        if time.time() - old.stat().st_mtime > 86400:
            old.unlink(missing_ok=True)


def image(kernel=DEFAULT_KERNEL, extras=()):
    """The initial file system for a kernel with extras; built when needed."""
    stamp = read_stamp(f"kernel-{kernel}")
    if not stamp or not read_stamp("userland-base"):
        raise LabError(f"kernel {kernel} is not here: run tools/lab/prepare --kernel {kernel}")
    mine = digest([*guest_sources(), pathlib.Path(__file__)], stamp["release"],
                  str(read_stamp("userland-base")))
    folder = LAB / "initrd"
    base = folder / f"{kernel}-{mine}.cpio"
    if not base.exists():
        build_base(kernel, base)
    os.utime(base)
    extras = sorted(set(extras))
    if not extras:
        prune(folder)
        return base
    parts = [LAB / "userland" / f"{name}.cpio" for name in extras]
    for name, part in zip(extras, parts):
        if not part.exists():
            raise LabError(f"{name} is not here: run tools/lab/prepare --extra {name}")
    tag = digest([], *[str(read_stamp(f"userland-{name}")) for name in extras])[:6]
    whole = folder / f"{kernel}-{mine}-{'-'.join(extras)}-{tag}.cpio"
    if not whole.exists():
        write_file(whole, b"".join(p.read_bytes() for p in [base, *parts]))
    os.utime(whole)
    prune(folder)
    return whole


if __name__ == "__main__":
    say("tools/lab/prepare builds the images")
