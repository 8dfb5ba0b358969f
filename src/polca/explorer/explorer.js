"use strict";
/* The explorer page: reads the JSON that polca.explorer documents, draws it with Plotly, keeps the view in the link.
   Strings of the data reach the page as text nodes only, and Plotly's labels through `plain`. */
(async () => {
  const INK = "#222222", MUTED = "#5f5f5f", RULE = "#d9d9d9", GREY = "#858585";
  const OUTLIER = -1, RISING = -2;
  const LEVELS = 127;
  const PAGE = 25, SMALL_GRID = 20, NEAR = 20;
  const FONT = { family: '"Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif', size: 12, color: MUTED };
  const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset" };

  const $ = (id) => document.getElementById(id);
  const integer = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

  /** An element with text or children. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "style") Object.assign(element.style, value);
      else if (name === "onclick") element.addEventListener("click", value);
      else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  /** Text for Plotly, which reads some HTML in its labels. */
  const plain = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
  const cut = (text, length) => (text.length > length ? text.slice(0, length - 1).trimEnd() + "…" : text);
  const number = (value) => {
    if (value === null || !Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    const text = size !== 0 && (size < 0.001 || size >= 1e5) ? value.toExponential(1) : value.toPrecision(2 + (size >= 1));
    return text.replace("e", " e").replace(/-/g, "−");
  };
  /** With so many decimals; what rounds to nothing has no sign. */
  const fixed = (value, decimals) => {
    const text = value.toFixed(decimals);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  };
  const percent = (part, whole) => {
    const share = (100 * part) / whole, rounded = Math.round(share);
    if (rounded === 0 && part > 0) return "<1 %";
    if (rounded === 100 && part < whole) return ">99 %";
    return `${rounded} %`;
  };
  const many = (count, one, more = one + "s") => `${integer.format(count)} ${count === 1 ? one : more}`;

  function problem(text) {
    $("problem").textContent = text;
    $("problem").hidden = false;
  }

  // --- Data ----------------------------------------------------------------------------------------------------------

  const KINDS = { u1: Uint8Array, i2: Int16Array, i4: Int32Array, f4: Float32Array };

  async function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const array = new KINDS[packed.type](await new Response(stream).arrayBuffer());
    if (packed.delta) {
      const length = packed.shape[packed.shape.length - 1];
      for (let i = 0; i < array.length; i++) if (i % length) array[i] += array[i - 1];
    }
    return array;
  }

  const page = JSON.parse($("data").textContent);
  $("data").remove();
  $("title").textContent = page.title;
  $("source").textContent = page.source;
  document.title = `${page.title}: ${page.source}`;
  if (typeof DecompressionStream === "undefined") {
    problem("This browser is too old for this page: it lacks DecompressionStream (Firefox 113, Safari 16.4, Chrome 80).");
    return;
  }

  const ready = new Map();
  /** What a packed array unpacks to; each is unpacked once. */
  function array(packed) {
    if (!ready.has(packed)) ready.set(packed, unpack(packed));
    return ready.get(packed);
  }

  /** All that one view of the page needs, unpacked. */
  async function load(state) {
    const setting = page.settings.find((s) => s.id === state.setting);
    const analysis = setting.analyses.find((a) => a.id === state.analysis);
    const t = setting.trajectories[analysis.trajectories], tokens = setting.tokens;
    const [sequence, place, first, last, labels, low, span, levels, ...facets] = await Promise.all(
      [tokens.sequence, tokens.place, tokens.first, tokens.last, analysis.labels, t.low, t.span, t.levels,
        ...setting.facets.map((f) => f.values)].map(array));
    const exact = setting.trajectories.loss || null;
    return {
      setting, analysis, facets, sequence, place, first, last, labels, low, span, levels,
      steps: t.steps, points: t.points, count: first.length, vector: analysis.vectors[state.vector - 1],
      exact: exact && { steps: exact.steps, low: await array(exact.low), span: await array(exact.span), levels: await array(exact.levels) },
      /** Cluster number or −1 … −3 of a token on a vector (from 1). */
      label(vector, token) { return labels[(vector - 1) * first.length + token]; },
      trajectory(vector, token) { return curve({ low, span, levels, steps: t.steps }, (vector - 1) * first.length + token); },
      text(token) { return tokens.sequences[sequence[token]][place[token]]; },
      /** Text before, at and after a token. */
      context(token) {
        const pieces = tokens.sequences[sequence[token]], at = place[token];
        return [pieces.slice(0, at).join(""), pieces[at], pieces.slice(at + 1).join("")];
      },
    };
  }

  /** One quantised trajectory. */
  function curve(t, row) {
    const count = t.steps.length, values = new Array(count);
    for (let q = 0; q < count; q++) values[q] = t.low[row] + (t.span[row] * t.levels[row * count + q]) / LEVELS;
    return values;
  }

  // --- State and link ------------------------------------------------------------------------------------------------

  const GROUPS = { outliers: OUTLIER, rising: RISING };
  let state = {}, view = null, limit = PAGE, hovered = null;

  /** A state that exists, from what a link says. */
  function valid(given) {
    const setting = page.settings.find((s) => s.id === given.setting) || page.settings[0];
    const analysis = setting.analyses.find((a) => a.id === given.analysis) || setting.analyses.find((a) => a.id === setting.start.analysis);
    const start = analysis.id === setting.start.analysis ? setting.start.vector
      : (analysis.vectors.find((v) => v.clusters.length) || analysis.vectors[0]).number;
    const asked = Number(given.vector), vector = asked >= 1 && asked <= analysis.vectors.length && Number.isInteger(asked) ? asked : start;
    const clusters = analysis.vectors[vector - 1].clusters.map((c) => String(c.number));
    const group = given.group in GROUPS || clusters.includes(given.group) ? given.group : "";
    const tokens = setting.tokens.first.shape[0], token = /^\d+$/.test(given.token || "") && Number(given.token) < tokens ? given.token : "";
    const categories = setting.facets.length ? setting.facets[0].categories.length : 0;
    return {
      setting: setting.id, analysis: analysis.id, vector, group, token,
      facet: /^\d+$/.test(given.facet || "") && Number(given.facet) < categories ? given.facet : "",
      q: given.q || "", scope: given.scope === "token" ? "token" : "near",
      order: ["nearest", "projected", "rises", "last"].includes(given.order) ? given.order : "text",
    };
  }

  function hash(s) {
    const params = new URLSearchParams({ setting: s.setting, analysis: s.analysis, vector: String(s.vector) });
    for (const key of ["group", "token", "facet", "q"]) if (s[key] !== "") params.set(key, s[key]);
    if (s.scope !== "near") params.set("scope", s.scope);
    if (s.order !== "text") params.set("order", s.order);
    return "#" + params.toString();
  }

  const fromLink = () => valid(Object.fromEntries(new URLSearchParams(location.hash.slice(1))));

  let turn = 0;
  /** Show a changed state; what depends on a choice that changed is chosen anew. */
  async function change(part, remember = true) {
    const next = valid({ ...state, ...part, vector: String(part.vector ?? state.vector) });
    const same = (keys) => keys.every((key) => next[key] === state[key]);
    const all = !same(["setting", "analysis", "vector"]);
    state = next;
    if (remember) history[all || "group" in part || "token" in part ? "pushState" : "replaceState"](null, "", hash(state));
    $("link").href = hash(state);
    $("link").textContent = "Link to this view";
    const mine = ++turn, loaded = all || !view ? await load(state) : view;
    if (mine !== turn) return;
    view = loaded;
    hovered = null;
    if (!("limit" in part)) limit = PAGE;
    drawControls();
    drawVector();
    drawClusters();
    drawTokens();
    drawDetail();
    document.body.dataset.ready = hash(state);
  }

  // --- Controls ------------------------------------------------------------------------------------------------------

  function radio(name, value, text, checked, below, title) {
    const input = make("input", { type: "radio", name, value, title });
    input.checked = checked;
    input.setAttribute("aria-label", title || text);
    return make("label", {}, input, make("span", {}, text, below === undefined ? null : make("small", { "aria-hidden": "true" }, below)));
  }

  /** Replace a fieldset's radios where they are others, so that the keyboard's focus stays. */
  function fill(parent, signature, build) {
    if (parent.dataset.signature === signature) return false;
    parent.dataset.signature = signature;
    parent.replaceChildren(...build());
    return true;
  }

  function drawControls() {
    const { setting, analysis } = view;
    fill($("settings"), "settings", () => page.settings.map((s) => radio("setting", s.id, s.title, false)));
    fill($("analysis"), setting.id, () => setting.analyses.map((a) => make("option", { value: a.id }, a.title)));
    fill($("vectors"), `${setting.id}/${analysis.id}`, () => analysis.vectors.map((v) => {
      const clusters = v.clusters.length;
      const title = `vector ${v.number}: ` + (v.kept ? (clusters ? many(clusters, "cluster") : "no cluster") : "dropped by the filter");
      const label = radio("vector", String(v.number), String(v.number), false, clusters > 3 ? "•••+" : "•".repeat(clusters), title);
      if (!v.kept) label.classList.add("dropped");
      return label;
    }));
    for (const input of document.querySelectorAll('input[name="setting"]')) input.checked = input.value === state.setting;
    for (const input of document.querySelectorAll('input[name="vector"]')) input.checked = Number(input.value) === state.vector;
    $("settings").closest("fieldset").hidden = page.settings.length < 2;
    $("vector-field").hidden = analysis.vectors.length < 2;
    $("analysis").value = state.analysis;
    const groups = [["", "all"], ...view.vector.clusters.map((c) => [String(c.number), `${c.number}: ${c.name}`])];
    if (groupSize(OUTLIER)) groups.push(["outliers", "outliers"]);
    if (groupSize(RISING)) groups.push(["rising", "dropped as rising"]);
    fill($("group"), `${setting.id}/${analysis.id}/${state.vector}`, () => groups.map(([value, text]) => make("option", { value }, text)));
    $("group").value = state.group;
    const facet = setting.facets[0];
    $("facet").closest("label").hidden = !facet;
    if (facet) {
      $("facet-label").textContent = facet.title[0].toUpperCase() + facet.title.slice(1);
      fill($("facet"), setting.id, () => [make("option", { value: "" }, "all"),
        ...facet.categories.map((c, i) => make("option", { value: String(i) }, c.name))]);
      $("facet").value = state.facet;
    }
    $("scope").value = state.scope;
    $("order").value = state.order;
    if (document.activeElement !== $("search")) $("search").value = state.q;
  }

  function groupSize(label) {
    let size = 0;
    const from = (state.vector - 1) * view.count;
    for (let x = 0; x < view.count; x++) size += view.labels[from + x] === label;
    return size;
  }

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
      xaxis: { title: { text: "training step", standoff: 8 }, range: [0, steps[steps.length - 1]], tickformat: ",d", nticks: 6, showgrid: false,
        zeroline: false, showline: true, linecolor: "#8a8a8a", ticks: "outside", ticklen: 4, tickcolor: "#8a8a8a" },
      yaxis: { range: [low - pad, high + pad], tickformat: "~g", exponentformat: "power", nticks: 6, gridcolor: "#ececec", zeroline: low < 0 && high > -pad,
        zerolinecolor: "#bdbdbd", zerolinewidth: 1, ticks: "", automargin: true },
      shapes: [], annotations: [],
    };
  }

  function drawChart(id, name, steps, clusters, key, mean, token) {
    const chosen = state.group, dim = (c) => chosen !== "" && !(chosen in GROUPS) && String(c.number) !== chosen;
    const values = [...clusters.flatMap((c) => [...c[key][0], ...c[key][2]]), ...(mean ? mean.values : []), ...(token ? token.values : [])];
    const finite = values.filter((v) => v !== null);
    let low = finite.reduce((a, b) => Math.min(a, b), Infinity);
    const high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
    if (key === "loss") low = Math.min(0, low);
    const height = 330, layout = axes(height, steps, low, high), traces = [], ends = [];
    for (const c of clusters) {
      const [lower, , upper] = c[key], opacity = dim(c) ? 0.05 : clusters.length > 4 ? 0.1 : 0.18;
      const band = { x: steps, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
      traces.push({ ...band, y: lower }, { ...band, y: upper, fill: "tonexty", fillcolor: alpha(c.color, opacity) });
    }
    if (mean) {
      traces.push({ x: mean.steps, y: mean.values, mode: "lines", line: { color: INK, width: 0.9 }, name: "all tokens",
        hovertemplate: "mean of all tokens<br>step %{x:,}: %{y:.4~g}<extra></extra>" });
      ends.push([mean.values[mean.values.length - 1], "all tokens", INK, false]);
    }
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
    const sampled = view.vector.step, flat = view.setting.flat_step, end = steps[steps.length - 1];
    const near = flat !== null && Math.abs(sampled - flat) < 0.25 * end;
    rule(sampled, "sampled", "4px,3px", sampled === end ? "right" : near ? (sampled <= flat ? "right" : "left") : "center");
    rule(flat, "τ", "1px,3px", near ? (sampled <= flat ? "left" : "right") : "center");
    const node = $(id);
    Plotly.react(node, traces, layout, CONFIG);
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", `${name} by training step. ` + clusters.map((c) => `Cluster ${c.number}, ${c.name}: median from ${number(c[key][1][0])} to ${number(c[key][1][c[key][1].length - 1])}`
      + (c.break_step === null ? "." : `, breakthrough at step ${integer.format(c.break_step)}.`)).join(" "));
    if (!node.dataset.listens) {
      node.dataset.listens = "yes";
      node.on("plotly_click", (event) => {
        const cluster = event.points.map((p) => p.customdata).find((c) => c !== undefined);
        if (cluster !== undefined) choose(String(cluster));
      });
    }
  }

  const choose = (group) => change({ group: state.group === group ? "" : group });
  const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);
  const shownToken = () => (hovered !== null ? hovered : state.token === "" ? null : Number(state.token));

  function drawCharts() {
    const { analysis, setting, vector } = view, token = shownToken();
    const single = analysis.quantity === "exact loss";
    $("projected-panel").hidden = single;
    document.querySelector(".charts").classList.toggle("single", single);
    $("exact-caption").textContent = single ? "Exact loss, nats" : "Exact loss of the same tokens, nats";
    $("projected-caption").textContent = `${capital(analysis.quantity)}, ${analysis.unit}`;
    const exact = token === null || !view.exact ? null : { steps: view.exact.steps, values: curve(view.exact, token) };
    if (!single)
      drawChart("projected", capital(analysis.quantity), analysis.steps, vector.clusters, "projected", { steps: analysis.steps, values: vector.mean },
        token === null ? null : { steps: view.steps, values: view.trajectory(vector.number, token) });
    drawChart("exact", "Exact loss", setting.exact.steps, vector.clusters, "loss", { steps: setting.exact.steps, values: setting.exact.mean }, exact);
  }

  function drawVector() {
    const { analysis, vector, setting } = view, several = analysis.vectors.length > 1;
    const step = vector.step >= 0 ? `, sampled at step ${integer.format(vector.step)}` : "";
    $("vector-title").textContent = several ? `${analysis.title}: vector ${vector.number}${step}` : analysis.title;
    const outliers = groupSize(OUTLIER), rising = groupSize(RISING), clusters = vector.clusters.length;
    const clustered = vector.clusters.reduce((sum, c) => sum + c.size, 0);
    let where = "Dropped by the filter: the mean projected loss along it rises over training.";
    if (vector.kept)
      where = `${many(view.count, "token")}: ` + (rising ? `${integer.format(rising)} dropped as rising, ` : "") + `${many(outliers, "outlier")}, `
        + (clusters ? `${integer.format(clustered)} in ${many(clusters, "cluster")}.` : "no cluster: HDBSCAN sees one density.");
    $("vector-note").textContent = `${analysis.note} ${where}`.trim();
    const key = (name, text) => make("span", {}, make("i", { class: name }), text);
    $("key").replaceChildren(...[
      clusters ? key("band", "median and quartiles of a cluster") : null,
      vector.clusters.some((c) => c.break_step !== null) ? key("break", "its breakthrough (eq. 9)") : null,
      key("all", "mean of all tokens"),
      vector.step >= 0 ? key("sampled", "where the vector was computed") : null,
      setting.flat_step !== null ? key("flat", `τ = step ${integer.format(setting.flat_step)}: breakthroughs later than this are hidden ones`) : null,
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

  function swatch(c) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    for (const [k, v] of Object.entries({ width: 26, height: 8, "aria-hidden": "true" })) svg.setAttribute(k, v);
    for (const [k, v] of Object.entries({ x1: 0, x2: 26, y1: 4, y2: 4, stroke: c.color, "stroke-width": 3, "stroke-dasharray": c.dash === "solid" ? "" : c.dash.replaceAll("px", "") })) line.setAttribute(k, v);
    svg.append(line);
    return svg;
  }

  function members(label) {
    const from = (state.vector - 1) * view.count, found = [];
    for (let x = 0; x < view.count; x++) if (view.labels[from + x] === label) found.push(x);
    return found;
  }

  function drawClusters() {
    const { setting, vector } = view, table = $("clusters");
    const head = (text, cls) => make("th", { scope: "col", class: cls }, text);
    const fits = vector.clusters.some((c) => c.fit > 0);
    table.tHead.replaceChildren(make("tr", {}, head(""), head("cluster"), head("tokens", "number"), fits ? head("fit of the name", "number") : null,
      head("breakthrough, step", "number"), ...setting.facets.map((f) => head(f.title, "bar-cell"))));
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
      const row = make("tr", { class: state.group === group ? "chosen" : undefined },
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

  // --- Tokens --------------------------------------------------------------------------------------------------------

  /** Whether a token is the words, or has them among its neighbours. */
  function matches(token, words) {
    if (state.scope === "token") return view.text(token).trim().toLowerCase() === words.trim();
    const [before, target, after] = view.context(token);
    return (before.slice(-NEAR) + target + after.slice(0, NEAR)).toLowerCase().includes(words);
  }

  function chosenTokens() {
    const words = state.q.toLowerCase(), found = [], facet = state.facet === "" ? null : Number(state.facet);
    const group = state.group === "" ? null : state.group in GROUPS ? GROUPS[state.group] : Number(state.group);
    for (let x = 0; x < view.count; x++) {
      if (group !== null && view.label(state.vector, x) !== group) continue;
      if (facet !== null && view.facets[0][x] !== facet) continue;
      if (words && !matches(x, words)) continue;
      found.push(x);
    }
    const own = view.vector.clusters.find((c) => String(c.number) === state.group), middle = own ? own.nearest : [];
    const key = { nearest: (x) => (middle.includes(x) ? middle.indexOf(x) : middle.length), projected: (x) => ending(x), rises: (x) => -ending(x), last: (x) => -view.last[x] }[state.order];
    if (key) found.sort((a, b) => key(a) - key(b) || a - b);
    return found;
  }

  /** How far a token's trajectory on the vector has come at the end. */
  function ending(token) {
    const row = (state.vector - 1) * view.count + token, count = view.steps.length;
    return (view.span[row] * (view.levels[row * count + count - 1] - view.levels[row * count])) / LEVELS;
  }

  /** Decimals that leave the mean change on the vector two digits. */
  function decimals() {
    if (!view.decimals) view.decimals = new Map();
    if (!view.decimals.has(state.vector)) {
      let mean = 0;
      for (let x = 0; x < view.count; x++) mean += Math.abs(ending(x)) / view.count;
      view.decimals.set(state.vector, mean > 0 ? Math.min(12, Math.max(2, 1 - Math.floor(Math.log10(mean)))) : 2);
    }
    return view.decimals.get(state.vector);
  }

  function groupOf(token, vector = view.vector) {
    const label = view.label(vector.number, token), c = label >= 0 ? vector.clusters.find((k) => k.number === label) : null;
    if (c) return { text: String(label), color: c.color, text_color: c.text_color, name: `cluster ${label}: ${c.name}` };
    return { text: label === OUTLIER ? "outlier" : label === RISING ? "rising" : "–", color: null, text_color: MUTED, name: label === OUTLIER ? "outlier" : label === RISING ? "dropped as rising" : "vector dropped" };
  }

  function tokenRow(token) {
    const [before, target, after] = view.context(token), group = groupOf(token), facet = view.setting.facets[0];
    const category = facet ? facet.categories[view.facets[0][token]] : null;
    const button = make("button", { type: "button", "data-token": String(token), style: { color: group.text_color === MUTED ? INK : group.text_color } }, target);
    button.addEventListener("focus", () => hover(token));
    const row = make("tr", { class: String(token) === state.token ? "chosen" : undefined },
      make("td", { class: "before" }, make("bdi", {}, before.slice(-90))), make("td", { class: "target" }, button, make("span", {}, after.slice(0, 90))),
      make("td", { class: "group", title: group.name }, group.color ? make("i", { style: { background: group.color } }) : null, group.text),
      make("td", { class: "facet" }, category ? make("i", { style: { background: category.color } }) : null, category ? category.name : ""),
      make("td", { class: "number" }, `${view.first[token].toFixed(2)} → ${view.last[token].toFixed(2)}`),
      make("td", { class: "number" }, fixed(ending(token), decimals())));
    row.style.cursor = "pointer";
    row.addEventListener("mouseenter", () => hover(token));
    row.addEventListener("click", () => change({ token: state.token === String(token) ? "" : String(token), limit }));
    return row;
  }

  function drawTokens() {
    const found = chosenTokens(), facet = view.setting.facets[0];
    const longest = view.setting.tokens.sequences.reduce((most, s) => Math.max(most, s.join("").length), 0);
    $("tokens").classList.toggle("short", longest <= 20);
    $("facet-head").textContent = facet ? facet.title : "";
    $("change-head").textContent = `${view.analysis.quantity.replace("projected loss", "projected")}, change`;
    const focused = document.activeElement && document.activeElement.dataset.token;
    $("tokens").tBodies[0].replaceChildren(...found.slice(0, limit).map(tokenRow));
    if (focused !== undefined && focused !== null) {
      const again = $("tokens").querySelector(`button[data-token="${focused}"]`);
      if (again) again.focus({ preventScroll: true });
    }
    $("count").textContent = found.length ? `${many(found.length, "token")}${found.length > limit ? `, the first ${limit} shown` : ""}. Point at one to see it on every vector, choose it to keep it.`
      : "No token fits: take away a filter.";
    $("more").hidden = found.length <= limit;
    $("more").textContent = `Show ${Math.min(PAGE, found.length - limit)} more`;
  }

  let waiting = 0;
  /** Preview a token; it goes when another view is chosen. */
  function hover(token) {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (hovered === token) return;
      hovered = token;
      drawCharts();
      drawDetail();
    }, view.analysis.vectors.length > SMALL_GRID ? 250 : 70);
  }

  // --- One token on every vector -------------------------------------------------------------------------------------

  function drawDetail() {
    const token = shownToken(), { analysis, setting } = view;
    $("detail-exact").hidden = $("detail-vectors").hidden = token === null;
    $("detail-context").replaceChildren();
    const where = analysis.vectors.length > 1 ? " on every vector" : "";
    if (token === null) {
      $("detail-title").textContent = "One token" + where;
      $("detail-note").textContent = "Point at a token in the table.";
      return;
    }
    const [before, target, after] = view.context(token);
    $("detail-title").textContent = (state.token === String(token) ? "This token" : "One token") + where;
    $("detail-context").append(before.slice(-160), make("b", {}, target), after.slice(0, 120));
    const kinds = setting.facets.map((f, i) => `${f.title}: ${f.categories[view.facets[i][token]].name}`);
    $("detail-note").textContent = [`token ${token}`, ...kinds].join(" · ");
    drawSmall("detail-exact", 120, [{ title: "exact loss, nats", steps: (view.exact || {}).steps, values: view.exact ? curve(view.exact, token) : null, color: INK }], 1, true);
    if (analysis.quantity === "exact loss") {
      $("detail-vectors").hidden = true;
      return;
    }
    const panels = analysis.vectors.map((v) => {
      const group = groupOf(token, v);
      return { vector: v.number, title: `${v.number} · ${group.color ? "cluster " + group.text : group.text === "–" ? "dropped" : group.text}`, steps: view.steps,
        values: view.trajectory(v.number, token), color: group.color || GREY, text_color: group.text_color, chosen: v.number === state.vector };
    });
    const columns = panels.length > SMALL_GRID ? 5 : Math.min(3, panels.length), rows = Math.ceil(panels.length / columns);
    drawSmall("detail-vectors", 46 + 76 * rows, panels, columns, false);
  }

  /** Small panels with one scale for all. */
  function drawSmall(id, height, panels, columns, zero) {
    const shown = panels.filter((p) => p.values), rows = Math.ceil(shown.length / columns), node = $(id);
    if (!shown.length) { node.hidden = true; return; }
    const every = shown.flatMap((p) => p.values);
    let low = every.reduce((a, b) => Math.min(a, b), zero ? 0 : Infinity), high = every.reduce((a, b) => Math.max(a, b), -Infinity);
    const pad = 0.08 * (high - low || 1);
    low -= zero ? 0 : pad;
    high += pad;
    const layout = { height, margin: { l: 50, r: 18, t: 30, b: 34 }, font: { ...FONT, size: 11 }, showlegend: false, hovermode: "closest", dragmode: false, annotations: [], shapes: [],
      plot_bgcolor: "#fff", paper_bgcolor: "#fff", hoverlabel: { bgcolor: "#fff", bordercolor: "#999", font: { ...FONT, color: INK } } };
    const inner = height - layout.margin.t - layout.margin.b, gap = Math.min(0.5 / rows, 26 / inner);
    const wide = (1 - 0.045 * (columns - 1)) / columns, tall = (1 - gap * (rows - 1)) / rows;
    const traces = shown.map((p, i) => {
      const column = i % columns, row = Math.floor(i / columns), name = i ? String(i + 1) : "", last = i + columns >= shown.length;
      const left = column * (wide + 0.045), bottom = 1 - row * (tall + gap) - tall, end = p.steps[p.steps.length - 1];
      layout["xaxis" + name] = { domain: [left, left + wide], anchor: "y" + name, range: [0, end], showgrid: false, zeroline: false, showline: true, linecolor: "#8a8a8a",
        showticklabels: last, tickformat: ",d", tickvals: column ? [end] : [0, end], ticklabelposition: "outside", fixedrange: true, ticks: last ? "outside" : "", ticklen: 3 };
      layout["yaxis" + name] = { domain: [bottom, bottom + tall], anchor: "x" + name, range: [low, high], showgrid: false, zeroline: !zero, zerolinecolor: "#cfcfcf", zerolinewidth: 1,
        showticklabels: column === 0, nticks: 3, tickformat: "~g", exponentformat: "power", fixedrange: true, ticks: "" };
      layout.annotations.push({ xref: "paper", yref: "paper", x: left, y: bottom + tall, xanchor: "left", yanchor: "bottom", showarrow: false, text: p.chosen ? `<b>${plain(p.title)}</b>` : plain(p.title),
        font: { size: 11, color: p.chosen ? INK : p.text_color || INK } });
      if (p.chosen) layout.shapes.push({ type: "rect", xref: "paper", yref: "paper", x0: left, x1: left + wide, y0: bottom, y1: bottom + tall, fillcolor: "#f3ecd0", line: { width: 0 }, layer: "below" });
      return { x: p.steps, y: p.values, xaxis: "x" + name, yaxis: "y" + name, mode: "lines", line: { color: p.color, width: 1.6 }, customdata: p.steps.map(() => p.vector ?? null),
        hovertemplate: `${p.vector ? "vector " : ""}${plain(p.title)}<br>step %{x:,}: %{y:.3~g}<extra></extra>` };
    });
    const first = id === "detail-vectors" ? `${view.analysis.quantity}, ${view.analysis.unit}, one scale; by vector · group` : null;
    if (first) layout.annotations.push({ xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "bottom", yshift: 15, showarrow: false, text: plain(first), font: { size: 11, color: MUTED } });
    Plotly.react(node, traces, layout, CONFIG);
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", shown.map((p) => `${p.title}: from ${number(p.values[0])} to ${number(p.values[p.values.length - 1])}`).join("; "));
    if (!node.dataset.listens) {
      node.dataset.listens = "yes";
      node.on("plotly_click", (event) => {
        const vector = event.points[0].customdata;
        if (vector) change({ vector, token: String(shownToken()) });
      });
    }
  }

  // --- Footer and events ---------------------------------------------------------------------------------------------

  function drawFooter() {
    const thin = page.settings.map((s) => {
      const counts = new Map();
      for (const [key, t] of Object.entries(s.trajectories)) {
        if (t.steps.length === t.points) continue;
        const kept = `${t.steps.length} of ${t.points}`, title = (s.analyses.find((a) => a.trajectories === key) || { title: key }).title;
        counts.set(kept, [...(counts.get(kept) || []), title]);
      }
      return counts.size ? `${s.title}: ` + [...counts].map(([kept, titles]) => `${kept} for ${titles.join("; ")}`).join(". ") : "";
    }).filter((text) => text);
    $("footer").replaceChildren(
      make("p", {}, "Curves of clusters are exact, at every checkpoint. Trajectories of single tokens are stored in 128 levels between their own lowest and highest value: off by at most 0.4 % of their range."),
      make("p", {}, thin.length ? `Of these, some are kept at evenly spaced checkpoints only. ${thin.join(". ")}.` : "They are kept at every checkpoint."),
      make("p", {}, "This file loads nothing and sends nothing. Colours are those of the figures, chosen to be told apart by the colour-blind; what shares a colour differs in its dashes or its label."));
  }

  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("settings").addEventListener("change", (event) => change({ setting: event.target.value, analysis: "", vector: "", group: "", token: "", facet: "", q: "" }));
  $("analysis").addEventListener("change", (event) => change({ analysis: event.target.value, vector: "", group: "" }));
  $("vectors").addEventListener("change", (event) => change({ vector: event.target.value, group: "" }));
  $("group").addEventListener("change", (event) => change({ group: event.target.value }));
  $("facet").addEventListener("change", (event) => change({ facet: event.target.value }));
  $("scope").addEventListener("change", (event) => change({ scope: event.target.value }));
  $("order").addEventListener("change", (event) => change({ order: event.target.value }));
  let typing = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => change({ q: $("search").value }), 150);
  });
  $("more").addEventListener("click", () => { limit += PAGE; drawTokens(); });
  $("link").addEventListener("click", (event) => {
    event.preventDefault();
    const url = new URL($("link").href, location.href).href, say = (text) => { $("link").textContent = text; };
    if (navigator.clipboard && window.isSecureContext) navigator.clipboard.writeText(url).then(() => say("Link copied"), () => say("The address bar has it"));
    else say("The address bar has it");
  });
  const followLink = () => change(Object.assign({ group: "", token: "", facet: "", q: "", scope: "", order: "" }, fromLink()), false);
  window.addEventListener("hashchange", followLink);
  window.addEventListener("popstate", followLink);

  drawFooter();
  try {
    await change(fromLink(), false);
  } catch (error) {
    problem("This page is damaged: make it again with polca explore.");
    throw error;
  }
})();
