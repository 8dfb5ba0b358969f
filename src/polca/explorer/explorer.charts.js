/* The explorer page, third part: charts of the clusters, drawn with Plotly, and their table. */
// --- Charts --------------------------------------------------------------------------------------------------------

/** Positions nearest to those wanted that keep their order and a gap (pool adjacent violators). */
function spread(wanted, gap, low, high) {
  const room = wanted.length > 1 ? Math.min(gap, (high - low) / (wanted.length - 1)) : gap;
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b] || a - b);
  const blocks = [];
  order.forEach((index, rank) => {
    let mean = wanted[index] - rank * room, size = 1;
    while (blocks.length && blocks[blocks.length - 1][0] > mean) {
      const [before, count] = blocks.pop();
      mean = (mean * size + before * count) / (size + count);
      size += count;
    }
    blocks.push([mean, size]);
  });
  const levels = blocks.flatMap(([mean, size]) => new Array(size).fill(mean));
  const result = new Array(wanted.length);
  order.forEach((index, rank) => {
    result[index] = Math.min(Math.max(levels[rank], low), high - (wanted.length - 1) * room) + rank * room;
  });
  return result;
}

const alpha = (color, opacity) => {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${opacity})`;
};

/** The value of a curve at a step, between its points. */
function at(steps, values, step) {
  const i = steps.findIndex((s) => s >= step);
  if (i <= 0) return i < 0 ? values[values.length - 1] : values[0];
  const share = (step - steps[i - 1]) / (steps[i] - steps[i - 1]);
  return values[i - 1] + share * (values[i] - values[i - 1]);
}

function axes(height, steps, low, high) {
  const pad = 0.05 * (high - low || 1);
  return {
    height, margin: { l: 58, r: 150, t: 22, b: 42 }, font: FONT, hovermode: "closest", showlegend: false, dragmode: "zoom",
    plot_bgcolor: "#fff", paper_bgcolor: "#fff", hoverlabel: { bgcolor: "#fff", bordercolor: "#999", font: { ...FONT, color: INK }, namelength: -1 },
    xaxis: { title: { text: "training step", standoff: 8 }, range: [0, steps[steps.length - 1]], tickformat: ",d", nticks: window.innerWidth < 480 ? 3 : 6, showgrid: false,
      zeroline: false, showline: true, linecolor: "#8a8a8a", ticks: "outside", ticklen: 4, tickcolor: "#8a8a8a" },
    yaxis: { range: [low - pad, high + pad], tickformat: "~g", exponentformat: "power", nticks: 6, gridcolor: "#ececec", zeroline: low < 0 && high > -pad,
      zerolinecolor: "#bdbdbd", zerolinewidth: 1, ticks: "", automargin: true },
    shapes: [], annotations: [],
  };
}

/** Show traces in a node. A chart that was hidden while the window changed its width takes the width that it has now. */
function plot(node, traces, layout) {
  Plotly.react(node, traces, layout, CONFIG);
  if (node._fullLayout && node.clientWidth && Math.abs(node._fullLayout.width - node.clientWidth) >= 1) Plotly.relayout(node, { autosize: true });
}

/** The lowest and highest value of a chart. */
function extent(clusters, key, mean, token, zero = false) {
  const values = [...clusters.flatMap((c) => [...c[key][0], ...c[key][2]]), ...mean.values, ...(token ? token.values : [])].filter((v) => v !== null);
  return [values.reduce((a, b) => Math.min(a, b), zero ? 0 : Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
}

/** Draw the clusters of a vector; `other` says that it is of the analysis beside, whose clusters cannot be chosen. */
function drawChart(id, name, steps, clusters, key, mean, token, [low, high], sampled = view.vector.step, other = false) {
  const chosen = other ? "" : state.group, dim = (c) => chosen !== "" && !(chosen in GROUPS) && String(c.number) !== chosen;
  const height = 330, layout = axes(height, steps, low, high), traces = [], ends = [];
  for (const c of clusters) {
    const [lower, , upper] = c[key], opacity = dim(c) ? 0.05 : clusters.length > 4 ? 0.1 : 0.18;
    const band = { x: steps, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
    traces.push({ ...band, y: lower }, { ...band, y: upper, fill: "tonexty", fillcolor: alpha(c.color, opacity) });
  }
  traces.push({ x: mean.steps, y: mean.values, mode: "lines", line: { color: INK, width: 0.9 }, name: "all tokens",
    hovertemplate: "mean of all tokens<br>step %{x:,}: %{y:.4~g}<extra></extra>" });
  ends.push([mean.values[mean.values.length - 1], "all tokens", INK, false]);
  for (const c of clusters) {
    const middle = c[key][1], fade = dim(c) ? 0.25 : 1;
    traces.push({ x: steps, y: middle, mode: "lines", opacity: fade, line: { color: c.color, width: dim(c) ? 1.5 : 2.2, dash: c.dash }, customdata: steps.map(() => c.number),
      hovertemplate: `cluster ${c.number}: ${plain(cut(c.name, 60))}<br>step %{x:,}, median %{y:.4~g}<extra></extra>` });
    if (c.break_step !== null)
      traces.push({ x: [c.break_step], y: [at(steps, middle, c.break_step)], mode: "markers", opacity: fade, customdata: [c.number],
        marker: { symbol: "triangle-down", size: 11, color: c.color, line: { color: "#fff", width: 1 } },
        hovertemplate: `breakthrough of cluster ${c.number}<br>step ${integer.format(c.break_step)} (eq. 9, mean over its tokens)<extra></extra>` });
    ends.push([middle[middle.length - 1], `<b>${c.number}</b> ${plain(cut(c.name, 20))}`, c.text_color, dim(c)]);
  }
  if (token) {
    traces.push({ x: token.steps, y: token.values, mode: "lines", line: { color: INK, width: 2, dash: "1px,3px" },
      hovertemplate: "this token<br>step %{x:,}: %{y:.4~g}<extra></extra>" });
    ends.push([token.values[token.values.length - 1], "this token", INK, false]);
  }
  const [bottom, top] = layout.yaxis.range, pixels = height - layout.margin.t - layout.margin.b;
  const wanted = ends.map(([y]) => ((y - bottom) / (top - bottom)) * pixels);
  const placed = spread(wanted, 15, 4, pixels - 4);
  ends.forEach(([, text, color, faded], i) => layout.annotations.push({ xref: "paper", yref: "paper", x: 1, y: placed[i] / pixels, xanchor: "left", xshift: 6,
    yanchor: "middle", showarrow: false, text, align: "left", font: { size: 12, color }, opacity: faded ? 0.45 : 1 }));
  const rule = (step, text, dash, side) => {
    if (step === null || step < 0 || step > steps[steps.length - 1]) return;
    layout.shapes.push({ type: "line", x0: step, x1: step, yref: "paper", y0: 0, y1: 1, line: { color: "#555", width: 1.2, dash }, layer: "below" });
    layout.annotations.push({ x: step, yref: "paper", y: 1, yanchor: "bottom", xanchor: side, showarrow: false, text, font: { size: 12, color: MUTED } });
  };
  const flat = view.setting.flat_step, end = steps[steps.length - 1];
  const near = flat !== null && Math.abs(sampled - flat) < 0.25 * end;
  rule(sampled, "sampled", "4px,3px", sampled === end ? "right" : near ? (sampled <= flat ? "right" : "left") : "center");
  rule(flat, "τ", "1px,3px", near ? (sampled <= flat ? "left" : "right") : "center");
  const node = $(id);
  plot(node, traces, layout);
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", `${name} by training step. ` + clusters.map((c) => `Cluster ${c.number}, ${c.name}: median from ${number(c[key][1][0])} to ${number(c[key][1][c[key][1].length - 1])}`
    + (c.break_step === null ? "." : `, breakthrough at step ${integer.format(c.break_step)}.`)).join(" "));
  if (!node.dataset.listens) {
    node.dataset.listens = "yes";
    node.on("plotly_click", (event) => {
      const cluster = event.points.map((p) => p.customdata).find((c) => c !== undefined);
      if (cluster !== undefined && !other) choose(String(cluster));
    });
  }
}

const choose = (group) => change({ group: state.group === group ? "" : group });
const shownToken = () => tokenOnShow(hovered, state.token);

function drawCharts() {
  const { analysis, setting, vector, other } = view, token = shownToken();
  const single = analysis.quantity === "exact loss", charts = document.querySelector(".charts");
  $("projected-panel").hidden = single;
  $("compare-panel").hidden = !other;
  charts.classList.toggle("single", single);
  charts.classList.toggle("compared", other !== null);
  $("exact-caption").textContent = single ? "Exact loss, nats" : "Exact loss of the same tokens, nats";
  $("projected-caption").textContent = `${capital(analysis.quantity)}, ${analysis.unit}`;
  const along = (from, number) => (token === null ? null : { steps: from.steps, values: from.trajectory(number, token) });
  const exact = ["loss", { steps: setting.exact.steps, values: setting.exact.mean }, token === null || !view.exact ? null : { steps: view.exact.steps, values: curve(view.exact, token) }];
  const projected = ["projected", { steps: analysis.steps, values: view.mean }, along(view, vector.number)];
  let range = single ? extent(vector.clusters, ...exact, true) : extent(vector.clusters, ...projected);
  if (other) range = drawOther(other, along(other, other.vector.number), range);
  if (!single) drawChart("projected", capital(analysis.quantity), analysis.steps, vector.clusters, ...projected, range);
  drawChart("exact", "Exact loss", setting.exact.steps, vector.clusters, ...exact, single ? range : extent(vector.clusters, ...exact, true));
}

/** The chart of the analysis beside, on the first one's scale where both show the same; returns what that scale then is. */
function drawOther({ analysis, vector, mean }, token, first) {
  const same = analysis.quantity === view.analysis.quantity && analysis.unit === view.analysis.unit, wanted = view.vector.number;
  const curves = ["projected", { steps: analysis.steps, values: mean }, token], own = extent(vector.clusters, ...curves, analysis.quantity === "exact loss");
  const range = same ? [Math.min(first[0], own[0]), Math.max(first[1], own[1])] : own;
  const which = analysis.vectors.length < 2 ? "" : `, vector ${vector.number}` + (vector.number === wanted ? "" : ` (its best: it has no vector ${wanted})`);
  $("compare-caption").textContent = `${titled(analysis)}${which}: ${analysis.quantity}, ${analysis.unit}`;
  $("compare-note").textContent = `${same ? "The same scale" : "A scale of its own"}; its clusters have their own numbers.`
    + (!vector.kept ? " The filter dropped this vector." : vector.clusters.length ? "" : " No cluster: HDBSCAN sees one density.");
  drawChart("compare", titled(analysis) + which, analysis.steps, vector.clusters, ...curves, range, vector.step, true);
  return same ? range : first;
}

/** Offer a file of the page's own making. */
function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type })), link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

const fileName = (what, end) => [state.setting, state.analysis, state.vector, what].join("_").replace(/[^\w.-]/g, "_") + end;

/** A chart as it stands, as SVG. */
async function saveChart(id) {
  const node = $(id), { width, height } = node.getBoundingClientRect();
  const url = await Plotly.toImage(node, { format: "svg", width: Math.round(width), height: Math.round(height) });
  save(fileName(id, ".svg"), decodeURIComponent(url.slice(url.indexOf(",") + 1)), "image/svg+xml");
}

function drawVector() {
  const { analysis, vector, setting } = view, several = analysis.vectors.length > 1;
  const step = vector.step >= 0 ? `, sampled at step ${integer.format(vector.step)}` : "";
  $("vector-title").textContent = titled(analysis) + (several ? `: vector ${vector.number}${step}` : "");
  const outliers = groupSize(OUTLIER), rising = groupSize(RISING), clusters = vector.clusters.length;
  const clustered = vector.clusters.reduce((sum, c) => sum + c.size, 0);
  let where = "Dropped by the filter: the mean projected loss along it rises over training.";
  if (vector.kept)
    where = `${many(view.count, "token")}: ` + (rising ? `${integer.format(rising)} dropped as rising, ` : "") + `${many(outliers, "outlier")}, `
      + (clusters ? `${integer.format(clustered)} in ${many(clusters, "cluster")}.` : "no cluster: HDBSCAN sees one density.");
  $("vector-note").textContent = `${analysis.note} ${where}`.trim();
  const key = (name, text, word) => make("span", { title: WORDS[word] }, make("i", { class: name }), text);
  $("key").replaceChildren(...[
    clusters ? key("band", "median and quartiles of a cluster") : null,
    vector.clusters.some((c) => c.break_step !== null) ? key("break", "its breakthrough (eq. 9)", "breakthrough (eq. 9)") : null,
    key("all", "mean of all tokens"),
    vector.step >= 0 ? key("sampled", "where the vector was computed") : null,
    setting.flat_step !== null ? key("flat", `τ = step ${integer.format(setting.flat_step)}: breakthroughs later than this are hidden ones`, "hidden") : null,
  ].filter((x) => x));
  drawCharts();
}

// --- Clusters ------------------------------------------------------------------------------------------------------

const readable = (color) => {
  const [r, g, b] = [1, 3, 5].map((i) => (parseInt(color.slice(i, i + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.3 ? INK : "#fff";
};

/** Shares of a group's tokens by category. */
function bar(facet, values, members) {
  const counts = new Array(facet.categories.length).fill(0);
  for (const x of members) counts[values[x]]++;
  const parts = facet.categories.map((c, i) => ({ ...c, count: counts[i] })).filter((c) => c.count);
  const label = parts.map((c) => `${c.name} ${percent(c.count, members.length)}`).join(", ");
  return make("div", { class: "bar", role: "img", "aria-label": label, title: label }, ...parts.map((c) => {
    const share = c.count / members.length;
    return make("i", { style: { flex: `${share} 0 0`, background: c.color, color: readable(c.color), paddingLeft: share < 0.03 ? "0" : "" }, title: `${c.name}: ${many(c.count, "token")}, ${percent(c.count, members.length)}` },
      share > 0.035 * c.name.length ? c.name : share > 0.11 && percent(c.count, members.length).length < 5 ? percent(c.count, members.length) : "");
  }));
}

const swatch = (c) => drawn("svg", { width: 26, height: 8, "aria-hidden": "true" },
  drawn("line", { x1: 0, x2: 26, y1: 4, y2: 4, stroke: c.color, "stroke-width": 3, "stroke-dasharray": c.dash === "solid" ? "" : c.dash.replaceAll("px", "") }));

function members(label) {
  const from = (state.vector - 1) * view.count, found = [];
  for (let x = 0; x < view.count; x++) if (view.labels[from + x] === label) found.push(x);
  return found;
}

function drawClusters() {
  const { setting, vector } = view, table = $("clusters");
  const head = (text, cls, word) => make("th", { scope: "col", class: cls, title: WORDS[word] }, text);
  const fits = vector.clusters.some((c) => c.fit > 0);
  table.tHead.replaceChildren(make("tr", {}, head(""), head("cluster"), head("tokens", "number"), fits ? head("fit of the name", "number", "fit of the name") : null,
    head("breakthrough, step", "number", "breakthrough (eq. 9)"), ...setting.facets.map((f) => head(f.title, "bar-cell"))));
  const rows = vector.clusters.map((c) => [String(c.number), c, members(c.number)]);
  for (const [group, name] of [["outliers", "outliers"], ["rising", "dropped as rising"]]) {
    const found = members(GROUPS[group]);
    if (found.length) rows.push([group, { name, break_step: null, text_color: MUTED }, found]);
  }
  const focused = document.activeElement && document.activeElement.dataset.group;
  table.tBodies[0].replaceChildren(...rows.map(([group, c, found]) => {
    const own = c.color !== undefined;
    const button = make("button", { type: "button", "data-group": group, "aria-pressed": String(state.group === group), style: { color: c.text_color } }, own ? `${c.number}  ${c.name}` : c.name);
    const when = !own ? "" : c.break_step === null ? "–" : integer.format(c.break_step) + (c.hidden ? ", hidden" : "");
    const row = make("tr", { class: state.group === group ? "chosen" : undefined, title: WORDS[{ outliers: "outlier", rising: "dropped as rising" }[group]] },
      make("td", { class: "swatch" }, own ? swatch(c) : ""), make("td", {}, button),
      make("td", { class: "number" }, integer.format(found.length)), fits ? make("td", { class: "number" }, c.fit > 0 ? percent(c.fit, 1) : "") : null,
      make("td", { class: "number" }, when), ...setting.facets.map((f, i) => make("td", { class: "bar-cell" }, bar(f, view.facets[i], found))));
    row.style.cursor = "pointer";
    row.addEventListener("click", () => choose(group));
    return row;
  }));
  if (focused !== undefined && focused !== null) {
    const again = [...table.querySelectorAll("button")].find((b) => b.dataset.group === focused);
    if (again) again.focus();
  }
  const any = rows.length > 0;
  $("clusters-note").textContent = any ? "Choose a row, or a line above, to see its tokens below; choose it again to see all." : "This vector was dropped: its tokens were not clustered.";
  table.closest(".scroll").hidden = !any;
  const keys = new Map();
  for (const f of any ? setting.facets : []) {
    const categories = JSON.stringify(f.categories);
    keys.set(categories, { categories: f.categories, title: keys.has(categories) ? `${keys.get(categories).title} and ${f.title}` : f.title });
  }
  $("facet-keys").replaceChildren(...[...keys.values()].map((f) => make("p", {}, `${capital(f.title)}:`, ...f.categories.map((c) => make("span", {}, make("i", { style: { background: c.color } }), c.name)))));
}
