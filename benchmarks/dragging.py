"""Time the page of `pyro-models explore` while its map of codes is dragged, and write results/dragging.json.

It needs Chromium and ``pip install -e '.[browser]'``. The weights are random: the time does not depend on them.
"""

import argparse
import json
import shutil
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from run import describe_machine

from inference import Images, Pair
from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal
from pyro_models_cli.explore.content import run_content
from pyro_models_cli.explore.page import rendered
from pyro_models_cli.explore.values import Constants

SHAPE, LATENT, HIDDEN = (1, 28, 28), 20, [400, 400]
# moves the pointer once a frame; the milliseconds that the page spends on each, and the seconds of all
DRAG = """
async (frames) => {
  const own = redraw, milliseconds = [];
  window.redraw = () => {
    const started = performance.now();
    own();
    milliseconds.push(performance.now() - started);
  };
  const map = document.querySelector(".map"), box = map.getBoundingClientRect(), started = performance.now();
  for (let i = 0; i < frames; i++) {
    const turn = (2 * Math.PI * i) / frames;
    const clientX = box.left + box.width * (0.5 + 0.3 * Math.sin(turn));
    const clientY = box.top + box.height * (0.5 + 0.3 * Math.cos(turn));
    map.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, buttons: 1 }));
    await new Promise(requestAnimationFrame);
  }
  const seconds = (performance.now() - started) / 1000;
  window.redraw = own;
  return { seconds, milliseconds };
}
"""


def write_page(file: Path) -> None:
    """A page of a VAE of MNIST's size."""
    model = VAE(StandardNormal(LATENT), MLPDecoder(LATENT, SHAPE, HIDDEN))
    guide = MeanFieldGuide(MLPEncoder(SHAPE, HIDDEN), LATENT)
    data = Images("noise", torch.randint(256, (1000, *SHAPE)).byte(), levels=256, binarisation="dynamic")
    constants = Constants()
    content = run_content("a VAE", Pair(model, guide, {}, 1), data, constants)
    file.write_text(rendered("a VAE", [content], constants, file))


def dragged(frames: int) -> dict[str, Any]:
    """What :data:`DRAG` finds in Chromium, after as many frames to warm up, and the browser's version."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        write_page(file)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"file://{file}")
        page.evaluate(DRAG, frames)
        found = {**page.evaluate(DRAG, frames), "browser": f"Chromium {browser.version}"}
        browser.close()
    return found


def record_of(found: dict[str, Any]) -> dict[str, Any]:
    """Frames per second, and the median and the quartiles of a frame's milliseconds."""
    low, median, high = statistics.quantiles(found["milliseconds"], n=4)
    return {
        "vae": "-".join(map(str, [28 * 28, *HIDDEN, LATENT])),
        "browser": found["browser"],
        "frames": len(found["milliseconds"]),
        "frames_per_second": round(len(found["milliseconds"]) / found["seconds"], 1),
        "milliseconds": round(median, 2),
        "quartiles": [round(low, 2), round(high, 2)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=600, help="number of frames to drag for")
    parser.add_argument("--out", type=Path, default=Path("results/dragging.json"), help="file for the record")
    options = parser.parse_args()
    if options.frames < 2:
        parser.error(f"--frames must be at least 2; got {options.frames}")
    record = {**describe_machine(), **record_of(dragged(options.frames))}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    print(f"{record['frames_per_second']} frames per second, {record['milliseconds']} ms a frame\n{options.out}")


if __name__ == "__main__":
    main()
