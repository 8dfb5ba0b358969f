// Clicks, links, back and forward in random order over a made-up history, address and loader; run by test_view.py, which
// puts explorer.view.js before it. Prints what is shown at the end of each sequence as JSON.

/** Numbers in [0, 1) from a seed (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const analysis = (id, clusters) => ({ id, vectors: clusters.map((count, k) => ({ number: k + 1, kept: count > 0, clusters: [...Array(count).keys()].map((number) => ({ number })) })) });
const made = {
  settings: ["addition", "text"].map((id, n) => ({
    id, start: { analysis: "polca", vector: 2 + n }, tokens: { first: { shape: [40 + n] } }, facets: [{ categories: [{}, {}, {}] }], map: n ? null : { steps: [0, 5, 9] },
    analyses: [analysis("polca", [0, 2, 3, 1 + n]), analysis("loss", [2])],
  })),
};

class Browser {
  constructor(next, link) {
    Object.assign(this, { next, entries: [link], at: 0, waiting: [], events: [], drawn: null, loads: 0 });
    this.location = { hash: link };
    this.history = {
      pushState: (_, __, url) => { this.entries = [...this.entries.slice(0, this.at + 1), url]; this.at++; this.location.hash = url; },
      replaceState: (_, __, url) => { this.entries[this.at] = url; this.location.hash = url; },
    };
    // A view arrives when the test lets it, in any order.
    const load = (s) => new Promise((arrive) => { this.loads++; this.waiting.push(() => arrive({ curves: loadedFor(s), title: `${s.analysis} ${s.vector}`, count: `${s.setting}: ${s.vector}` })); });
    const draw = (s, view) => { this.drawn = { link: hash(s), group: s.group, ...view }; };
    this.page = views(made, this.history, this.location, load, draw);
  }
  /** Both events, as browsers fire them for a new address. */
  moved() { this.page.follow(); this.page.follow(); }
  go(step) {
    if (this.at + step < 0 || this.at + step >= this.entries.length) return;
    this.at += step;
    this.location.hash = this.entries[this.at];
    this.moved();
  }
  paste(link) { this.history.pushState(null, "", link); this.moved(); }
  async arrive(all = false) {
    do {
      if (this.waiting.length) this.waiting.splice(Math.floor(this.next() * this.waiting.length), 1)[0]();
      for (let i = 0; i < 5; i++) await null;
    } while (all && this.waiting.length);
  }
}

const pick = (next, values) => values[Math.floor(next() * values.length)];
const link = (next) => "#" + new URLSearchParams({ setting: pick(next, ["addition", "text", "none"]), analysis: pick(next, ["polca", "loss"]),
  vector: String(1 + Math.floor(next() * 5)), ...(next() < 0.3 ? { group: "1" } : {}), ...(next() < 0.3 ? { token: "7" } : {}),
  ...(next() < 0.3 ? { with: pick(next, ["polca", "loss", "none"]) } : {}) });

/** A setting whose mean loss goes from 2 to `last`, and an analysis whose vectors have these mean projected losses; the second is dropped. */
const projecting = (ends, last) => [{ exact: { mean: [2, 5, last] }, trajectories: { t: { mean: ends.map((end) => [0, 7, end]) } } },
  { quantity: "projected loss", trajectories: "t", vectors: ends.map((_, k) => ({ kept: k !== 1 })) }];

async function sequence(seed, steps) {
  const next = random(seed), browser = new Browser(next, next() < 0.5 ? "" : link(next));
  browser.page.follow();
  await browser.arrive(true);
  for (let i = 0; i < steps; i++) {
    const what = next();
    if (what < 0.2) browser.page.change({ vector: String(1 + Math.floor(next() * 4)), group: "" });
    else if (what < 0.3) browser.page.change({ setting: pick(next, ["addition", "text"]), analysis: "", vector: "", group: "", token: "" });
    else if (what < 0.4) browser.page.change({ analysis: pick(next, ["polca", "loss"]), vector: "", group: "" });
    else if (what < 0.5) browser.page.change({ group: pick(next, ["", "0", "outliers"]) });
    else if (what < 0.55) browser.page.change({ q: pick(next, ["a", "of the", ""]) });
    else if (what < 0.6) browser.page.change({ with: pick(next, ["polca", "loss", ""]) });
    else if (what < 0.7) browser.paste(link(next));
    else browser.go(pick(next, [-2, -1, -1, 1]));
    // Often the next input comes before this one's view.
    while (next() < 0.4) await browser.arrive();
  }
  await browser.arrive(true);
  // What the address says, read anew, as another tab would show it.
  const asked = valid(made, Object.fromEntries(new URLSearchParams(browser.location.hash.slice(1))));
  return { drawn: browser.drawn, asked: { link: hash(asked), group: asked.group, curves: loadedFor(asked), title: `${asked.analysis} ${asked.vector}`, count: `${asked.setting}: ${asked.vector}` } };
}

async function scenario(act) {
  const browser = new Browser(() => 0, "");
  browser.page.follow();
  await browser.arrive(true);
  const before = browser.loads;
  await act(browser);
  await browser.arrive(true);
  return { ...browser.drawn, loads: browser.loads - before, entries: browser.entries.length };
}

(async () => {
  const sequences = [];
  for (let seed = 0; seed < 50; seed++) sequences.push(await sequence(seed, 12));
  console.log(JSON.stringify({
    sequences,
    start: await scenario(async () => {}),
    pasted: await scenario(async (b) => b.paste("#setting=text&analysis=polca&vector=3")),
    twice: await scenario(async (b) => { b.page.change({ vector: "3", group: "" }); b.page.change({ group: "1" }); }),
    group: await scenario(async (b) => b.page.change({ group: "1" })),
    back: await scenario(async (b) => { b.page.change({ vector: "3" }); await b.arrive(true); b.page.change({ vector: "4" }); b.go(-1); }),
    other: valid(made, { setting: "addition", analysis: "polca", vector: "9", group: "toString", token: "99", order: "no" }),
    beside: await scenario(async (b) => { b.page.change({ with: "loss" }); await b.arrive(true); b.page.change({ vector: "3" }); await b.arrive(true); b.go(-1); }),
    nobody: await scenario(async (b) => { b.page.change({ with: "loss" }); await b.arrive(true); b.page.change({ analysis: "loss", vector: "" }); }),
    with: [{ with: "loss" }, { with: "polca" }, { with: "none" }, { with: "toString" }, { analysis: "loss", with: "polca" }, {}].map((given) => valid(made, given).with),
    best: [[{ fit: 0.5 }, { fit: 0.8 }, { fit: 0.8, second: true }], [{ fit: 0, homogeneity: 0.2 }, { fit: 0, homogeneity: null }, { fit: 0, homogeneity: 0.9 }], [{}, {}], []].map((c) => c.indexOf(bestCluster(c))),
    bestVectors: [[[true, 0.4], [false, 0.9], [true, 0.6]], [[true], [false, 0.9]], [[false], [false]]].map((vectors) =>
      bestVector({ vectors: vectors.map(([kept, fit], k) => ({ number: k + 1, kept, clusters: fit ? [{ fit }] : [] })) }).number),
    besides: [1, 2, 9].map((number) => beside({ vectors: [{ number: 1, kept: false, clusters: [] }, { number: 2, kept: true, clusters: [{}] }] }, number).number),
    shares: [0, 0.5, 0.0996, 0.0331837, -0.0123, 0.000003, 12.5].map(share),
    held: [[-0.02, -0.02], [-0.6, -0.1], [-0.9, -0.05], [-1.5, 0.1], [0.2, -0.1]].map((ends) => togetherHeld(...projecting(ends, 1))),
    rises: togetherHeld(...projecting([0.1], 3)),
    unheld: [shares(...projecting([0], 2)), togetherHeld(...projecting([0], 2)), togetherHeld(projecting([0], 1)[0], { quantity: "exact loss" })],
    pinned: [tokenOnShow(null, ""), tokenOnShow(null, "7"), tokenOnShow(3, "7"), afterLeaving(3, "7"), afterLeaving(3, "")],
    picks: ["t39", "t40", "t", "k0.2", "k0.3", "k1.0", "c2.1", "c4.-1", "c9.0", "c2", "l2_0.0_5.0_0.-5", "l3_0.0_5.0_0.5", "l1_0.0_5.0", "b0_-5.3_7.9", "b0_1.1_2.2_3.3", "x", "toString", "l1"]
      .filter((pick) => valid(made, { pick }).pick === pick),
    unmapped: valid(made, { setting: "text", pick: "t3" }).pick,
    chosen: await scenario(async (b) => { b.page.change({ pick: "t3" }); await b.arrive(true); b.page.change({ pick: "" }); b.go(-1); }),
    cluster: (await scenario(async (b) => { b.page.change({ pick: "c2.1" }); b.page.change({ analysis: "loss", vector: "" }); })).link,
    within: [["l0_0.0_10.0_10.10_0.10", [5, 5]], ["l0_0.0_10.0_10.10_0.10", [11, 5]], ["l0_0.0_10.10_10.0_0.10", [5, 2]], ["l0_0.0_10.10_10.0_0.10", [2, 5]], ["b0_10.10_0.0", [10, 0]], ["b0_10.10_0.0", [5, -1]]]
      .map(([pick, at]) => within(region(pick), at)),
    hits: searched(["x".repeat(30) + "The ", "cat", " of the the"], "the"),
    across: searched(["a b", "c.d", "e"], "bc."),
    none: searched(["a", "b", "c"], ""),
    csv: csv([["a", 'b"c'], ["1,2", "x\ny"], [-0.5, ""]]),
  }));
})();
