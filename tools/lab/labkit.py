# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""Paths, progress and stamps, shared by the lab's scripts."""

import contextlib
import fcntl
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def lab_folder():
    """What VIOMMU_LAB says, that of the source tree, or of the user if installed."""
    said = os.environ.get("VIOMMU_LAB")
    if said:
        return pathlib.Path(said)
    if (ROOT / "Makefile").exists():
        return ROOT / "build" / "lab"
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "viommu" / "lab"


LAB = lab_folder().resolve()

# What --kernel takes: the suite whose "cloud" kernel is used. Suites, not
# versions, because an archive drops old versions.
KERNELS = {"7.2": "trixie-backports", "6.12": "trixie"}
DEFAULT_KERNEL = "7.2"


class LabError(Exception):
    """A message for the user; the scripts exit 1 with it."""


class Missing(LabError):
    """Something named is not on this machine; the scripts exit 77."""


def run(argv, **kw):
    """Runs argv; on failure raises LabError with the last lines of output."""
    kw.setdefault("stdout", subprocess.PIPE)
    kw.setdefault("stderr", subprocess.STDOUT)
    done = subprocess.run([str(a) for a in argv], text=True, **kw)
    if done.returncode:
        tail = "\n".join((done.stdout or "").strip().splitlines()[-12:])
        raise LabError(f"{argv[0]} failed ({done.returncode})\n{tail}")
    return done.stdout


def need(program, package):
    if not shutil.which(program):
        raise Missing(f"{program} is missing: tools/setup installs it ({package})")


@contextlib.contextmanager
def lock(name="lock"):
    """One preparation at a time per lab folder."""
    LAB.mkdir(parents=True, exist_ok=True)
    with open(LAB / f".{name}", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is preparing the lab, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)


class Step:
    """with Step("what", expected_seconds): one line, live on a terminal."""

    def __init__(self, what, expected=None):
        self.what, self.expected = what, expected
        self.tty = sys.stderr.isatty()
        self.done = threading.Event()

    def _text(self):
        spent = time.monotonic() - self.start
        of = f" of about {self.expected}" if self.expected else ""
        return f"lab: {self.what} ({spent:.0f}{of} s)"

    def _tick(self):
        while not self.done.wait(0.5):
            print(f"\r{self._text()}\033[K", end="", file=sys.stderr, flush=True)

    def __enter__(self):
        self.start = time.monotonic()
        if self.tty:
            self.thread = threading.Thread(target=self._tick, daemon=True)
            self.thread.start()
        else:
            say(self.what + (f" (about {self.expected} s)" if self.expected else ""))
        return self

    def __exit__(self, kind, *_):
        self.done.set()
        if self.tty:
            self.thread.join()
            end = "failed" if kind else "done"
            spent = time.monotonic() - self.start
            print(f"\rlab: {self.what}: {end}, {spent:.1f} s\033[K", file=sys.stderr)


def digest(paths, *extra):
    """A short hash over the contents of files and some strings."""
    total = hashlib.sha256("\0".join(extra).encode())
    for path in sorted(map(pathlib.Path, paths)):
        total.update(path.name.encode() + b"\0")
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


def read_stamp(name):
    try:
        return json.loads((LAB / "stamp" / name).read_text())
    except (OSError, ValueError):
        return None


def write_stamp(name, value):
    write_file(LAB / "stamp" / name, json.dumps(value) + "\n")


def write_file(path, data, mode=0o644):
    """Writes a file so that it is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(data.encode() if isinstance(data, str) else data)
    fresh.chmod(mode)
    fresh.rename(path)


def load_script(name):
    """A script of this folder as a module: those that users call have no .py."""
    loader = importlib.machinery.SourceFileLoader(name, str(pathlib.Path(__file__).with_name(name)))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = keep
    return module


def main(function):
    """Runs a script's main and turns errors into messages and exit codes."""
    try:
        sys.exit(function() or 0)
    except Missing as error:
        say(error)
        sys.exit(77)
    except LabError as error:
        say(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
