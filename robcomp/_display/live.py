"""The script that puts live charts in the place of pictures, on the site and in reports."""

from __future__ import annotations

from functools import cache

from robcomp._display.dashboard_script import SCRIPT as EXPLORER
from robcomp._display.svg import VEGA_LITE

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

// On a phone: fewer columns in legends, names of rows above their rows and names of columns upright, so that the plot
// keeps its width. The field of the rows, if there are any.
const NARROW = 480, ROW = 44;
function narrowed(node, room) {
  let field = null;
  if (!node || typeof node !== "object") return field;
  for (const [name, part] of Object.entries(node)) {
    if (name === "datasets") continue;
    if (name === "legend" && part?.columns) part.columns = part.columns > 2 ? 2 : 1;
    if (name === "y" && part?.type === "nominal") {
      const above = {labelAlign: "left", labelPadding: -2, labelOffset: -ROW / 2 + 4, labelLimit: room - 24};
      part.axis = {...part.axis, ...above};
      part.scale = {...part.scale, type: "band", paddingInner: .5};
      field = part.field;
    }
    if (name === "x" && typeof part?.title === "string")
      part.title = wrapped(part.title, Math.floor(room / 6.5));
    if (name === "x" && part?.type === "nominal") part.axis = {...part.axis, labelAngle: -90};
    field = narrowed(part, room) ?? field;
  }
  return field;
}

// Panels as wide as a whole number of them allows, none narrower than it was drawn unless the room is.
function panelled(room, drawn, most, margin, gap) {
  const columns = Math.max(1, Math.min(most, Math.floor((room - margin + gap) / (drawn + gap))));
  return [columns, Math.floor((room - margin - gap * (columns - 1)) / columns)];
}

// How many rows a chart has: the values of a field in its data.
function countRows(spec, field) {
  const all = Object.values(spec.datasets ?? {}).flat().map(row => row[field]);
  return new Set(all.filter(name => name !== undefined)).size;
}

// The chart as it was drawn where there is room for it, its words as wide as itself; else words wrap, names beside
// points go, panels move under each other.
function fitted(source, room, natural) {
  const spec = structuredClone(source);
  for (const name of Object.keys(spec.datasets ?? {})) spec.datasets[name] = rows(spec.datasets[name]);
  if (typeof spec.title === "string") spec.title = {text: spec.title};
  if (spec.title?.text) {
    const words = Math.min(room, natural), letter = room < NARROW ? 10.8 : 9.8;  // some fonts are wide
    spec.title.text = wrapped(spec.title.text, Math.floor(words / letter));
    spec.title.subtitle = wrapped(spec.title.subtitle ?? "", Math.floor(words / (letter * .63)));
    Object.assign(spec.title, {frame: "bounds", offset: 8});
  }
  if (room >= natural) return spec;
  const field = room < NARROW ? narrowed(spec, room) : null;
  if (field && spec.height) spec.height = ROW * countRows(spec, field);
  for (const param of spec.params ?? []) if (param.name === "wide") param.value = 0;
  if (spec.facet) {
    [spec.columns, spec.spec.width] = panelled(room, Math.min(spec.spec.width, 100), spec.columns ?? 1, 72, 16);
  } else if (spec.concat) {
    const drawn = Math.min(spec.concat[0].width, room - 60);
    [spec.columns, spec.concat[0].width] = panelled(room, drawn, spec.columns ?? 1, 60, 84);
    for (const panel of spec.concat) panel.width = spec.concat[0].width;
  } else if (!(spec.hconcat || spec.vconcat)) {
    spec.width = room;
    spec.autosize = {type: "fit-x", contains: "padding"};
  }
  return spec;
}

// A chart in its box; drawn again where words took more room than was set aside for them, as other fonts than the
// picture's do.
async function embedded(box, source, room, natural, options) {
  for (let pass = 0, aim = room; pass < 6; pass++) {
    const {view} = await vegaEmbed(box, fitted(source, aim, natural), options);
    await view.resize().runAsync();  // a title stands where the axes ended in the pass before: lay out once more
    const over = Math.ceil(view.container().querySelector("svg").viewBox.baseVal.width - room);
    if (over <= 0) return;
    if (room >= natural) natural = Infinity; else aim -= over;
  }
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
    await embedded(live, source, room, natural, {actions, renderer: "svg"});
    if (image.isConnected) image.replaceWith(live);
    box.dataset.room = room;
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

    return vl_convert.javascript_bundle(SCRIPT + EXPLORER, vl_version=VEGA_LITE)
