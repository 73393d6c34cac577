// One observation: its posterior, its reconstruction, and its importance weights as they are drawn.

function pictureSection() {
  const pad = isImage(content.runs[0]) ? [drawingPad(content.runs[0])] : [];
  const draw = button("draw 500 weights", () => update({ weights: LIMITS.weights[1] }));
  const controls = [chooser("observation no.", "picture", { drawn: "", weights: 0 }), ...pad, draw];
  const about = "What the guide says of one observation: mean and one standard deviation of q(z | x) for each coordinate, " +
    "with ±1 shaded, and the decoder's mean at the mean code. A code drawn from q(z | x) has a weight w: " +
    "log w = log p(x, z) − log q(z | x), whose mean is the ELBO, or L(1). The bound L(m), the mean over groups of m draws of the " +
    "log of their mean weight, rises with m towards log p(x).";
  const uses = ["picture", "drawn", "weights", "label"];
  section("One observation", about, ["01_elbo", "04_importance_weights"], controls, uses, picturePanel);
}

function observed(run) {
  return drawnPixels(run) ?? observation(run, state.picture % run.shown);
}

function picturePanel(run) {
  const seen = canvas(28, 28, "the observation", { class: "picture" });
  const again = canvas(28, 28, "its reconstruction", { class: "picture" });
  const posterior = canvas(320, 120, "mean and standard deviation of q(z | x)", { class: "chart" });
  const curve = canvas(320, 140, "the bound as the number of draws grows", { class: "chart" });
  const words = element("p", { role: "status" }), which = element("span", {});
  let weights = [], terms = [], x, label, key;
  const more = () => {
    const noise = generator(7 + weights.length).normals(run.draws * run.latent);
    const [, prior, likelihood, q] = outputs(run, "weigh", x, noise, ...labelOf(run, label));
    prior.forEach((value, s) => {
      weights.push(value + likelihood[s] - q[s]);
      terms.push(q[s] - value);
    });
  };
  const draw = () => {
    const now = `${state.picture} ${state.drawn} ${state.label}`;
    if (now !== key || !state.weights) [weights, terms, key] = [[], [], now];
    x = observed(run);
    label = drawnPixels(run) ? state.label : ownLabel(run, state.picture);
    const [mean, deviation, divergence] = encode(run, x, label);
    paint(seen, run, [x]);
    which.textContent = drawnPixels(run) ? ", your drawing" : run.labels ? `, label ${ownLabel(run, state.picture)}` : "";
    paint(again, run, [decode(run, mean, label)]);
    paintPosterior(posterior, [...run.order].map((d) => mean[d]), [...run.order].map((d) => deviation[d]), run.order.map((d) => `z${d + 1}`));
    if (weights.length < Math.max(state.weights, run.draws)) more();
    const points = [1, 2, 5, 10, 20, 50, 100, 200, 500].filter((m) => m <= weights.length).map((m) => [m, smoothBound(weights, m)]);
    paintCurve(curve, points, "nats");
    const [m, last] = points[points.length - 1], over = ` over ${weights.length} draws; `;
    words.replaceChildren(
      quantity("kl", divergence ? divergence[0] : average(terms)), divergence ? "; " : over,
      quantity("elbo", points[0][1]), over, quantity("bound", last, `L(${m})`), "; ",
      quantity("size", `${effectiveSize(weights).toFixed(1)} of ${weights.length}`),
      run.estimated ? `; mean and standard deviation of q from ${run.estimated} draws` : "",
    );
    if (weights.length < state.weights) update({ weights: state.weights });
  };
  const pictures = [figure(seen, titled("observation", run), which), figure(again, titled("decoded", run, "reconstruction"))];
  const charts = [figure(posterior, titled("posterior", run), ", the most active coordinate first"), figure(curve, titled("bound", run), ", against m, the number of draws")];
  return { draw, parts: [element("div", { class: "pair" }, ...pictures), ...charts, words] };
}

const average = (values) => values.reduce((a, b) => a + b, 0) / values.length;

function logSumExp(values) {
  const largest = Math.max(...values);
  return largest + Math.log(values.reduce((total, value) => total + Math.exp(value - largest), 0));
}

// The mean over all disjoint groups of m log weights of their log-mean-exp, in nats.
function bound(weights, m) {
  const groups = Array.from({ length: Math.floor(weights.length / m) }, (_, g) => weights.slice(g * m, (g + 1) * m));
  return average(groups.map(logSumExp)) - Math.log(m);
}

// The same, averaged over several orders of the weights: over all orders it could never fall as m grows.
function smoothBound(weights, m, orders = 20) {
  const { uniform } = generator(m);
  const shuffled = () => {
    const now = [...weights];
    for (let i = now.length - 1; i > 0; i--) {
      const k = Math.floor(uniform() * (i + 1));
      [now[i], now[k]] = [now[k], now[i]];
    }
    return now;
  };
  return average(Array.from({ length: m === 1 || m === weights.length ? 1 : orders }, () => bound(shuffled(), m)));
}

const effectiveSize = (weights) => Math.exp(2 * logSumExp(weights) - logSumExp(weights.map((w) => 2 * w)));

// Pixels drawn by hand, from the address: one character of base 36 for five pixels.
function drawnPixels(run) {
  if (!state.drawn || !isImage(run)) return null;
  const bits = [...state.drawn].flatMap((letter) => [...parseInt(letter, 36).toString(2).padStart(5, "0").slice(-5)]);
  return Float64Array.from({ length: sizeOf(run) }, (_, i) => Number(bits[i] ?? 0) * (levelsOf(run) - 1));
}

function drawingPad(run) {
  const [, height, width] = run.shape;
  const pad = canvas(width, height, "draw here with a finger or a mouse", { class: "pad", role: "application", tabindex: 0 });
  let bits = null, from = null;
  const dot = (x, y) => {
    const radius = height / 22;
    bits.forEach((_, i) => {
      const [row, column] = [Math.floor((i % (height * width)) / width), i % width];
      if (Math.hypot(column + 0.5 - x, row + 0.5 - y) < Math.max(radius, 0.8)) bits[i] = 1;
    });
  };
  const at = (event) => {
    const box = pad.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  const stroke = (event) => {
    const to = at(event);
    for (let t = 0; t <= 1; t += 0.1) dot(from[0] + t * (to[0] - from[0]), from[1] + t * (to[1] - from[1]));
    from = to;
    const fives = Array.from({ length: Math.ceil(bits.length / 5) }, (_, i) => bits.slice(5 * i, 5 * i + 5));
    const drawn = fives.map((five) => parseInt(five.join("").padEnd(5, "0"), 2).toString(36)).join("");
    update({ drawn, weights: 0 });
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    bits = drawnPixels(run) ? [...drawnPixels(run)].map((x) => Number(x > 0)) : new Array(sizeOf(run)).fill(0);
    from = at(event);
    stroke(event);
  });
  pad.addEventListener("pointermove", (event) => event.buttons && bits && stroke(event));
  const show = () => paint(pad, run, [drawnPixels(run) ?? new Float64Array(sizeOf(run))]);
  sections.push({ uses: ["drawn"], draw: show });
  const clear = button("clear", () => update({ drawn: "", weights: 0 }));
  return element("div", { class: "drawing" }, element("span", {}, "or draw your own here"), pad, clear);
}
