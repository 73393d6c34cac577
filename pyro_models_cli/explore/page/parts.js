// What the sections of the page are built from.

let content, constants;

function chapter(name) {
  const { title, address } = content.chapters[name];
  const link = address ? element("a", { href: address, rel: "noopener", target: "_blank" }, title) : title;
  return element("span", { class: "chapter" }, link);
}

// A section with controls that all runs share and a panel for each run; `uses` are the parts of the state it shows.
function section(title, about, chapters, controls, uses, makePanel) {
  const panels = content.runs.map((run) => {
    const made = makePanel(run);
    const heading = content.runs.length > 1 ? [element("h3", {}, run.name)] : [];
    return { ...made, root: element("article", { class: "panel" }, ...heading, ...made.parts) };
  });
  const links = chapters.flatMap((name, i) => [i ? "; " : " In the course: ", chapter(name)]);
  const help = element("p", { class: "about" }, about, ...links, ".");
  const parts = [element("h2", {}, title), help, element("div", { class: "controls" }, ...controls)];
  const root = element("section", { "aria-label": title }, ...parts);
  root.append(element("div", { class: "panels" }, ...panels.map((panel) => panel.root)));
  document.getElementById("main").append(root);
  sections.push({ uses, draw: (now) => panels.forEach((panel) => panel.draw(now)) });
}

// `name` stands where the label would, which is its text alone.
function slider(label, [low, high, step], read, write, uses, note = "", name = label, kind = "slider") {
  const input = element("input", {
    type: "range", min: low, max: high, step, "aria-label": label, input: () => write(Number(input.value)),
  });
  const shown = element("output", {});
  const draw = () => {
    input.value = read();
    shown.textContent = Number(read()).toFixed(step < 1 ? 2 : 0).replace("-", "−");
  };
  sections.push({ uses, draw });
  return element("label", { class: kind }, element("span", {}, name), input, shown, element("span", { class: "note" }, note));
}

function stateSlider(label, range, key, kind) {
  const about = kind ? [unitOf(kind), named(kind, label), "slider quantity"] : [];
  return slider(label, range, () => state[key], (value) => update({ [key]: value }), [key], ...about);
}

function button(text, action) {
  return element("button", { type: "button", click: action }, text);
}

function select(label, options, read, write, uses) {
  const made = options.map(([value, text]) => element("option", { value }, text));
  const input = element("select", { "aria-label": label, change: () => write(Number(input.value)) }, ...made);
  sections.push({ uses, draw: () => (input.value = read()) });
  return element("label", {}, element("span", {}, label), " ", input);
}

// A choice of test data, by number.
function chooser(label, key, also = {}) {
  const most = Math.min(...content.runs.map((run) => run.shown)) - 1;
  const input = element("input", {
    type: "number", min: 0, max: most, "aria-label": label,
    change: () => update({ [key]: Math.min(Math.max(Math.round(input.value), 0), most), ...also }),
  });
  sections.push({ uses: [key], draw: () => (input.value = state[key]) });
  const go = (step) => () => update({ [key]: (state[key] + step + most + 1) % (most + 1), ...also });
  const step = (sign, by, name) => element("button", { type: "button", click: go(by), "aria-label": `${name}: ${label}` }, sign);
  const field = element("label", {}, element("span", {}, label), " ", input); // a label presses its first control
  return element("span", {}, field, step("‹", -1, "previous"), step("›", 1, "next"));
}

// What programs that see labels are given beside a code: the chosen class, or a label.
function labelOf(run, label = state.label) {
  return run.conditional ? [[Math.min(label, run.classes - 1)]] : [];
}

function classes() {
  const most = Math.max(...content.runs.map((run) => run.classes));
  if (!most) return [];
  const options = Array.from({ length: most }, (_, i) => [i, String(i)]);
  return [select("class", options, () => state.label, (label) => update({ label }), ["label"])];
}

const isImage = (run) => run.shape.length === 3;
const sizeOf = (run) => run.shape.reduce((a, b) => a * b, 1);
const levelsOf = (run) => (run.binarisation === "dynamic" ? 2 : run.levels);

// Data with means as the decoder gives them: intensities from 0 to 1, or a vector.
function paint(target, run, values, columns = values.length) {
  if (!isImage(run)) return paintVectors(target, values);
  const most = levelsOf(run) - 1;
  paintImages(target, run.kind === "vae" ? values.map((image) => image.map((x) => x / most)) : values, run.shape, columns);
}

// An observation as the programs see it; grey pixels are drawn black or white if training drew them so.
function observation(run, index) {
  const size = sizeOf(run);
  if (!isImage(run)) return Float64Array.from(constants[run.vectors].subarray(index * size, (index + 1) * size));
  const pixels = Float64Array.from(constants[run.pixels].subarray(index * size, (index + 1) * size));
  if (run.binarisation !== "dynamic") return pixels;
  const { uniform } = generator(1000 + index);
  return pixels.map((pixel) => Number(uniform() < pixel / (run.levels - 1)));
}
