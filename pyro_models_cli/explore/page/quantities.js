// What the numbers and pictures of the page measure: a name, a unit, and the chapter that explains it.

const NO_UNIT = "no unit";
const QUANTITIES = {
  code: ["code z", NO_UNIT, "02_vae"],
  posterior: ["mean and standard deviation of q(z | x)", NO_UNIT, "02_vae"],
  observation: ["observation x", seenIn, "02_vae"],
  decoded: ["mean of p(x | z)", meanIn, "02_vae"],
  way: ["position t", NO_UNIT, "02_vae"],
  active: ["active", "coordinates", "07_posterior_collapse"],
  variance: ["variance of means", NO_UNIT, "07_posterior_collapse"],
  kl: ["KL", "nats", "01_elbo"],
  elbo: ["ELBO", "nats", "01_elbo"],
  bound: ["bound L(m)", "nats", "04_importance_weights"],
  size: ["effective sample size", "draws", "10_trust_your_numbers"],
  temperature: ["temperature", NO_UNIT, "09_integer_pixels"],
  base: ["coordinate of the base", NO_UNIT, "08_change_of_variables"],
  mapped: ["flow of the noise", meanIn, "08_change_of_variables"],
  density: ["log-density", "nats", "08_change_of_variables"],
  determinant: ["log-determinant", "nats", "08_change_of_variables"],
  bits: ["negative log-density", "bits per dimension", "09_integer_pixels"],
  transforms: ["applied", "transforms", "08_change_of_variables"],
};

function seenIn(run) {
  if (!isImage(run)) return "units of the model's data";
  return levelsOf(run) === 2 ? "black or white" : "intensity from 0 to 1";
}

function meanIn(run) {
  return isImage(run) && levelsOf(run) === 2 && run.kind === "vae" ? "probability of white" : seenIn(run);
}

function unitOf(key, run = content.runs[0]) {
  const unit = QUANTITIES[key][1];
  return typeof unit === "function" ? unit(run) : unit;
}

// The name of a quantity, which links its chapter.
function named(key, text = QUANTITIES[key][0]) {
  const { title, address } = content.chapters[QUANTITIES[key][2]];
  const about = { class: "name", title: `${unitOf(key)}; ${title}` };
  return address ? element("a", { ...about, href: address, rel: "noopener", target: "_blank" }, text) : element("span", about, text);
}

// A quantity's name, its number or what is said of it, and its unit.
function quantity(key, value, text, digits = 2) {
  const said = typeof value === "number" ? value.toFixed(digits).replace("-", "−") : value;
  return element("span", { class: "quantity" }, named(key, text), ` ${said} ${unitOf(key)}`);
}

// The same without a number, for what stands beside a picture or a slider.
function titled(key, run, text) {
  return element("span", { class: "quantity" }, named(key, text), `, ${unitOf(key, run)}`);
}

function figure(picture, ...caption) {
  return element("figure", {}, picture, element("figcaption", {}, ...caption));
}
