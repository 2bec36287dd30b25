#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""The static probes of docs/tracing.md and those of the program are the same, with as
many arguments. Arguments: the program, the page. Exit status 77: built without."""

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
    for name, arguments in re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page.read(), re.M):
        said[name] = {len(arguments.split(","))}
for name in sorted(have.keys() | said.keys()):
    good = have.get(name) == said.get(name)
    print(f"{'ok' if good else 'not ok'} {name}: program {have.get(name)}, page {said.get(name)}")
sys.exit(have != said or not said)
