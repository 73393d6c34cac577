// A flow over the plane: points and a grid on their way from noise to data, one transform after the other.

// Points (x, y) mapped by a step, with their log-determinants; the graph takes a fixed number at a time.
function mapped(run, step, direction, points) {
  const result = [], labels = labelOf(run).map(([label]) => new Array(run.points).fill(label));
  for (let start = 0; start < points.length; start += run.points) {
    const part = points.slice(start, start + run.points);
    const flat = new Float64Array(2 * run.points);
    part.forEach(([x, y], i) => flat.set([x, y], 2 * i));
    const [moved, logDet] = evaluate(step[direction], constants, flat, ...labels);
    part.forEach((_, i) => result.push([moved[2 * i], moved[2 * i + 1], logDet[i]]));
  }
  return result;
}

// Where points are after each transform, from none to all, with the log-density of each there, in nats.
function journey(run, noise) {
  const stops = [noise.map(([x, y]) => [x, y, logNormal([x, y])])];
  for (const step of run.steps) {
    const before = stops[stops.length - 1];
    stops.push(mapped(run, step, "forward", before).map(([x, y, logDet], i) => [x, y, before[i][2] - logDet]));
  }
  return stops;
}

// Noise behind points of the data, with the log-determinant of the map to it.
function behind(run, points, steps = run.steps) {
  let now = points.map(([x, y]) => [x, y, 0]);
  for (const step of [...steps].reverse()) {
    now = mapped(run, step, "inverse", now).map(([x, y, logDet], i) => [x, y, now[i][2] + logDet]);
  }
  return now;
}

function planeSection() {
  const most = Math.max(...content.runs.map((run) => run.steps.length));
  const play = button("play", () => advance(0, most));
  const again = button("draw again", () => update({ seed: state.seed + 1 }));
  const controls = [stateSlider("applied", [0, most, 0.05], "step", "transforms"), play];
  controls.push(stateSlider("temperature", [0.1, 1.5, 0.05], "temperature", "temperature"), again, ...classes());
  const about = "A grid and draws from N(0, T² I) on their way through the flow. The shading is the density after the " +
    "transforms applied so far, at temperature 1, darker where it is higher; where the grid is spread out, the density falls: that is the " +
    "log-determinant. Between whole numbers, points move along straight lines. At the end, test data lie in red under the draws.";
  section("From noise to data", about, ["08_change_of_variables"], controls, ["step", "seed", "temperature", "label"], planePanel);
}

let playing;

// Whoever moves the slider meanwhile stops it.
function advance(step, most) {
  clearTimeout(playing);
  update({ step });
  const next = () => state.step === step && advance(Math.min(step + 0.1, most), most);
  if (step < most) playing = setTimeout(next, 30);
}

const LINES = Array.from({ length: 13 }, (_, i) => -3 + i / 2);
const ALONG = Array.from({ length: 31 }, (_, i) => -3 + i / 5);
const WINDOW = [-3.5, 3.5];

function planePanel(run) {
  const plane = canvas(360, 360, "", { class: "plane" });
  const words = element("p", { role: "status" });
  const grid = [...LINES.map((x) => ALONG.map((y) => [x, y])), ...LINES.map((y) => ALONG.map((x) => [x, y]))];
  const heat = new Map();
  let points, pointsFor, gridStops, gridFor;
  const draw = () => {
    if (gridFor !== state.label) [gridStops, gridFor] = [journey(run, grid.flat()), state.label];
    const drawn = `${state.seed} ${state.temperature} ${state.label}`;
    if (drawn !== pointsFor) {
      const { normal } = generator(state.seed);
      const noise = Array.from({ length: 400 }, () => [state.temperature * normal(), state.temperature * normal()]);
      [points, pointsFor] = [journey(run, noise), drawn];
    }
    const step = Math.min(state.step, run.steps.length), whole = Math.floor(step), part = step - whole;
    const between = (stops) => stops[whole].map((from, i) => {
      const to = stops[whole + 1]?.[i] ?? from;
      return from.map((x, d) => (1 - part) * x + part * to[d]);
    });
    const at = scaled(plane, WINDOW, WINDOW);
    cleared(plane);
    paintDensity(plane, run, Math.round(step), heat);
    const now = between(gridStops);
    grid.forEach((_, line) => paintLine(plane, at, now.slice(line * ALONG.length, (line + 1) * ALONG.length), colour("line"), 1));
    if (whole === run.steps.length) paintPoints(plane, at, testData(run), () => PALETTE[1], 2.5);
    const moved = between(points);
    paintPoints(plane, at, moved, () => colour("accent"), 1.5);
    const name = whole ? `after ${run.steps[whole - 1].name}` : "noise";
    words.replaceChildren(
      `${whole} of ${run.steps.length} transforms (${name}); `,
      quantity("density", average(moved.map((point) => point[2])), "mean log-density of the draws"), ", in standardised units",
    );
    plane.setAttribute("aria-label", words.textContent);
  };
  return { draw, parts: [plane, words] };
}

// Test data, of the chosen class if there is one.
function testData(run, most = 400) {
  const all = Array.from({ length: run.shown }, (_, i) => i);
  const chosen = run.conditional ? all.filter((i) => run.labels[i] === labelOf(run)[0][0]) : all;
  return chosen.slice(0, most).map((i) => observation(run, i));
}

// The density after some transforms, from the noise behind each place; computed once for each number of transforms and label.
function paintDensity(plane, run, count, known, cells = 36) {
  const key = `${count} ${state.label}`;
  if (!known.has(key)) {
    const place = (i) => WINDOW[0] + ((i + 0.5) / cells) * (WINDOW[1] - WINDOW[0]);
    const places = Array.from({ length: cells * cells }, (_, i) => [place(i % cells), place(Math.floor(i / cells))]);
    const density = behind(run, places, run.steps.slice(0, count)).map(([x, y, logDet]) => Math.exp(logNormal([x, y]) + logDet));
    known.set(key, density);
  }
  const density = known.get(key), largest = Math.max(...density), side = plane.width / cells;
  const context = plane.getContext("2d");
  context.fillStyle = colour("heat");
  density.forEach((value, i) => {
    context.globalAlpha = 0.85 * Math.sqrt(value / largest);
    context.fillRect((i % cells) * side, plane.height - (Math.floor(i / cells) + 1) * side, side + 0.5, side + 0.5);
  });
  context.globalAlpha = 1;
}
