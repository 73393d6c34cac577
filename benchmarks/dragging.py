"""Time the page of `pyro-models explore` while its map of codes is dragged, and write results/dragging.json.

It needs Chromium and ``pip install -e '.[browser]'``. The weights are random: the time does not depend on them.
"""

import argparse
import json
import os
import shutil
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
# moves the pointer once a frame; how often the page was drawn anew, and the seconds of all
DRAG = """
async (frames) => {
  const own = redraw;
  let drawn = 0;
  window.redraw = () => {
    own();
    drawn++;
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
  return { seconds, drawn };
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
    """What :data:`DRAG` finds in Chromium, after as many frames to warm up.

    Also the seconds that the page's thread had a processor, whoever else wanted it, and the browser's version.
    """
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        write_page(file)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"file://{file}")
        page.evaluate(DRAG, frames)
        browser_says = page.context.new_cdp_session(page)
        browser_says.send("Performance.enable", {"timeDomain": "threadTicks"})
        before = seconds_of_tasks(browser_says)
        found = {**page.evaluate(DRAG, frames), "browser": f"Chromium {browser.version}"}
        found["processor_seconds"] = seconds_of_tasks(browser_says) - before
        browser.close()
    return found


def seconds_of_tasks(browser_says: Any) -> float:
    """The time that the page's thread has worked since it began."""
    metrics = browser_says.send("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def record_of(found: dict[str, Any]) -> dict[str, Any]:
    """The frames per second that were shown, how busy the machine was, and the processor time of one frame."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "vae": "-".join(map(str, [28 * 28, *HIDDEN, LATENT])),
        "browser": found["browser"],
        "frames": found["drawn"],
        "frames_per_second": round(found["drawn"] / found["seconds"], 1),
        "processor_milliseconds": round(1000 * found["processor_seconds"] / found["drawn"], 2),
        "load": round(os.getloadavg()[0] / processors, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=600, help="number of frames to drag for")
    parser.add_argument("--out", type=Path, default=Path("results/dragging.json"), help="file for the record")
    options = parser.parse_args()
    if options.frames < 1:
        parser.error(f"--frames must be at least 1; got {options.frames}")
    record = {**describe_machine(), **record_of(dragged(options.frames))}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    spent = f"{record['processor_milliseconds']} ms of a processor for each"
    print(f"{record['frames_per_second']} frames per second, {spent}\n{options.out}")


if __name__ == "__main__":
    main()
