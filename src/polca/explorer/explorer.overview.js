/* The explorer page: all vectors of the analysis at once, one small chart each, drawn as plain SVG. */
// --- Overview ------------------------------------------------------------------------------------------------------

const TILE = { width: 160, height: 60, points: 60 };

/** An element of an SVG. */
function drawn(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A vector's median curves and the mean of all tokens, on a scale of their own. */
function tile(vector, steps, mean) {
  const curves = vector.clusters.map((c) => ({ values: c.projected[1], color: c.color, dash: c.dash, width: 1.7 }));
  curves.push({ values: mean, color: vector.kept ? INK : GREY, dash: "solid", width: 1 });
  const every = curves.flatMap((c) => c.values), end = steps[steps.length - 1] || 1;
  const low = every.reduce((a, b) => Math.min(a, b), 0), high = every.reduce((a, b) => Math.max(a, b), 0);
  const x = (step) => ((TILE.width * step) / end).toFixed(1), y = (value) => (3 + ((TILE.height - 6) * (high - value)) / (high - low || 1)).toFixed(1);
  const stride = Math.ceil(steps.length / TILE.points), shown = steps.map((_, i) => i).filter((i) => i % stride === 0 || i === steps.length - 1);
  const rule = { stroke: RULE, "vector-effect": "non-scaling-stroke" };
  return drawn("svg", { viewBox: `0 0 ${TILE.width} ${TILE.height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    drawn("line", { ...rule, x1: 0, x2: TILE.width, y1: y(0), y2: y(0) }),
    ...(vector.step >= 0 && vector.step <= end ? [drawn("line", { ...rule, stroke: "#a0a0a0", x1: x(vector.step), x2: x(vector.step), y1: 0, y2: TILE.height, "stroke-dasharray": "3,3" })] : []),
    ...curves.map((c) => drawn("path", { d: "M" + shown.map((i) => `${x(steps[i])},${y(c.values[i])}`).join("L"), fill: "none", stroke: c.color, "stroke-width": c.width,
      "stroke-dasharray": c.dash === "solid" ? "" : c.dash.replaceAll("px", ""), "vector-effect": "non-scaling-stroke" })));
}

/** How well a cluster's name fits, or how pure it is, in words; empty where neither is known. */
const scoreText = (c) => (score(c) === null ? "" : c.fit > 0 ? `fit ${percent(c.fit, 1)}` : `${percent(c.homogeneity, 1)} carry`);

/** A small chart that leads to its vector, with what stands below it. */
function tileLink(vector, part) {
  const { analysis, setting } = view, best = bestCluster(vector.clusters), step = vector.step >= 0 ? `step ${integer.format(vector.step)}` : "";
  const found = vector.kept ? (best ? many(vector.clusters.length, "cluster") : "no cluster") : "dropped", held = part === null ? "" : share(part);
  const says = [`Vector ${vector.number}`, step && `sampled at ${step}`, vector.kept ? "kept" : "dropped by the filter", vector.kept && found,
    best && `best cluster: ${best.name}${scoreText(best) && `, ${best.fit > 0 ? "fit of the name" : "homogeneity"} ${percent(score(best), 1)}`}`,
    held && `holds ${held} of the change of the mean loss`].filter((text) => text).join(", ");
  const link = make("a", { class: vector.kept ? "tile" : "tile dropped", href: hash(valid(page, { ...state, vector: String(vector.number), group: "" })), "aria-label": says, "data-vector": String(vector.number) },
    make("span", { class: "tile-head" }, make("b", {}, String(vector.number)), step, make("span", { class: "held", title: WORDS["share of the fall"] }, held)),
    tile(vector, analysis.steps, setting.trajectories[analysis.trajectories].mean[vector.number - 1]),
    make("span", { class: "tile-state" }, found),
    best ? make("span", { class: "tile-best", title: best.name, style: { color: best.text_color } }, make("span", {}, best.name), scoreText(best) && make("small", {}, scoreText(best))) : null);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    change({ vector: String(vector.number), group: "" }).then(() => $("vector-title").focus());
  });
  return link;
}

function drawOverview() {
  const { analysis, setting } = view, count = analysis.vectors.length;
  $("overview").hidden = count < 2;
  if (count < 2) return;
  const parts = shares(setting, analysis), dropped = analysis.vectors.filter((v) => !v.kept).length;
  $("overview-title").textContent = `All ${count} vectors at once`;
  $("overview-held").textContent = [togetherHeld(setting, analysis), analysis.convergence].filter((text) => text).join(" ");
  $("overview-note").textContent = `Each chart has a scale of its own: ${analysis.quantity} of its clusters (medians, thick) and of all tokens (mean, thin). Upright dashes: where the vector was computed.`
    + (parts ? ` In per cent: the share of the ${moved(setting.exact.mean) < 0 ? "fall" : "rise"} of the mean loss along it.` : "") + (dropped ? ` Grey: dropped by the filter, ${dropped} of ${count}.` : "");
  fill($("tiles"), `${setting.id}/${analysis.id}`, () => analysis.vectors.map((v, k) => tileLink(v, parts && parts[k])));
  for (const link of $("tiles").children) link.setAttribute("aria-current", String(Number(link.dataset.vector) === state.vector));
}
