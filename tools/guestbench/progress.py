# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""What runs and how long it will still take: one live line on a terminal, a line
for each step else."""

import sys
import threading
import time


def clock(seconds):
    seconds = max(0, int(seconds))
    return f"{seconds // 60}:{seconds % 60:02d}"


class Screen:
    """expected: seconds that all should take; done() tells how far it is."""

    def __init__(self, expected, out=None):
        self.out = out or sys.stderr
        self.tty, self.start = self.out.isatty(), time.monotonic()
        self.since = self.start  # when done() was called last
        self.expected, self.spent_plan, self.what = max(expected, 1), 0.0, ""
        self.over, self.lock = threading.Event(), threading.Lock()
        if self.tty:
            threading.Thread(target=self._tick, daemon=True).start()

    def left(self):
        """Seconds: the plan's estimate, corrected by how well it has done so far."""
        planned = self.expected - self.spent_plan
        if self.spent_plan >= 30:
            planned *= max(0.5, min((self.since - self.start) / self.spent_plan, 3.0))
        return max(planned - (time.monotonic() - self.since), 0)

    def _text(self):
        return f"[{clock(time.monotonic() - self.start)}, {clock(self.left())} left] {self.what}"

    def _tick(self):
        while not self.over.wait(0.5):
            with self.lock:
                print(f"\r{self._text()[:110]}\033[K", end="", file=self.out, flush=True)

    def now(self, what):
        with self.lock:
            self.what = what
            if not self.tty:
                print(self._text(), file=self.out, flush=True)

    def done(self, planned):
        """planned: the estimate for what has been done since the last call."""
        self.spent_plan = min(self.spent_plan + planned, self.expected)
        self.since = time.monotonic()

    def say(self, text):
        with self.lock:
            print(("\r\033[K" if self.tty else "") + text, file=self.out, flush=True)

    def close(self):
        self.over.set()
        with self.lock:
            if self.tty:
                print("\r\033[K", end="", file=self.out, flush=True)
