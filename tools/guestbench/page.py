# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""guest.json as one page that needs nothing else: no script, no network."""

from html import escape

from . import svg
from .plan import ENDPOINTS, ROWS
from .results import lookup, panels, ratios
from .table import VMMS, machine, number, problems, share, small, spread

STYLE = """
:root { color-scheme: light dark; }
body { background: var(--paper); color: var(--ink); margin: 0 auto; padding: 1.5rem 1.25rem 3rem;
  max-width: 1040px; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: .2rem 0 .4rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .8rem; padding-top: .8rem; border-top: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 46rem; }
.note { border-left: 4px solid var(--virtio); padding: .3rem .8rem; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: .8rem 0; padding: 0; list-style: none; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .4rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 1.6rem 2rem; }
.panels svg { width: 100%; height: auto; max-width: 600px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 650; padding: .9rem 0 .3rem; }
th, td { padding: .16rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr.ours td:first-child { font-weight: 650; }
.machine { color: var(--soft); font-size: .86rem; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .panels { grid-template-columns: 1fr 1fr; }
  svg, table { break-inside: avoid; }
  .wide { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: .1rem .35rem; }
  h2 { break-after: avoid; }
}
"""
READ = ("Bars show what is left of the speed that the same VMM's device has without a "
        "vIOMMU; the whisker goes from the slowest to the fastest round, figures are medians. "
        "Lazy: unmapped pages are taken from the device some milliseconds later, in batches. "
        "Strict: before the guest uses them again. Bypass: an IOMMU that translates nothing.")


def row(cells, head=False, css=""):
    tag = "th" if head else "td"
    css = f' class="{css}"' if css else ""
    return f"<tr{css}>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"


def figures(doc, key):
    """The table of one panel."""
    runs = [r for r in doc["runs"] if (r["vcpus"], r["endpoint"], r["job"]) == key]
    unit = runs[0]["unit"]
    per = "frame" if key[1] == "net" else "I/O"
    heads = ["", "share", unit, "min..max", "IQR", f"requests/{per}", f"kicks/{per}"]
    heads += [] if key[1] == "net" else ["latency, us"]
    lines = [f"<table><caption>{escape(svg.label(doc, key))}</caption>", row(heads, True)]
    for r in runs:
        middle = "-" if not r["spread"] else \
            f"{number(r['spread']['q1'])}..{number(r['spread']['q3'])}"
        cells = [f"{VMMS[r['vmm']]}, {ROWS[r['row']].label}", share(r), number(r["median"]),
                 spread(r), middle, small(r["requests_per_io"]), small(r["kicks_per_io"])]
        cells += [] if key[1] == "net" else [number(r["latency_us"])]
        lines.append(row(cells, css="ours" if r["vmm"] == "viommu" else ""))
    return "\n".join(lines) + "\n</table>"


def comparison(doc):
    """viommu's medians over QEMU's."""
    found = ratios(doc)
    if not found:
        return ""
    keys = panels(doc)
    heads = ["viommu over QEMU"] + [f"{j}, {v} vCPU" for v, _, j in keys]
    lines = ['<h2>How many times as fast as QEMU\'s device</h2>\n<div class="wide"><table>',
             row(heads, True)]
    for ours, theirs, by_key in found:
        lines.append(row([f"{ROWS[ours].label} / {ROWS[theirs].label}"] +
                         [f"{by_key[k]:.2f}x" if k in by_key else "-" for k in keys]))
    return "\n".join(lines) + "\n</table></div>"


def reasons(doc):
    """Why something is missing."""
    said = {}
    for r in doc["runs"]:
        if r.get("reason"):
            said.setdefault(r["reason"], []).append(r)
    return "".join(f"<p class=\"machine\">{escape(', '.join(dict.fromkeys(x['row'] for x in rs)))}"
                   f": {escape(text)}.</p>\n" for text, rs in said.items())


def legend():
    items = "".join(f'<li><i style="background: var(--{css})"></i>{escape(name)}</li>'
                    for css, name in svg.LEGEND)
    return f'<ul class="legend">{items}</ul>'


def sections(doc):
    """The bars: a section for each job, with its numbers of vCPUs side by side; or for
    each device, with its jobs, when there is one number."""
    out, keys = {}, panels(doc)
    single = len({k[0] for k in keys}) == 1
    for vcpus, endpoint, job in keys:
        long, short = svg.title_of(doc, endpoint, job), svg.processors(vcpus)
        head, title = (ENDPOINTS[endpoint], long) if single else (long, short)
        out.setdefault(head, []).append(svg.figure(doc, (vcpus, endpoint, job), title))
    return "\n".join(f"<h2>{escape(head)}</h2>\n<div class=\"panels\">\n" + "\n".join(drawn) +
                     "\n</div>" for head, drawn in out.items())


def html(doc):
    notes = "".join(f'<p class="note">{escape(line)}</p>\n' for line in problems(doc))
    about = "".join(f"<p>{escape(line)}</p>\n" for line in machine(doc))
    tables = "\n".join(f'<div class="wide">{figures(doc, k)}</div>' for k in panels(doc))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>viommu: a guest's devices behind a vIOMMU</title>
<style>
{svg.style(":root")}{STYLE}</style>
</head>
<body>
<h1>A guest's disk and network card behind a vIOMMU</h1>
<p class="machine">{escape(svg.caption(doc))}</p>
{notes}<p>{escape(READ)}</p>
{legend()}
{sections(doc)}
{comparison(doc)}
<h2>All figures</h2>
<p class="machine">Requests to the IOMMU and notifications (kicks) of IOMMU and device, for each
command of the disk or frame of the card. viommu's are its own counters over the measured runs;
QEMU's come from its trace, in runs of their own.</p>
{tables}
{reasons(doc)}
<h2>What it was measured on</h2>
<div class="machine">{about}</div>
</body>
</html>
"""
