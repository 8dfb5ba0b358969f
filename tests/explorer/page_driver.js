// The whole script of a page in Node, over the least of a document that it needs; run by test_view.py with the page's data
// and script as files. Prints what stands on the page after some inputs as JSON.
const fs = require("fs");

class Element {
  constructor(tag) {
    Object.assign(this, { tag, children: [], dataset: {}, style: {}, attributes: {}, listeners: {}, own: "", hidden: false, value: "", checked: false, isConnected: true });
    this.classList = { add() {}, toggle() {} };
  }
  get textContent() { return this.own + this.children.map((child) => child.textContent ?? String(child)).join(""); }
  set textContent(text) { [this.own, this.children] = [String(text), []]; }
  get tHead() { return (this.head ??= new Element("thead")); }
  get tBodies() { return (this.bodies ??= [new Element("tbody")]); }
  setAttribute(name, value) { this.attributes[name] = value; if (name.startsWith("data-")) this.dataset[name.slice(5)] = value; }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { [this.own, this.children] = ["", children]; }
  addEventListener(name, act) { (this.listeners[name] ??= []).push(act); }
  fire(name, event = {}) { for (const act of this.listeners[name] || []) act({ target: this, preventDefault() {}, ...event }); }
  on() {}
  click() { this.fire("click"); }
  focus() {}
  remove() {}
  closest() { return new Element("div"); }
  querySelector() { return null; }
  querySelectorAll() { return []; }
  getBoundingClientRect() { return { width: 500, height: 330 }; }
  /** All elements below of a tag. */
  all(tag) { return this.children.flatMap((child) => (child instanceof Element ? [...(child.tag === tag ? [child] : []), ...child.all(tag)] : [])); }
}

const byId = new Map(), find = (id) => byId.get(id) || byId.set(id, new Element("div")).get(id), body = new Element("body");
const windowListeners = new Element("window"), charts = {}, layouts = {}, saved = [];
global.document = { body, title: "", activeElement: null, getElementById: find, createElement: (tag) => new Element(tag), createElementNS: (_, tag) => new Element(tag),
  querySelector: () => new Element("div"), querySelectorAll: () => [] };
global.window = { matchMedia: () => ({ matches: false, addEventListener() {} }), addEventListener: (name, act) => windowListeners.addEventListener(name, act), isSecureContext: false };
global.location = { hash: "", href: "file:///page.html" };
global.history = Object.fromEntries(["pushState", "replaceState"].map((name) => [name, (_, __, url) => { location.hash = url; }]));
global.Plotly = {
  react(node, traces, layout) {
    const [id] = [...byId].find(([, element]) => element === node);
    [charts[id], layouts[id]] = [traces, layout];
  },
  toImage: async (node, options) => "data:image/svg+xml," + encodeURIComponent(`<svg width="${options.width}">é</svg>`),
};
URL.createObjectURL = (blob) => { saved.push(blob); return "blob:0"; };
URL.revokeObjectURL = () => {};

const sleep = (time) => new Promise((done) => setTimeout(done, time));
const settled = async (wanted) => { for (let i = 0; i < 400 && !(body.dataset.ready || "").includes(wanted); i++) await sleep(5); };
const shown = () => ({
  title: find("vector-title").textContent, note: find("vector-note").textContent, count: find("count").textContent, link: location.hash, ready: body.dataset.ready,
  reading: find("reading").textContent, options: find("analysis").all("option").length, clusters: find("clusters").tBodies[0].children.length,
  mean: (charts.projected || []).filter((trace) => trace.name === "all tokens").flatMap((trace) => trace.y),
  marks: find("tokens").tBodies[0].all("mark").map((mark) => mark.textContent), problem: find("problem").textContent,
  detail: find("detail-note").textContent,
});

(async () => {
  const [, , data, script] = process.argv;
  find("data").textContent = fs.readFileSync(data, "utf-8");
  (0, eval)(fs.readFileSync(script, "utf-8"));
  await settled("setting");
  const told = { start: shown() }, paste = async (link, wanted) => {
    location.hash = link;
    for (const name of ["popstate", "hashchange"]) windowListeners.fire(name);
    await settled(wanted);
  };
  await paste("#setting=english&analysis=polca&vector=3", "english");
  told.pasted = shown();
  find("search").value = "the";
  find("search").fire("input");
  await settled("q=the");
  told.searched = shown();
  find("save-tokens").click();
  told.csv = await saved[0].text();
  find("save-projected").click();
  await sleep(20);
  told.svg = await saved[1].text();
  const rows = () => find("tokens").tBodies[0].children;
  rows()[1].fire("click");
  await settled("token=");
  told.pinned = shown().detail;
  rows()[2].fire("mouseenter");
  await sleep(400);
  told.pointed = shown().detail;
  find("tokens").tBodies[0].fire("mouseleave");
  await sleep(400);
  told.left = shown().detail;
  told.words = find("words").children.map((child) => child.textContent);
  await paste("#setting=arithmetic&analysis=polca&vector=2", "arithmetic");
  const tiles = () => find("tiles").children.map((tile) => ({ says: tile.attributes["aria-label"], current: tile.attributes["aria-current"], paths: tile.all("path").length, link: tile.attributes.href }));
  told.overview = { tiles: tiles(), held: find("overview-held").textContent };
  find("tiles").children[2].fire("click");
  await settled("vector=3");
  told.followed = { ...shown(), tiles: tiles() };
  find("with").value = "polca.raw";
  find("with").fire("change");
  await settled("with=polca.raw");
  told.beside = { ...shown(), caption: find("compare-caption").textContent, mean: charts.compare.find((trace) => trace.name === "all tokens").y,
    ranges: [layouts.projected, layouts.compare].map((layout) => layout.yaxis.range) };
  find("with").value = "fisher";
  find("with").fire("change");
  await settled("with=fisher");
  told.other = { caption: find("compare-caption").textContent, note: find("compare-note").textContent, ranges: [layouts.projected, layouts.compare].map((layout) => layout.yaxis.range) };
  const key = find("map-key").all("button");
  told.key = key.map((button) => button.textContent);
  key[0].click();
  await settled("pick=k0.0");
  told.picked = { count: find("count").textContent, said: find("picked-count").textContent, hidden: find("picked").hidden };
  find("picked-clear").click();
  for (let i = 0; i < 400 && body.dataset.ready.includes("pick="); i++) await sleep(5);
  told.cleared = { count: find("count").textContent, hidden: find("picked").hidden };
  find("map-color").value = "2";
  find("map-color").fire("change");
  told.clusters = find("map-key").all("button").map((button) => button.textContent);
  console.log(JSON.stringify(told));
})().catch((error) => { console.error(error.stack); process.exit(1); });
