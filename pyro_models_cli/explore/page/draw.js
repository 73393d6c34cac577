// Elements, pictures and charts. Text always goes in as text, never as markup.

const PALETTE = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8833", "#7d8471", "#9966cc", "#bb5566"];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// A canvas of so many pixels that says in words what it shows.
function canvas(width, height, label, attributes = {}) {
  return element("canvas", { width, height, role: "img", "aria-label": label, ...attributes });
}

// Intensities from 0 to 1 of images (C, H, W), in a grid with so many columns.
function paintImages(target, images, [channels, height, width], columns) {
  const rows = Math.ceil(images.length / columns), gap = images.length > 1 ? 1 : 0;
  target.width = columns * (width + gap) - gap;
  target.height = rows * (height + gap) - gap;
  const context = target.getContext("2d");
  images.forEach((image, n) => {
    const pixels = context.createImageData(width, height), plane = height * width;
    for (let i = 0; i < plane; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = 255 * image[channels === 3 ? c * plane + i : i];
      pixels.data[4 * i + 3] = 255;
    }
    context.putImageData(pixels, (n % columns) * (width + gap), Math.floor(n / columns) * (height + gap));
  });
}

// Vectors as bars around zero, one row of bars for each.
function paintVectors(target, vectors) {
  target.width = 320;
  target.height = 60 * vectors.length;
  const context = target.getContext("2d");
  context.fillStyle = colour("accent");
  vectors.forEach((vector, n) => {
    const largest = Math.max(3, ...vector.map(Math.abs)), wide = target.width / vector.length;
    vector.forEach((x, d) => context.fillRect(d * wide + 1, 60 * n + 30, wide - 2, (-x / largest) * 28));
  });
}

// Where numbers go on a canvas, and back.
function scaled(target, [left, right], [bottom, top]) {
  const x = (value) => ((value - left) / (right - left)) * target.width;
  const y = (value) => target.height - ((value - bottom) / (top - bottom)) * target.height;
  const back = (px, py) => [left + (px / target.width) * (right - left), top - (py / target.height) * (top - bottom)];
  return { x, y, back };
}

function paintPoints(target, at, points, colours, radius = 2) {
  const context = target.getContext("2d");
  points.forEach(([x, y], i) => {
    context.fillStyle = colours(i);
    context.fillRect(at.x(x) - radius, at.y(y) - radius, 2 * radius, 2 * radius);
  });
}

function paintCross(target, at, [x, y]) {
  const context = target.getContext("2d");
  context.strokeStyle = colour("text");
  context.lineWidth = 2;
  context.beginPath();
  context.arc(at.x(x), at.y(y), 8, 0, 2 * Math.PI);
  context.moveTo(at.x(x) - 14, at.y(y));
  context.lineTo(at.x(x) + 14, at.y(y));
  context.moveTo(at.x(x), at.y(y) - 14);
  context.lineTo(at.x(x), at.y(y) + 14);
  context.stroke();
}

function paintLine(target, at, points, stroke, width = 2) {
  const context = target.getContext("2d");
  context.strokeStyle = stroke;
  context.lineWidth = width;
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(at.x(x), at.y(y)) : context.moveTo(at.x(x), at.y(y))));
  context.stroke();
}

function paintText(target, text, x, y, align = "left") {
  const context = target.getContext("2d");
  context.fillStyle = colour("text");
  context.font = "12px system-ui, sans-serif";
  context.textAlign = align;
  context.fillText(text, x, y);
}

function cleared(target) {
  target.getContext("2d").clearRect(0, 0, target.width, target.height);
}

// Mean and one standard deviation of each coordinate of q(z | x), beside those of a standard normal.
function paintPosterior(target, means, deviations, names = []) {
  cleared(target);
  const most = Math.ceil(Math.max(4, ...means.map((mean, d) => Math.abs(mean) + deviations[d])));
  const at = scaled(target, [-0.5, means.length - 0.5], [-most, most]);
  const context = target.getContext("2d");
  context.globalAlpha = 0.25;
  context.fillStyle = colour("line");
  context.fillRect(0, at.y(1), target.width, at.y(-1) - at.y(1));
  context.globalAlpha = 1;
  means.forEach((mean, d) => {
    paintLine(target, at, [[d, mean - deviations[d]], [d, mean + deviations[d]]], colour("accent"), 3);
    paintPoints(target, at, [[d, mean]], () => colour("text"), 2.5);
    if (names.length <= 10) paintText(target, names[d] ?? "", at.x(d), target.height - 4, "center");
  });
  paintText(target, `${most}`, 2, 12);
  paintText(target, `−${most}`, 2, target.height - 18);
}

// A curve over a logarithmic axis, with the numbers at its ends: every curve has a scale of its own.
function paintCurve(target, points, unit) {
  cleared(target);
  if (!points.length) return;
  const values = points.map(([, value]) => value);
  const low = Math.min(...values), high = Math.max(...values), margin = 0.15 * (high - low) + 0.05;
  const heights = [low - 2 * margin, high + margin]; // the numbers stand below
  const at = scaled(target, [-0.15, Math.log10(points[points.length - 1][0]) + 0.2], heights);
  paintLine(target, at, points.map(([m, value]) => [Math.log10(m), value]), colour("accent"));
  points.forEach(([m, value], i) => {
    const last = i === points.length - 1;
    paintPoints(target, at, [[Math.log10(m), value]], () => colour("accent"), 3);
    const said = `m = ${m}: ${value.toFixed(2).replace("-", "−")} ${unit}`;
    if (i === 0 || last) paintText(target, said, last ? target.width - 4 : 4, target.height - 3, last ? "right" : "left");
  });
}
