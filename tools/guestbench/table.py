# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""guest.json as text: rows are modes, columns the share of no vIOMMU."""

import textwrap

from .plan import ENDPOINTS, ROWS
from .results import lookup, panels, ratios

NAME = 29
COLUMNS = "{:>6} {:>7} {:>14} {:>7} {:>6}"
COLUMNS_LEN = 44
WIDTH = NAME + 2 * COLUMNS_LEN + 2
VMMS = {"viommu": "viommu", "qemu": "QEMU"}


def number(value):
    """Three figures are enough, and no fraction where it says nothing."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


def share(run):
    value = run["share_of_none"]
    return "-" if value is None else f"{100 * value:.0f} %"


def small(value):
    return "-" if value is None else f"{value:.2f}"


def spread(run):
    if not run["spread"]:
        return "-"
    return f"{number(run['spread']['min'])}..{number(run['spread']['max'])}"


def cell(run):
    if run is None or run["median"] is None:
        return COLUMNS.format("-", "-", "-", "-", "-")
    return COLUMNS.format(share(run), number(run["median"]), spread(run),
                          small(run["requests_per_io"]), small(run["kicks_per_io"]))


def section(doc, vcpus, endpoint):
    """The lines of one table: the jobs of one device side by side."""
    runs = lookup(doc)
    jobs = [p[2] for p in panels(doc) if p[:2] == (vcpus, endpoint)]
    title = f"{ENDPOINTS[endpoint]}, {vcpus} vCPU{'s' if vcpus > 1 else ''}"
    lines = [f"{title:{NAME}}" + " |".join(f"{doc['settings']['jobs'][j]:^{COLUMNS_LEN}}"
                                           for j in jobs).rstrip()]
    heads = []
    for job in jobs:
        unit = next(r["unit"] for r in doc["runs"] if r["job"] == job)
        per = "frm" if endpoint == "net" else "I/O"
        heads.append(COLUMNS.format("share", unit, "min..max", f"req/{per}", "kicks"))
    lines.append(" " * NAME + " |".join(heads))
    last = ""
    for row in ROWS.values():
        own = [runs.get((vcpus, endpoint, job, row.name)) for job in jobs]
        if any(own):
            vmm = VMMS[row.vmm]
            name = f"{vmm if vmm != last else '':8}{row.label}"
            lines.append(f"{name:{NAME}}" + " |".join(cell(run) for run in own))
            last = vmm
    return lines


def comparison(doc):
    """How many times as fast as QEMU's device in the same mode."""
    lines = []
    for ours, theirs, found in ratios(doc):
        for vcpus in sorted({p[0] for p in found}):
            cells = [f"{p[2]} {ratio:.2f}x" for p, ratio in found.items() if p[0] == vcpus]
            lines.append(f"  {ROWS[ours].label:10} over QEMU {ROWS[theirs].label:22} "
                         f"{vcpus} vCPU:  {', '.join(cells)}")
    return ["viommu's median over QEMU's", *lines] if lines else []


def rounds(settings):
    return f"{settings['rounds']} round{'s' if settings['rounds'] > 1 else ''}"


def machine(doc):
    m, s = doc["machine"], doc["settings"]
    load = " ".join(f"{x:.2f}" for x in m["load_at_start"])
    return [f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, Linux {m['kernel']}; "
            f"load average at the start {load}; {100 * m['steal_share']:.1f} % of its "
            "processors' time went to other machines",
            f"QEMU {m['qemu']}, {m['accel']}; guest kernel {m['guest_kernel']}, "
            f"fio {m['fio']}, iperf3 {m['iperf3']}; {m['date']}",
            f"{rounds(s)} of {s['seconds']} s (after {s['ramp']:g} s), rows shuffled "
            f"in each round (seed {s['seed']}); medians, min..max",
            *([f"viommud {' '.join(s['daemon'])}"] if s["daemon"] else []), s["backends"]]


def problems(doc):
    """What is not as it should be."""
    lines = [] if doc["complete"] else [f"NOT COMPLETE: {doc['why']}"]
    runs = [r for r in doc["runs"] if r["rounds"] < doc["settings"]["rounds"]]
    if runs and doc["complete"]:
        lines += [f"{r['row']} {r['job']} {r['vcpus']} vCPU: {r['rounds']} of "
                  f"{doc['settings']['rounds']} rounds: {r.get('reason', '')}" for r in runs]
    return lines


def text(doc):
    parts = []
    for vcpus, endpoint in dict.fromkeys(p[:2] for p in panels(doc)):
        parts.append("\n".join(section(doc, vcpus, endpoint)))
    about = [part for line in machine(doc) for part in textwrap.wrap(line, WIDTH)]
    for lines in (comparison(doc), about, problems(doc)):
        if lines:
            parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
