/* The explorer page: the map of tokens, drawn on a canvas, after "Embryology of a Language Model" (arXiv 2508.00331). */
// --- Map of tokens -------------------------------------------------------------------------------------------------

const REACH = 7, LEVEL = 511, THOUSAND = 1000, CORNERS = 40, UNCLUSTERED = "#b0b0b0", RISEN = "#dcdcdc";
/* Where the slider stands, and which tokens the link chooses. */
const mapped = { setting: "", at: 0, color: 0, pick: "", picked: null, box: null, frame: 0 };

/** Whether a token passes the choice made on the map. */
const onMap = (token) => mapped.picked === null || mapped.picked.has(token);

/** What colours the dots: a facet, or the clusters of the vector on show. */
function mapKinds() {
  const facet = view.setting.facets[mapped.color];
  if (facet) return { kinds: facet.categories, of: view.facets[mapped.color] };
  const { clusters } = view.vector, row = view.labels.subarray((state.vector - 1) * view.count, state.vector * view.count);
  // Clusters of one colour, which charts tell apart by dashes, are dots and rings by turns; what is in none is small.
  const ring = (c, i) => clusters.slice(0, i).filter((other) => other.color === c.color).length % 2 === 1;
  const kinds = [...clusters.map((c, i) => ({ name: `${c.number}: ${c.name}`, color: c.color, ring: ring(c, i) })), { name: "outliers", color: UNCLUSTERED, small: true },
    { name: view.vector.kept ? "dropped as rising" : "vector dropped", color: RISEN, small: true }];
  return { kinds, of: row.map((label) => (label >= 0 ? clusters.findIndex((c) => c.number === label) : clusters.length + (label === OUTLIER ? 0 : 1))) };
}

/** Pixels of a token's dot, between two steps of the map where the slider moves. */
function place(token, box = mapped.box) {
  const count = view.map.steps.length, before = Math.min(Math.floor(mapped.at), count - 1), after = Math.min(before + 1, count - 1), part = mapped.at - before;
  const level = (values) => values[token * count + before] * (1 - part) + values[token * count + after] * part;
  return [box.left + (level(view.map.x) - box.low[0]) * box.unit, box.top + (box.high[1] - level(view.map.y)) * box.unit];
}

/** Room for all places that the dots ever have, one unit for both axes. */
function mapBox(canvas) {
  const { width, height } = canvas.getBoundingClientRect(), { map } = view, edge = 12;
  const reach = (worst) => [map.x, map.y].map((values) => values.reduce((a, b) => worst(a, b), 0));
  if (!map.low) Object.assign(map, { low: reach(Math.min), high: reach(Math.max) });
  const [wide, tall] = [0, 1].map((i) => map.high[i] - map.low[i]), unit = Math.min((width - 2 * edge) / (wide || 1), (height - 2 * edge) / (tall || 1));
  return { low: map.low, high: map.high, unit, width, height, left: (width - wide * unit) / 2, top: (height - tall * unit) / 2 };
}

/** Pixels of a point in thousandths of the map's scale, and back. */
const toPixels = ([x, y], box = mapped.box) => [box.left + ((x * LEVEL) / THOUSAND - box.low[0]) * box.unit, box.top + (box.high[1] - (y * LEVEL) / THOUSAND) * box.unit];
const fromPixels = ([left, top], box = mapped.box) => [(left - box.left) / box.unit + box.low[0], box.high[1] - (top - box.top) / box.unit].map((level) => Math.round((level * THOUSAND) / LEVEL));

/** Corners of a box by two of them. */
const cornersOf = ([[ax, ay], [bx, by]]) => [[ax, ay], [bx, ay], [bx, by], [ax, by]];

/** Tokens that a choice in the link names. */
function tokensOf(pick) {
  const drawn = region(pick), every = [...Array(view.count).keys()], [first, second] = pick.slice(1).split(".").map(Number);
  if (pick === "") return [];
  if (drawn) {
    const { x, y, steps } = view.places, thousandths = (values, token) => (values[token * steps.length + drawn.step] * THOUSAND) / LEVEL;
    return every.filter((token) => within(drawn, [thousandths(x, token), thousandths(y, token)]));
  }
  return { t: () => [first], k: () => every.filter((token) => view.facets[first][token] === second), c: () => every.filter((token) => view.label(first, token) === second) }[pick[0]]();
}

/** Take over the choice of the link, and the slider's step that it was drawn at. */
function followPick() {
  const { setting } = view, drawn = region(state.pick), found = tokensOf(state.pick);
  if (mapped.setting !== setting.id) Object.assign(mapped, { setting: setting.id, at: setting.map ? setting.map.steps.length - 1 : 0, color: 0 });
  if (drawn && mapped.pick !== state.pick) {
    cancelAnimationFrame(mapped.frame);
    mapped.at = drawn.step;
  }
  [mapped.pick, mapped.picked] = [state.pick, found.length ? new Set(found) : null];
}

function paint(drag = null) {
  const canvas = $("map"), pen = canvas.getContext ? canvas.getContext("2d") : null;
  if (!pen || !view.map) return;
  const scale = window.devicePixelRatio || 1, box = (mapped.box = mapBox(canvas)), { kinds, of } = mapKinds();
  [canvas.width, canvas.height] = [Math.round(box.width * scale), Math.round(box.height * scale)];
  pen.scale(scale, scale);
  const dot = (x, radius) => {
    const [left, top] = place(x), { color, ring, small } = kinds[of[x]];
    pen.beginPath();
    pen.arc(left, top, small ? 0.7 * radius : radius, 0, 7);
    if (ring) {
      pen.strokeStyle = color;
      pen.stroke();
    } else {
      pen.fillStyle = color;
      pen.fill();
    }
  };
  // In the order of the text, which favours no colour; what was chosen lies above the rest.
  const radius = view.count > 2500 ? 2.1 : 3;
  pen.globalAlpha = mapped.picked ? 0.12 : 0.75;
  for (let x = 0; x < view.count; x++) if (!mapped.picked || !mapped.picked.has(x)) dot(x, radius);
  pen.globalAlpha = 0.9;
  for (const x of mapped.picked || []) dot(x, radius + 0.5);
  if (state.token !== "") {
    const [left, top] = place(Number(state.token));
    pen.strokeStyle = INK;
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.arc(left, top, 6, 0, 7);
    pen.stroke();
  }
  const drawn = region(state.pick);
  const outline = drag || (drawn && mapped.picked && mapped.at === drawn.step ? (drawn.box ? cornersOf(drawn.points) : drawn.points).map((point) => toPixels(point)) : null);
  if (outline) {
    [pen.fillStyle, pen.strokeStyle, pen.lineWidth, pen.globalAlpha] = ["#0b57d0", "#0b57d0", 1, 0.1];
    pen.beginPath();
    outline.forEach((point) => pen.lineTo(...point));
    pen.closePath();
    if (drag) pen.fill();
    pen.globalAlpha = 1;
    pen.stroke();
  }
}

const stepOfMap = () => view.map.steps[Math.round(mapped.at)];

/** Let the dots glide to a step. */
function glide(to) {
  const from = mapped.at, begun = performance.now(), still = window.matchMedia && window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const said = `step ${integer.format(view.map.steps[to])}`;
  $("map-at").textContent = said;
  $("map-step").setAttribute("aria-valuetext", said);
  cancelAnimationFrame(mapped.frame);
  const tick = (now) => {
    const part = still ? 1 : Math.min(1, Math.max(0, now - begun) / 220);
    mapped.at = from + (to - from) * part;
    paint();
    if (part < 1) mapped.frame = requestAnimationFrame(tick);
  };
  mapped.frame = requestAnimationFrame(tick);
}

function drawPicked() {
  const count = mapped.picked ? mapped.picked.size : 0;
  $("picked").hidden = !count;
  $("picked-count").textContent = `${many(count, "token")} chosen on the map`;
}

/** What a colour of the list chooses: a category, or a cluster, the outliers or the rest of the vector on show. */
function pickOfKey(i) {
  if (view.setting.facets[mapped.color]) return `k${mapped.color}.${i}`;
  const { clusters, kept } = view.vector, rest = kept ? RISING : DROPPED;
  return `c${state.vector}.${i < clusters.length ? clusters[i].number : i === clusters.length ? OUTLIER : rest}`;
}

function drawMapKey() {
  const { kinds, of } = mapKinds(), counts = new Array(kinds.length).fill(0);
  for (const kind of of) counts[kind]++;
  $("map-key").replaceChildren(...kinds.map((kind, i) => [kind, i]).filter(([, i]) => counts[i]).map(([kind, i]) => {
    const label = `${cut(kind.name, 48)}, ${integer.format(counts[i])}`;
    const button = make("button", { type: "button", title: `Choose the ${many(counts[i], "token")}: ${kind.name}` }, make("i", { style: kind.ring ? { border: `2px solid ${kind.color}` } : { background: kind.color } }), label);
    button.addEventListener("click", () => change({ pick: pickOfKey(i) }));
    return make("li", {}, button);
  }));
}

function drawMap() {
  const { setting, analysis, map } = view, facets = setting.facets;
  $("map-section").hidden = !setting.map;
  drawPicked();
  if (!setting.map) return;
  $("map-body").hidden = !map;
  if (!map) {
    const own = setting.analyses.find((a) => a.trajectories === setting.map.trajectories);
    $("map-note").textContent = `This map is made of the projected losses of ${own.title}: choose that analysis to see it.`;
    return;
  }
  fill($("map-color"), setting.id, () => [...facets.map((f, i) => make("option", { value: String(i) }, f.title)), make("option", { value: String(facets.length) }, "cluster of the vector on show")]);
  $("map-color").value = String(mapped.color);
  $("map-step").max = String(map.steps.length - 1);
  $("map-step").value = String(Math.round(mapped.at));
  $("map-at").textContent = `step ${integer.format(stepOfMap())}`;
  $("map-step").setAttribute("aria-valuetext", $("map-at").textContent);
  // A finger that begins upright scrolls the page.
  const how = window.matchMedia("(pointer: coarse)").matches ? ", beginning sideways" : " (with Shift: a box)";
  const [across, up] = map.shares.map((part) => percent(part, 1)), along = map.vectors === 1 ? "the one kept vector" : `all ${map.vectors} kept vectors`;
  $("map-note").textContent = `Each dot is a token. Tokens lie together if ${along} have treated them alike up to the step of the slider. Choose a colour in the list, click a dot, or draw around dots${how}: the table below then lists these tokens, and the link keeps the choice.`;
  $("map-foot").replaceChildren(`The axes are the two main directions (PCA) of the tokens’ signatures over the whole of training: projected losses at ${map.steps.length} steps, scaled over tokens. At the end they hold ${across} and ${up} of the variance, so the map leaves out ${percent(1 - map.shares[0] - map.shares[1], 1)}. At a step, a dot stands where the projected losses up to then have brought it. Watching tokens take their places is an idea of “Embryology of a Language Model” (arXiv 2508.00331).`);
  $("map").setAttribute("aria-label", `Map of ${many(view.count, "token")} at ${$("map-at").textContent}, coloured by ${mapped.color < facets.length ? facets[mapped.color].title : "cluster"}. The list of colours beside it chooses tokens by keyboard.`);
  drawMapKey();
  paint();
}

/** Tokens whose dots lie in a box of pixels. */
function tokensIn(left, top, right, bottom) {
  const found = [];
  for (let x = 0; x < view.count; x++) {
    const [a, b] = place(x);
    if (a >= left && a <= right && b >= top && b <= bottom) found.push(x);
  }
  return found;
}

/** The token whose dot is nearest to a point and within reach; null without one. */
function tokenNear(left, top) {
  let nearest = null, least = REACH ** 2;
  for (const x of tokensIn(left - REACH, top - REACH, left + REACH, top + REACH)) {
    const [a, b] = place(x), distance = (a - left) ** 2 + (b - top) ** 2;
    if (distance <= least) [nearest, least] = [x, distance];
  }
  return nearest;
}

function tip(token, left, top) {
  $("map-tip").hidden = token === null;
  if (token === null) return;
  const [before, target, after] = view.context(token), { kinds, of } = mapKinds();
  $("map-tip").replaceChildren(make("span", {}, before.slice(-40), make("b", {}, target), after.slice(0, 30)), make("small", {}, `token ${token} · ${kinds[of[token]].name}`));
  const right = left > mapped.box.width / 2;
  Object.assign($("map-tip").style, { left: right ? "auto" : `${left + 12}px`, right: right ? `${mapped.box.width - left + 12}px` : "auto", top: `${top + 12}px` });
}

/** At most so many of a path's points, evenly. */
const thinned = (path) => path.filter((_, i) => i % Math.ceil(path.length / CORNERS) === 0);

{
  const canvas = $("map");
  let path = null, box = false;
  const point = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  const ends = () => [path[0], path[path.length - 1]];
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    [path, box] = [[point(event)], event.shiftKey];
    cancelAnimationFrame(mapped.frame);
    mapped.at = Math.round(mapped.at);
    canvas.setPointerCapture(event.pointerId);
    tip(null);
  });
  canvas.addEventListener("pointermove", (event) => {
    const here = point(event);
    if (!path) return tip(tokenNear(...here), ...here);
    const [x, y] = path[path.length - 1];
    if (Math.abs(here[0] - x) + Math.abs(here[1] - y) >= 3) path.push(here);
    paint(box ? cornersOf(ends()) : path);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!path) return;
    const here = point(event), reach = [0, 1].reduce((sum, i) => sum + Math.max(...path.map((p) => p[i]), here[i]) - Math.min(...path.map((p) => p[i]), here[i]), 0);
    const corners = box ? [path[0], here] : thinned([...path, here]), near = tokenNear(...here);
    path = null;
    let pick = near === null ? "" : `t${near}`;
    if (reach >= 6) pick = [`${box ? "b" : "l"}${mapped.at}`, ...corners.map((corner) => fromPixels(corner).join("."))].join("_");
    // Around no dot there is nothing to choose.
    if (region(pick) && !tokensOf(pick).length) pick = "";
    if (pick === state.pick) paint();
    else change({ pick });
  });
  canvas.addEventListener("pointercancel", () => { path = null; paint(); });
  canvas.addEventListener("pointerleave", () => { if (!path) tip(null); });
  window.addEventListener("resize", () => paint());
  $("map-step").addEventListener("input", () => glide(Number($("map-step").value)));
  $("map-color").addEventListener("change", () => { mapped.color = Number($("map-color").value); drawMap(); });
  $("picked-clear").addEventListener("click", () => change({ pick: "" }));
}
