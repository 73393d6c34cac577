// Runs lists of operations. A value is a flat Float64Array; constants are Float32Arrays; a number stands for itself.

const UNARY = {
  exp: Math.exp, log: Math.log, log1p: Math.log1p, expm1: Math.expm1, tanh: Math.tanh, abs: Math.abs, sqrt: Math.sqrt,
  floor: Math.floor, ceil: Math.ceil, trunc: Math.trunc, sign: Math.sign, sin: Math.sin, cos: Math.cos,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  relu: (x) => Math.max(x, 0),
  neg: (x) => -x,
  rsqrt: (x) => 1 / Math.sqrt(x),
  reciprocal: (x) => 1 / x,
  round: (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)), // halves go to even numbers
  logical_not: (x) => Number(!x),
  isnan: (x) => Number(x !== x),
  erf,
  elu: (x, alpha, scale, inner) => scale * (x > 0 ? x : alpha * Math.expm1(inner * x)),
  leaky_relu: (x, slope) => (x > 0 ? x : slope * x),
  softplus: (x, beta, threshold) => (beta * x > threshold ? x : Math.log1p(Math.exp(beta * x)) / beta),
  hardtanh: (x, low, high) => Math.min(Math.max(x, low), high),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
};

const BINARY = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: (a, b) => a ** b,
  maximum: (a, b) => Math.max(a, b),
  minimum: (a, b) => Math.min(a, b),
  atan2: (a, b) => Math.atan2(a, b),
  remainder: (a, b) => a - b * Math.floor(a / b),
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  lt: (a, b) => Number(a < b),
  le: (a, b) => Number(a <= b),
  gt: (a, b) => Number(a > b),
  ge: (a, b) => Number(a >= b),
  logical_and: (a, b) => Number(a && b ? 1 : 0),
  logical_or: (a, b) => Number(a || b ? 1 : 0),
};

const REDUCTIONS = {
  sum: [0, (a, b) => a + b],
  mean: [0, (a, b) => a + b],
  prod: [1, (a, b) => a * b],
  amax: [-Infinity, Math.max],
  amin: [Infinity, Math.min],
  any: [0, (a, b) => (a || b ? 1 : 0)],
  all: [1, (a, b) => (a && b ? 1 : 0)],
};

const OTHERS = {
  where: (condition, a, b) => each([condition, a, b], (yes, x, y) => (yes ? x : y)),
  take(x, start, sizes, steps) {
    let places = [start];
    sizes.forEach((size, d) => {
      const further = new Array(places.length * size);
      places.forEach((place, i) => {
        for (let k = 0; k < size; k++) further[i * size + k] = place + k * steps[d];
      });
      places = further;
    });
    return Float64Array.from(places, (place) => x[place]);
  },
  look: (x, places) => Float64Array.from(places, (place) => x[place]),
  cat(parts, sizes, outer) {
    const width = sizes.reduce((a, b) => a + b, 0);
    const result = new Float64Array(outer * width);
    let column = 0;
    parts.forEach((part, p) => {
      for (let row = 0; row < outer; row++) {
        for (let k = 0; k < sizes[p]; k++) result[row * width + column + k] = part[row * sizes[p] + k];
      }
      column += sizes[p];
    });
    return result;
  },
  linear(x, weight, bias, inner, columns) {
    const rows = x.length / inner;
    const result = new Float64Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const a = row * inner, b = column * inner;
        let total = bias ? bias[column] : 0, second = 0, third = 0, fourth = 0, k = 0;
        for (; k + 3 < inner; k += 4) { // four sums at once: processors do not wait for one to end
          total += x[a + k] * weight[b + k];
          second += x[a + k + 1] * weight[b + k + 1];
          third += x[a + k + 2] * weight[b + k + 2];
          fourth += x[a + k + 3] * weight[b + k + 3];
        }
        for (; k < inner; k++) total += x[a + k] * weight[b + k];
        result[row * columns + column] = total + second + third + fourth;
      }
    }
    return result;
  },
  products(a, b, batch, rows, inner, columns) {
    const result = new Float64Array(batch * rows * columns);
    for (let n = 0; n < batch; n++) {
      const left = a.subarray(n * rows * inner, (n + 1) * rows * inner);
      const right = b.subarray(n * columns * inner, (n + 1) * columns * inner);
      result.set(OTHERS.linear(left, right, 0, inner, columns), n * rows * columns);
    }
    return result;
  },
  conv: (x, weight, bias, from, kernel, to, stride, padding) =>
    convolved(x, weight, bias, from, kernel, to, (place, k) => place * stride + k - padding),
  conv_transposed: (x, weight, bias, from, kernel, to, stride, padding) =>
    convolved(x, weight, bias, from, kernel, to, (place, k) => {
      const scaled = place + padding - k;
      return scaled % stride ? -1 : scaled / stride;
    }),
};

// Sums over a window of each output pixel; `source` gives the row (or column) of the input that the k-th weight meets.
function convolved(x, weight, bias, [batch, channels, height, width], [out, , tall, wide], [rows, columns], source) {
  const result = new Float64Array(batch * out * rows * columns);
  if (bias) result.forEach((_, i) => (result[i] = bias[Math.floor(i / (rows * columns)) % out]));
  for (let n = 0; n < batch; n++) for (let o = 0; o < out; o++) for (let c = 0; c < channels; c++) {
    const from = (n * channels + c) * height * width, to = (n * out + o) * rows * columns;
    for (let i = 0; i < tall; i++) for (let j = 0; j < wide; j++) {
      const w = weight[((o * channels + c) * tall + i) * wide + j];
      for (let row = 0; row < rows; row++) {
        const r = source(row, i);
        if (r < 0 || r >= height) continue;
        for (let column = 0; column < columns; column++) {
          const s = source(column, j);
          if (s >= 0 && s < width) result[to + row * columns + column] += w * x[from + r * width + s];
        }
      }
    }
  }
  return result;
}

// A function of the elements of several values, of which some may be single numbers.
function each(parts, combine) {
  const length = Math.max(...parts.map((part) => part.length ?? 1));
  const [a, b, c] = parts.map((part) => (part.length === undefined ? null : part));
  const [x, y, z] = parts;
  const result = new Float64Array(length);
  for (let i = 0; i < length; i++) result[i] = combine(a ? a[i] : x, b ? b[i] : y, c ? c[i] : z);
  return result;
}

function reduced(x, count, [start, combine], isMean) {
  const result = new Float64Array(x.length / count).fill(start);
  for (let i = 0; i < x.length; i++) {
    const place = Math.floor(i / count);
    result[place] = combine(result[place], x[i]);
  }
  return isMean ? result.map((total) => total / count) : result;
}

// The error function, by its series near 0 and by a continued fraction elsewhere.
function erf(x) {
  const size = Math.abs(x);
  if (size > 2.5) {
    let fraction = 0;
    for (let k = 60; k > 0; k--) fraction = k / 2 / (size + fraction);
    return Math.sign(x) * (1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * (size + fraction)));
  }
  let term = x, total = x;
  for (let k = 1; k < 50; k++) {
    term *= -x * x / k;
    total += term / (2 * k + 1);
  }
  return 2 * total / Math.sqrt(Math.PI);
}

// The outputs of a graph for inputs in order, each an array of numbers.
function evaluate(graph, constants, ...inputs) {
  const values = { inf: Infinity, "-inf": -Infinity, nan: NaN };
  const value = (part) => {
    if (typeof part !== "string") return Array.isArray(part) && typeof part[0] === "string" ? part.map(value) : part;
    return values[part] ?? constants[part];
  };
  graph.inputs.forEach(([name], i) => (values[name] = Float64Array.from(inputs[i])));
  for (const [name, result, ...parts] of graph.operations) {
    const given = parts.map(value);
    if (OTHERS[name]) values[result] = OTHERS[name](...given);
    else if (REDUCTIONS[name]) values[result] = reduced(given[0], given[1], REDUCTIONS[name], name === "mean");
    else if (BINARY[name]) values[result] = each(given, BINARY[name]);
    else {
      const [x, ...numbers] = given;
      values[result] = Float64Array.from(x, (number) => UNARY[name](number, ...numbers));
    }
  }
  return graph.outputs.map(([part, shape]) => {
    const found = value(part);
    return found.length === undefined ? new Float64Array(shape.reduce((a, b) => a * b, 1)).fill(found) : found;
  });
}

// Constants by name, from one string of base64.
function unpacked({ table, bytes }) {
  const all = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0)).buffer;
  const read = ({ start, length, kind }) => {
    if (kind === "uint8") return new Uint8Array(all, start, length);
    if (kind === "float32") return new Float32Array(all, start, length);
    return Float32Array.from(new Uint16Array(all, start, length), half);
  };
  return Object.fromEntries(Object.entries(table).map(([name, place]) => [name, read(place)]));
}

// The number that 16 bits stand for in half precision.
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
