// What the page shows, in one object that the address holds too. Sections redraw when what they use has changed.

const DEFAULTS = {
  z: [], axes: [0, 1], picture: 0, drawn: "", weights: 0, first: 0, second: 1, t: 0.5, temperature: 1, seed: 1,
  label: 0, coordinate: 0, value: 0, step: 0,
};
// Smallest and largest values that an address may give, and the step between values.
const LIMITS = {
  z: [-8, 8, 0], axes: [0, 1e6, 1], picture: [0, 1e6, 1], weights: [0, 500, 1], first: [0, 1e6, 1], second: [0, 1e6, 1],
  t: [0, 1, 0], temperature: [0, 1.5, 0], seed: [0, 1e6, 1], label: [0, 1e6, 1], coordinate: [0, 1e6, 1],
  value: [-4, 4, 0], step: [0, 1e6, 0],
};
const state = { ...DEFAULTS, ...fromAddress() };
const sections = [];
let changed = new Set(Object.keys(DEFAULTS)), waiting = false, writing = 0;

function fromAddress() {
  const found = {};
  for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
    if (!(key in DEFAULTS)) continue;
    if (key === "drawn") found[key] = /^[0-9a-z]*$/.test(text) ? text : "";
    else {
      const [low, high, step] = LIMITS[key];
      const numbers = text.split(",").map((part) => Math.min(Math.max(step ? Math.round(part) : Number(part), low), high));
      const count = key === "z" ? numbers.length : [DEFAULTS[key]].flat().length;
      if (numbers.length !== count || !numbers.every(Number.isFinite)) continue;
      found[key] = Array.isArray(DEFAULTS[key]) ? numbers : numbers[0];
    }
  }
  return found;
}

function update(changes) {
  Object.assign(state, changes);
  Object.keys(changes).forEach((key) => changed.add(key));
  if (!waiting) requestAnimationFrame(redraw);
  waiting = true;
}

function redraw() {
  const now = changed;
  changed = new Set();
  waiting = false;
  sections.filter(({ uses }) => uses.some((key) => now.has(key))).forEach(({ draw }) => draw(now));
  clearTimeout(writing);
  writing = setTimeout(toAddress, 300); // browsers limit how often a page may do this
}

function toAddress() {
  const same = (key) => String(state[key]) === String(DEFAULTS[key]);
  const round = (value) => (typeof value === "number" ? Number(value.toFixed(4)) : value);
  const parts = Object.keys(DEFAULTS).filter((key) => !same(key));
  const text = parts.map((key) => `${key}=${Array.isArray(state[key]) ? state[key].map(round) : round(state[key])}`);
  history.replaceState(null, "", `#${text.join("&")}`);
}

addEventListener("hashchange", () => update({ ...DEFAULTS, ...fromAddress() }));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => update({ ...state }));

// Random numbers that a seed repeats: uniform on (0, 1), and standard normal.
function generator(seed) {
  let now = (seed * 2654435761) >>> 0;
  const uniform = () => {
    now = (now + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(now ^ (now >>> 15), now | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal, normals: (count) => Float64Array.from({ length: count }, normal) };
}
