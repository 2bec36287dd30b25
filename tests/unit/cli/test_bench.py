#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""`viommu bench` with a script in the benchmark's place: what it is handed, and what
is said when something is missing. Argument: viommu."""

import os
import pathlib
import subprocess
import sys
import tempfile

VIOMMU = sys.argv[1]
TOP = pathlib.Path(__file__).resolve().parents[3]
failed = 0
SCRIPT = """#!/usr/bin/env python3
import os, sys
print(sys.argv[1:], os.environ.get("VIOMMUD"))
sys.exit(5)
"""


def check(name, good, detail=""):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} {name}{'' if good else ': ' + str(detail)}", flush=True)


def run(*args, program=VIOMMU, **env):
    full = {k: v for k, v in os.environ.items() if k not in ("VIOMMUD", "VIOMMU_BENCH")}
    return subprocess.run([program, "bench", *args], capture_output=True, text=True, timeout=60,
                          env=dict(full, ASAN_OPTIONS="detect_leaks=0", **env))


with tempfile.TemporaryDirectory() as folder:
    script = pathlib.Path(folder) / "bench"
    script.write_text(SCRIPT)
    script.chmod(0o755)

    done = run("--rows", "lazy", "--", "--poll-us", "5", VIOMMU_BENCH=str(script))
    check("arguments, exit status, and the viommud beside it", done.returncode == 5 and
          "['--rows', 'lazy', '--', '--poll-us', '5']" in done.stdout and
          done.stdout.strip().endswith("/viommud"), done)
    done = run(VIOMMU_BENCH=str(script), VIOMMUD="/mine")
    check("VIOMMUD is kept", done.stdout.strip().endswith(" /mine"), done)
    done = run(*["x"] * 129, VIOMMU_BENCH=str(script))
    check("too many arguments", done.returncode == 2 and "128" in done.stderr, done)
    done = run(VIOMMU_BENCH=folder + "/nothing")
    check("a benchmark that is not there", done.returncode == 77 and
          "no program that can be started" in done.stderr, done)
    done = run(VIOMMU_BENCH=str(script), PATH=folder)
    check("no python3", done.returncode == 77 and "python3" in done.stderr, done)
    done = run("--help", VIOMMU_BENCH=str(TOP / "tools" / "bench-guest"))
    check("the real one", done.returncode == 0 and "--rounds" in done.stdout, done)

sys.exit(bool(failed))
