#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""The table that `viommu viot` writes, byte for byte against one made here from
ACPI 6.5, and what it refuses. Argument: the program."""

import struct
import subprocess
import sys

VIOMMU = sys.argv[1]
failed = 0


def check(name, good, detail=""):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} {name}{'' if good else ': ' + detail}")


def expected(iommu, ranges):
    """ranges: (first, last, endpoint number)"""
    nodes = struct.pack("<BBHHH8x", 3, 0, 16, 0, iommu)
    for first, last, ep in ranges:
        nodes += struct.pack("<BBHIHHHHH6x", 1, 0, 24, ep, 0, 0, first, last, 48)
    body = struct.pack("<HH8x", 1 + len(ranges), 48) + nodes
    head = struct.pack("<4sIBB6s8sI4sI", b"VIOT", 36 + len(body), 0, 0, b"VIOMMU", b"VIOMMUTB",
                       1, b"VIOM", 1)
    table = bytearray(head + body)
    table[9] = -sum(table) % 256
    return bytes(table)


def run(*args):
    return subprocess.run([VIOMMU, "viot", *args], capture_output=True, timeout=20)


GOOD = [
    (["--endpoint", "4"], 0x18, [(0x20, 0x20, 0x20)]),
    (["--iommu", "1", "--endpoint", "4=0x100"], 0x08, [(0x20, 0x20, 0x100)]),
    (["--iommu=00:03.0", "--endpoint", "4-5.7", "--endpoint", "01:00.0=5"], 0x18,
     [(0x20, 0x2f, 0x20), (0x100, 0x100, 5)]),
    (["--iommu", "1f.7", "--endpoint", "ff:1f.7"], 0xff, [(0xffff, 0xffff, 0xffff)]),
    (["--endpoint", "1:0-2:1f.7=4294967295"], 0x18, [(0x100, 0x2ff, 0xffffffff)]),
    (sum((["--endpoint", f"1:{i:x}"] for i in range(32)), []), 0x18,
     [(0x100 + 8 * i, 0x100 + 8 * i, 0x100 + 8 * i) for i in range(32)]),
]
for args, iommu, ranges in GOOD:
    done = run(*args, "-o", "-")
    want = expected(iommu, ranges)
    check(" ".join(args)[:60], done.returncode == 0 and done.stdout == want,
          f"{done.returncode} {done.stderr} {done.stdout.hex()} wanted {want.hex()}")
    check("sums up to zero", sum(done.stdout) % 256 == 0)

BAD = [
    ([], "--endpoint is missing"),
    (["--endpoint", "20"], "--endpoint 20"),
    (["--endpoint", "4.8"], "--endpoint 4.8"),
    (["--endpoint", "5-4"], "--endpoint 5-4"),
    (["--endpoint", "4="], "--endpoint 4="),
    (["--endpoint", "4=4294967296"], "4294967296"),
    (["--endpoint", "4x"], "--endpoint 4x"),
    (["--endpoint", "100:0"], "100:0"),
    (["--iommu", "x", "--endpoint", "4"], "--iommu x"),
    (["--nothing"], "--help"),
    (sum((["--endpoint", "4"] for i in range(33)), []), "more than 32"),
    (["stray", "--endpoint", "4"], "stray"),
]
for args, words in BAD:
    done = run(*args, "-o", "-")
    check(f"refused: {' '.join(args)[:40]}",
          done.returncode == 2 and words in done.stderr.decode() and not done.stdout,
          f"{done.returncode} {done.stderr}")
done = run("--endpoint")
check("no value", done.returncode == 2 and b"value is missing" in done.stderr)
check("no output", run("--endpoint", "4").returncode == 2)
check("bad file", run("--endpoint", "4", "-o", "/does/not/exist").returncode == 1)
sys.exit(1 if failed else 0)
