#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""`viommu bench` without a guest: the plan, the statistics, guest.json, the table,
the page and the picture."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path[:0] = [str(TOP / d) for d in ("tools", "tools/lab", "tests/guest")]

from guestbench import guests, page, plan, progress, results, svg, table  # noqa: E402

OPTIONS = plan.Options(rounds=3, seed=7)
MACHINE = {"cpu": "A <fast> & small one", "cores": 2, "memory_gib": 8.0, "kernel": "6.1",
           "qemu": "11.1.3", "accel": "tcg,thread=multi", "guest_kernel": "7.2",
           "fio": "3.39", "iperf3": "3.18", "load_at_start": [0.1, 0.2, 0.3], "steal_share": 0.012,
           "date": "2026-01-01T00:00:00Z"}
KEYS = {"vmm": str, "endpoint": str, "iommu": str, "job": str, "vcpus": int,
        "median": float, "unit": str, "spread": dict, "share_of_none": float,
        "requests_per_io": float, "kicks_per_io": float}


def samples_of(options):
    """What a run without trouble keeps."""
    out = []
    for key in results.keys_of(options):
        row = plan.ROWS[key[1]]
        base = {"none": 1000.0, "bypass": 990.0}.get(row.iommu, 800.0)
        for number in range(options.rounds):
            sample = {"key": key, "round": number + 1, "value": base + 10 * number}
            if row.vmm == "viommu":
                sample.update(requests_per_io=1.0, kicks_per_io=0.5)
            out.append(sample)
        if row.vmm == "qemu":
            out.append({"key": key, "round": 0, "count": True, "requests_per_io": 2.0,
                        "kicks_per_io": 3.0})
    return out


def document(options=OPTIONS, samples=None, complete=True):
    state = {"complete": complete, "why": "" if complete else "stopped by SIGINT", "seconds": 9}
    samples = samples_of(options) if samples is None else samples
    return results.document(options, samples, MACHINE, [], state)


class Plan(unittest.TestCase):
    def rounds(self, options):
        out = {}
        for step in plan.plan(options):
            out.setdefault((step.vcpus, step.round), []).append((step.row.name, step.endpoint))
        return out

    def test_each_round_has_all_rows_once(self):
        rounds = self.rounds(OPTIONS)
        every = sorted((r, e) for r in plan.ROWS for e in ("nvme", "net"))
        for vcpus in (1, 2):
            for number in (1, 2, 3):
                self.assertEqual(sorted(rounds[vcpus, number]), every)

    def test_rounds_differ_in_order_and_seeds_repeat(self):
        rounds = self.rounds(OPTIONS)
        self.assertNotEqual(rounds[1, 1], rounds[1, 2])
        self.assertNotEqual(rounds[1, 1], rounds[2, 1])
        self.assertEqual(rounds, self.rounds(OPTIONS))
        other = self.rounds(dataclasses.replace(OPTIONS, seed=8))
        self.assertNotEqual(rounds[1, 1], other[1, 1])

    def test_each_round_has_guests_of_its_own(self):
        steps = plan.plan(OPTIONS)
        keys = {plan.guest_key(s) for s in steps}
        self.assertEqual(len(keys), 2 * 3 * 4)
        for step in steps:
            vcpus, number, kind = plan.guest_key(step)
            self.assertEqual((vcpus, kind), (step.vcpus, step.row.guest))
            self.assertEqual(number, step.round or 1)
        # Once gone, a guest is not wanted again.
        laps = [plan.guest_key(s)[:2] for s in steps]
        self.assertEqual(laps, sorted(laps))

    def test_rows_are_alternated_not_blocked(self):
        names = [s.row.name for s in plan.plan(OPTIONS) if s.vcpus == 2 and s.round]
        first = [i for i, name in enumerate(names) if name == "viommu-lazy"]
        self.assertGreater(first[-1] - first[0], len(names) / 3)

    def test_only_qemu_is_counted(self):
        counted = [s for s in plan.plan(OPTIONS) if not s.round]
        self.assertEqual({s.row.vmm for s in counted}, {"qemu"})
        off = dataclasses.replace(OPTIONS, count=False)
        self.assertFalse([s for s in plan.plan(off) if not s.round])

    def test_endpoints_get_their_jobs(self):
        for step in plan.plan(OPTIONS):
            self.assertEqual(step.jobs, ("write64k", "rw4k") if step.endpoint == "nvme"
                             else ("stream", "maerts"))

    def test_huge_pages_only_when_named(self):
        self.assertNotIn("write64h", plan.Options().jobs)
        self.assertEqual(guests.huge_pages(plan.Options()), "")
        named = dataclasses.replace(OPTIONS, jobs=("write64h",), write_jobs=4)
        self.assertEqual(guests.huge_pages(named), "hugepages=8")
        self.assertEqual(plan.fio_of(plan.JOBS["write64h"], named)[2], 4)

    def test_vcpus_do_not_mix(self):
        vcpus = [s.vcpus for s in plan.plan(OPTIONS)]
        self.assertEqual(vcpus, sorted(vcpus))

    def test_budget(self):
        default, quick = plan.Options(), plan.Options(rounds=3, seconds=2, vcpus=(2,))
        self.assertLess(plan.total_cost(plan.plan(default), default), 48 * 60)
        self.assertLess(plan.total_cost(plan.plan(quick), quick), 11 * 60)

    def test_select(self):
        self.assertEqual(plan.select("lazy", plan.ROWS, "row"),
                         ("viommu-lazy", "qemu-virtio-lazy", "qemu-intel-lazy"))
        self.assertEqual(plan.select("qemu-none,viommu-*", plan.ROWS, "row")[-1], "qemu-none")
        with self.assertRaisesRegex(ValueError, "no row \"fast\"; there are viommu-none"):
            plan.select("fast", plan.ROWS, "row")


class Results(unittest.TestCase):
    def test_summary(self):
        median, spread = results.summary([5, 1, 9])
        self.assertEqual((median, spread["min"], spread["max"]), (5, 1, 9))
        self.assertEqual((spread["q1"], spread["q3"]), (3, 7))
        median, spread = results.summary([4])
        self.assertEqual((median, spread), (4, {"min": 4, "max": 4, "q1": 4, "q3": 4}))

    def test_json_has_the_keys(self):
        doc = json.loads(json.dumps(document()))
        self.assertEqual(len(doc["runs"]), 2 * 9 * 4)
        for run in doc["runs"]:
            for key, kind in KEYS.items():
                self.assertIsInstance(run[key], (kind, int) if kind is float else kind, key)
        self.assertTrue(doc["complete"])
        self.assertEqual(doc["settings"]["seed"], 7)

    def test_shares_are_of_the_same_vmm(self):
        samples = samples_of(OPTIONS)
        for sample in samples:
            if sample["key"][1] == "qemu-none" and "value" in sample:
                sample["value"] *= 2
        runs = results.lookup(document(samples=samples))
        self.assertAlmostEqual(runs[2, "nvme", "rw4k", "viommu-lazy"]["share_of_none"], 810 / 1010)
        self.assertAlmostEqual(runs[2, "nvme", "rw4k", "qemu-virtio-lazy"]["share_of_none"],
                               810 / 2020)
        self.assertEqual(runs[2, "nvme", "rw4k", "qemu-none"]["share_of_none"], 1)

    def test_what_was_not_measured_is_null_with_a_reason(self):
        samples = [s for s in samples_of(OPTIONS) if s["key"][1] != "viommu-lazy"]
        samples.append({"key": (1, "viommu-lazy", "nvme", "rw4k"), "round": 1, "error": "died"})
        runs = results.lookup(document(samples=samples))
        self.assertEqual(runs[1, "nvme", "rw4k", "viommu-lazy"]["reason"], "died")
        self.assertIsNone(runs[1, "nvme", "rw4k", "viommu-lazy"]["median"])
        off = [s for s in samples_of(OPTIONS) if not s.get("count")]
        run = results.lookup(document(samples=off))[1, "nvme", "rw4k", "qemu-intel-lazy"]
        self.assertIsNone(run["kicks_per_io"])
        self.assertIn("not counted", run["reason"])
        none = results.lookup(document(samples=off))[1, "nvme", "rw4k", "qemu-none"]
        self.assertEqual(none["requests_per_io"], 0)

    def test_ratios(self):
        found = {(o, t): r for o, t, r in results.ratios(document())}
        self.assertEqual(found["viommu-none", "qemu-none"][1, "nvme", "rw4k"], 1)


class Counters(unittest.TestCase):
    def stat(self, maps, reads, kicks):
        endpoint = {"kicks": kicks, "reads": reads, "writes": 1}
        return {"iommu": {"requests": {"map": {"total": maps}, "unanswered": 0},
                          "queues": [{"kicks": 4}, {"kicks": 0}]},
                "endpoints": [{"id": "nvme", "counters": endpoint},
                              {"id": "plain-nvme", "counters": endpoint}]}

    def test_per_io(self):
        a, b = self.stat(10, 0, 3), self.stat(30, 10, 8)
        found = guests.per_io(guests.totals(a, "nvme"), guests.totals(b, "nvme"))
        self.assertEqual(found, {"requests_per_io": 2, "kicks_per_io": 0.5})
        plain = guests.per_io(guests.totals(a, "plain-nvme"), guests.totals(b, "plain-nvme"))
        self.assertEqual(plain["requests_per_io"], 0)
        self.assertEqual(guests.per_io((1, 1, 1), (2, 2, 1)), {})

    def test_figures(self):
        way = {"iops": 50.0, "lat_ns": {"mean": 3000.0}, "bw_bytes": 1 << 20, "total_ios": 5}
        text = "note\n" + json.dumps({"jobs": [{"read": way, "write": way}]})
        self.assertEqual(guests.fio_figures(text, plan.JOBS["rw4k"]),
                         {"value": 100, "latency_us": 3, "ios": 10})
        self.assertEqual(guests.fio_figures(text, plan.JOBS["write64k"])["value"], 2)


class Texts(unittest.TestCase):
    def test_table(self):
        text = table.text(document())
        lines = text.splitlines()
        self.assertLessEqual(max(len(line) for line in lines[:40]), 120)
        self.assertRegex(text, r"viommu  no vIOMMU +100 %")
        self.assertRegex(text, r"        lazy +80 % +810 +800\.\.820 +1\.00 +0\.50")
        self.assertRegex(text, r"intel-iommu, strict +80 %")
        self.assertIn("load average at the start 0.10", text)
        self.assertIn("1.2 % of its processors", text)
        self.assertNotIn("NOT COMPLETE", text)

    def test_partial_results_are_marked(self):
        doc = document(samples=samples_of(OPTIONS)[:20], complete=False)
        self.assertIn("NOT COMPLETE: stopped by SIGINT", table.text(doc))
        self.assertIn("NOT COMPLETE", page.html(doc))
        self.assertIn("not complete", svg.picture(doc))
        self.assertIn("not measured", page.html(doc))
        nothing = document(samples=[], complete=False)
        for text in (table.text(nothing), page.html(nothing), svg.picture(nothing)):
            self.assertIn("-" if "NOT" in text else "not", text)

    def well_formed(self, text):
        return xml.fromstring(re.sub(r"^<!DOCTYPE html>\n", "", text))

    def test_page(self):
        text = page.html(document())
        tree = self.well_formed(text)
        self.assertEqual(len(tree.findall(".//svg")), 8)
        self.assertEqual(len(tree.findall(".//svg//rect")), 8 * 9)
        for outside in ("<script", "http://", "https://", "url(", "@import", "<link", "src="):
            self.assertNotIn(outside, text)
        self.assertIn("prefers-color-scheme: dark", text)
        self.assertIn("A &lt;fast&gt; &amp; small one", text)

    def test_bars_are_as_long_as_their_share(self):
        tree = self.well_formed(page.html(document()))
        first = tree.find(".//svg").findall(".//rect")
        widths = [float(r.get("width")) for r in first]
        self.assertAlmostEqual(widths[3] / widths[0], 810 / 1010, places=2)

    def test_picture(self):
        text = svg.picture(document())
        tree = self.well_formed(text)
        self.assertEqual(tree.tag, "{http://www.w3.org/2000/svg}svg")
        one = dataclasses.replace(OPTIONS, vcpus=(2,), endpoints=("nvme",))
        self.well_formed(svg.picture(document(one)))

    def test_drawn_from_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "guest.json"
            source.write_text(json.dumps(document()))
            drawn = pathlib.Path(folder) / "out.svg"
            done = subprocess.run([TOP / "tools/bench-guest", "--from", source, "--svg", drawn],
                                  capture_output=True, text=True, timeout=30)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.well_formed(drawn.read_text())
            self.assertIn("viommu  no vIOMMU", done.stdout)

    def test_other_files_are_refused(self):
        for text, said in (("[]", "no guest.json"), ("{", "--from"), ("{}", "no guest.json")):
            with tempfile.NamedTemporaryFile("w") as file:
                file.write(text)
                file.flush()
                done = subprocess.run([TOP / "tools/bench-guest", "--from", file.name],
                                      capture_output=True, text=True, timeout=30)
            self.assertEqual(done.returncode, 1)
            self.assertIn(said, done.stderr)

    def test_wrong_use(self):
        for words, said in ((["--rows", "fast"], "there are viommu-none"),
                            (["--jobs", "stream", "--endpoint", "nvme"], "nothing is left"),
                            (["--rounds", "0"], "a number from 1 on"),
                            (["--vcpus", "x"], "invalid")):
            done = subprocess.run([TOP / "tools/bench-guest", *words], capture_output=True,
                                  text=True, timeout=30)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(said, done.stderr)


class Progress(unittest.TestCase):
    def test_lines_without_a_terminal(self):
        with tempfile.TemporaryFile("w+") as out:
            screen = progress.Screen(125, out)
            screen.now("booting")
            screen.since = screen.start - 9.5  # nine seconds into a step
            screen.now("nine")
            screen.done(100)
            screen.now("last")
            screen.close()
            out.seek(0)
            first, nine, last = out.read().splitlines()
        self.assertRegex(first, r"^\[0:00, 2:0[45] left\] booting$")
        self.assertRegex(nine, r"^\[0:00, 1:55 left\] nine$")
        self.assertRegex(last, r"^\[0:00, 0:12 left\] last$")


if __name__ == "__main__":
    unittest.main()
