/* The explorer page, second part: reads the JSON that polca.explorer documents, keeps the view in the link, controls.
   Strings of the data reach the page as text nodes only, and Plotly's labels through `plain`. */
const INK = "#222222", MUTED = "#5f5f5f", RULE = "#d9d9d9", GREY = "#858585";
const LEVELS = 127;
const PAGE = 25, SMALL_GRID = 20;
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
const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);
/** What is clustered, and in which reading. */
const titled = (analysis) => `${analysis.title}, ${analysis.reading}`;
const many = (count, one, more = one + "s") => `${integer.format(count)} ${count === 1 ? one : more}`;

/** Terms of this page, shown where they stand and all together below the charts. */
const WORDS = {
  "dropped as rising": "Of a token: its projected loss along this vector ends higher than it began. Of a vector: so does the mean over all tokens. The paper leaves both out.",
  outlier: "A token in no cluster: HDBSCAN finds too few others whose trajectories are like its own.",
  "breakthrough (eq. 9)": "The step at which a trajectory bends most: the largest second difference over an interval Δ, equation 9 of the paper; of a cluster, the mean over its tokens.",
  hidden: "Of a breakthrough: later than τ, the step at which the mean exact loss has become flat (eq. 10).",
  "projected loss": "The part of a token's loss change up to a step that lies along one vector, a direction of weight space (eq. 8).",
  standardised: "Each trajectory minus its own mean over time, divided by its own standard deviation over time: shapes count, sizes do not.",
  "raw trajectories": "Trajectories clustered as they are: shapes and sizes count.",
  "fit of the name": "The share of a cluster's tokens that its name says the truth of.",
  homogeneity: "The share of a cluster's tokens that have a carry. It is given where more than 85 % of these carries go into the 10s or 100s, as in the paper.",
  "share of the fall": "Of a vector: its mean projected loss at the end, divided by the change of the mean exact loss. The shares of all vectors can be added; what is missing from 100 % happens along directions outside the basis, or the form of the projected loss errs.",
  signature: "Of a token: its projected losses along all kept vectors at a few steps, each scaled over tokens, so that no vector counts for more because its losses are larger.",
  "map of tokens": "Tokens in two dimensions: the two main directions (principal components, PCA) of their signatures. Tokens that the vectors treat alike lie together.",
  medoid: "The token whose trajectory is nearest to those of all others of its cluster.",
};

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
  const exact = setting.trajectories.loss || null, compared = setting.analyses.find((a) => a.id === state.with);
  const places = setting.map && { ...setting.map, x: await array(setting.map.x), y: await array(setting.map.y) };
  return {
    // What is chosen on the map stays chosen where an analysis has other trajectories, and does not show it.
    places, map: places && places.trajectories === analysis.trajectories ? places : null,
    other: compared ? await second(setting, compared, state.vector) : null,
    setting, analysis, facets, sequence, place, first, last, labels, low, span, levels,
    steps: t.steps, count: first.length, vector: analysis.vectors[state.vector - 1], mean: t.mean[state.vector - 1],
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

/** The analysis beside: its vector of the same number, with what its chart needs. */
async function second(setting, analysis, number) {
  const t = setting.trajectories[analysis.trajectories], [low, span, levels] = await Promise.all([t.low, t.span, t.levels].map(array));
  const vector = beside(analysis, number), count = setting.tokens.first.shape[0];
  return { analysis, vector, steps: t.steps, mean: t.mean[vector.number - 1],
    trajectory(number, token) { return curve({ low, span, levels, steps: t.steps }, (number - 1) * count + token); } };
}

/** One quantised trajectory. */
function curve(t, row) {
  const count = t.steps.length, values = new Array(count);
  for (let q = 0; q < count; q++) values[q] = t.low[row] + (t.span[row] * t.levels[row * count + q]) / LEVELS;
  return values;
}

// --- State and link ------------------------------------------------------------------------------------------------

let state = {}, view = null, limit = PAGE, hovered = null;

/** Show a loaded state; until then the page keeps showing the one before. What the change leaves as it is stays. */
function draw(next, loaded, part) {
  const before = state, same = loaded === view && hovered === null, changed = (...names) => !same || names.some((name) => next[name] !== before[name]);
  [state, view, hovered] = [next, loaded, null];
  if (!("limit" in part)) limit = PAGE;
  $("link").href = hash(state);
  $("link").textContent = "Link to this view";
  drawControls();
  drawOverview();
  if (changed("group", "token")) {
    drawVector();
    drawClusters();
  }
  if (changed("group", "token", "pick")) {
    followPick();
    drawMap();
  }
  drawTokens();
  if (changed("token")) drawDetail();
  document.body.dataset.ready = hash(state);
}

const { change, follow } = views(page, history, location, load, draw);

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
  const choices = (analyses) => [...new Set(analyses.map((a) => a.reading))].map((reading) =>
    make("optgroup", { label: capital(reading) }, ...analyses.filter((a) => a.reading === reading).map((a) => make("option", { value: a.id }, titled(a)))));
  fill($("analysis"), setting.id, () => choices(setting.analyses));
  fill($("with"), `${setting.id}/${analysis.id}`, () => [make("option", { value: "" }, "none"), ...choices(setting.analyses.filter((a) => a !== analysis))]);
  $("with").value = state.with;
  $("with").closest("label").hidden = setting.analyses.length < 2;
  $("reading").textContent = `reading: ${analysis.reading}`;
  $("reading").title = WORDS[analysis.reading] || "";
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
