"""The page's style sheet: one set of colour names, a light and a dark value each.

Tier colours are Okabe and Ito's orange, bluish green and blue, which the colour-blind can tell apart and which
differ in lightness as well; links are hatched, so no meaning hangs on hue alone. Plans on the map have Paul Tol's
"light" colours, made to be written on, and a letter.
"""

from __future__ import annotations

# Behind dark letters, in both themes.
PLAN_COLOURS = ("#77aadd", "#ee8866", "#eedd88", "#44bb99", "#ffaabb", "#bbcc33", "#99ddff", "#d4b0e8", "#dddddd")

STYLE = """
:root { color-scheme: light dark;
  --paper: #f6f7f9; --card: #ffffff; --ink: #1b212b; --soft: #59636f; --rule: #d8dde4; --lane: #8b96a5;
  --device: #e69f00; --edge: #009e73; --cloud: #0072b2; --accent: #b3261e; --link: #9aa4b1; --alive: #b4bdc9;
  --on-device: #1b1300; --on-edge: #00140e; --on-cloud: #ffffff; --warn: #fff4dc; --warn-rule: #e69f00; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #12161c; --card: #1a2029; --ink: #e8ecf1; --soft: #a3adba; --rule: #343d4a; --lane: #7b8797;
  --device: #f0b440; --edge: #2fbf94; --cloud: #5eb3ea; --accent: #ff8a80; --link: #7b8797; --alive: #566172;
  --on-cloud: #00121f; --warn: #2b2412; --warn-rule: #f0b440; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 20px 16px 48px; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 4px; }
p { margin: 4px 0; } ul, ol { margin: 4px 0; padding-left: 20px; } li { overflow-wrap: anywhere; }
.lead { font-size: 1.05rem; } .lead, figcaption, td, th, .chip { overflow-wrap: anywhere; }
section, figure { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 14px 16px;
  margin: 16px 0 0; }
figcaption, .note { color: var(--soft); font-size: .87rem; }
.rests { border-left: 5px solid var(--warn-rule); background: var(--warn); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(135px, 1fr)); gap: 10px; margin: 14px 0 0;
  padding: 0; }
.tiles div { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 10px 12px; }
.tiles dt { color: var(--soft); font-size: .82rem; } .tiles dd { margin: 0; font-size: 1.3rem; font-weight: 650; }
.tiles dd + dd { font-size: .82rem; font-weight: 400; color: var(--soft); }
.split { display: flex; flex-wrap: wrap; gap: 8px 28px; align-items: flex-start; }
.split > .scroll { flex: 0 1 auto; min-width: 0; max-width: 100%; }
.beside { flex: 1 1 230px; min-width: 0; display: grid; gap: 4px 32px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 230px), 1fr)); align-items: start; }
h3 { font-size: .95rem; margin: 12px 0 0; } h3 svg, td svg { vertical-align: -1px; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 0 16px; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; margin: 8px -4px 2px; padding: 0 4px 4px; }
.scroll:focus-visible { outline: 2px solid var(--cloud); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 6px 0; padding: 0;
  list-style: none; font-size: .87rem; }
.legend svg { vertical-align: -2px; margin-right: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 8px; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; vertical-align: bottom; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.plan { min-width: 210px; } td.tensor { min-width: 110px; }
td small { color: var(--soft); display: block; } td.name, td.exact small { white-space: nowrap; }
tr.chosen td { background: color-mix(in srgb, var(--cloud) 12%, transparent); }
.broken { color: var(--accent); }
details > summary { cursor: pointer; font-weight: 600; }
svg { display: block; max-width: none; } .legend svg, h3 svg, td svg { display: inline-block; }
svg.chart { width: 100%; height: auto; min-width: 760px; }
svg text { fill: var(--ink); font: 12px system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
svg text.halo { paint-order: stroke; stroke: var(--card); stroke-width: 3px; }
svg text.soft { fill: var(--soft); } svg text.strong { font-weight: 650; }
svg text.on-tier { fill: var(--on-cloud); font-weight: 650; letter-spacing: .04em; }
svg text.on-device { fill: var(--on-device); } svg text.on-edge { fill: var(--on-edge); }
svg text.on-plan { fill: #14181f; } svg text.letter { fill: #14181f; font-weight: 700; font-size: 14px;
  paint-order: stroke; stroke: #ffffffb0; stroke-width: 3px; }
.device { --tier: var(--device); } .edge { --tier: var(--edge); } .cloud { --tier: var(--cloud); }
.tier { fill: var(--tier); } .band { fill: var(--tier); fill-opacity: .09; }
.block { fill: color-mix(in srgb, var(--tier) 24%, var(--card)); stroke: var(--tier); stroke-width: 1.5; }
.end { fill: var(--card); stroke: var(--soft); stroke-width: 1.5; }
.lane { fill: none; stroke: var(--lane); stroke-width: 1.8; }
.lane:hover { stroke: var(--accent); stroke-width: 3; }
.cut { stroke: var(--accent); stroke-width: 2; stroke-dasharray: 7 5; }
.crossing { stroke: var(--accent); stroke-width: 3; }
.pill { fill: var(--card); stroke: var(--accent); stroke-width: 2; }
.alive { fill: var(--alive); } .here { fill: var(--accent); }
.axis { stroke: var(--soft); stroke-width: 1; } .grid { stroke: var(--rule); stroke-width: 1; }
.link-0 { fill: url(#hatch-0); } .link-1 { fill: url(#hatch-1); }
.hatch { stroke: var(--link); stroke-width: 3; }
.hatch-ground { fill: color-mix(in srgb, var(--link) 30%, var(--card)); }
.cross { stroke: var(--soft); stroke-width: 2; }
.hit { fill: transparent; } .hit:hover { fill: var(--ink); fill-opacity: .12; }
.front { fill: none; stroke: var(--cloud); stroke-width: 2; } .point { fill: var(--cloud); }
.other { fill: var(--lane); fill-opacity: .55; }
.baseline { fill: none; pointer-events: all; stroke: var(--ink); stroke-width: 1.8; }
.star { fill: var(--accent); stroke: var(--card); stroke-width: 1; }
.mark { stroke: var(--accent); stroke-width: 2; }
.border { stroke: #14181f; stroke-width: 2; } .ring { fill: none; stroke: #14181f; stroke-width: 3; }
.cell { shape-rendering: crispEdges; } .twice { fill: url(#dots); } .dot { fill: #14181f; fill-opacity: .45; }
@media (max-width: 560px) { main { padding: 12px 8px 32px; } section, figure { padding: 12px 10px; } }
@media print { section, figure { break-inside: avoid; } .scroll { overflow: visible; } }
"""
