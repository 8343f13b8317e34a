"""The script of the site's explorer: it reads the data of `dashboard.py` and answers when a control is moved."""

SCRIPT = r"""
// ---- the explorer: numbers and words ----
// Nothing that rounds to zero has a sign.
const signed = (value, digits = 1) =>
  (Number(value.toFixed(digits)) ? value < 0 ? "\u2212" : "+" : "") + Math.abs(value).toFixed(digits);
const significant = value => value >= 1000 ? value.toFixed(0) : value.toPrecision(3);
const escaped = text => text.replace(/[&<>"]/g, sign => `&#${sign.charCodeAt(0)};`);
const code = text => `<code>${escaped(text).replace(/\+/g, "+<wbr>")}</code>`;
const WRITTEN = {
  size_mb: value => `${significant(value)}\u00a0MB`,
  latency_s: value => `${significant(1e3 * value)}\u00a0ms`,
  macs: value => `${significant(value / 1e6)}\u00a0M`,
  compression_ratio: value => `${value.toFixed(1)} times`,
};
function written(name, value) {
  if (value === null) return "not measured";
  return name in WRITTEN ? WRITTEN[name](value) : value.toFixed(3);
}

const LIMITS = {
  size_mb: ["file at most", "max"],
  clean: ["clean accuracy at least", "min"],
  robust: ["robust accuracy at least", "min"],
  latency_s: ["latency at most", "max"],
};
const COLUMNS = ["clean", "robust", "worst", "size_mb", "compression_ratio", "latency_s"];

// Does a recipe fail a limit? One without a figure fails every limit on it.
function fails(name, recipe, limit) {
  if (limit === null) return false;
  if (recipe[name] === null) return true;
  return LIMITS[name][1] === "max" ? recipe[name] > limit : recipe[name] < limit;
}

// The dense network itself: others of its family were trained on or recalibrated.
const denseAt = network => network.trials.findIndex(recipe => recipe.label.split(",")[0] === "dense");

// One digit, and two where a decided end would be rounded to zero.
function pairSaid(found) {
  const close = Math.min(Math.abs(found[1]), Math.abs(found[2])) < .05 && found[1] * found[2] > 0;
  const [value, low, high] = found.map(part => signed(part, close ? 2 : 1));
  return `${value} points (${low} to ${high})`;
}
function verdict(found) {
  if (found[1] > 0) return "better beyond chance";
  return found[2] < 0 ? "worse beyond chance" : "undecided";
}

// ---- seeds: a recipe is the mean over them, and can be opened ----
const seedsOf = recipe => recipe?.each ?? [];
const isSeveral = network => network.trials.some(recipe => recipe.each);

function seedsSaid(recipe, measure) {
  if (!recipe.each) return "";
  const are = recipe.failed > 1 ? "are" : "is";
  const failed = recipe.failed ? ` ${recipe.failed} failed and ${are} not in the mean.` : "";
  if (recipe.seeds === 1) return ` It has one seed: its interval is for other images alone.${failed}`;
  const values = recipe.each.map(seed => seed[measure]);
  const ends = `${written(measure, Math.min(...values))} to ${written(measure, Math.max(...values))}`;
  return ` Mean of ${recipe.seeds} seeds, ${ends}.${failed}`;
}

function seedsTable(recipe) {
  if (seedsOf(recipe).length < 2) return "";
  const names = ["clean", "robust", "worst"];
  const rows = recipe.each.map(seed =>
    `<tr><td>${seed.seed}</td>${names.map(name => `<td>${written(name, seed[name])}</td>`).join("")}</tr>`);
  const heads = ["seed", ...names].map(name => `<th>${name}</th>`).join("");
  const table = `<table><thead><tr>${heads}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  return `<details class="rcx-seeds"><summary>The ${recipe.each.length} seeds of ${code(recipe.label)}</summary>
    <div class="rc-scroll">${table}</div></details>`;
}

function intervalsSaid(network) {
  if (!isSeveral(network))
    return "Intervals: over test images; one seed per recipe, so variation between seeds is left out.";
  return "A point is the mean over the seeds of a recipe. "
    + "Intervals: over images and seeds; with one seed over images alone.";
}

function pairSeedsSaid(network) {
  const said = "Intervals of 95 % over the same test images";
  return isSeveral(network) ? `${said} and, for what was trained, over seeds (one seed borrows the spread of others).`
    : `${said}; variation between seeds is not in them.`;
}

// ---- the explorer: one box of the page ----
const menu = (name, words, options) => {
  const listed = options.map(([value, text]) => `<option value="${value}">${text}</option>`).join("");
  return `<label>${words} <select name="${name}">${listed}</select></label>`;
};
// `for` names the slider: without it the label would belong to the first control in it, the output.
const slider = ([name, [words]]) => `<label class="rcx-slider" for="rcx-${name}">${words}
  <output name="${name}_said"></output>
  <input type="range" name="${name}" id="rcx-${name}" min="0" max="200" step="1"></label>`;
const BEST = [["robust", "robust accuracy"], ["clean", "clean accuracy"], ["worst", "worst-case accuracy"]];

function skeleton(datasets) {
  return `<form class="rcx-controls" onsubmit="return false">
    ${menu("dataset", "data set", datasets.map(name => [name, name]))}${menu("network", "network", [])}
    ${menu("x", "horizontal axis", [])}${menu("y", "vertical axis", [])}
    ${menu("best", "best by", BEST)}
    ${Object.entries(LIMITS).map(slider).join("")}
    <label class="rcx-check"><input type="checkbox" name="bars"> 95 % intervals</label>
    <label class="rcx-check"><input type="checkbox" name="refs"> published figures</label></form>
    <div class="rcx-answer" aria-live="polite"></div><div class="rcx-opened"></div>
    <div class="rcx-chart"></div><p class="rcx-note"></p>
    <p class="rcx-buttons"><button type="button" name="unbrush">Remove the brush</button>
    <button type="button" name="again">Start again</button>
    <button type="button" name="csv">Download as CSV</button>
    <button type="button" name="link">Copy the link to this view</button></p>
    <details class="rcx-rows"><summary></summary><div class="rc-scroll"></div></details>
    <h2>Two recipes, corruption by corruption</h2>
    <form class="rcx-controls" onsubmit="return false">${menu("a", "recipe", [])}${menu("b", "against", [])}</form>
    <div class="rcx-compare" aria-live="polite"></div><div class="rcx-profile"></div>`;
}

function explorer(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const datasets = [...new Set(data.networks.map(network => network.dataset))].sort();
  let state, network, view = null, shownWidth = 0, compared = "";

  const onDataset = dataset => data.networks.filter(network => network.dataset === dataset);

  // ---- the state, and the address that holds it ----
  function reset(name) {
    network = data.networks.find(other => other.name === name) ?? data.networks[0];
    const dense = network.trials[denseAt(network)];
    const third = dense ? Number((dense.size_mb * dense.compression_ratio / 3).toPrecision(3)) : null;
    state = {network: network.name, x: "size_mb", y: "robust", best: "robust", size_mb: third, clean: null,
             robust: null, latency_s: null, bars: true, refs: false, a: "", b: dense?.label ?? "", brush: null};
    state.start = {...state};
  }

  function take(name, text) {
    const corners = text.split(",");
    if (name in LIMITS) state[name] = text === "any" || !isFinite(text) ? null : Number(text);
    else if (name === "bars" || name === "refs") state[name] = text === "1";
    else if ((name === "x" || name === "y") && text in data.axes) state[name] = text;
    else if (name === "best" && BEST.some(([value]) => value === text)) state.best = text;
    else if ((name === "a" || name === "b") && at(text) >= 0) state[name] = text;
    else if (name === "brush" && corners.length === 4 && corners.every(isFinite)) state.brush = corners.map(Number);
  }

  function fromAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    reset(given.get("network"));
    for (const [name, text] of given) take(name, text);
  }

  function inAddress(value) {
    if (value === null) return "any";
    if (typeof value === "boolean") return value ? "1" : "0";
    return Array.isArray(value) ? value.map(end => end.toPrecision(4)) : value;
  }

  function toAddress() {
    const given = new URLSearchParams();
    for (const [name, value] of Object.entries(state)) {
      const same = String(value) === String(state.start[name]);
      if (name === "start" || (same && name !== "network")) continue;
      given.set(name, inAddress(value));
    }
    history.replaceState(null, "", "#" + given);
  }

  // ---- sliders have 200 steps; the last one that excludes nothing means no limit ----
  const logarithmic = name => LIMITS[name][1] === "max";
  const openStep = name => logarithmic(name) ? 200 : 0;

  function ends(name) {
    const values = network.trials.map(recipe => recipe[name]).filter(value => value !== null);
    return [Math.min(...values), Math.max(...values)];
  }

  function toStep(name, limit) {
    if (limit === null) return openStep(name);
    const [low, high] = ends(name);
    const share = logarithmic(name) ? Math.log(limit / low) / Math.log(high / low) : (limit - low) / (high - low);
    return Math.max(0, Math.min(200, Math.round(200 * share)));
  }

  function toLimit(name, step) {
    if (step === openStep(name)) return null;
    const [low, high] = ends(name), share = step / 200;
    const limit = logarithmic(name) ? low * (high / low) ** share : low + (high - low) * share;
    return Number(limit.toPrecision(4));
  }

  // ---- what is left ----
  const at = label => network.trials.findIndex(recipe => recipe.label === label);
  const within = recipe => recipe.works && !Object.keys(LIMITS).some(name => fails(name, recipe, state[name]));

  function brushed(recipe) {
    if (!state.brush) return true;
    const [left, right, low, high] = state.brush, [x, y] = [recipe[state.x], recipe[state.y]];
    return x >= left && x <= right && y >= low && y <= high;
  }

  function ranked() {
    const kept = network.trials.filter(recipe => within(recipe) && brushed(recipe));
    return kept.sort((a, b) => b[state.best] - a[state.best] || a.size_mb - b.size_mb);
  }

  // The paired difference a - b with its interval, in points of accuracy.
  function pair(measure, a, b) {
    const n = network.trials.length, all = network.pairs[measure];
    if (!all?.length || a === b || a < 0 || b < 0) return null;
    const [i, j] = a < b ? [a, b] : [b, a], from = 3 * (i * n - i * (i + 1) / 2 + j - i - 1);
    const [value, low, high] = all.slice(from, from + 3).map(part => part / 100);
    return a < b ? [value, low, high] : [-value, -high, -low];
  }

  // ---- the page ----
  root.innerHTML = skeleton(datasets);
  const part = name => root.querySelector(`.rcx-${name}`), control = name => root.querySelector(`[name="${name}"]`);

  function setControls() {
    const known = Object.entries(data.axes).filter(([name]) => network.trials.every(recipe => recipe[name] !== null));
    const axes = known.map(([axis, words]) => `<option value="${axis}">${words.short}</option>`).join("");
    for (const name of ["x", "y"]) control(name).innerHTML = axes;
    const offered = onDataset(network.dataset).map(({name, arch}) => `<option value="${name}">${arch}</option>`);
    control("network").innerHTML = offered.sort().join("");
    control("dataset").value = network.dataset;
    const labels = network.trials.map(recipe => recipe.label).sort();
    const recipes = labels.map(label => `<option>${label}</option>`).join("");
    control("a").innerHTML = '<option value="">the chosen one</option>' + recipes;
    control("b").innerHTML = recipes;
    for (const name of ["network", "x", "y", "best", "a", "b"]) control(name).value = state[name];
    for (const name of ["bars", "refs"]) control(name).checked = state[name];
    for (const name of Object.keys(LIMITS)) {
      const [low, high] = ends(name);
      control(name).disabled = !(high > low);
      control(name).value = toStep(name, state[name]);
    }
    control("refs").disabled = !network.published.length;
  }

  // ---- the answer in words ----
  function excludedSaid(left) {
    const working = network.trials.filter(recipe => recipe.works), broken = network.trials.length - working.length;
    const counts = Object.keys(LIMITS)
      .map(name => [name, working.filter(recipe => fails(name, recipe, state[name])).length])
      .filter(([, count]) => count);
    const reasons = counts.map(([name, count]) => `${count} by ${data.axes[name].short}`);
    if (broken) reasons.unshift(`${broken} with less than 90 % of the clean accuracy of dense`);
    const under = network.trials.filter(recipe => within(recipe) && !brushed(recipe)).length;
    if (under) reasons.push(`${under} outside the brush`);
    const several = counts.length > 1 ? " (one recipe may fail several)" : "";
    const why = reasons.length ? `: ${reasons.join(", ")}${several}` : "";
    return `Of ${network.trials.length} recipes ${network.trials.length - left.length} are excluded${why}.`;
  }

  function runnerUpSaid(first, second) {
    if (!second) return "There is no runner-up.";
    const gap = pair(state.best, at(second.label), at(first.label));
    const open = gap && gap[1] <= 0 && gap[2] >= 0;
    const apart = gap ? `; difference ${pairSaid(gap)}, ${open ? "undecided" : "beyond chance"}` : "";
    const size = written("size_mb", second.size_mb);
    return `Runner-up: ${code(second.label)}, ${second[state.best].toFixed(3)}, ${size}${apart}.`;
  }

  function choiceSaid(first, count) {
    return `${code(first.label)} has the highest ${data.axes[state.best].short} of the ${count} left:
      ${first[state.best].toFixed(3)}. Its file of ${written("size_mb", first.size_mb)} is
      ${written("compression_ratio", first.compression_ratio)} smaller than the float32 network;
      clean ${first.clean.toFixed(3)}, robust ${first.robust.toFixed(3)}, worst case ${first.worst.toFixed(3)} under
      ${first.worst_corruption.replaceAll("_", " ")}.${seedsSaid(first, state.best)}`;
  }

  function limitsSaid() {
    for (const name of Object.keys(LIMITS)) {
      const text = state[name] === null ? "any" : written(name, state[name]);
      control(`${name}_said`).value = text;
      control(name).setAttribute("aria-valuetext", text);
    }
  }

  function listed(left) {
    const columns = isSeveral(network) ? [...COLUMNS, "seeds"] : COLUMNS;
    const head = columns.map(name => `<th>${data.axes[name]?.short ?? name}</th>`).join("");
    const cell = (recipe, name) => name === "seeds" ? recipe.seeds : written(name, recipe[name]);
    const rows = left.map(recipe =>
      `<tr><td>${code(recipe.label)}</td>${columns.map(name => `<td>${cell(recipe, name)}</td>`).join("")}</tr>`);
    return `<table><thead><tr><th>recipe</th>${head}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }

  function answer() {
    const left = ranked(), [first, second] = left, excluded = excludedSaid(left);
    limitsSaid();
    part("answer").innerHTML = first
      ? `<p>${choiceSaid(first, left.length)}</p><p>${runnerUpSaid(first, second)} ${excluded}</p>`
      : `<p>No recipe is left. Move a limit back. ${excluded}</p>`;
    part("opened").innerHTML = seedsTable(first);
    if (view) {
      for (const name of Object.keys(LIMITS)) view.signal(`${name}_limit`, state[name]);
      view.signal("chosen", first?.key ?? "").runAsync();
    }
    part("rows").querySelector("summary").textContent = `The ${left.length} recipes that are left, as a table`;
    part("rows").querySelector("div").innerHTML = listed(left);
    compare(state.a || first?.label || "");
    toAddress();
  }

  // ---- two recipes ----
  function compare(label) {
    const a = at(label), b = at(state.b), asked = [network.name, label, state.b, shownWidth].join();
    if (asked === compared) return;
    compared = asked;
    if (a < 0 || b < 0) {
      part("compare").innerHTML = "<p>Choose two recipes.</p>";
      part("profile").innerHTML = "";
      return;
    }
    const [one, other] = [network.trials[a], network.trials[b]];
    const dense = denseAt(network);
    const found = ["robust", "clean"].map(measure => [measure, pair(measure, a, b)]).filter(([, gap]) => gap);
    const lines = found.map(([measure, gap]) => `${measure} accuracy ${pairSaid(gap)}, ${verdict(gap)}`);
    const below = dense < 0 ? ""
      : " Below: points of accuracy against the dense network, by severity; 0 is clean.";
    part("compare").innerHTML = `<p>${code(one.label)} against ${code(other.label)}:
      ${lines.length ? lines.join("; ") : "the same recipe"}.
      Files: ${written("size_mb", one.size_mb)} and ${written("size_mb", other.size_mb)}.
      ${pairSeedsSaid(network)}${below}</p>${seedsTable(one)}${a === b ? "" : seedsTable(other)}`;
    const rows = a === b ? [[a, one.label]] : [[a, one.label], [b, other.label]];
    embedded(part("profile"), profileSpec(rows, [one.label, other.label], dense), shownWidth, Infinity,
             {actions: false, renderer: "svg"});
  }

  function profileValues(rows, kinds, dense) {
    const {conditions, accuracy} = network.profile, values = [];
    const clean = conditions.findIndex(([name]) => name === "clean");
    function value(row, column) {
      const own = accuracy[row][column], rest = dense < 0 ? 0 : accuracy[dense][column];
      return own === null || rest === null ? null : (own - rest) / 100;
    }
    for (const [row, who] of rows) for (const kind of kinds) {
      const corruption = kind.replaceAll("_", " ");
      if (clean >= 0) values.push({who, severity: 0, corruption, value: value(row, clean)});
      conditions.forEach(([name, severity], column) => {
        if (name === kind) values.push({who, severity, corruption, value: value(row, column)});
      });
    }
    return values;
  }

  function profileSpec(rows, domain, dense) {
    const kinds = [...new Set(network.profile.conditions.map(([name]) => name))].filter(name => name !== "clean");
    const title = dense >= 0 ? "points" : "accuracy, %", legend = {columns: 1, labelLimit: 420};
    const colour = {field: "who", type: "nominal", scale: {domain, range: ["#1a1a1a", "#8a8a8a"]}, legend};
    const dash = {field: "who", type: "nominal", scale: {domain, range: [[1, 0], [4, 3]]}, legend};
    const signedTicks = dense >= 0 && {labelExpr: "datum.value ? format(datum.value, '+.0f') : '0'"};
    const zero = {data: {values: [{zero: 0}]}, mark: {type: "rule", color: "#888888"},
                  encoding: {y: {field: "zero", type: "quantitative"}}};
    const lines = {mark: {type: "line", point: {size: 24}, strokeWidth: 1.6}, encoding: {
      x: {field: "severity", type: "quantitative", title: "severity", axis: {values: [0, 1, 2, 3, 4, 5], grid: false}},
      y: {field: "value", type: "quantitative", title, axis: {tickCount: 4, ...signedTicks}},
      color: colour, strokeDash: dash,
      tooltip: [{field: "who", title: "recipe"}, {field: "corruption"}, {field: "severity"},
                {field: "value", title, format: dense >= 0 ? "+.1f" : ".1f"}]}};
    return {config: data.look, data: {values: profileValues(rows, kinds, dense)},
            columns: shownWidth < 720 ? 2 : 3,  // panels of 200 pixels and more where the page has room for them
            facet: {field: "corruption", type: "nominal", sort: kinds.map(kind => kind.replaceAll("_", " "))},
            description: `Difference to the dense network by corruption and severity for ${domain.join(" and ")}`,
            spec: {width: 200, height: 110, layer: dense >= 0 ? [zero, lines] : [lines]}};
  }

  // ---- the chart ----
  const smaller = name => LIMITS[name]?.[1] === "max" || name === "macs" || name.startsWith("ece");

  function scaleOf(values, log) {
    const low = Math.min(...values), high = Math.max(...values), air = .05 * (high - low) || .05;
    if (log) return {type: "log", domain: [low / 1.12, high * 1.12], nice: false};
    return {domain: [low - air, high + air], nice: false, zero: false};
  }

  // The points, and the ends of intervals as far as 40 % of the points' range beyond them.
  function spanned(points, ends) {
    const low = Math.min(...points), high = Math.max(...points), reach = .4 * (high - low) || Infinity;
    return [...points, ...ends.map(end => Math.min(Math.max(end, low - reach), high + reach))];
  }

  function channel(name, values) {
    const {log, title} = data.axes[name];
    const apart = {labelOverlap: "greedy", labelSeparation: 6};  // 0.9 and 1 side by side would read as 0.91
    const scale = scaleOf(values, log), step = (scale.domain[1] - scale.domain[0]) / 6;
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));  // enough for two ticks to differ
    const axis = log ? {format: name === "macs" ? "~s" : "~g", ...apart} : {format: `.${digits}f`, tickCount: 6};
    return {field: name, type: "quantitative", title, scale, axis};
  }

  // Points with what they need to be drawn: are they on the front, and what did each seed reach?
  function pointsOf(drawn) {
    const {x, y} = state;
    const noWorse = (p, q) => [x, y].every(name => smaller(name) ? p[name] <= q[name] : p[name] >= q[name]);
    const beats = (p, q) => noWorse(p, q) && (p[x] !== q[x] || p[y] !== q[y]);
    return drawn.map(recipe => {
      const front = !drawn.some(other => beats(other, recipe));
      const point = {...recipe, front};
      delete point.each;
      if (recipe.each && y in recipe.each[0])
        point.by_seed = recipe.each.map(seed => `${seed[y].toFixed(3)} (seed ${seed.seed})`).join(", ");
      return point;
    });
  }

  const FORMATS = {size_mb: ".3r", latency_s: ".3r", compression_ratio: ".1f"};
  function tips(values) {
    const seeds = isSeveral(network) ? ["seeds", "failed", "by_seed"] : [];
    const fields = ["label", "clean", "robust", ...seeds, "worst", "worst_corruption", "size_mb", "compression_ratio",
                    "latency_s"];
    const called = {label: "recipe", failed: "failed seeds", by_seed: "each seed"};
    return fields.map(field => {
      const title = data.axes[field]?.short ?? called[field] ?? field.replace("_", " ");
      const format = field === "seeds" || field === "failed" ? "d" : FORMATS[field] ?? ".3f";
      return {field, title, ...(typeof values[0][field] === "number" && {format})};
    });
  }

  function layersOf(values, encoding, near, hasBars) {
    const {x, y} = state, kinds = Object.keys(data.families);
    const by = index => ({field: "family", type: "nominal", legend: {columns: shownWidth < 480 ? 3 : 5},
                          scale: {domain: kinds, range: kinds.map(kind => data.families[kind][index])}});
    const limits = Object.entries(LIMITS).map(([name, [, side]]) =>
      `(!isValid(${name}_limit) || datum.${name} ${side === "max" ? "<=" : ">="} ${name}_limit)`);
    const brush = {name: "brush", select: {type: "interval"}};
    if (state.brush) brush.value = {x: state.brush.slice(0, 2), y: state.brush.slice(2)};
    const stair = {transform: [{filter: "datum.front"}], encoding,
                   mark: {type: "line", interpolate: smaller(x) ? "step-after" : "step-before", color: "#999999",
                          strokeWidth: 1.5}};
    const from = {...encoding.y, field: `${y}_low`}, to = {field: `${y}_high`};
    const inside = {and: [limits.join(" && "), {param: "brush"}]};
    const opacity = {condition: {test: inside, value: 1}, value: .15};
    const bars = {mark: {type: "rule", clip: true}, encoding: {x: encoding.x, y: from, y2: to, stroke: by(0), opacity}};
    const points = {params: [brush], mark: {type: "point", size: 80, strokeWidth: 1.6, cursor: "pointer"},
                    encoding: {...encoding, stroke: by(0), shape: by(1), tooltip: tips(values),
                               fill: {condition: {test: "datum.front", ...by(0)}, value: "white"},
                               opacity}};
    const ring = {transform: [{filter: "datum.key == chosen"}], encoding,
                  mark: {type: "point", size: 340, stroke: "#1a1a1a", strokeWidth: 2}};
    const line = {data: {values: near}, mark: {type: "rule", strokeDash: [4, 3], color: "#888888"},
                  encoding: {y: {...encoding.y}}};
    const words = {data: {values: near},
                   mark: {type: "text", align: "right", dx: -2, dy: -6, fontSize: 11, fontStyle: "italic",
                          color: "#595959"},
                   encoding: {x: {value: "width"}, y: {...encoding.y}, text: {field: "name"}}};
    return [stair, ...(hasBars ? [bars] : []), points, ring, ...(near.length ? [line, words] : [])];
  }

  async function draw() {
    shownWidth = Math.floor(root.clientWidth);
    const {x, y} = state, working = network.trials.filter(recipe => recipe.works);
    const candidates = working.filter(recipe => recipe.clean >= (state.clean ?? -1));
    const drawn = [candidates, working, network.trials].find(recipes => recipes.length);
    const hasBars = state.bars && `${y}_low` in drawn[0];
    const tall = spanned(drawn.map(recipe => recipe[y]),
                         hasBars ? drawn.flatMap(recipe => [recipe[`${y}_low`], recipe[`${y}_high`]]) : []);
    const [low, high] = [Math.min(...tall), Math.max(...tall)], reach = (high - low) / 3 || .05;
    const refs = state.refs && (y === "clean" || y === "robust") ? network.published : [];
    const near = refs.filter(ref => ref[y] > low - reach && ref[y] < high + reach);
    const far = refs.filter(ref => !near.includes(ref)), values = pointsOf(drawn);
    const encoding = {x: channel(x, drawn.map(recipe => recipe[x])),
                      y: channel(y, [...tall, ...near.map(ref => ref[y])])};
    const limits = Object.keys(LIMITS).map(name => ({name: `${name}_limit`, value: state[name]}));
    const spec = {config: data.look, width: shownWidth, height: shownWidth < 480 ? 300 : 360,
      autosize: {type: "fit-x", contains: "padding"}, data: {values},
      description: `${data.axes[y].short} against ${data.axes[x].short} of ${drawn.length} recipes of ${network.name}; `
        + "the answer above says which one is chosen.",
      params: [...limits, {name: "chosen", value: ""}], layer: layersOf(values, encoding, near, hasBars)};
    view?.finalize();
    view = null;
    view = (await vegaEmbed(part("chart"), spec, {actions: false, renderer: "svg"})).view;
    listen(x, y);
    part("note").textContent = noteSaid(network.trials.length - drawn.length, far, hasBars);
    answer();
    root.dataset.room = shownWidth;
  }

  function listen(x, y) {
    view.addSignalListener("brush", (_, ranges) => {
      const [across, up] = [ranges[x], ranges[y]];
      state.brush = across && up ? [Math.min(...across), Math.max(...across), Math.min(...up), Math.max(...up)] : null;
      answer();
    });
    view.addEventListener("click", (_, item) => {
      if (!item?.datum?.label) return;
      state.a = control("a").value = item.datum.label;
      answer();
    });
  }

  function noteSaid(hidden, far, hasBars) {
    const said = ["Filled points, on the line, are the Pareto front of the two axes. Ringed: the choice.",
                  "Click a point to look at it below; drag to brush."];
    if (hasBars) said.push(intervalsSaid(network));
    const why = "with less than 90 % of the clean accuracy of dense, or below the limit of clean accuracy,";
    if (hidden) said.push(hidden === 1 ? `1 recipe ${why} is not drawn.` : `${hidden} recipes ${why} are not drawn.`);
    const beyond = far.map(ref => `${ref.name}: ${ref[state.y].toFixed(3)}`).join("; ");
    if (beyond) said.push(`Published beyond the axis: ${beyond}.`);
    return said.join(" ");
  }

  // ---- what the reader does ----
  function download() {
    const columns = Object.keys(network.trials[0]).filter(column => column !== "key" && column !== "each");
    function quoted(value) {
      if (value === null) return "";
      return /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value;
    }
    const rows = ranked().map(recipe => [network.name, ...columns.map(column => recipe[column])]);
    const text = [["network", ...columns], ...rows].map(row => row.map(quoted).join(",")).join("\n") + "\n";
    const address = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
    Object.assign(document.createElement("a"), {href: address, download: "robcomp.csv"}).click();
    URL.revokeObjectURL(address);
  }

  async function copyLink(button) {
    try {
      await navigator.clipboard.writeText(location.href);
      button.textContent = "Copied";
    } catch {
      button.textContent = "The address bar holds the link";
    }
  }

  // The same architecture on another data set, or the largest study of that data set.
  function beginOn(dataset) {
    const there = onDataset(dataset);
    begin((there.find(other => other.arch === network.arch) ?? there[0]).name);
  }

  function begin(name) {
    reset(name);
    setControls();
    draw();
  }

  root.addEventListener("input", event => {
    const {name, value} = event.target;
    if (!(name in LIMITS)) return;
    state[name] = toLimit(name, Number(value));
    answer();
  });
  root.addEventListener("change", event => {
    const {name, value, checked} = event.target;
    if (name === "network") return begin(value);
    if (name === "dataset") return beginOn(value);
    if (name === "bars" || name === "refs") state[name] = checked;
    else if (!(name in LIMITS)) state[name] = value;
    if (name === "x" || name === "y") state.brush = null;
    if (["x", "y", "bars", "refs", "clean"].includes(name)) draw(); else answer();
  });
  root.addEventListener("click", event => {
    const button = event.target;
    if (button.name === "again") begin(state.network);
    if (button.name === "link") copyLink(button);
    if (button.name === "csv") download();
    if (button.name === "unbrush") {
      state.brush = null;
      draw();
    }
  });
  addEventListener("hashchange", () => {
    fromAddress();
    setControls();
    draw();
  });
  new ResizeObserver(() => { if (Math.floor(root.clientWidth) !== shownWidth) draw(); }).observe(root);
  fromAddress();
  setControls();
}

for (const box of document.querySelectorAll(".rc-explorer")) explorer(box);
"""
