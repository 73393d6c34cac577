// The sections of a variational autoencoder.

// The code of a run: the state holds coordinates by their rank, the most active one first.
function codeOf(run) {
  const z = new Float64Array(run.latent);
  run.order.forEach((d, rank) => (z[d] = state.z[rank] ?? 0));
  return z;
}

const decode = (run, z, label) => outputs(run, "decode", z, ...labelOf(run, label))[0];
const outputs = (run, graph, ...inputs) => evaluate(run.graphs[graph], constants, ...inputs);
const encode = (run, x, label) => outputs(run, "encode", x, ...labelOf(run, label));
const ownLabel = (run, index) => run.labels?.[index % run.shown];

function moved(ranks, values) {
  const z = Array.from({ length: Math.max(...content.runs.map((run) => run.latent)) }, (_, rank) => state.z[rank] ?? 0);
  ranks.forEach((rank, i) => (z[rank] = Math.min(Math.max(values[i], -8), 8)));
  update({ z });
}

function mapSection() {
  const most = Math.min(...content.runs.map((run) => run.latent));
  const [run, ...others] = content.runs;
  const coordinate = (rank) => (others.length ? "" : `z${run.order[rank] + 1}, `); // each run has an order of its own
  const ranks = Array.from({ length: most }, (_, rank) => [rank, `${coordinate(rank)}no. ${rank + 1} by activity`]);
  const axis = (label, i) => select(label, ranks, () => state.axes[i], (rank) => {
    update({ axes: state.axes.map((old, k) => (k === i ? rank : old)) });
  }, ["axes"]);
  const controls = most > 1 ? [axis("across", 0), axis("up", 1)] : [];
  controls.push(button("back to zero", () => update({ z: [] })), ...classes());
  const rest = " The other coordinates of z are those of the sliders, not those of a point that you touch: its own image looks " +
    "different. Activity is the variance of a coordinate's means over observations.";
  const about = "Each point is the mean code of one observation, coloured by label. Drag over the map, or use the " +
    "arrow keys on it: the decoder draws the mean of p(x | z) for the code under the cross." + (most > 2 ? rest : "");
  section("Map of codes", about, ["02_vae", "07_posterior_collapse"], controls, ["z", "axes", "label"], mapPanel);
}

function extentOf(ranks) {
  const most = content.runs.map((run) => {
    const codes = constants[run.codes];
    return ranks.map((rank) => {
      let largest = 3;
      for (let i = run.order[rank]; i < codes.length; i += run.latent) largest = Math.max(largest, Math.abs(codes[i]));
      return largest;
    });
  });
  return ranks.map((_, i) => 1.1 * Math.max(...most.map((pair) => pair[i])));
}

function mapPanel(run) {
  const single = run.latent < 2;
  const map = canvas(320, 320, "", { class: "map", tabindex: 0, role: "application" });
  const image = canvas(28, 28, "decoded mean of p(x | z)", { class: "picture" });
  const axes = () => (single ? [0, 0] : state.axes.map((rank) => Math.min(rank, run.latent - 1)));
  let at, points = document.createElement("canvas"), drawnFor = "";
  const go = (event) => {
    const box = map.getBoundingClientRect();
    const [x, y] = at.back(((event.clientX - box.left) / box.width) * 320, ((event.clientY - box.top) / box.height) * 320);
    moved(axes(), [x, y]);
  };
  map.addEventListener("pointerdown", (event) => {
    map.setPointerCapture(event.pointerId);
    go(event);
  });
  map.addEventListener("pointermove", (event) => event.buttons && go(event));
  map.addEventListener("keydown", (event) => {
    const [i, step] = { ArrowLeft: [0, -0.1], ArrowRight: [0, 0.1], ArrowDown: [1, -0.1], ArrowUp: [1, 0.1] }[event.key] ?? [];
    if (step === undefined) return;
    event.preventDefault();
    moved([axes()[i]], [(state.z[axes()[i]] ?? 0) + step]);
  });
  const paintCodes = () => {
    const codes = constants[run.codes], [across, up] = axes().map((rank) => run.order[rank]);
    points.width = points.height = 320;
    const most = extentOf(axes()), at = scaled(points, ...most.map((end) => [-end, end]));
    const pairs = Array.from({ length: run.count }, (_, n) => [codes[n * run.latent + across], codes[n * run.latent + up]]);
    paintPoints(points, at, pairs, (n) => (run.labels ? PALETTE[run.labels[n] % 10] : colour("accent")));
    paintText(points, `z${across + 1} = ${most[0].toFixed(1)}`, 316, 160 - 4, "right");
    paintText(points, `z${up + 1} = ${most[1].toFixed(1)}`, 164, 12);
    return at;
  };
  const draw = () => {
    const key = `${axes()} ${colour("text")}`;
    if (key !== drawnFor) [at, drawnFor] = [paintCodes(), key];
    cleared(map);
    map.getContext("2d").drawImage(points, 0, 0);
    const place = axes().map((rank) => state.z[rank] ?? 0);
    paintCross(map, at, place);
    map.setAttribute("aria-label", `map of codes, at ${place.map((x) => x.toFixed(1)).join(", ")}: arrow keys move`);
    paint(image, run, [decode(run, codeOf(run))]);
  };
  const pictures = [figure(map, titled("code", run, "codes: means of q(z | x)")), figure(image, titled("decoded", run))];
  return { draw, parts: [element("div", { class: "pair" }, ...pictures), ...legend(run), coordinates(run)] };
}

function legend(run) {
  if (!run.labels) return [];
  const found = [...new Set(run.labels)].sort((a, b) => a - b).slice(0, 10);
  const entries = found.map((label) => {
    const entry = element("span", {}, String(label));
    entry.style.borderBottom = `3px solid ${PALETTE[label % 10]}`;
    return entry;
  });
  return [element("p", { class: "legend" }, "label ", ...entries)];
}

// Sliders of the most active coordinates, each with what it costs.
function coordinates(run) {
  const each = run.divergence.length === run.latent, exact = run.graphs.encode.outputs.length > 2;
  const said = (d) => (each ? run.divergence : run.variance)[d].toFixed(2);
  const sliders = run.order.slice(0, 8).map((d, rank) => {
    const read = () => state.z[rank] ?? 0;
    return slider(`z${d + 1}`, [-4, 4, 0.05], read, (value) => moved([rank], [value]), ["z"], said(d));
  });
  const cost = element("span", { class: "note" }, titled(each ? "kl" : "variance", run));
  const head = element("div", { class: "slider head" }, titled("code", run, "coordinates of z"), cost);
  const total = run.divergence.reduce((a, b) => a + b, 0);
  const text = [
    quantity("active", `${run.active} of ${run.latent}`),
    run.active ? "; " : ": this code says nothing about the observation; ", quantity("kl", total, "KL of the whole code"),
    `, the mean over ${run.count} observations${exact ? "" : ", estimated from one draw for each"}`,
    each ? "" : "; it does not split into coordinates",
  ];
  const open = run === content.runs[0] || matchMedia("(min-width: 30rem)").matches; // the sliders move all runs
  return element("details", { open: open && "" }, element("summary", {}, ...text), head, ...sliders);
}

// The two observations of a line, and the place on it.
function ends() {
  return [chooser("from no.", "first"), chooser("to no.", "second"), stateSlider("position t", [0, 1, 0.01], "t", "way")];
}

function betweenSection() {
  const controls = ends();
  const about = "The mean codes of two observations, and the decoder's means along the straight line between them, from the first at t = 0 to " +
    "the second at t = 1.";
  section("Between two", about, ["02_vae"], controls, ["first", "second", "t", "label"], (run) => {
    const strip = canvas(28, 28, "decoded means between two codes", { class: "strip" });
    const image = canvas(28, 28, "decoded mean at the chosen place", { class: "picture" });
    const draw = () => {
      const [from, to] = [state.first, state.second].map((n) => encode(run, observation(run, n % run.shown), ownLabel(run, n))[0]);
      const mixed = (t) => decode(run, from.map((x, d) => (1 - t) * x + t * to[d]));
      paint(strip, run, [0, 1, 2, 3, 4, 5, 6].map((k) => mixed(k / 6)), 7);
      paint(image, run, [mixed(state.t)]);
    };
    return { draw, parts: [strip, figure(image, titled("decoded", run))] };
  });
}

function priorSection() {
  const again = button("draw again", () => update({ seed: state.seed + 1 }));
  const about = "Codes drawn from the prior, and the decoder's means. The temperature multiplies the standard deviations " +
    "of the prior, or of each component of a mixture: 1 is the prior itself.";
  const controls = [stateSlider("temperature", [0, 1.5, 0.05], "temperature", "temperature"), again];
  section("Draws from the prior", about, ["06_swapping_parts"], controls, ["seed", "temperature", "label"], (run) => {
    const grid = canvas(28, 28, "decoded means of sixteen draws from the prior", { class: "grid" });
    const without = run.prior.spread ? [] : [element("p", {}, "these codes were drawn beforehand: nothing to spread")];
    const parts = [figure(grid, titled("decoded", run)), ...without];
    return { draw: () => paint(grid, run, drawsOf(run, 16).map((z) => decode(run, z)), 4), parts };
  });
}

function drawsOf(run, count) {
  const [loc, scale, weights] = ["loc", "scale", "weights"].map((name) => constants[run.prior[name]]);
  const { uniform, normal } = generator(state.seed);
  return Array.from({ length: count }, () => {
    let left = uniform(), k = 0;
    while (k < weights.length - 1 && (left -= weights[k]) > 0) k++;
    const before = run.prior.labelled ? Math.min(state.label, run.classes - 1) * weights.length : 0;
    const at = (d) => (before + k) * run.latent + d;
    return Float64Array.from({ length: run.latent }, (_, d) => loc[at(d)] + state.temperature * scale[at(d)] * normal());
  });
}
