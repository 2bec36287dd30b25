# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""guest.json as bars. The length is the share of the same VMM's run without a vIOMMU,
the whisker goes from the slowest to the fastest round, figures are medians."""

from html import escape

from .plan import ENDPOINTS
from .results import lookup, panels
from .table import number, rounds

WIDTH = 480              # of a panel
MODE_X, NAME_X, BAR_X, BAR_WIDTH = 0, 192, 200, 172
LINE, BAR, GAP, HEAD, FOOT = 17, 11, 9, 46, 24
MARGIN = 24

GROUPS = (("no vIOMMU", ("viommu-none", "qemu-none")),
          ("bypass", ("viommu-bypass",)),
          ("lazy", ("viommu-lazy", "qemu-virtio-lazy", "qemu-intel-lazy")),
          ("strict", ("viommu-strict", "qemu-virtio-strict", "qemu-intel-strict")))
KINDS = {"viommu": ("ours", "viommu"), "none": ("plain", "QEMU"),
         "virtio": ("virtio", "QEMU virtio-iommu"), "intel": ("intel", "QEMU intel-iommu")}
LEGEND = (("ours", "viommu"), ("plain", "QEMU, no vIOMMU"), ("virtio", "QEMU virtio-iommu"),
          ("intel", "QEMU intel-iommu"))

LIGHT = {"paper": "#ffffff", "ink": "#1c2126", "soft": "#5d6771", "line": "#d5dae0",
         "ours": "#1f6fd0", "plain": "#8d96a0", "virtio": "#dd8a1d", "intel": "#a05fb8"}
DARK = {"paper": "#14181d", "ink": "#e6e9ec", "soft": "#9aa4ae", "line": "#39424c",
        "ours": "#5a9df0", "plain": "#7f8993", "virtio": "#e5a04a", "intel": "#b985cd"}
RULES = """
svg text { font: 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--ink); }
svg .big { font-size: 19px; font-weight: 650; }
svg .title { font-size: 13.5px; font-weight: 650; }
svg .mode { font-weight: 650; }
svg .soft { fill: var(--soft); font-size: 11px; }
svg .value { font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--line); stroke-width: 1; fill: none; }
svg .whisker { stroke: var(--ink); stroke-width: 1.2; fill: none; opacity: .75; }
svg .ours { fill: var(--ours); } svg .plain { fill: var(--plain); }
svg .virtio { fill: var(--virtio); } svg .intel { fill: var(--intel); }
svg .paper { fill: var(--paper); }
"""


def variables(colours):
    return " ".join(f"--{name}: {value};" for name, value in colours.items())


def style(root):
    """The colours of both schemes, and the rules that use them."""
    return (f"{root} {{ {variables(LIGHT)} }}\n@media (prefers-color-scheme: dark) "
            f"{{ {root} {{ {variables(DARK)} }} }}\n@media print {{ {root} "
            f"{{ {variables(LIGHT)} }} }}{RULES}")


def words(x, y, text, css="", anchor=""):
    css = f' class="{css}"' if css else ""
    anchor = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:g}" y="{y:g}"{css}{anchor}>{escape(text)}</text>'


def path(css, commands):
    return f'<path class="{css}" d="{commands}"/>'


def kind_of(row):
    return KINDS["viommu"] if row.startswith("viommu") else KINDS[row.split("-")[1]]


def base_of(run):
    """The median that is 100 %."""
    return run["median"] / run["share_of_none"]


def reach(doc, key):
    """The share at the right end: 100 %, or more if something is faster. The same
    for all panels of a job, so that they can be compared."""
    shares = [r["spread"]["max"] / base_of(r) for r in doc["runs"]
              if r["share_of_none"] and (r["endpoint"], r["job"]) == key[1:]]
    return max([1.0, *shares])


def bar(run, y, scale):
    """One bar with its whisker and figures."""
    middle = y + BAR / 2
    css, name = kind_of(run["row"])
    parts = [words(NAME_X, y + BAR - 1, name, "soft", "end")]
    if not run["share_of_none"]:
        absent = "not measured" if run["median"] is None else number(run["median"])
        return parts + [words(BAR_X, y + BAR - 1, absent, "soft")]
    length = run["share_of_none"] * scale
    low, high = (BAR_X + run["spread"][k] / base_of(run) * scale for k in ("min", "max"))
    title = (f"{run['row']}: median {number(run['median'])} {run['unit']}, "
             f"{number(run['spread']['min'])} to {number(run['spread']['max'])}")
    parts.append(f'<rect class="{css}" x="{BAR_X}" y="{y:g}" width="{max(length, 1):.1f}" '
                 f'height="{BAR}" rx="1.5"><title>{escape(title)}</title></rect>')
    if high - low >= 1:
        parts.append(path("whisker", f"M{low:.1f} {middle:g}H{high:.1f}M{low:.1f} {middle - 3:g}"
                                     f"v6M{high:.1f} {middle - 3:g}v6"))
    text = f"{100 * run['share_of_none']:.0f} %"
    x = max(BAR_X + length, high) + 7
    parts.append(f'<text class="value" x="{x:.1f}" y="{y + BAR - 1:g}">{text} '
                 f'<tspan class="soft" dx="3">{number(run["median"])}</tspan></text>')
    return parts


def axis(bottom, top, scale):
    """Vertical lines at 0, 50 and 100 %."""
    parts = []
    for part in (0, 0.5, 1):
        x = BAR_X + part * scale
        parts += [path("grid", f"M{x:.1f} {top:g}V{bottom:g}"),
                  words(round(x, 1), bottom + 13, f"{100 * part:.0f} %", "soft", "middle")]
    return parts


def processors(vcpus):
    return f"{vcpus} vCPU{'s' if vcpus > 1 else ''}"


def panel(doc, key, title):
    """(the drawing of one job with one number of vCPUs, its height)"""
    runs = lookup(doc)
    groups = [(mode, [runs[(*key, r)] for r in rows if (*key, r) in runs])
              for mode, rows in GROUPS]
    groups = [(mode, own) for mode, own in groups if own]
    unit = groups[0][1][0]["unit"]
    scale = BAR_WIDTH / reach(doc, key)
    below = f"share of no vIOMMU, and {unit}"
    if title != processors(key[0]):
        below = f"{processors(key[0])}; {below}"
    parts = [words(0, 14, title, "title"), words(0, 31, below, "soft")]
    y, bars = HEAD, []
    for mode, own in groups:
        bars.append(words(MODE_X, y + BAR - 1, mode, "mode"))
        for run in own:
            bars += bar(run, y, scale)
            y += LINE
        y += GAP
    parts += axis(y - GAP + 2, HEAD - 5, scale) + bars
    return "\n".join(parts), y - GAP + FOOT


def label(doc, key):
    vcpus, endpoint, job = key
    return f"{title_of(doc, endpoint, job)}, {processors(vcpus)}"


def title_of(doc, endpoint, job):
    return f"{ENDPOINTS[endpoint]}: {doc['settings']['jobs'][job]}"


def figure(doc, key, title):
    """A panel as an element of a page, which brings style()."""
    inner, height = panel(doc, key, title)
    return (f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" '
            f'aria-label="{escape(label(doc, key))}">\n{inner}\n</svg>')


def legend(x, y):
    parts = []
    for css, name in LEGEND:
        parts += [f'<rect class="{css}" x="{x:g}" y="{y - 10}" width="12" height="12" rx="2"/>',
                  words(x + 17, y, name)]
        x += 42 + 6.6 * len(name)
    return parts


def columns(doc):
    """Panels for a picture of two columns: one vCPU number each, or jobs in turn."""
    keys = panels(doc)
    if len({k[0] for k in keys}) < 2:
        return keys
    return sorted(keys, key=lambda k: ([x[1:] for x in keys].index(k[1:]), k[0]))


def caption(doc):
    m, s = doc["machine"], doc["settings"]
    return (f"{m['cpu']}, {m['cores']} cores; QEMU {m['qemu']} ({m['accel'].split(',')[0]}), "
            f"guest kernel {m['guest_kernel']}; medians of {rounds(s)} of "
            f"{s['seconds']} s, {m['date'][:10]}" + ("" if doc["complete"] else "; not complete"))


def picture(doc):
    """One SVG file with all panels: the picture for a document."""
    keys = columns(doc)
    across = min(2, len(keys))
    width = 2 * MARGIN + across * WIDTH + (across - 1) * MARGIN
    parts = [words(MARGIN, 36, "A guest's disk and network card behind a vIOMMU", "big"),
             *legend(MARGIN, 62)]
    y = 86
    for i in range(0, len(keys), across):
        tall = 0
        for n, key in enumerate(keys[i:i + across]):
            inner, height = panel(doc, key, title_of(doc, *key[1:]))
            parts.append(f'<g transform="translate({MARGIN + n * (WIDTH + MARGIN)} {y:g})">\n'
                         f"{inner}\n</g>")
            tall = max(tall, height)
        y += tall + 12
    parts.append(words(MARGIN, y + 6, caption(doc), "soft"))
    height = y + 24
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:g}" '
            f'viewBox="0 0 {width} {height:g}" role="img" '
            f'aria-label="Benchmark of viommu and of QEMU\'s IOMMUs">\n'
            f"<style>\n{style('svg')}</style>\n"
            f'<rect class="paper" width="100%" height="100%"/>\n' + "\n".join(parts) + "\n</svg>\n")
