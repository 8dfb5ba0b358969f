/* The explorer page, first part: which view a link or a click asks for, and which one is shown. Nothing here touches the
   page, so that tests can run it without a browser. The parts share one scope. */
const OUTLIER = -1, RISING = -2, DROPPED = -3;
const GROUPS = { outliers: OUTLIER, rising: RISING };
const NEAR = 20;

/** How well a cluster's name fits, or how pure it is, from 0 to 1; null where neither is known. */
const score = (cluster) => (cluster.fit > 0 ? cluster.fit : cluster.homogeneity ?? null);
const highest = (things, worth) => things.reduce((best, thing) => (worth(thing) > worth(best) ? thing : best), things[0] ?? null);
/** The cluster with the highest score, without scores the largest, which comes first; null without clusters. */
const bestCluster = (clusters) => highest(clusters, (c) => score(c) ?? -1);

/** The kept vector with the best cluster, else the first one kept, else the first. */
function bestVector(analysis) {
  const kept = analysis.vectors.filter((v) => v.kept), clustered = kept.filter((v) => v.clusters.length);
  return highest(clustered, (v) => score(bestCluster(v.clusters)) ?? -1) || kept[0] || analysis.vectors[0];
}

/** The vector that stands beside one of another analysis. */
const beside = (analysis, number) => analysis.vectors[number - 1] || bestVector(analysis);

/** A share in per cent with two digits; what is not zero never reads as zero. */
function share(value) {
  const size = Math.abs(100 * value), sign = value < 0 ? "−" : "";
  if (size !== 0 && size < 0.01) return `${sign}<0.01 %`;
  return `${sign}${size >= 9.95 ? Math.round(size).toLocaleString("en-US") : Number(size.toPrecision(2))} %`;
}

const moved = (values) => values[values.length - 1] - values[0];
/** Parts of the change of the mean exact loss that lie along each vector; null where nothing is projected or it does not change. */
function shares(setting, analysis) {
  const whole = moved(setting.exact.mean);
  if (analysis.quantity !== "projected loss" || whole === 0) return null;
  return setting.trajectories[analysis.trajectories].mean.map((mean) => moved(mean) / whole);
}

/** What all vectors together hold of the change of the mean loss, and what that means for what one sees. */
function togetherHeld(setting, analysis) {
  const parts = shares(setting, analysis);
  if (parts === null) return "";
  const sum = (values) => values.reduce((a, b) => a + b, 0), all = sum(parts), kept = parts.filter((_, k) => analysis.vectors[k].kept);
  const way = moved(setting.exact.mean) < 0 ? "fall" : "rise", count = parts.length;
  const learnt = way === "fall" ? "what the model learns" : "this rise", these = count === 1 ? "This direction holds" : `These ${count} directions together hold`;
  let said = `${these} ${share(all)} of the ${way} of the mean loss: `;
  if (all < 0) said = `Along ${count === 1 ? "this direction" : `these ${count} directions together`} the mean loss goes the other way, by ${share(-all)} of its ${way}: all of ${learnt} happens along other directions.`;
  else if (all < 0.5) said += `most of ${learnt} happens along other directions.`;
  else if (all < 0.9) said += `the rest of ${learnt} happens along other directions.`;
  else if (all <= 1.05) said += `nearly all of ${learnt} happens along ${count === 1 ? "it" : "them"}.`;
  else said += "more than there is, so other directions take some of it back, or the decomposition errs.";
  return kept.length && kept.length < count ? `${said} The ${kept.length === 1 ? "one" : kept.length} that the filter kept ${kept.length === 1 ? "holds" : "hold"} ${share(sum(kept))}.` : said;
}

/** What was drawn around on the map, from a link: the map's step and points, in thousandths of its scale; null for another choice.
    `l3_-120.45_80.45_0.300` is a lasso at the map's fourth step, `b…` a box by two of its corners. */
function region(pick) {
  if (!/^[lb]\d+(_-?\d+\.-?\d+)+$/.test(pick)) return null;
  const [head, ...points] = pick.split("_"), box = head[0] === "b";
  if (box ? points.length !== 2 : points.length < 3 || points.length > 200) return null;
  return { box, step: Number(head.slice(1)), points: points.map((point) => point.split(".").map(Number)) };
}

/** Whether a point lies in a region; in what crosses itself, by whether a way out crosses an odd number of edges. */
function within({ box, points }, [x, y]) {
  if (box) return [x, y].every((at, i) => at >= Math.min(points[0][i], points[1][i]) && at <= Math.max(points[0][i], points[1][i]));
  let inside = false;
  points.forEach(([ax, ay], i) => {
    const [bx, by] = points[(i + 1) % points.length];
    if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) inside = !inside;
  });
  return inside;
}

/** A choice on the map, where the setting has that: a region, a token `t7`, a category `k0.2` or cluster (of a vector) `c3.-1`. */
function validPick(setting, analysis, pick) {
  const found = region(pick), [, kind, first, second] = /^([tkc])(\d+)(?:\.(-?\d+))?$/.exec(pick) || [];
  if (!setting.map) return "";
  if (found) return found.step < setting.map.steps.length ? pick : "";
  const facet = kind === "k" ? setting.facets[first] : null;
  const exists = kind === "t" ? second === undefined && Number(first) < setting.tokens.first.shape[0]
    : kind === "k" ? Boolean(facet && facet.categories[second]) : kind === "c" && second !== undefined && first >= 1 && first <= analysis.vectors.length;
  return exists ? pick : "";
}

/** A state that exists, from what a link says. */
function valid(page, given) {
  const setting = page.settings.find((s) => s.id === given.setting) || page.settings[0];
  const analysis = setting.analyses.find((a) => a.id === given.analysis) || setting.analyses.find((a) => a.id === setting.start.analysis);
  const first = (test) => analysis.vectors.find(test);
  const start = analysis.id === setting.start.analysis ? setting.start.vector
    : (first((v) => v.kept && v.clusters.length) || first((v) => v.kept) || analysis.vectors[0]).number;
  const asked = Number(given.vector), vector = asked >= 1 && asked <= analysis.vectors.length && Number.isInteger(asked) ? asked : start;
  const clusters = analysis.vectors[vector - 1].clusters.map((c) => String(c.number));
  const group = Object.hasOwn(GROUPS, given.group ?? "") || clusters.includes(given.group) ? given.group : "";
  const tokens = setting.tokens.first.shape[0], token = /^\d+$/.test(given.token || "") && Number(given.token) < tokens ? given.token : "";
  const categories = setting.facets.length ? setting.facets[0].categories.length : 0;
  return {
    setting: setting.id, analysis: analysis.id, vector, group, token,
    facet: /^\d+$/.test(given.facet || "") && Number(given.facet) < categories ? given.facet : "",
    with: setting.analyses.some((a) => a.id === given.with && a !== analysis) ? given.with : "",
    pick: validPick(setting, analysis, given.pick || ""), q: given.q || "", scope: given.scope === "token" ? "token" : "near",
    order: ["nearest", "projected", "rises", "last"].includes(given.order) ? given.order : "text",
  };
}

/** The link of a state. */
function hash(s) {
  const params = new URLSearchParams({ setting: s.setting, analysis: s.analysis, vector: String(s.vector) });
  for (const key of ["group", "with", "token", "facet", "pick", "q"]) if (s[key] !== "") params.set(key, s[key]);
  if (s.scope !== "near") params.set("scope", s.scope);
  if (s.order !== "text") params.set("order", s.order);
  return "#" + params.toString();
}

/** What has to be loaded for a state. */
const loadedFor = (s) => JSON.stringify([s.setting, s.analysis, s.vector, ...(s.with ? [s.with] : [])]);

/** Follows links and choices.
    `load(state)` promises what a view needs, `draw(state, view, part)` shows it. Whether to load is decided by the view that
    is shown, never by the state asked for last, which may still be on its way; of several asked for, the last is drawn. */
function views(page, history, location, load, draw) {
  let asked = null, shown = null, turn = 0;
  async function show(next, part) {
    asked = next;
    const mine = ++turn, wanted = loadedFor(next);
    const view = shown !== null && shown.wanted === wanted ? shown.view : await load(next);
    if (mine !== turn) return;
    shown = { wanted, view };
    draw(next, view, part);
  }
  return {
    /** Change a part of what was asked for last; what depends on it is chosen anew. */
    change(part) {
      // A cluster that was chosen on the map is of its analysis.
      const pick = (part.analysis ?? asked.analysis) !== asked.analysis && asked.pick.startsWith("c") ? "" : asked.pick;
      const next = valid(page, { ...asked, pick, ...part, vector: String(part.vector ?? asked.vector) });
      const turned = loadedFor(next) !== loadedFor(asked) || "group" in part || "token" in part || "pick" in part;
      history[turned ? "pushState" : "replaceState"](null, "", hash(next));
      return show(next, part);
    },
    /** Show what the address says. Browsers fire two events for a new one, of which the second changes nothing. */
    follow() {
      const next = valid(page, Object.fromEntries(new URLSearchParams(location.hash.slice(1))));
      return asked !== null && hash(next) === hash(asked) ? Promise.resolve() : show(next, {});
    },
  };
}

/** The token on show: the one pointed at, else the one that was pinned. */
const tokenOnShow = (hovered, pinned) => (hovered !== null ? hovered : pinned === "" ? null : Number(pinned));
/** Where the pointer leaves the table: a pinned token comes back, and without one the last stays. */
const afterLeaving = (hovered, pinned) => (pinned === "" ? hovered : null);

/** Text before, at and after a token as pieces `[text, whether it was searched for]`; around it so many letters count. */
function searched([before, target, after], words, near = NEAR) {
  const joined = before + target + after, from = Math.max(0, before.length - near), to = before.length + target.length + near;
  const hit = new Array(joined.length).fill(false), pattern = words.trim() && words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  if (pattern)
    for (const found of joined.slice(from, to).matchAll(new RegExp(pattern, "gi"))) hit.fill(true, from + found.index, from + found.index + found[0].length);
  let at = 0;
  return [before, target, after].map((part) => {
    const pieces = [];
    for (const letter of part.split("")) {
      if (pieces.length && pieces[pieces.length - 1][1] === hit[at]) pieces[pieces.length - 1][0] += letter;
      else pieces.push([letter, hit[at]]);
      at++;
    }
    return pieces;
  });
}

/** A table as CSV by RFC 4180. */
const csv = (rows) => rows.map((row) => row.map((value) => (/[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value))).join(",") + "\r\n").join("");
