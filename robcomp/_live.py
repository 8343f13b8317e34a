"""The script that puts live charts in the place of pictures, on the site and in reports."""
from __future__ import annotations

from functools import cache

from robcomp._svg import VEGA_LITE

SCRIPT = r"""
// A dataset travels as a list per column: back to rows.
function rows(table) {
  const names = Object.keys(table);
  if (!names.length) return [];
  return table[names[0]].map((_, i) => Object.fromEntries(names.map(name => [name, table[name][i]])));
}

function wrapped(text, letters) {
  const lines = [];
  for (const word of [text].flat().join(" ").split(" ")) {
    const last = lines.length - 1;
    if (last >= 0 && (lines[last] + " " + word).length <= letters) lines[last] += " " + word;
    else lines.push(word);
  }
  return lines;
}

function narrowLegends(node) {
  if (!node || typeof node !== "object") return;
  for (const [name, part] of Object.entries(node)) {
    if (name === "legend" && part && part.columns) part.columns = part.columns > 2 ? 3 : 1;
    narrowLegends(part);
  }
}

// The chart as it was drawn where there is room for it; else words wrap, names beside points go, panels move under each other.
function fitted(source, room, natural) {
  const spec = structuredClone(source);
  for (const name of Object.keys(spec.datasets ?? {})) spec.datasets[name] = rows(spec.datasets[name]);
  if (room >= natural) return spec;
  if (spec.title?.text) {
    spec.title.text = wrapped(spec.title.text, Math.floor(room / 8.5));
    spec.title.subtitle = wrapped(spec.title.subtitle ?? "", Math.floor(room / 6.2));
    Object.assign(spec.title, {frame: "bounds", offset: 8});
  }
  if (room < 480) narrowLegends(spec);
  for (const param of spec.params ?? []) if (param.name === "wide") param.value = 0;
  if (spec.facet) {
    const margin = 60, gap = 16, each = Math.min(spec.spec.width, room - margin);
    spec.spec.width = each;
    spec.columns = Math.max(1, Math.min(spec.columns ?? 1, Math.floor((room - margin + gap) / (each + gap))));
  } else if (spec.concat) {
    const margin = 60, gap = 24, each = Math.min(spec.concat[0].width, room - margin);
    for (const panel of spec.concat) panel.width = each;
    spec.columns = Math.max(1, Math.min(spec.columns ?? 1, Math.floor((room + gap) / (each + margin + gap))));
  } else if (!(spec.hconcat || spec.vconcat)) {
    spec.width = room;
    spec.autosize = {type: "fit-x", contains: "padding"};
  }
  return spec;
}

async function bringAlive(box) {
  const data = box.querySelector('script[type="application/json"]'), image = box.querySelector("img");
  if (!data || !image) return;
  const source = JSON.parse(data.textContent), natural = Number(image.getAttribute("width"));
  const live = document.createElement("div");
  live.style.width = "100%";
  let shown = 0;
  async function draw() {
    const room = Math.floor(box.clientWidth);
    if (!room || room === shown) return;
    shown = room;
    const actions = room >= 600 && {export: true, source: false, compiled: false, editor: false};
    await vegaEmbed(live, fitted(source, room, natural), {actions, renderer: "svg"});
    if (image.isConnected) image.replaceWith(live);
  }
  box.append(live);
  try { await draw(); } catch (error) { live.remove(); console.warn("a chart stays a picture:", error); return; }
  new ResizeObserver(draw).observe(box);
}

for (const box of document.querySelectorAll(".rc-chart")) bringAlive(box);
"""


@cache
def live_script() -> str:
    """Vega and the code above in one script that fetches nothing; about a megabyte."""
    import vl_convert
    return vl_convert.javascript_bundle(SCRIPT, vl_version=VEGA_LITE)
