#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""`viommu top` on a terminal of the test's own: keys, resizing, and that the terminal is
as it was after every end. Arguments: viommu, viommud."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

VIOMMU, VIOMMUD = sys.argv[1:3]
failed = 0
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
ENV = dict(os.environ, ASAN_OPTIONS="detect_leaks=0", TERM="xterm")

# nohup ignores it, for us and for what we start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def check(name, good, detail=""):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} {name}{'' if good else ': ' + repr(detail)}", flush=True)


class Top:
    """The program with a terminal; what it wrote is in self.text."""

    def __init__(self, control):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.size(24, 80)
        self.text = b""
        self.process = subprocess.Popen(
            [VIOMMU, "top", "--control", control, "--delay", "0.3"], stdin=self.slave,
            stdout=self.slave, stderr=self.slave, env=ENV, start_new_session=True)

    def size(self, rows, cols):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def wait_for(self, needle, seconds=20):
        end = time.monotonic() + seconds
        while needle not in self.text and time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536)
        return needle in self.text

    def key(self, key, needle):
        self.text = b""
        os.write(self.master, key)
        check(f"key {key!r}", self.wait_for(needle), self.text)

    def finish(self, name, status):
        check(f"{name}: gives the screen back", self.wait_for(LEAVE), self.text)
        check(f"{name}: exit status", self.process.wait(20) == status, self.process.returncode)
        check(f"{name}: the terminal is as it was",
              termios.tcgetattr(self.slave) == self.before)


with tempfile.TemporaryDirectory(prefix="viommu-test-") as folder:
    control_path = folder + "/vm7.sock"
    daemon = subprocess.Popen(
        [VIOMMUD, "--no-seccomp", "--socket-dir", folder, "--control", control_path,
         "--endpoint", "dmatest,id=dma,ep=0x28"], stderr=subprocess.PIPE, env=ENV)
    while b"ready" not in daemon.stderr.readline():
        pass

    top = Top(control_path)
    check("takes the other screen", top.wait_for(ENTER))
    check("shows the daemon", top.wait_for(b"vm7.sock"), top.text)
    check("shows the endpoint", top.wait_for(b"dmatest"), top.text)
    top.key(b"s", b"by bytes")
    top.key(b"?", b"sort by something else")
    top.key(b"x", b"dmatest")
    top.key(b"d", b"every 0.5 s")
    top.key(b" ", b"PAUSED")
    top.text = b""
    top.size(3, 30)
    os.kill(top.process.pid, signal.SIGWINCH)
    check("small", top.wait_for(b"viommu top"))
    top.key(b"q", LEAVE)
    top.finish("q", 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        top = Top(control_path)
        top.wait_for(b"dmatest")
        top.process.send_signal(number)
        top.finish(number.name, 0)
    top = Top(control_path)
    top.wait_for(b"dmatest")
    daemon.kill()
    daemon.wait()
    top.finish("viommud is killed", 1)
    check("says so", top.wait_for(b"has ended"), top.text)
    done = subprocess.run([VIOMMU, "top", "--control", control_path], capture_output=True,
                          text=True, env=ENV, check=False)
    check("no daemon", done.returncode == 1 and "is viommud running" in done.stderr, done.stderr)
    for bad in (["--delay", "0"], ["-n", "0"], ["--sort", "size"], ["now"],
                ["--name", "x", "--control", "y"]):
        done = subprocess.run([VIOMMU, "top", *bad], capture_output=True, text=True, env=ENV,
                              check=False)
        check(f"refuses {bad}", done.returncode == 2, done.stderr)

sys.exit(failed != 0)
