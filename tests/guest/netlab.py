# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""What the network tests have on the host: a viommud with a network card, and
servers on the host's loopback, which guests reach as 10.0.2.2."""

import hashlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from viommud import Daemon, binary
from guest import die_with_parent
from initrd import LAB
from labkit import LabError

BLOB_LEN = 24 << 20


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class NetDaemon(Daemon):
    """A viommud with an IOMMU (slot 3) and a network card (slot 4) behind it."""

    SLOTS = {"iommu": 3, "net": 4}

    def __init__(self, net="backend=user", *options):
        super().__init__(disk="backend=null,size=1M")
        self.argv = [str(binary()), "--socket-dir", str(self.folder),
                     "--control", str(self.folder / "control"), "--iommu", "id=iommu",
                     "--endpoint", f"net,id=net,ep=0x20,{net}", *options]


class Iperf:
    """An iperf3 server on the host's loopback: the host's own program, else the
    guest's, which brings its libraries."""

    def __enter__(self):
        self.port = free_port()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="iperf-"))
        self.log = (self.folder / "log").open("wb")
        argv = [*self._program(), "-s", "-B", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, preexec_fn=die_with_parent)
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process.poll() is None:
            with socket.socket() as sock:
                if not sock.connect_ex(("127.0.0.1", self.port)):
                    return self
            time.sleep(0.05)
        self.__exit__()
        raise LabError("iperf3 does not start")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _program(self):
        own = shutil.which("iperf3")
        if own:
            return [own]
        unpack(LAB / "userland" / "iperf.cpio", self.folder)
        return [str(self.folder / "lib64/ld-linux-x86-64.so.2"), "--library-path",
                str(self.folder / "lib/x86_64-linux-gnu"), str(self.folder / "bin/iperf3")]


def unpack(archive, folder):
    """The plain files of a "newc" archive."""
    data, at = archive.read_bytes(), 0
    while data[at:at + 6] == b"070701":
        fields = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
        name = data[at + 110:at + 110 + fields[11] - 1].decode()
        start = (at + 110 + fields[11] + 3) & ~3
        if name == "TRAILER!!!":
            return
        if fields[1] & 0o170000 == 0o100000:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data[start:start + fields[6]])
            path.chmod(0o755)
        at = (start + fields[6] + 3) & ~3


class Blobs:
    """Sends bytes to whoever connects to `down`, and takes what comes on `up`."""

    def __enter__(self):
        self.data = os.urandom(BLOB_LEN)
        self.md5 = hashlib.md5(self.data).hexdigest()
        self.received = []
        self.sockets = [self._listen(self._send), self._listen(self._take)]
        self.down, self.up = (s.getsockname()[1] for s in self.sockets)
        return self

    def __exit__(self, *_):
        for sock in self.sockets:
            sock.close()

    def _listen(self, handle):
        sock = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, args=(sock, handle), daemon=True).start()
        return sock

    @staticmethod
    def _serve(sock, handle):
        while True:
            try:
                peer = sock.accept()[0]
            except OSError:
                return
            with peer:
                try:
                    handle(peer)
                except OSError:
                    pass  # the guest notices too

    def _send(self, peer):
        peer.sendall(self.data)

    def _take(self, peer):
        self.received.append(digest_of(peer))


def digest_of(sock):
    """Of all that comes until the other side ends."""
    digest = hashlib.md5()
    while part := sock.recv(1 << 16):
        digest.update(part)
    return digest.hexdigest()


def fetch(port, timeout=20):
    """What a guest that was told to listen sends; "" if it cannot be reached."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
                found = digest_of(sock)
        except OSError:
            found = ""
        if found not in ("", hashlib.md5().hexdigest()):
            return found
        time.sleep(0.2)
    return ""
