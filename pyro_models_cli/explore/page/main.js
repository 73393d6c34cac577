// Reads the runs that the page holds, and puts its sections together.

content = JSON.parse(document.getElementById("content").textContent);
constants = unpacked(content.constants);

const described = content.runs.map((run) => `${run.name}: ${run.parts}, on ${run.data}`);
document.getElementById("summary").textContent = described.join(" · ");

const SECTIONS = {
  vae: [mapSection, pictureSection, betweenSection, priorSection],
  flow: [flowDrawsSection, flowBetweenSection, flowCoordinateSection],
  plane: [planeSection],
};
SECTIONS[content.runs[0].kind].forEach((make) => make());
redraw();
