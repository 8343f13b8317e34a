"""The explorer of the site: what it is given, and the script that answers in the reader's browser."""
from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pandas as pd

from robcomp._display.look import AXES, FAMILIES, LOOK
from robcomp.charts import family, networks
from robcomp.claims import published
from robcomp.results import Tables, summarise
from robcomp.schema import CLEAN, CORRUPTIONS
from robcomp.uncertainty import comparisons, intervals, resample

FIGURES = ("clean", "robust", "worst", "size_mb", "compression_ratio", "latency_s", "macs", "sparsity", "ece_robust")
PAIRED = ("robust", "clean")


def explorer_html(tables: Tables, *, draws: int = 500) -> str:
    """The explorer of all networks of some tables, as HTML that the page's script fills."""
    data = dict(networks=explorer_networks(tables, draws=draws), look=LOOK, families=FAMILIES,
                axes={name: dict(short=axis.short, title=axis.title, log=axis.log) for name, axis in AXES.items() if name in FIGURES})
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    return f'<div class="rc-explorer"><p>The explorer is a part of the rendered site.</p><script type="application/json">{text}</script></div>'


def explorer_networks(tables: Tables, *, draws: int) -> list[dict]:
    """One dict a network, the first one the largest study: trials, profiles by condition, all paired differences, published figures."""
    table = summarise(tables)
    table = table[table["status"] == "ok"].reset_index(drop=True)
    seeds = "seed " + table["seed"].astype(str)
    label = table["recipe"].where(table.groupby([networks(table), "recipe"])["key"].transform("size") == 1, table["recipe"] + ", " + seeds)
    table = table.assign(label=label, family=table["recipe"].map(family))
    drawn = resample(tables, draws=draws)
    ends = intervals(drawn).set_index(["measure", "key"])
    groups = sorted(table.groupby(networks(table)), key=lambda group: -len(group[1]))
    return [dict(name=name, trials=_trials(own, ends), profile=_profile(tables, own), pairs=_pairs(tables, own, drawn),
                 published=published(own["dataset"].iloc[0])[["name", "clean", "robust"]].to_dict("records"))
            for name, own in groups]


def _trials(own: pd.DataFrame, ends: pd.DataFrame) -> list[dict]:
    shown = own[["key", "label", "family", "worst_corruption", *FIGURES]].copy()
    for measure in PAIRED:
        shown[[f"{measure}_low", f"{measure}_high"]] = ends.loc[measure].reindex(own["key"])[["low", "high"]].to_numpy()
    numbers = shown.select_dtypes("number").columns
    shown[numbers] = shown[numbers].map(lambda value: float(f"{value:.5g}"))
    return shown.astype(object).where(shown.notna(), None).to_dict("records")


def _profile(tables: Tables, own: pd.DataFrame) -> dict:
    """Accuracy in ten-thousandths by trial and condition, conditions in the order of the corruptions."""
    rows = tables.rows[tables.rows["key"].isin(own["key"])]
    wide = (rows["correct"] / rows["n"] * 1e4).round().set_axis(pd.MultiIndex.from_frame(rows[["key", "corruption", "severity"]])).unstack([1, 2])
    names = list(dict.fromkeys([CLEAN, *CORRUPTIONS, *sorted(rows["corruption"].unique())]))
    order = sorted(wide.columns, key=lambda part: (names.index(part[0]), part[1]))
    values = wide.reindex(index=own["key"], columns=pd.MultiIndex.from_tuples(order)).astype(object)
    return dict(conditions=[[name, int(severity)] for name, severity in order], accuracy=values.where(values.notna(), None).to_numpy().tolist())


def _pairs(tables: Tables, own: pd.DataFrame, drawn) -> dict:
    """Difference, low and high in ten-thousandths for each pair of trials, first by the first of the two."""
    pairs = list(combinations(own["key"], 2))
    if not pairs or own["suite"].nunique() > 1: return {measure: [] for measure in PAIRED}
    found = {measure: comparisons(tables, pairs, measure=measure, draws=drawn)[["difference", "low", "high"]] for measure in PAIRED}
    return {measure: np.rint(table.to_numpy() * 1e4).astype(int).ravel().tolist() for measure, table in found.items()}


SCRIPT = r"""
// ---- the explorer ----
const signed = (value, digits = 1) => (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(digits);
const code = text => `<code>${text.replace(/[&<>"]/g, sign => `&#${sign.charCodeAt(0)};`).replace(/\+/g, "+<wbr>")}</code>`;
const said = {size_mb: v => `${v.toPrecision(3)} MB`, latency_s: v => `${(1e3 * v).toPrecision(3)} ms`, macs: v => `${(v / 1e6).toPrecision(3)} M`,
              compression_ratio: v => `${v.toFixed(1)} times`};
const written = (name, value) => value === null ? "not measured" : (said[name] ?? (v => v.toFixed(3)))(value);
const LIMITS = {size_mb: ["file at most", "max"], clean: ["clean accuracy at least", "min"], robust: ["robust accuracy at least", "min"], latency_s: ["latency at most", "max"]};
const worse = (name, trial, limit) => limit !== null && (trial[name] === null || (LIMITS[name][1] === "max" ? trial[name] > limit : trial[name] < limit));

function explorer(root) {
  const data = JSON.parse(root.querySelector("script").textContent), names = data.networks.map(network => network.name);
  let state, network, view = null, shownWidth = 0;

  function reset(name) {
    network = data.networks.find(other => other.name === name) ?? data.networks[0];
    const dense = network.trials.find(trial => trial.family === "dense");
    const start = dense ? Math.floor(100 * (dense.clean - .05)) / 100 : null;
    const quarter = dense ? Number((dense.size_mb * dense.compression_ratio / 4).toPrecision(3)) : null;
    state = {network: network.name, x: "size_mb", y: "robust", best: "robust", size_mb: quarter, clean: start, robust: null, latency_s: null,
             bars: true, refs: false, a: "", b: dense?.label ?? "", brush: null};
    state.start = {...state};
  }

  function fromAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    reset(given.get("network"));
    for (const [name, text] of given) {
      if (name in LIMITS) state[name] = text === "any" || !isFinite(text) ? null : Number(text);
      else if (name === "bars" || name === "refs") state[name] = text === "1";
      else if ((name === "x" || name === "y") && text in data.axes) state[name] = text;
      else if (name === "best" && ["robust", "clean", "worst"].includes(text)) state.best = text;
      else if ((name === "a" || name === "b") && network.trials.some(trial => trial.label === text)) state[name] = text;
      else if (name === "brush" && text.split(",").length === 4 && text.split(",").every(isFinite)) state.brush = text.split(",").map(Number);
    }
  }

  function toAddress() {
    const given = new URLSearchParams();
    for (const [name, value] of Object.entries(state)) {
      if (name === "start" || (name !== "network" && String(value) === String(state.start[name]))) continue;
      given.set(name, value === null ? "any" : value === true ? "1" : value === false ? "0" : Array.isArray(value) ? value.map(end => end.toPrecision(4)) : value);
    }
    history.replaceState(null, "", "#" + given);
  }

  const ends = name => {
    const values = network.trials.map(trial => trial[name]).filter(value => value !== null);
    return [Math.min(...values), Math.max(...values)];
  };
  const log = name => LIMITS[name][1] === "max";
  // Sliders have 200 steps; the last one that excludes nothing means no limit.
  function toStep(name, limit) {
    const [low, high] = ends(name), open = log(name) ? 200 : 0;
    if (limit === null) return open;
    const share = log(name) ? Math.log(limit / low) / Math.log(high / low) : (limit - low) / (high - low);
    return Math.max(0, Math.min(200, Math.round(200 * share)));
  }
  function toLimit(name, step) {
    const [low, high] = ends(name);
    if (step === (log(name) ? 200 : 0)) return null;
    return Number((log(name) ? low * (high / low) ** (step / 200) : low + (high - low) * step / 200).toPrecision(4));
  }

  const within = trial => !Object.keys(LIMITS).some(name => worse(name, trial, state[name]));
  const brushed = trial => !state.brush || (trial[state.x] >= state.brush[0] && trial[state.x] <= state.brush[1] && trial[state.y] >= state.brush[2] && trial[state.y] <= state.brush[3]);
  const ranked = () => network.trials.filter(trial => within(trial) && brushed(trial)).sort((a, b) => b[state.best] - a[state.best] || a.size_mb - b.size_mb);
  const at = label => network.trials.findIndex(trial => trial.label === label);

  // The paired difference a - b with its interval, in points of accuracy.
  function pair(measure, a, b) {
    const n = network.trials.length, all = network.pairs[measure];
    if (!all?.length || a === b || a < 0 || b < 0) return null;
    const [i, j] = a < b ? [a, b] : [b, a], from = 3 * (i * n - i * (i + 1) / 2 + j - i - 1);
    const [value, low, high] = all.slice(from, from + 3).map(part => part / 100);
    return a < b ? [value, low, high] : [-value, -high, -low];
  }
  const pairSaid = found => `${signed(found[0])} points (${signed(found[1])} to ${signed(found[2])})`;
  const verdict = found => found[1] > 0 ? "better beyond chance" : found[2] < 0 ? "worse beyond chance" : "undecided";

  const menu = (name, words, options) => `<label>${words} <select name="${name}">${options.map(([value, text]) => `<option value="${value}">${text}</option>`).join("")}</select></label>`;
  root.innerHTML = `<form class="rcx-controls" onsubmit="return false">
    ${menu("network", "network", names.map(name => [name, name]))}
    ${menu("x", "across", [])}${menu("y", "up", [])}
    ${menu("best", "best by", [["robust", "robust accuracy"], ["clean", "clean accuracy"], ["worst", "worst-case accuracy"]])}
    ${Object.entries(LIMITS).map(([name, [words]]) => `<label class="rcx-slider">${words} <output name="${name}_said"></output><input type="range" name="${name}" min="0" max="200" step="1"></label>`).join("")}
    <label class="rcx-check"><input type="checkbox" name="bars"> 95 % intervals</label>
    <label class="rcx-check"><input type="checkbox" name="refs"> published figures</label></form>
    <div class="rcx-answer" aria-live="polite"></div>
    <div class="rcx-chart"></div><p class="rcx-note"></p>
    <p class="rcx-buttons"><button type="button" name="unbrush">Remove the brush</button> <button type="button" name="again">Start again</button>
    <button type="button" name="csv">Download as CSV</button> <button type="button" name="link">Copy the link to this view</button></p>
    <details class="rcx-rows"><summary></summary><div class="rc-scroll"></div></details>
    <h2>Two recipes, corruption by corruption</h2>
    <form class="rcx-controls" onsubmit="return false">${menu("a", "recipe", [])}${menu("b", "against", [])}</form>
    <div class="rcx-compare" aria-live="polite"></div><div class="rcx-profile"></div>`;
  const part = name => root.querySelector(`.rcx-${name}`), control = name => root.querySelector(`[name="${name}"]`);

  function setControls() {
    const known = Object.entries(data.axes).filter(([name]) => network.trials.every(trial => trial[name] !== null));
    for (const name of ["x", "y"]) control(name).innerHTML = known.map(([axis, words]) => `<option value="${axis}">${words.short}</option>`).join("");
    const labels = network.trials.map(trial => trial.label).sort();
    for (const name of ["a", "b"]) control(name).innerHTML = (name === "a" ? '<option value="">the chosen one</option>' : "") + labels.map(label => `<option>${label}</option>`).join("");
    for (const name of ["network", "x", "y", "best", "a", "b"]) control(name).value = state[name];
    for (const name of ["bars", "refs"]) control(name).checked = state[name];
    for (const name of Object.keys(LIMITS)) {
      const [low, high] = ends(name);
      control(name).disabled = !(high > low);
      control(name).value = toStep(name, state[name]);
    }
    control("refs").disabled = !network.published.length;
  }

  function answer() {
    const left = ranked(), [first, second] = left, key = first?.key ?? "", measure = data.axes[state.best].short;
    for (const name of Object.keys(LIMITS)) {
      const text = state[name] === null ? "any" : written(name, state[name]);
      control(`${name}_said`).value = text;
      control(name).setAttribute("aria-valuetext", text);
    }
    const out = Object.keys(LIMITS).map(name => [name, network.trials.filter(trial => worse(name, trial, state[name])).length]).filter(([, count]) => count);
    const reasons = out.map(([name, count]) => `${count} by ${data.axes[name].short}`);
    const under = network.trials.filter(trial => within(trial) && !brushed(trial)).length;
    if (under) reasons.push(`${under} outside the brush`);
    const excluded = `Of ${network.trials.length} recipes ${network.trials.length - left.length} are excluded${reasons.length ? `: ${reasons.join(", ")}${out.length > 1 ? " (one recipe may fail several)" : ""}` : ""}.`;
    if (!first) part("answer").innerHTML = `<p>No recipe is left. ${excluded}</p>`;
    else {
      const gap = second && pair(state.best, at(second.label), at(first.label));
      part("answer").innerHTML = `<p>${code(first.label)} has the highest ${measure} of the ${left.length} left: ${first[state.best].toFixed(3)}.
        It takes ${written("size_mb", first.size_mb)}, ${written("compression_ratio", first.compression_ratio)} less than the float32 network; clean ${first.clean.toFixed(3)},
        robust ${first.robust.toFixed(3)}, worst case ${first.worst.toFixed(3)} under ${first.worst_corruption.replaceAll("_", " ")}.</p>
        <p>${second ? `Runner-up: ${code(second.label)}, ${second[state.best].toFixed(3)}, ${written("size_mb", second.size_mb)}${gap ? `; difference ${pairSaid(gap)}, ${gap[1] <= 0 && gap[2] >= 0 ? "undecided" : "beyond chance"}` : ""}.` : "There is no runner-up."} ${excluded}</p>`;
    }
    if (view) { for (const name of Object.keys(LIMITS)) view.signal(`${name}_limit`, state[name]); view.signal("chosen", key).runAsync(); }
    part("rows").querySelector("summary").textContent = `The ${left.length} recipes that are left, as a table`;
    const columns = ["clean", "robust", "worst", "size_mb", "compression_ratio", "latency_s"];
    part("rows").querySelector("div").innerHTML = `<table><thead><tr><th>recipe</th>${columns.map(name => `<th>${data.axes[name]?.short ?? name}</th>`).join("")}</tr></thead><tbody>${
      left.map(trial => `<tr><td>${code(trial.label)}</td>${columns.map(name => `<td>${written(name, trial[name])}</td>`).join("")}</tr>`).join("")}</tbody></table>`;
    compare(state.a || first?.label || "");
    toAddress();
  }

  let compared = "";
  function compare(label) {
    const a = at(label), b = at(state.b), asked = [network.name, label, state.b, shownWidth].join();
    if (asked === compared) return;
    compared = asked;
    if (a < 0 || b < 0) { part("compare").innerHTML = "<p>Choose two recipes.</p>"; part("profile").innerHTML = ""; return; }
    const lines = ["robust", "clean"].map(measure => [measure, pair(measure, a, b)]).filter(([, found]) => found).map(([measure, found]) => `${measure} accuracy ${pairSaid(found)}, ${verdict(found)}`);
    const [one, other] = [network.trials[a], network.trials[b]], dense = network.trials.findIndex(trial => trial.family === "dense");
    part("compare").innerHTML = `<p>${code(one.label)} against ${code(other.label)}: ${lines.length ? lines.join("; ") : "the same recipe"}. Files: ${written("size_mb", one.size_mb)} and ${written("size_mb", other.size_mb)}.
      Intervals of 95 % over the same test images.${dense >= 0 ? " Below: points of accuracy against the dense network, by severity; 0 is clean." : ""}</p>`;
    const {conditions, accuracy} = network.profile, values = [];
    const from = (row, column) => accuracy[row][column] === null || (dense >= 0 && accuracy[dense][column] === null) ? null : (accuracy[row][column] - (dense >= 0 ? accuracy[dense][column] : 0)) / 100;
    const kinds = [...new Set(conditions.map(([name]) => name))].filter(name => name !== "clean"), clean = conditions.findIndex(([name]) => name === "clean");
    for (const [row, who] of a === b ? [[a, one.label]] : [[a, one.label], [b, other.label]]) for (const kind of kinds) {
      const points = conditions.map(([name, severity], column) => [name, severity, column]).filter(([name]) => name === kind);
      if (clean >= 0) points.unshift([kind, 0, clean]);
      for (const [, severity, column] of points) values.push({who, severity, corruption: kind.replaceAll("_", " "), value: from(row, column)});
    }
    const domain = [one.label, other.label], title = dense >= 0 ? "points" : "accuracy, %";
    const colour = {field: "who", type: "nominal", scale: {domain, range: ["#0072B2", "#D55E00"]}, legend: {columns: 1, labelLimit: 420}};
    const spec = {config: data.look, data: {values}, facet: {field: "corruption", type: "nominal", sort: kinds.map(kind => kind.replaceAll("_", " "))}, columns: 5,
      description: `Difference to the dense network by corruption and severity for ${domain.join(" and ")}`,
      spec: {width: 104, height: 90, layer: [
        {data: {values: [{zero: 0}]}, mark: {type: "rule", color: "#888888"}, encoding: {y: {field: "zero", type: "quantitative"}}},
        {mark: {type: "line", point: {size: 24}, strokeWidth: 1.6}, encoding: {
          x: {field: "severity", type: "quantitative", title: "severity", axis: {values: [0, 1, 2, 3, 4, 5], grid: false}},
          y: {field: "value", type: "quantitative", title, axis: {tickCount: 4, ...(dense >= 0 && {labelExpr: "datum.value ? format(datum.value, '+.0f') : '0'"})}},
          color: colour, strokeDash: {field: "who", type: "nominal", scale: {domain, range: [[1, 0], [4, 3]]}, legend: colour.legend},
          tooltip: [{field: "who", title: "recipe"}, {field: "corruption"}, {field: "severity"}, {field: "value", title, format: "+.1f"}]}}]}};
    if (dense < 0) spec.spec.layer.shift();
    embedded(part("profile"), spec, shownWidth, 760, {actions: false, renderer: "svg"});
  }

  async function draw() {
    shownWidth = Math.floor(root.clientWidth);
    const {x, y} = state, floor = state.clean ?? -1, candidates = network.trials.filter(trial => trial.clean >= floor), drawn = candidates.length ? candidates : network.trials;
    const refs = state.refs && (y === "clean" || y === "robust") ? network.published : [];
    const tall = state.bars && `${y}_low` in drawn[0] ? drawn.flatMap(trial => [trial[`${y}_low`], trial[`${y}_high`]]) : drawn.map(trial => trial[y]);
    const reach = (Math.max(...tall) - Math.min(...tall)) / 3 || .05;
    const near = refs.filter(ref => ref[y] > Math.min(...tall) - reach && ref[y] < Math.max(...tall) + reach), far = refs.filter(ref => !near.includes(ref));
    const scale = (values, log) => {
      const low = Math.min(...values), high = Math.max(...values), air = .05 * (high - low) || .05;
      return log ? {type: "log", domain: [low / 1.12, high * 1.12], nice: false} : {domain: [low - air, high + air], nice: false, zero: false};
    };
    const axis = name => data.axes[name].log ? {format: name === "macs" ? "~s" : "~g", labelOverlap: "greedy"} : {format: ".2f", tickCount: 6};
    const channel = (name, values) => ({field: name, type: "quantitative", title: data.axes[name].title, scale: scale(values, data.axes[name].log), axis: axis(name)});
    const encoding = {x: channel(x, drawn.map(trial => trial[x])), y: channel(y, [...tall, ...near.map(ref => ref[y])])};
    const smaller = name => LIMITS[name]?.[1] === "max" || name === "macs" || name.startsWith("ece");
    const beats = (p, q) => [x, y].every(name => smaller(name) ? p[name] <= q[name] : p[name] >= q[name]) && [x, y].some(name => p[name] !== q[name]);
    const values = drawn.map(trial => ({...trial, front: !drawn.some(other => beats(other, trial))}));
    const kinds = Object.keys(data.families), look = at => kinds.map(kind => data.families[kind][at]);
    const by = at => ({field: "family", type: "nominal", scale: {domain: kinds, range: look(at)}, legend: {columns: shownWidth < 480 ? 3 : 5}});
    const inside = Object.entries(LIMITS).map(([name, [, side]]) => `(!isValid(${name}_limit) || datum.${name} ${side === "max" ? "<=" : ">="} ${name}_limit)`).join(" && ");
    const brush = {name: "brush", select: {type: "interval"}};
    if (state.brush) brush.value = {x: state.brush.slice(0, 2), y: state.brush.slice(2)};
    const tips = ["label", "clean", "robust", "worst", "worst_corruption", "size_mb", "compression_ratio", "latency_s"].map(field => ({field, title: data.axes[field]?.short ?? field.replace("_", " ").replace("label", "recipe"), ...(typeof values[0][field] === "number" && {format: ".3~g"})}));
    const layer = [
      {transform: [{filter: "datum.front"}], mark: {type: "line", interpolate: smaller(x) ? "step-after" : "step-before", color: "#999999", strokeWidth: 1.5}, encoding},
      ...(state.bars && `${y}_low` in drawn[0] ? [{mark: "rule", encoding: {x: encoding.x, y: {...encoding.y, field: `${y}_low`}, y2: {field: `${y}_high`}, stroke: by(0)}}] : []),
      {params: [brush], mark: {type: "point", size: 80, strokeWidth: 1.6, cursor: "pointer"}, encoding: {...encoding, stroke: by(0), shape: by(1), tooltip: tips,
        fill: {condition: {test: "datum.front", ...by(0)}, value: "white"}, opacity: {condition: {test: {and: [inside, {param: "brush"}]}, value: 1}, value: .15}}},
      {transform: [{filter: "datum.key == chosen"}], mark: {type: "point", size: 340, stroke: "#1a1a1a", strokeWidth: 2}, encoding},
      ...(near.length ? [{data: {values: near}, mark: {type: "rule", strokeDash: [4, 3], color: "#888888"}, encoding: {y: {...encoding.y}}},
        {data: {values: near}, mark: {type: "text", align: "right", dx: -2, dy: -6, fontSize: 11, fontStyle: "italic", color: "#595959"}, encoding: {x: {value: "width"}, y: {...encoding.y}, text: {field: "name"}}}] : [])];
    const spec = {config: data.look, width: shownWidth, height: shownWidth < 480 ? 300 : 360, autosize: {type: "fit-x", contains: "padding"}, data: {values},
      description: `${data.axes[y].short} against ${data.axes[x].short} of ${drawn.length} recipes of ${network.name}; the answer above says which one is chosen.`,
      params: [...Object.keys(LIMITS).map(name => ({name: `${name}_limit`, value: state[name]})), {name: "chosen", value: ""}], layer};
    view?.finalize();
    view = null;
    view = (await vegaEmbed(part("chart"), spec, {actions: false, renderer: "svg"})).view;
    view.addSignalListener("brush", (_, ranges) => {
      state.brush = ranges[x] && ranges[y] ? [Math.min(...ranges[x]), Math.max(...ranges[x]), Math.min(...ranges[y]), Math.max(...ranges[y])] : null;
      answer();
    });
    view.addEventListener("click", (_, item) => {
      if (!item?.datum?.label) return;
      state.a = control("a").value = item.datum.label;
      answer();
    });
    const hidden = network.trials.length - drawn.length;
    part("note").textContent = "Filled points, on the line, are the Pareto front of the two axes. Ringed: the choice. Click a point to look at it below; drag to brush."
      + (hidden ? ` ${hidden} recipes below the limit of clean accuracy are not drawn.` : "")
      + (far.length ? ` Published beyond the axis: ${far.map(ref => `${ref.name} ${ref[y].toFixed(3)}`).join(", ")}.` : "");
    answer();
    root.dataset.room = shownWidth;
  }

  root.addEventListener("input", event => {
    const {name, value} = event.target;
    if (name in LIMITS) { state[name] = toLimit(name, Number(value)); answer(); }
  });
  root.addEventListener("change", event => {
    const {name, value, checked} = event.target;
    if (name === "network") { reset(value); setControls(); draw(); return; }
    if (name === "bars" || name === "refs") state[name] = checked;
    else if (!(name in LIMITS)) state[name] = value;
    if (name === "x" || name === "y") state.brush = null;
    if (["x", "y", "bars", "refs", "clean"].includes(name)) draw(); else answer();
  });
  root.addEventListener("click", async event => {
    const name = event.target.name;
    if (name === "again") { reset(state.network); setControls(); draw(); }
    if (name === "unbrush") { state.brush = null; draw(); }
    if (name === "link") { try { await navigator.clipboard.writeText(location.href); event.target.textContent = "Copied"; } catch { event.target.textContent = "The address bar holds the link"; } }
    if (name === "csv") {
      const columns = Object.keys(network.trials[0]).filter(column => column !== "key"), quoted = value => value === null ? "" : /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value;
      const text = [["network", ...columns], ...ranked().map(trial => [network.name, ...columns.map(column => trial[column])])].map(row => row.map(quoted).join(",")).join("\n") + "\n";
      const link = Object.assign(document.createElement("a"), {href: URL.createObjectURL(new Blob([text], {type: "text/csv"})), download: "robcomp.csv"});
      link.click();
      URL.revokeObjectURL(link.href);
    }
  });
  addEventListener("hashchange", () => { fromAddress(); setControls(); draw(); });
  new ResizeObserver(() => { if (Math.floor(root.clientWidth) !== shownWidth) draw(); }).observe(root);
  fromAddress();
  setControls();
}

for (const box of document.querySelectorAll(".rc-explorer")) explorer(box);
"""
