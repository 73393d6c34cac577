// The sections of a flow over images or vectors.

const LOG_2 = Math.log(2);
const toData = (run, noise) => outputs(run, "forward", noise, ...labelOf(run));
const toNoise = (run, y, label) => outputs(run, "inverse", y, ...labelOf(run, label));

// The intensities behind a test image, in the middle of their cells; vectors as they are.
function intensities(run, index) {
  const x = observation(run, index % run.shown);
  return isImage(run) ? x.map((pixel) => (pixel + 0.5) / levelsOf(run)) : x;
}

const logNormal = (noise) => noise.reduce((total, e) => total - 0.5 * (e * e + Math.log(2 * Math.PI)), 0);

function densityWords(run, noise, logDet) {
  const logDensity = logNormal(noise) - logDet;
  if (!isImage(run)) return [quantity("density", logDensity + run.log_det, "log p(x)")];
  const bits = (sizeOf(run) * Math.log(levelsOf(run)) - logDensity) / (sizeOf(run) * LOG_2);
  return [
    quantity("density", logDensity, "log p(y)", 1), "; ", quantity("bits", bits), " at this one y; ",
    quantity("determinant", logDet, "log-determinant", 1),
  ];
}

function flowDrawsSection() {
  const again = button("draw again", () => update({ seed: state.seed + 1 }));
  const about = "Noise from N(0, T² I), mapped to data by the flow. T is the temperature: 1 is the model itself, less keeps to likely noise.";
  const controls = [stateSlider("temperature", [0.1, 1.5, 0.05], "temperature", "temperature"), again, ...classes()];
  section("Draws", about, ["08_change_of_variables"], controls, ["seed", "temperature", "label"], (run) => {
    const grid = canvas(28, 28, "nine draws of the flow", { class: "grid" });
    const draw = () => {
      const { normals } = generator(state.seed);
      const noise = Array.from({ length: 9 }, () => normals(run.size).map((e) => state.temperature * e));
      paint(grid, run, noise.map((e) => toData(run, e)[0]), 3);
    };
    return { draw, parts: [figure(grid, titled("mapped", run))] };
  });
}

function flowBetweenSection() {
  const controls = ends();
  const about = "Two observations are mapped to their noise, pixels from the middle of their cells; between them the line is straight in the base space, from the first at t = 0 to the second at t = 1.";
  section("Between two, in the base space", about, ["08_change_of_variables", "09_integer_pixels"], controls, ["first", "second", "t", "label"], (run) => {
    const strip = canvas(28, 28, "draws between two points of the base", { class: "strip" });
    const image = canvas(28, 28, "the chosen place", { class: "picture" });
    const words = element("p", { role: "status" });
    const draw = () => {
      const [from, to] = [state.first, state.second].map((n) => toNoise(run, intensities(run, n), ownLabel(run, n))[0]);
      const mixed = (t) => from.map((e, d) => (1 - t) * e + t * to[d]);
      paint(strip, run, [0, 0.25, 0.5, 0.75, 1].map((t) => toData(run, mixed(t))[0]), 5);
      const [y, logDet] = toData(run, mixed(state.t));
      paint(image, run, [y]);
      words.replaceChildren(...densityWords(run, mixed(state.t), logDet[0]));
    };
    return { draw, parts: [strip, figure(image, titled("mapped", run)), words] };
  });
}

function flowCoordinateSection() {
  const most = Math.min(...content.runs.map((run) => run.size)) - 1;
  const controls = [chooser("observation no.", "first"), stateSlider("coordinate", [0, most, 1], "coordinate")];
  controls.push(stateSlider("its value", [-4, 4, 0.05], "value", "base"));
  const about = "The noise behind one observation, with one coordinate moved. Under N(0, 1) nearly all values are within ±3.";
  section("One base coordinate", about, ["08_change_of_variables"], controls, ["first", "coordinate", "value", "label"], (run) => {
    const [before, after] = ["the observation", "with one coordinate moved"].map((text) => canvas(28, 28, text, { class: "picture" }));
    const words = element("p", { role: "status" });
    const draw = () => {
      const y = intensities(run, state.first), [noise] = toNoise(run, y, ownLabel(run, state.first));
      const place = Math.min(state.coordinate, run.size - 1), was = noise[place];
      noise[place] = state.value;
      const [moved, logDet] = toData(run, noise);
      paint(before, run, [y]);
      paint(after, run, [moved]);
      words.replaceChildren(`coordinate ${place} was ${was.toFixed(2)}; `, ...densityWords(run, noise, logDet[0]));
    };
    const pictures = [figure(before, titled("observation", run)), figure(after, titled("mapped", run))];
    return { draw, parts: [element("div", { class: "pair" }, ...pictures), words] };
  });
}
