#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""The static probes of docs/tracing.md and those of the program are the same, with as
many arguments, and what the page has bpftrace do with them can be done: bpftrace itself
says so where it is installed and may run. Arguments: the program, the page. Exit status
77: built without."""

import os
import re
import shutil
import subprocess
import sys

PROGRAM, PAGE = sys.argv[1:3]
if not shutil.which("readelf"):
    print("readelf is missing")
    sys.exit(77)
notes = subprocess.run(["readelf", "-nW", PROGRAM], capture_output=True, text=True,
                       check=True).stdout
if "stapsdt" not in notes:
    print("built without <sys/sdt.h>")
    sys.exit(77)
have = {}
for name, arguments in re.findall(
        r"Provider: viommu\s+Name: (\w+)\s.*?Arguments:([^\n]*)", notes, re.S):
    have.setdefault(name, set()).add(len(re.findall(r"-?\d@", arguments)))
said = {}
with open(PAGE, encoding="utf-8") as page:
    text = page.read()
table = text.partition("## Static probes")[2]
for name, arguments in re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.M):
    said[name] = {len(arguments.split(","))}
for name in sorted(have.keys() | said.keys()):
    good = have.get(name) == said.get(name)
    print(f"{'ok' if good else 'not ok'} {name}: program {have.get(name)}, page {said.get(name)}")
failed = have != said or not said


def check(what, good, detail=""):
    global failed
    failed |= not good
    print(f"{'ok' if good else 'not ok'} {what}{'' if good else ': ' + detail}")


def check_clauses(script):
    """Each probe of a script exists and has the arguments that its clause uses."""
    clauses = re.split(r"usdt:PROGRAM:viommu:", script)
    check("begins with a probe of the program", clauses[0].strip() == "", clauses[0])
    for clause in clauses[1:]:
        name = re.match(r"\w+", clause).group()
        used = max([int(n) + 1 for n in re.findall(r"\barg(\d+)", clause)], default=0)
        there = max(have.get(name, {0}))
        check(f"{name} of a script", name in have and used <= there,
              f"program {there}, script {used}")


scripts = re.findall(r"bpftrace -e '([^']*)'", text)
check("scripts", len(scripts) == text.count("bpftrace -e"), "quotes")
for one in scripts:
    check_clauses(one)
if scripts and shutil.which("bpftrace") and os.geteuid() == 0:
    for one in scripts:
        done = subprocess.run(["bpftrace", "-d", "-e", one.replace("PROGRAM", PROGRAM)],
                              capture_output=True, text=True, check=False)
        # The rest is how it would be compiled.
        errors = [line for line in (done.stdout + done.stderr).splitlines()
                  if re.match(r"(stdin|<stdin>)?:\d+.*ERROR", line)]
        check("bpftrace takes it", not errors and (not done.returncode), "\n".join(errors))
sys.exit(failed)
