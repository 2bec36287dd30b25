#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""`viommu top`, `stat` and `trace` as their users have them: wrong options, no daemon, one
that is slow, Ctrl-C at any time, terminals that are small or plain, endpoints that come
and go. Arguments: viommu, viommud."""

import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

VIOMMU, VIOMMUD = sys.argv[1:3]
failed = 0
ENV = dict(os.environ, ASAN_OPTIONS="detect_leaks=0", TERM="xterm", XDG_RUNTIME_DIR="/nowhere")
ENV.pop("VIOMMU_CONTROL", None)
ENDS = 0x1b

# nohup ignores it, for us and for what we start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def check(name, good, detail=""):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} {name}{'' if good else ': ' + repr(detail)[-300:]}", flush=True)


def viommu(*args, **env):
    return subprocess.run([VIOMMU, *args], capture_output=True, text=True, timeout=60,
                          env=dict(ENV, **env), check=False)


class Running:
    """viommu with its output on a pipe or, with a size, on a terminal."""

    def __init__(self, *args, size=None, ignore=(), **env):
        def prepare():
            for number in ignore:
                signal.signal(number, signal.SIG_IGN)
        slave = None
        if size:
            self.out, slave = pty.openpty()
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        else:
            self.out, pipe = os.pipe()
        self.process = subprocess.Popen(
            [VIOMMU, *args], stdin=slave or subprocess.DEVNULL, stdout=slave or pipe,
            stderr=subprocess.PIPE, preexec_fn=prepare, env=dict(ENV, **env))
        os.close(slave or pipe)
        self.text = b""

    def wait_for(self, needle, seconds=30):
        end = time.monotonic() + seconds
        while needle not in self.text and time.monotonic() < end:
            if not select.select([self.out], [], [], 0.1)[0]:
                continue
            try:
                more = os.read(self.out, 65536)
            except OSError:
                break
            if not more:
                break
            self.text += more
        return needle in self.text

    def again(self, needle):
        """The same in what comes from now on."""
        self.text = b""
        return self.wait_for(needle)

    def end(self, name, number, status):
        self.process.send_signal(number)
        threading.Thread(target=self.wait_for, args=(b"\0 never",), daemon=True).start()
        check(name, self.process.wait(30) == status, self.process.returncode)
        said = self.process.stderr.read().decode()
        check(f"{name}: says nothing", not said, said)


class Fake(threading.Thread):
    """A daemon that answers what it is told to, when it is told to: `asked` is set while a
    client waits for `answer`. waits=False: at once."""

    def __init__(self, path, waits=True, **more):
        super().__init__(daemon=True)
        self.waits = waits
        self.result = {"uptime_ms": 1000, "iommu": {}, "endpoints": [
            {"id": "tape", "type": "blk", "counters": {}}], **more}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.asked, self.answer = threading.Event(), threading.Event()
        self.start()

    def run(self):
        while True:
            client = self.listener.accept()[0]
            for _ in client.makefile():
                self.asked.set()
                if self.waits:
                    self.answer.wait(30)
                    self.answer.clear()
                try:
                    client.sendall(json.dumps({"ok": True, "result": self.result}).encode() +
                                   b"\n")
                except OSError:
                    break


def usage():
    for command in ("top", "stat", "trace", "bench"):
        done = viommu(command, "--help")
        check(f"{command} --help", done.returncode == 0 and not done.stderr and
              f"viommu {command}" in done.stdout, done)
    for args in (["stat", "--interval", "0"], ["stat", "--interval", "nan"],
                 ["stat", "--interval", "1s"], ["stat", "--interval", ""],
                 ["stat", "--interval", "1e9"], ["stat", "--wat"], ["stat", "now"],
                 ["stat", "--json=1"], ["stat", "--control"],
                 ["top", "--delay", "nan"], ["top", "--delay", ""], ["top", "-n", "-1"],
                 ["top", "--count"], ["trace", "--domain", "one"], ["trace", "--domain", "-1"],
                 ["trace", "--domain", "4294967296"], ["trace", "--for", "nan"],
                 ["trace", "--count", "0"], ["trace", "--faults", "--type", "map"],
                 ["trace", "x"], ["look"]):
        done = viommu(*args)
        check(f"refuses {args}", done.returncode == 2 and done.stderr.count("\n") == 1 and
              not done.stdout, done)
    for command in ("top", "stat", "trace"):
        done = viommu(command)
        check(f"{command}: none is running", done.returncode == 1 and
              "--control PATH" in done.stderr, done)
        done = viommu(command, "--control", "/nowhere/socket")
        check(f"{command}: not there", done.returncode == 1 and
              "is viommud running" in done.stderr, done)


def slow(folder):
    path = folder + "/slow.sock"
    daemon = Fake(path)
    top = Running("top", "--control", path, "--delay", "0.1", size=(24, 80))
    daemon.asked.wait(30)
    daemon.answer.set()
    check("shows what it knows", top.wait_for(b"tape"), top.text)
    # Resized while it waits for an answer: it waits on.
    for _ in range(3):
        daemon.asked.clear()
        daemon.asked.wait(30)
        top.process.send_signal(signal.SIGWINCH)
        time.sleep(0.05)
        daemon.answer.set()
    check("resized while it waits", top.again(b"tape") and b"has ended" not in top.text and
          top.process.poll() is None, top.text)
    daemon.asked.clear()
    daemon.asked.wait(30)
    top.end("Ctrl-C while it waits", signal.SIGINT, 0)
    daemon.answer.set()


def threads(folder):
    """Their table: a column for each word of its head."""
    loops = [{"policy": "auto", "max_us": 50, "crowded": crowded, "window_ns": 1500, "polls": 3,
              "found": 2, "sleeps": 1, "busy_us": 4000, "watched_us": 7000}
             for crowded in (True, False)]
    Fake(folder + "/threads.sock", waits=False, threads=loops)
    done = viommu("stat", "--control", folder + "/threads.sock")
    lines = done.stdout.splitlines()
    at = next((i for i, line in enumerate(lines) if line.startswith("thread ")), None)
    check("stat has threads", at is not None, done)
    if at is None:
        return
    check("a thread that is crowded", lines[at + 2].split() == [
        "endpoints-0", "auto", "50", "yes", "1.5", "3", "2", "1", "4.0", "7.0"], lines[at + 2])
    check("one that is not", lines[at + 3].split()[:4] == ["endpoints-1", "auto", "50", "no"],
          lines[at + 3])
    ends = {len(line) for line in lines[at:at + 4]}
    check("they line up", len(ends) == 1 and lines[at].find("crowded") == lines[at + 2].find("yes"),
          lines[at:at + 4])


def ctrl_c(control):
    for args, sign in ((["top", "--batch"], b"dmatest"), (["stat", "--watch"], b"dmatest"),
                       (["stat", "--interval", "0.1"], b"dmatest"),
                       (["stat", "--json", "--interval", "0.1"], b"dmatest")):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            one = Running(*args, "--control", control, *(
                ["--delay", "0.1"] if args[0] == "top" else []))
            check(f"{args}", one.wait_for(sign), one.text)
            one.end(f"{args}: {number.name}", number, 0)
    # Behind nohup.
    one = Running("top", "--batch", "--delay", "0.1", "--control", control,
                  ignore=[signal.SIGHUP])
    one.wait_for(b"dmatest")
    one.process.send_signal(signal.SIGHUP)
    check("goes on behind nohup", one.again(b"dmatest") and one.again(b"dmatest"), one.text)
    one.end("and ends", signal.SIGINT, 0)


def plain(control):
    one = Running("top", "--delay", "0.1", "--control", control, size=(10, 50), TERM="dumb")  # the kind has no room
    check("plain terminal", one.wait_for(b"\ndma ") and one.again(b"\ndma "), one.text)
    check("no sequences for it", ENDS not in one.text, one.text)
    check("as wide as it is", max(map(len, one.text.split(b"\r\n"))) <= 50, one.text)
    one.end("plain terminal: Ctrl-C", signal.SIGINT, 0)


def come_and_go(control):
    def ask(*args):
        done = viommu("control", "--control", control, *args)
        check(" ".join(args), done.returncode == 0, done)

    one = Running("top", "--batch", "--delay", "0.1", "--control", control)
    add = ("add-endpoint", "endpoint=blk,id=tape,ep=0x30,backend=null,size=1M")
    check("only one", one.wait_for(b"dmatest"), one.text)
    for _ in range(2):
        ask(*add)
        check("a new one is shown", one.again(b"\ntape "), one.text)
        ask("remove-endpoint", "endpoint=tape")
        one.again(b"\nviommu top")
        one.again(b"\nviommu top") and one.again(b"\nviommu top")
        check("one that has gone is not", b"tape" not in one.text, one.text)
    one.end("come and go", signal.SIGINT, 0)


usage()
with tempfile.TemporaryDirectory(prefix="viommu-test-") as folder:
    slow(folder)
    threads(folder)
    control = folder + "/control.sock"
    with subprocess.Popen(
            [VIOMMUD, "--no-seccomp", "--socket-dir", folder, "--control", control, "--endpoint",
             "dmatest,id=dma,ep=0x28"], stderr=subprocess.PIPE, env=ENV) as daemon:
        while b"ready" not in daemon.stderr.readline():
            pass
        ctrl_c(control)
        plain(control)
        come_and_go(control)
        daemon.terminate()
sys.exit(failed != 0)
