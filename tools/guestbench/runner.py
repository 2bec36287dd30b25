# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""Works a plan off. Whatever ends it, what was measured is kept."""

import contextlib
import signal
import time

from .guests import BenchGuest
from labkit import LabError
from netlab import Iperf
from .plan import BOOT_SECONDS, ENDPOINTS, cost, guest_key, plan, total_cost

BOOTS_MAX = 3  # of one guest: more and it is given up
TRIES = 2      # of a step


class Stopped(BaseException):
    """SIGINT, SIGTERM or SIGHUP came."""


@contextlib.contextmanager
def signals():
    """Turns the signals that end us into Stopped, once."""
    def stop(number, _):
        for one in caught:
            signal.signal(one, signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(one, stop) for one in caught]
    try:
        yield
    finally:
        for one, handler in zip(caught, before):
            signal.signal(one, handler)


class Runner:
    """samples and order fill up as it goes."""

    def __init__(self, options, screen):
        self.options, self.screen = options, screen
        self.samples, self.order = [], []
        self.guests, self.boots, self.server = {}, {}, None
        self.release = ""

    def run(self):
        """Raises Stopped."""
        try:
            for step in plan(self.options):
                self._drop(lambda key, step=step: key[:2] != guest_key(step)[:2])
                self._step(step)
                self.screen.done(cost(step, self.options))
        finally:
            self._drop(lambda _: True)
            self._stop_server()

    def _drop(self, which):
        for key in [k for k in self.guests if which(k)]:
            self.guests.pop(key).__exit__()

    def _stop_server(self):
        if self.server:
            self.server.__exit__()
            self.server = None

    def _guest(self, step):
        """The guest of a step, running; booted when it is not there."""
        key = guest_key(step)
        if key in self.guests:
            self.guests[key].resume()
            return self.guests[key]
        self.boots[key] = self.boots.get(key, 0) + 1
        if self.boots[key] > BOOTS_MAX:
            raise LabError(f"the {step.row.guest} guest failed {BOOTS_MAX} times")
        self.screen.now(f"booting the {step.row.guest} guest, {step.vcpus} vCPU")
        vm = self.guests[key] = BenchGuest(step.row.guest, step.vcpus, self.options)
        try:
            vm.__enter__()
        except BaseException:
            self._drop(lambda k: k == key)
            raise
        self.release = vm.release
        if self.boots[key] == 1:
            self.screen.done(BOOT_SECONDS)
        return vm

    def _port(self, step):
        """Of an iperf3 server; none is needed for disks."""
        if step.endpoint != "net":
            return 0
        if not self.server:
            self.server = Iperf().__enter__()
        return self.server.port

    def _step(self, step):
        """After a failure the guest starts anew; the second one costs a round."""
        left = list(step.jobs)
        for _ in range(TRIES):
            try:
                self._try(step, left)
                return
            except (LabError, OSError, ValueError, KeyError, StopIteration) as error:
                why = str(error)
            self.screen.say(f"failed: {describe(step)}, {left[0] if left else 'end'}: {why}")
            self._drop(lambda k: k == guest_key(step))
            self._stop_server()
        for name in left:
            if step.round:
                self._keep(step, name, {"error": why})

    def _try(self, step, left):
        """Runs the jobs that are left, and takes each off when it is done."""
        vm = self._guest(step)
        port = self._port(step)
        vm.prepare(step)
        while left:
            self._job(vm, step, left[0], port)
            left.pop(0)
        vm.pause()

    def _job(self, vm, step, name, port):
        if step.round:
            self.screen.now(f"{describe(step)}: {name}")
            start = time.monotonic()
            figures = vm.run(step, name, port)
            self.order.append([step.vcpus, step.round, step.row.name, name])
            self._keep(step, name, dict(figures, seconds=round(time.monotonic() - start, 2)))
        else:
            self.screen.now(f"{describe(step)}: {name}")
            self._keep(step, name, dict(vm.count(step, name, port), count=True))

    def _keep(self, step, name, sample):
        key = step.vcpus, step.row.name, step.endpoint, name
        self.samples.append({"key": key, "round": step.round, **sample})


def describe(step):
    what = f"round {step.round}" if step.round else "counting"
    return f"{step.vcpus} vCPU, {what}: {step.row.name}, {ENDPOINTS[step.endpoint]}"


def expected(options):
    return total_cost(plan(options), options)
