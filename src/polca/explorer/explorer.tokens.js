/* The explorer page, fourth part: the tokens, one token on every vector, events, and the first drawing. */
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
    if (!onMap(x)) continue;
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

/** Pieces of text, those searched for marked. */
const marked = (pieces) => pieces.map(([text, hit]) => (hit ? make("mark", {}, text) : text));

function tokenRow(token) {
  const [before, target, after] = view.context(token), group = groupOf(token), facet = view.setting.facets[0];
  const category = facet ? facet.categories[view.facets[0][token]] : null;
  const shown = [before.slice(-90), target, after.slice(0, 90)];
  const [left, middle, right] = state.scope === "token" ? shown.map((text) => [[text, false]]) : searched(shown, state.q);
  const button = make("button", { type: "button", "data-token": String(token), style: { color: group.text_color === MUTED ? INK : group.text_color } }, ...marked(middle));
  button.addEventListener("focus", () => hover(token));
  const row = make("tr", { class: String(token) === state.token ? "chosen" : undefined },
    make("td", { class: "before" }, make("bdi", {}, ...marked(left))), make("td", { class: "target" }, button, make("span", {}, ...marked(right))),
    make("td", { class: "group", title: group.name }, group.color ? make("i", { style: { background: group.color } }) : null, group.text),
    make("td", { class: "facet" }, category ? make("i", { style: { background: category.color } }) : null, category ? category.name : ""),
    make("td", { class: "number" }, `${view.first[token].toFixed(2)} → ${view.last[token].toFixed(2)}`),
    make("td", { class: "number" }, fixed(ending(token), decimals())));
  row.style.cursor = "pointer";
  row.addEventListener("mouseenter", () => hover(token));
  row.addEventListener("click", async () => {
    const top = row.getBoundingClientRect().top;
    await change({ token: state.token === String(token) ? "" : String(token), limit });
    // A panel that was above the row has gone from there: the row stays where the click was.
    const again = $("tokens").querySelector(`button[data-token="${token}"]`);
    if (again) window.scrollBy(0, again.closest("tr").getBoundingClientRect().top - top);
  });
  return row;
}

const tokenPanel = $("detail"), tokensLayout = document.querySelector(".tokens-layout"), narrow = window.matchMedia("(max-width: 900px)");
/** The panel of a token stands beside the table, on a narrow screen below the token's row. */
function placePanel(row) {
  if (row) row.after(make("tr", { class: "detail-row" }, make("td", { colspan: "6" }, tokenPanel)));
  else if (tokenPanel.parentElement !== tokensLayout) tokensLayout.append(tokenPanel);
}
narrow.addEventListener("change", () => {
  if (view === null) return;
  drawTokens();
  drawDetail();
});

function drawTokens() {
  const found = chosenTokens(), facet = view.setting.facets[0];
  const longest = view.setting.tokens.sequences.reduce((most, s) => Math.max(most, s.join("").length), 0);
  $("tokens").classList.toggle("short", longest <= 20);
  $("facet-head").textContent = facet ? facet.title : "";
  $("change-head").textContent = `${view.analysis.quantity.replace("projected loss", "projected")}, change`;
  const focused = document.activeElement && document.activeElement.dataset.token;
  placePanel(null);
  $("tokens").tBodies[0].replaceChildren(...found.slice(0, limit).map(tokenRow));
  placePanel(narrow.matches ? $("tokens").querySelector("tr.chosen") : null);
  if (focused !== undefined && focused !== null) {
    const again = $("tokens").querySelector(`button[data-token="${focused}"]`);
    if (again) again.focus({ preventScroll: true });
  }
  $("count").textContent = found.length ? `${many(found.length, "token")}${found.length > limit ? `, the first ${limit} shown` : ""}. Point at one to see it on every vector, choose it to keep it.`
    : `No token fits: take away a filter${mapped.picked ? ", or what is chosen on the map" : ""}.`;
  $("save-tokens").hidden = !found.length;
  $("more").hidden = found.length <= limit;
  $("more").textContent = `Show ${Math.min(PAGE, found.length - limit)} more`;
}

/** The tokens that fit the filters, as a table. */
function tokenTable() {
  const facets = view.setting.facets, quantity = view.analysis.quantity.replaceAll(" ", "_");
  const head = ["token", "before", "text", "after", "group", ...facets.map((f) => f.title), "exact_loss_first", "exact_loss_last", `${quantity}_change`];
  return [head, ...chosenTokens().map((x) => [x, ...view.context(x), groupOf(x).text, ...facets.map((f, i) => f.categories[view.facets[i][x]].name),
    view.first[x], view.last[x], ending(x)])];
}

let waiting = 0;
/** Preview a token; it goes when another view is chosen, or where one is pinned when the pointer leaves. */
function hover(token) {
  clearTimeout(waiting);
  // The panel below a row would change its height, and move the rows under the pointer before it is pressed.
  if (narrow.matches && state.token !== "") return;
  waiting = setTimeout(() => {
    if (hovered === token) return;
    hovered = token;
    drawCharts();
    drawDetail();
  }, view.analysis.vectors.length > SMALL_GRID ? 250 : 70);
}

const leave = () => hover(afterLeaving(hovered, state.token));

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
  const small = analysis.vectors.length > SMALL_GRID;
  $("detail-note").textContent = [`token ${token}`, ...kinds].join(" · ") + (small ? ". Beside a vector’s number: its cluster, o outlier, ↑ rising, – dropped." : "");
  drawSmall("detail-exact", 120, [{ title: "exact loss, nats", steps: (view.exact || {}).steps, values: view.exact ? curve(view.exact, token) : null, color: INK }], 1, true);
  if (analysis.quantity === "exact loss") {
    $("detail-vectors").hidden = true;
    return;
  }
  const panels = analysis.vectors.map((v) => {
    const group = groupOf(token, v);
    return { vector: v.number, title: `${v.number} · ${small ? { outlier: "o", rising: "↑" }[group.text] || group.text : group.color ? "cluster " + group.text : group.text === "–" ? "dropped" : group.text}`, steps: view.steps,
      values: view.trajectory(v.number, token), color: group.color || GREY, text_color: group.text_color, chosen: v.number === state.vector };
  });
  const columns = small ? 5 : Math.min(3, panels.length), rows = Math.ceil(panels.length / columns);
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
  plot(node, traces, layout);
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
$("settings").addEventListener("change", (event) => change({ setting: event.target.value, analysis: "", with: "", vector: "", group: "", token: "", facet: "", pick: "", q: "" }));
$("analysis").addEventListener("change", (event) => change({ analysis: event.target.value, vector: "", group: "" }));
$("with").addEventListener("change", (event) => change({ with: event.target.value }));
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
for (const event of ["mouseleave", "focusout"]) $("tokens").tBodies[0].addEventListener(event, leave);
for (const id of ["projected", "compare", "exact"]) $(`save-${id}`).addEventListener("click", () => saveChart(id));
$("save-tokens").addEventListener("click", () => save(fileName("tokens", ".csv"), csv(tokenTable()), "text/csv;charset=utf-8"));
$("more").addEventListener("click", () => { limit += PAGE; drawTokens(); });
$("link").addEventListener("click", (event) => {
  event.preventDefault();
  const url = new URL($("link").href, location.href).href, say = (text) => { $("link").textContent = text; };
  if (navigator.clipboard && window.isSecureContext) navigator.clipboard.writeText(url).then(() => say("Link copied"), () => say("The address bar has it"));
  else say("The address bar has it");
});
window.addEventListener("hashchange", follow);
window.addEventListener("popstate", follow);

$("words").replaceChildren(...Object.entries(WORDS).flatMap(([word, meaning]) => [make("dt", {}, capital(word)), make("dd", {}, meaning)]));
drawFooter();
try {
  await follow();
} catch (error) {
  problem("This page is damaged: make it again with polca explore.");
  throw error;
}
