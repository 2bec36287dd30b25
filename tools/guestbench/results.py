# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""From samples to guest.json."""

import statistics

from .plan import IOMMUS, JOBS, ROWS, title_of

FORMAT = 1
NONE = "none"
BACKENDS = (
    "Backends are alike: the disks move no data (null, 8 GiB, reads leave memory as "
    "it is), the network cards are on user-mode networking with one queue pair, and iperf3 "
    "serves on the host's loopback. The same guest kernel, fio (libaio, direct=1) and iperf3 "
    "for all; 1 GiB of memory. QEMU's devices run in its own process, ours in viommud.")


def summary(values):
    """median and spread (min and max, quartiles)."""
    ordered = sorted(values)
    quarters = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 \
        else [ordered[0]] * 3
    return statistics.median(ordered), {"min": ordered[0], "max": ordered[-1],
                                        "q1": quarters[0], "q3": quarters[2]}


def middle(samples, key):
    """The median of what some samples have, or None."""
    found = [s[key] for s in samples if s.get(key) is not None]
    return statistics.median(found) if found else None


def run_of(key, samples, counted, errors):
    """One entry of runs[]."""
    vcpus, row, endpoint, job = key
    row, job = ROWS[row], JOBS[job]
    run = {"vmm": row.vmm, "endpoint": endpoint, "iommu": row.iommu, "job": job.name,
           "vcpus": vcpus, "row": row.name, "median": None, "unit": job.unit,
           "spread": None, "share_of_none": None, "requests_per_io": None,
           "kicks_per_io": None, "latency_us": None, "rounds": len(samples), "samples": []}
    if samples:
        run["samples"] = [s["value"] for s in samples]
        run["median"], run["spread"] = summary(run["samples"])
        run["latency_us"] = middle(samples, "latency_us")
    source = samples if row.vmm == "viommu" else counted
    for name in ("requests_per_io", "kicks_per_io"):
        run[name] = middle(source, name)
    reasons = [*errors, *[c["reason"] for c in counted if c.get("reason")]]
    if row.guest not in IOMMUS:
        run["requests_per_io"] = 0
    if row.vmm == "qemu" and not counted:
        reasons.append("requests and kicks were not counted")
    if reasons:
        run["reason"] = "; ".join(dict.fromkeys(reasons))
    return run


def add_shares(runs):
    """Each as a share of the same VMM's run without an IOMMU."""
    base = {(r["vmm"], r["endpoint"], r["job"], r["vcpus"]): r["median"] for r in runs
            if r["iommu"] == NONE}
    for run in runs:
        none = base.get((run["vmm"], run["endpoint"], run["job"], run["vcpus"]))
        if none and run["median"] is not None:
            run["share_of_none"] = run["median"] / none


def runs_of(keys, samples):
    """All of runs[]. keys: (vcpus, row, endpoint, job) in order; samples: dicts with
    "key", and with "value", "error" or "count" (counted and not measured)."""
    runs = []
    for key in keys:
        own = [s for s in samples if tuple(s["key"]) == key]
        runs.append(run_of(key, [s for s in own if "value" in s],
                           [s for s in own if s.get("count")],
                           [s["error"] for s in own if "error" in s]))
    add_shares(runs)
    return runs


def keys_of(options):
    return [(vcpus, row, endpoint, job) for vcpus in options.vcpus
            for endpoint in options.endpoints for job in options.jobs
            if endpoint in JOBS[job].kinds for row in options.rows]


def document(options, samples, machine, order, state):
    """guest.json. state: complete, seconds, and why if it is not complete."""
    return {"format": FORMAT, **state, "machine": machine,
            "settings": {"rounds": options.rounds, "seconds": options.seconds,
                         "ramp": options.ramp, "write_jobs": options.write_jobs,
                         "seed": options.seed, "daemon": list(options.daemon),
                         "backends": BACKENDS,
                         "jobs": {n: title_of(JOBS[n], options.write_jobs)
                                  for n in options.jobs}},
            "runs": runs_of(keys_of(options), samples), "order": order}


def lookup(doc):
    """runs[] by (vcpus, endpoint, job, row)."""
    return {(r["vcpus"], r["endpoint"], r["job"], r["row"]): r for r in doc["runs"]}


def panels(doc):
    """(vcpus, endpoint, job) of each group of rows, in order."""
    return list(dict.fromkeys((r["vcpus"], r["endpoint"], r["job"]) for r in doc["runs"]))


def ratios(doc):
    """Our rows' medians over QEMU's: (title, ours, theirs, {panel: ratio})."""
    runs, out = lookup(doc), []
    for ours, theirs in (("viommu-none", "qemu-none"), ("viommu-lazy", "qemu-virtio-lazy"),
                         ("viommu-strict", "qemu-virtio-strict"),
                         ("viommu-lazy", "qemu-intel-lazy"),
                         ("viommu-strict", "qemu-intel-strict")):
        found = {}
        for panel in panels(doc):
            a, b = (runs.get((*panel, row), {}).get("median") for row in (ours, theirs))
            if a and b:
                found[panel] = a / b
        if found:
            out.append((ours, theirs, found))
    return out
