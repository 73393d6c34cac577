// Reads the runs that the page holds, and puts its sections together.

content = JSON.parse(document.getElementById("content").textContent);
constants = unpacked(content.constants);

const { kind } = content.runs[0];
document.getElementById("about").textContent = kind === "vae"
  ? "A variational autoencoder: the guide q(z | x), or encoder, turns an observation x into a code z, the decoder a code into an observation."
  : "A normalising flow: invertible transforms turn noise into data.";
const described = content.runs.map((run) => `${run.name}: ${run.parts}, on ${run.data}`);
document.getElementById("summary").textContent = described.join(" · ");

const SECTIONS = {
  vae: [mapSection, pictureSection, betweenSection, priorSection],
  flow: [flowDrawsSection, flowBetweenSection, flowCoordinateSection],
  plane: [planeSection],
};
SECTIONS[kind].forEach((make) => make());
redraw();
