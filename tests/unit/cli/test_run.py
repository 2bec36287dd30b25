#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""`viommu run` with a script in QEMU's place: what it starts, its exit status, and
that nothing is left behind however it ends. Arguments: viommu, viommud."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

VIOMMU, VIOMMUD = sys.argv[1:3]
failed = 0
base = pathlib.Path(tempfile.mkdtemp(prefix="viommu-test-"))
runtime = base / "runtime"
runtime.mkdir()
(base / "kernel").write_text("kernel")
(base / "initrd1").write_bytes(b"12345")
(base / "initrd2").write_bytes(b"67")
(base / "disk.img").write_bytes(bytes(1 << 20))
ENV = dict(os.environ, XDG_RUNTIME_DIR=str(runtime), BASE=str(base),
           ASAN_OPTIONS="detect_leaks=0")

QEMU = """#!/bin/sh
case "$1" in
--version) echo "QEMU emulator version {version} (Debian)"; exit 0 ;;
-device) exit {device} ;;
esac
printf '%s\\n' "$@" > "$BASE/args"
echo $$ > "$BASE/pid"
{body}
"""


def check(name, good, detail=""):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} {name}{'' if good else ': ' + str(detail)}", flush=True)


def qemu(body="exit 0", version="11.1.3", device=0):
    path = base / "qemu"
    path.write_text(QEMU.format(body=body, version=version, device=device))
    path.chmod(0o755)
    return str(path)


def command(*args, program=None):
    # Sanitized builds need calls that the filter forbids; it has a test of its own.
    return [VIOMMU, "run", "--viommud", VIOMMUD, "--qemu", program or qemu(), "--no-seccomp",
            "--accel", "tcg", "--kernel", str(base / "kernel"), *args]


def run(*args, program=None, timeout=60):
    return subprocess.run(command(*args, program=program), capture_output=True, text=True,
                          env=ENV, timeout=timeout, stdin=subprocess.DEVNULL)


def alive(needle):
    """Processes whose command line names it."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and needle in (entry / "cmdline").read_bytes().decode(
                    errors="replace") and int(entry.name) != os.getpid():
                found.append(entry.name)
        except OSError:
            pass
    return found


def clean(name):
    left = list(runtime.iterdir()), alive(str(runtime)), alive(str(base / "qemu"))
    check(f"{name}: nothing is left", not any(left), left)


def wait_for(path, seconds=30):
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    return path.exists()


def start(body):
    (base / "pid").unlink(missing_ok=True)
    process = subprocess.Popen(command("--disk", "null:1M", program=qemu(body)), env=ENV,
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    check("started", wait_for(base / "pid"))
    return process


# What is started.
done = run("--disk", str(base / "disk.img"), "--disk", "null:1G", "--disk", "mem:1M,serial=x",
           "--dmatest", "--initrd", str(base / "initrd1"), "--initrd", str(base / "initrd2"),
           "--append", "quiet", "--memory", "256M", "--cpus", "3", "--", "-extra", "it",
           program=qemu('cp "$(sed -n "/^-initrd/{n;p}" "$BASE/args")" "$BASE/joined"; '
                        'cp "$(sed -n "s/^file=//p" "$BASE/args")" "$BASE/viot"; '
                        'ls "$(dirname "$(sed -n "s/^file=//p" "$BASE/args")")" > "$BASE/ls"'))
check("exit status of a good run", done.returncode == 0, done.stderr)
args = (base / "args").read_text().splitlines()
for word in ("256M", "3", "console=ttyS0 quiet", "mon:stdio", "-extra", "it", "tcg,thread=multi",
             "memory-backend-memfd,id=mem,size=256M,share=on"):
    check(f"QEMU gets {word}", word in args, args)
devices = [a for a in args if "vfio-user-pci" in a]
check("five functions", len(devices) == 5, devices)
for slot, name in ((3, "iommu"), (4, "disk0"), (5, "disk1"), (6, "disk2"), (7, "dmatest3")):
    check(f"{name} at {slot}", any(f'"addr":"{slot}"' in d and f"/{name}.sock" in d
                                   for d in devices), devices)
check("sockets listened", {"iommu.sock", "disk0.sock", "disk1.sock", "disk2.sock",
                           "dmatest3.sock", "control.sock"}
      <= set((base / "ls").read_text().split()), (base / "ls").read_text())
check("initrds joined", (base / "joined").read_bytes() == b"12345\0\0\00067\0\0")
check("table lists them", (base / "viot").read_bytes()[64:].count(b"\x01\x00\x18\x00") == 4)
clean("good run")

done = run("--firmware", str(base / "initrd1"), "--disk", "null:1M")
args = (base / "args").read_text().splitlines()
check("firmware", done.returncode == 0 and args[args.index("-bios") + 1] == str(base / "initrd1"),
      args)
clean("firmware")
done = run("--no-iommu", "--disk", "null:1M")
check("no firmware", "-bios" not in (base / "args").read_text().splitlines())
args = (base / "args").read_text()
check("no IOMMU", done.returncode == 0 and "acpitable" not in args and "iommu.sock" not in args)

# How QEMU may end.
check("QEMU fails", run(program=qemu("exit 3")).returncode == 1)
clean("QEMU fails")
check("QEMU crashes", run(program=qemu("kill -SEGV $$")).returncode == 1)
clean("QEMU crashes")
begin = time.monotonic()
done = run("--timeout", "1", program=qemu('trap "" TERM; sleep 60 & while :; do sleep 1; done'))
check("time limit, QEMU ignores SIGTERM", done.returncode == 1 and "--timeout 1" in done.stderr,
      done.stderr)
check("within bounds", time.monotonic() - begin < 30)
clean("QEMU ignores SIGTERM")

# How we may be ended.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    process = start("exec sleep 60")
    process.send_signal(number)
    check(f"status after {number.name}", process.wait(30) == 1)
    check("says so", "stopped by signal" in process.stderr.read())
    clean(number.name)
process = start("exec sleep 60")
process.kill()
process.wait()
time.sleep(1)
end = time.monotonic() + 10
while alive(str(runtime)) and time.monotonic() < end:
    time.sleep(0.1)
check("killed: helpers are gone", not alive(str(runtime)), alive(str(runtime)))

# What it left goes with the next start; what is another's, or no folder of ours, stays.
left = list(runtime.iterdir())
check("killed: its folder is left", len(left) == 1 and (left[0] / "run.lock").exists(), left)
victim = base / "victim"
victim.mkdir(mode=0o700)
(victim / "run.lock").write_text("")
(runtime / "viommu-link").symlink_to(victim)
(runtime / "viommu-unlocked").mkdir(mode=0o700)
(runtime / "viommu-open").mkdir()
(runtime / "viommu-open").chmod(0o755)
(runtime / "viommu-linked-lock").mkdir(mode=0o700)
(runtime / "viommu-linked-lock" / "run.lock").symlink_to(victim / "run.lock")
(runtime / "viommu-open" / "run.lock").write_text("")
stays = {"viommu-link", "viommu-unlocked", "viommu-open", "viommu-linked-lock"}
other = start("exec sleep 60")
stays |= {path.name for path in runtime.iterdir() if path not in left}
check("a dead owner's folder is removed", not left[0].exists(), left)
check("the next run", run("--disk", "null:1M").returncode == 0)
found = {path.name for path in runtime.iterdir()}
check("folders that stay", found == stays and len(found) == 5 and (victim / "run.lock").exists(),
      found)
other.send_signal(signal.SIGTERM)
check("a living one was left alone", other.wait(30) == 1)
for path in list(runtime.iterdir()):
    if path.is_symlink():
        path.unlink()
    else:
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
(victim / "run.lock").unlink()

# viommud ends.
process = start("exec sleep 60")
for pid in alive(str(runtime)):
    if "viommud" in os.readlink(f"/proc/{pid}/exe"):
        os.kill(int(pid), signal.SIGKILL)
check("viommud is killed", process.wait(30) == 1)
check("says so", "viommud was killed by signal 9" in process.stderr.read())
clean("viommud is killed")
done = run("--disk", "/does/not/exist")
check("viommud refuses", done.returncode == 1 and "/does/not/exist" in done.stderr, done.stderr)
clean("viommud refuses")

# Wrong use, and what is missing.
for args, status, words in (
        (["--memory", "lots"], 2, "--memory lots"), (["--cpus", "0"], 2, "--cpus 0"),
        (["--accel", "fast"], 2, "--accel fast"), (["--name", "a/b"], 2, "--name a/b"),
        (["--timeout", "x"], 2, "--timeout x"), (["--disk", "null:"], 2, "--disk"),
        (["--frobnicate"], 2, "viommu run --help"), (["stray"], 2, "stray"),
        (["--disk-image", "x"], 2, "either --kernel"),
        (["--iommu", "bypass=on", "--no-iommu"], 2, "exclude"),
        (["--initrd", "/nowhere"], 77, "--initrd /nowhere"),
        (["--firmware", "/nowhere"], 77, "--firmware /nowhere"),
        (["--firmware"], 2, "--firmware"),
        (["--qemu", "/nowhere"], 77, "--qemu /nowhere"),
        (["--viommud", "/nowhere"], 77, "--viommud /nowhere"),
        (sum((["--disk", "null:1M"] for i in range(28)), []), 2, "no more slots")):
    done = run(*args)
    check(f"{' '.join(args)[:40]}: {status}", done.returncode == status and words in done.stderr,
          f"{done.returncode} {done.stderr}")
check("27 devices fit", run(*sum((["--disk", "null:1M"] for i in range(27)), [])).returncode == 0)
done = run(program=qemu(version="10.0.2"))
check("old QEMU", done.returncode == 77 and "QEMU 10.0 found at" in done.stderr
      and "10.1 or newer" in done.stderr and "tools/lab/prepare" in done.stderr, done.stderr)
check("QEMU 10.1", run(program=qemu(version="10.1.0")).returncode == 0)
done = run(program=qemu(device=1))
check("QEMU without vfio-user", done.returncode == 77 and "vfio-user-pci" in done.stderr)
done = run("--dry-run", "--disk", "a b.img")
check("dry run", done.returncode == 0 and len(done.stdout.splitlines()) == 2
      and "'blk,id=disk0,ep=0x20,path=a b.img'" in done.stdout, done.stdout)
clean("all")
for path in base.iterdir():
    path.rmdir() if path.is_dir() else path.unlink()
base.rmdir()
sys.exit(1 if failed else 0)
