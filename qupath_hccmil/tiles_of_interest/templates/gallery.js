"use strict";
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const FORMAT = "hccmil-reviews 1";
  const COLLATOR = new Intl.Collator(undefined, { numeric: true });

  // ------------------------------------------------------------------ what is known of the tiles
  const tiles = page.tiles;
  const byNumber = new Map(tiles.map((tile) => [tile.number, tile]));
  const keyOf = (project, image, tile) => JSON.stringify([project, image, tile]);
  for (const tile of tiles) tile.key = keyOf(tile.project, tile.image_id, tile.tile);
  const several = page.projects.length > 1;
  const slideOf = (tile) => (several ? `${tile.project}: ${tile.slide}` : tile.slide);
  const fixed = (value, digits) => (value === null ? "none" : value.toFixed(digits));

  // ------------------------------------------------------------------ reviews
  // Kept whole in this browser at every click, apart for each reviewer.
  let reviewer = "";
  let reviews = new Map(); // key of a tile to its entry
  let elsewhere = []; // entries of a loaded file whose tiles are not on this page
  let extra = {}; // what else a loaded file holds
  let blinded = false;
  const shelf = (name) => `hccmil-gallery ${page.id} ${name}`;

  function recall(name) {
    try {
      return JSON.parse(localStorage.getItem(shelf(name)));
    } catch {
      return null;
    }
  }

  let unsaved = false;

  function remember() {
    try {
      localStorage.setItem(shelf(reviewer), JSON.stringify(asFile()));
      localStorage.setItem(shelf(""), JSON.stringify({ reviewer }));
      unsaved = false;
    } catch {
      unsaved = true; // this browser keeps nothing: the user is asked before the page closes
    }
  }

  function asFile() {
    const entries = tiles.filter((tile) => reviews.has(tile.key)).map((tile) => reviews.get(tile.key));
    const file = { ...extra, format: FORMAT, reviewer, features: page.features.map((each) => each.name) };
    if (!several) file.project = page.projects[0];
    return { ...file, reviews: [...entries, ...elsewhere] };
  }

  function take(file) {
    reviews = new Map();
    elsewhere = [];
    const { reviews: entries = [], project: ofFile, ...rest } = file || {};
    extra = rest;
    for (const read of entries) {
      // each says its own project, since entries of files of several projects may be joined here
      const entry = several ? { ...read, project: read.project ?? ofFile } : read;
      if (tiles.some((tile) => tile.key === placeOf(entry))) reviews.set(placeOf(entry), entry);
      else elsewhere.push(entry);
    }
  }

  const placeOf = (entry) => keyOf(entry.project ?? page.projects[0], entry.image_id, entry.tile);

  const entryOf = (tile) => reviews.get(tile.key);

  function change(tile, edit) {
    const now = entryOf(tile);
    const entry = now
      ? { ...now, features: { ...now.features } }
      : { image_id: tile.image_id, image: tile.image, tile: tile.tile, verdict: null, features: {} };
    edit(entry);
    entry.model = page.model.sha256;
    entry.blinded = blinded;
    entry.time = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    if (several) entry.project = tile.project;
    if (entry.verdict === null && !Object.keys(entry.features).length) reviews.delete(tile.key);
    else reviews.set(tile.key, entry);
    remember();
  }

  function fileName() {
    return `${reviewer.replace(/[^\p{L}\p{N} \-_]/gu, "_")}.json`;
  }

  function download() {
    if (!isNamed()) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${JSON.stringify(asFile(), null, 2)}\n`], { type: "application/json" }));
    link.download = fileName();
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    unsaved = false;
    say(`${link.download}: ${reviews.size + elsewhere.length} reviews. Put it into the project's folder hccmil-reviews.`);
  }

  async function load(file) {
    let content;
    try {
      content = JSON.parse(await file.text());
      if (content.format !== FORMAT || !Array.isArray(content.reviews) || !content.reviewer) throw new Error();
    } catch {
      return say(`${file.name} is no file of reviews (${FORMAT}).`, true);
    }
    if (reviewer && reviewer !== content.reviewer) {
      return say(`${file.name} holds the reviews of ${content.reviewer}, not of ${reviewer}.`, true);
    }
    if (several && !content.project && content.reviews.some((entry) => !entry.project)) {
      return say(`${file.name} doesn't say which project it is of; load it in the gallery of that project alone.`, true);
    }
    const mine = reviews;
    const others = elsewhere;
    reviewer = $("reviewer").value = content.reviewer;
    take(content);
    // the later word counts
    for (const [key, entry] of mine) if (!(reviews.get(key)?.time > entry.time)) reviews.set(key, entry);
    const later = new Map([...others, ...elsewhere].map((entry) => [placeOf(entry), entry]));
    for (const entry of others) if (entry.time > later.get(placeOf(entry)).time) later.set(placeOf(entry), entry);
    elsewhere = [...later.values()];
    remember();
    draw();
    return say(`${reviews.size} reviews of ${reviewer} loaded.`);
  }

  function isNamed() {
    if (reviewer) return true;
    say("Give your name first: reviews are kept under it.", true);
    $("reviewer").focus();
    return false;
  }

  function rename() {
    const name = $("reviewer").value.trim();
    if (name === reviewer) return;
    reviewer = name;
    take(name ? recall(name) : null);
    if (name) remember();
    // not drawn again: a click on a tile ends the typing, and must find that tile
    if ($("status").value === "all") tiles.forEach(refresh);
    else draw();
    count();
    say(reviews.size ? `${reviews.size} earlier reviews of ${name} are back.` : "");
  }

  // ------------------------------------------------------------------ the gallery
  const SORTS = {
    rank: ["most extreme first", (a, b) => a.rank - b.rank],
    "risk-down": ["risk, high to low", (a, b) => b.risk - a.risk],
    "risk-up": ["risk, low to high", (a, b) => a.risk - b.risk],
    "contribution-down": ["contribution, high to low", (a, b) => b.contribution - a.contribution],
    "contribution-up": ["contribution, low to high", (a, b) => a.contribution - b.contribution],
    "nuclei-down": ["share of nuclei, high to low", (a, b) => (b.nuclei ?? -1) - (a.nuclei ?? -1)],
    slide: ["slide", (a, b) => COLLATOR.compare(slideOf(a), slideOf(b)) || a.rank - b.rank],
    number: ["number", (a, b) => a.number - b.number],
  };
  const STATUS = { all: "all tiles", open: "not reviewed", done: "reviewed" };
  for (const verdict of Object.values(page.verdicts)) STATUS[`verdict ${verdict}`] = `verdict: ${verdict}`;
  for (const feature of page.features) STATUS[`feature ${feature.name}`] = `present: ${feature.name}`;
  let order = []; // tiles in the order in which the viewer walks

  function option(select, value, text) {
    select.append(new Option(text, value));
  }

  function fits(tile) {
    const entry = entryOf(tile);
    const status = $("status").value;
    const slide = blinded ? "" : $("slide").value;
    if (slide && slideOf(tile) !== slide) return false;
    if (status === "open") return !entry;
    if (status === "done") return Boolean(entry);
    if (status.startsWith("verdict ")) return entry?.verdict === status.slice(8);
    if (status.startsWith("feature ")) return entry?.features[status.slice(8)] === true;
    return true;
  }

  function label(tile) {
    const seen = entryOf(tile) ? ", reviewed" : "";
    if (blinded) return `Tile ${tile.number}${seen}`;
    return `Tile ${tile.number}: ${tile.side} ${tile.rank}, risk ${fixed(tile.risk, 3)}, ${slideOf(tile)}${seen}`;
  }

  function make(name, properties = {}, ...children) {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  }

  function card(tile) {
    const frame = make("span", { className: "frame" });
    if (tile.src) frame.append(make("img", { loading: "lazy", decoding: "async", alt: "", src: tile.src }));
    else frame.append(make("span", { className: "gone", textContent: "slide could not be read" }));
    const line = make("span", { className: "line" });
    if (blinded) line.append(make("span", { textContent: `${tile.number}` }));
    else line.append(make("span", { textContent: `${tile.rank}` }), make("b", { textContent: fixed(tile.risk, 3) }));
    const button = make("button", { type: "button", className: "tile", tabIndex: -1 }, frame, line);
    button.dataset.number = tile.number;
    button.classList.toggle("seen", Boolean(entryOf(tile)));
    button.setAttribute("aria-label", label(tile));
    return make("li", {}, button);
  }

  function fill(panel, mine, total) {
    panel.querySelector(".grid").replaceChildren(...mine.map(card));
    panel.querySelector(".empty").hidden = mine.length > 0;
    const first = panel.querySelector(".tile");
    if (first) first.tabIndex = 0;
    const head = panel.querySelector("h2");
    head.dataset.text ??= head.textContent;
    head.textContent = `${head.dataset.text} · ${mine.length === total ? total : `${mine.length} of ${total}`}`;
    return mine;
  }

  function draw() {
    const sorted = (side) => tiles.filter((tile) => tile.side === side && fits(tile)).sort(SORTS[$("sort").value][1]);
    const total = (side) => tiles.filter((tile) => tile.side === side).length;
    $("panel-high").hidden = $("panel-low").hidden = blinded;
    $("panel-all").hidden = !blinded;
    if (blinded) {
      order = fill($("panel-all"), tiles.filter(fits).sort(SORTS.number[1]), tiles.length);
    } else {
      order = [];
      for (const side of ["high", "low"]) order.push(...fill($(`panel-${side}`), sorted(side), total(side)));
    }
    for (const node of document.querySelectorAll(".scored")) node.hidden = blinded;
    $("unblind").hidden = !blinded;
    count();
  }

  function count() {
    const done = tiles.filter(entryOf).length;
    $("progress").value = tiles.length ? done / tiles.length : 0;
    $("count").textContent = `${done} of ${tiles.length} reviewed`;
  }

  function say(text, alert = false) {
    for (const id of ["said", "told"]) {
      $(id).textContent = text;
      $(id).classList.toggle("alert", alert);
    }
  }

  // One stop of the Tab key a panel; arrows walk within it.
  function walkGrid(event) {
    const button = event.target.closest?.(".tile");
    if (!button) return;
    const all = [...button.closest(".grid").querySelectorAll(".tile")];
    const at = all.indexOf(button);
    const top = (each) => Math.round(each.getBoundingClientRect().top);
    const columns = all.filter((each) => top(each) === top(all[0])).length;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -at, End: all.length - 1 - at };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const target = all[at + steps[event.key]];
    if (!target) return;
    for (const each of all) each.tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  }

  // ------------------------------------------------------------------ the viewer
  let current = null;

  function open(tile) {
    current = tile;
    show();
    if (!$("viewer").open) $("viewer").showModal();
    $("next").focus({ preventScroll: true });
  }

  function show() {
    const tile = current;
    const at = order.indexOf(tile);
    const where = at < 0 ? "" : ` · ${at + 1} of ${order.length}`;
    $("viewer-head").textContent = `Tile ${tile.number}${where}`;
    $("picture").hidden = !tile.src;
    $("absent").hidden = $("scale").hidden = Boolean(tile.src);
    $("scale").hidden = !tile.src;
    if (tile.src) $("picture").src = tile.src;
    $("picture").alt = `Pixels of tile ${tile.number}, ${Math.round(tile.um)} µm wide`;
    $("values").replaceChildren(...(blinded ? [] : values(tile)));
    $("place").replaceChildren(...(blinded ? [] : place(tile)));
    showAnswers();
    scale();
  }

  function values(tile) {
    const badge = make("span", { className: `badge ${tile.side}`, textContent: `${tile.side} ${tile.rank}` });
    const rows = [
      ["Chosen as", badge],
      ["Tile risk", fixed(tile.risk, 4)],
      ["Contribution", tile.contribution.toPrecision(3)],
      ["Nuclei", tile.nuclei === null ? "none" : `${(100 * tile.nuclei).toFixed(1)} %`],
      ["Slide risk", `${fixed(tile.slide_risk, 3)} (${tile.slide_group})`],
      ["Slide", slideOf(tile)],
    ];
    if (tile.patient) rows.push(["Patient", tile.patient]);
    if (tile.stale) rows.push(["Note", "outlines or tiles were changed since it was scored"]);
    return rows.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", {}, value)]);
  }

  function place(tile) {
    const [x, y, width, height] = tile.tile;
    const centre = `${Math.round(x + width / 2)}, ${Math.round(y + height / 2)}`;
    const copy = make("button", { type: "button", textContent: "Copy for QuPath's script editor" });
    copy.addEventListener("click", () => copyText(`getCurrentViewer().setCenterPixelLocation(${centre})`));
    return [
      make("a", { href: `#tile=${tile.number}`, textContent: `x ${Math.round(x)}, y ${Math.round(y)} px` }),
      make("a", { href: `#slide=${encodeURIComponent(slideOf(tile))}`, textContent: "all tiles of this slide" }),
      copy,
    ];
  }

  async function copyText(text) {
    try {
      await navigator.clipboard.writeText(text);
      say(`Copied: ${text}`);
    } catch {
      say(`This browser doesn't copy here; the line is: ${text}`);
    }
  }

  // A round length of about a quarter of the tile, in the picture's own pixels on screen.
  function scale() {
    if (!current || $("scale").hidden) return;
    const picture = $("picture");
    const shown = Math.min(picture.clientWidth, picture.clientHeight);
    const um = [10, 20, 25, 50, 100, 200, 500].filter((each) => each <= current.um / 2).pop() || 10;
    const bar = $("scale").firstElementChild;
    bar.style.width = `${(um / current.um) * shown}px`;
    bar.nextSibling?.remove();
    $("scale").append(`${um} µm`);
    $("scale").style.left = `${(picture.clientWidth - shown) / 2 + 16}px`;
  }

  function press(button, on) {
    button.setAttribute("aria-pressed", String(on));
  }

  function showAnswers() {
    const entry = entryOf(current);
    for (const button of $("verdicts").children) press(button, entry?.verdict === button.dataset.verdict);
    for (const button of $("features").querySelectorAll("button")) {
      press(button, entry?.features[button.dataset.feature] === (button.dataset.present === "true"));
    }
  }

  const buttonOf = (tile) => document.querySelector(`.panel:not([hidden]) .tile[data-number="${tile?.number}"]`);

  function refresh(tile) {
    const button = buttonOf(tile);
    button?.classList.toggle("seen", Boolean(entryOf(tile)));
    button?.setAttribute("aria-label", label(tile));
  }

  function answered(tile, text) {
    refresh(tile);
    count();
    showAnswers();
    say(`Tile ${tile.number}: ${text}`);
  }

  function judge(verdict) {
    const tile = current;
    if (!isNamed()) return;
    change(tile, (entry) => {
      entry.verdict = entry.verdict === verdict ? null : verdict;
    });
    const now = entryOf(tile)?.verdict ?? null;
    answered(tile, now ?? "no verdict");
    if (now && $("onward").checked) step(1);
  }

  function mark(feature, present) {
    const tile = current;
    if (!isNamed()) return;
    change(tile, (entry) => {
      const now = entry.features[feature];
      // a key goes round: not judged, present, absent; a button says which
      const next = present === undefined ? (now === undefined ? true : now ? false : undefined) : now === present ? undefined : present;
      if (next === undefined) delete entry.features[feature];
      else entry.features[feature] = next;
    });
    const now = entryOf(tile)?.features[feature];
    answered(tile, `${feature} ${now === undefined ? "not judged" : now ? "present" : "absent"}`);
  }

  function restAbsent() {
    const tile = current;
    if (!isNamed()) return;
    change(tile, (entry) => {
      for (const { name } of page.features) entry.features[name] ??= false;
    });
    answered(tile, "what was not judged is absent");
  }

  function step(by) {
    const at = order.indexOf(current);
    const target = at < 0 ? order[0] : order[at + by];
    if (!target) return say(by > 0 ? "That was the last tile." : "That is the first tile.");
    current = target;
    say("");
    return show();
  }

  function nextOpen() {
    const at = order.indexOf(current);
    const target = [...order.slice(at + 1), ...order.slice(0, at + 1)].find((tile) => !entryOf(tile));
    if (!target) return say("All tiles that are shown are reviewed.");
    current = target;
    say("");
    return show();
  }

  function viewerKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const feature = page.features.find((each) => each.key === key);
    const actions = {
      ArrowRight: () => step(1), ArrowLeft: () => step(-1), Home: () => step(-order.indexOf(current)),
      End: () => step(order.length - 1 - order.indexOf(current)), u: nextOpen, 0: restAbsent, "?": showHelp,
    };
    if (feature) mark(feature.name);
    else if (page.verdicts[key]) judge(page.verdicts[key]);
    else if (Object.hasOwn(actions, key)) actions[key]();
    else return;
    event.preventDefault();
  }

  function showHelp() {
    $("help").showModal();
  }

  function blind(on) {
    blinded = on;
    $("slide").value = "";
    $("status").value = "all";
    history.replaceState(null, "", "#");
    draw();
    $("start").textContent = on ? "Go on with the blinded review" : "Blinded review";
  }

  function startBlinded() {
    if (!isNamed()) return;
    if (!blinded) blind(true);
    const first = order.find((tile) => !entryOf(tile)) ?? order[0];
    if (first) open(first);
  }

  // A link to a tile or to a slide's tiles.
  function follow() {
    const link = new URLSearchParams(location.hash.slice(1));
    const tile = byNumber.get(Number(link.get("tile")));
    if (tile) open(tile);
    else if (link.has("slide") && !blinded) {
      $("viewer").close();
      $("slide").value = link.get("slide");
      draw();
      $("tiles").focus();
    }
  }

  // ------------------------------------------------------------------ light and dark
  const THEMES = ["automatic", "light", "dark"];

  function theme(next) {
    document.documentElement.dataset.theme = next;
    $("theme").textContent = `Theme: ${next}`;
  }

  // ------------------------------------------------------------------ setting up
  for (const [value, [text]] of Object.entries(SORTS)) option($("sort"), value, text);
  const slides = [...new Set(tiles.map(slideOf))].sort(COLLATOR.compare);
  option($("slide"), "", `all ${slides.length}`);
  for (const slide of slides) option($("slide"), slide, `${slide} (${tiles.filter((tile) => slideOf(tile) === slide).length})`);
  for (const [value, text] of Object.entries(STATUS)) option($("status"), value, text);
  for (const [key, verdict] of Object.entries(page.verdicts)) {
    const button = make("button", { type: "button" }, verdict, make("kbd", { textContent: key.toUpperCase() }));
    button.dataset.verdict = verdict;
    button.addEventListener("click", () => judge(verdict));
    $("verdicts").append(button);
  }
  for (const { name, key } of page.features) {
    const row = make("div", { className: "feature" });
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", name);
    row.append(make("span", {}, make("kbd", { textContent: key.toUpperCase() }), ` ${name}`));
    for (const present of [true, false]) {
      const button = make("button", { type: "button", textContent: present ? "present" : "absent" });
      Object.assign(button.dataset, { feature: name, present });
      button.addEventListener("click", () => mark(name, present));
      row.append(button);
    }
    $("features").append(row);
  }
  const HELP = [
    ["← →", "previous and next tile"], ["Home, End", "first and last tile"], ["U", "next tile that is not reviewed"],
    ...Object.entries(page.verdicts).map(([key, verdict]) => [key.toUpperCase(), verdict]),
    ...page.features.map(({ name, key }) => [key.toUpperCase(), `${name}: present, absent, not judged`]),
    ["0", "features that were not judged are absent"], ["Esc", "back to the gallery"], ["?", "these keys"],
    ["Arrows", "walk over the tiles of the gallery; Enter opens one"],
  ];
  for (const [key, text] of HELP) {
    $("help-list").append(make("dt", {}, make("kbd", { textContent: key })), make("dd", { textContent: text }));
  }

  $("tiles").addEventListener("click", (event) => {
    const button = event.target.closest(".tile");
    if (button) open(byNumber.get(Number(button.dataset.number)));
  });
  $("tiles").addEventListener("keydown", walkGrid);
  $("viewer").addEventListener("keydown", viewerKey);
  $("viewer").addEventListener("close", () => {
    buttonOf(current)?.focus();
    if (location.hash.startsWith("#tile=")) history.replaceState(null, "", "#");
  });
  $("picture").addEventListener("load", scale);
  addEventListener("resize", scale);
  addEventListener("hashchange", follow);
  addEventListener("beforeunload", (event) => {
    if (unsaved) event.preventDefault();
  });
  for (const id of ["sort", "slide", "status"]) $(id).addEventListener("change", draw);
  $("size").addEventListener("change", () => $("tiles").style.setProperty("--tile", `${$("size").value}px`));
  $("reviewer").addEventListener("change", rename);
  $("start").addEventListener("click", startBlinded);
  $("unblind").addEventListener("click", () => blind(false));
  $("download").addEventListener("click", download);
  $("load").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", async () => {
    if ($("file").files[0]) await load($("file").files[0]);
    $("file").value = "";
  });
  $("theme").addEventListener("click", () => {
    theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "automatic") + 1) % THEMES.length]);
  });
  $("keys").addEventListener("click", showHelp);
  $("help-close").addEventListener("click", () => $("help").close());
  $("close").addEventListener("click", () => $("viewer").close());
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));

  reviewer = $("reviewer").value = recall("")?.reviewer ?? "";
  take(reviewer ? recall(reviewer) : null);
  draw();
  follow();
})();
