"""Report what a trained run has learned: the active coordinates of its code, collapse, the quality of its guide.

KL is the divergence of the guide from the prior, in nats per image.  Pareto k is the shape of the largest importance
weights: the larger it is, the less can estimates from them be trusted.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference import Diagnosis, Run, diagnose
from pyro_models_cli.data import data_again
from pyro_models_cli.options import RunOptions
from pyro_models_cli.trained import is_writable, load_pair, parse_run


@dataclass(frozen=True, kw_only=True)
class DiagnoseOptions(RunOptions):
    """Options of the diagnosis.

    Args:
        num_images: number of test images for the latents.
        num_weighted: number of test images for the importance weights.
        num_samples: importance samples for each of these images.
        seed: seed of the draws.
    """

    num_images: int = 1000
    num_weighted: int = 100
    num_samples: int = 5000
    seed: int = 0


def diagnose_run(run: Path | str, options: DiagnoseOptions | None = None) -> Diagnosis:
    """Diagnose a run, print the findings, and keep them in the run's folder with a figure for each latent.

    Raises:
        ValueError: if an option is out of its range.
        RunError, OSError: if the run cannot be read, or the result not written.
    """
    options = options or DiagnoseOptions()
    opened = Run.open(run)
    kept = is_writable(opened)
    pair, device = load_pair(opened.path, options)
    test = data_again(opened, options).tested().to(device)
    sizes = {name: getattr(options, name) for name in ("num_images", "num_weighted", "num_samples", "seed")}
    diagnosis = diagnose(pair.model, pair.guide, test, **sizes)

    print_table(diagnosis)
    for line in diagnosis.verdict():
        print(line)
    if kept:
        record = diagnosis.as_dict() | {"epochs": pair.epoch}
        opened.write_result("diagnosis.json", json.dumps(record, indent=2) + "\n")
        _draw_latents(diagnosis, opened.path / "figures")
    return diagnosis


def _draw_latents(diagnosis: Diagnosis, folder: Path) -> None:
    from inference.figures.style import save  # matplotlib is slow to import
    from pyro_models_cli.report.figures import bars

    for latent in diagnosis.latents:
        panels = {"KL (nats)": latent.divergence, "variance of posterior means": latent.variance_of_means}
        print(save(bars(panels, f"coordinates of {latent.name}, sorted"), folder / f"latent_{latent.name}.png"))


def print_table(diagnosis: Diagnosis) -> None:
    if not diagnosis.latents:
        return
    print(
        f"of the first {diagnosis.num_images} test data; importance weights of the first {diagnosis.num_weighted}, "
        f"{diagnosis.num_samples} samples each"
    )
    print(f"{'latent':10s} {'active':>9s} {'KL':>9s} {'mutual information':>20s}")
    for latent in diagnosis.latents:
        active = "-" if latent.holds_image else f"{latent.active}/{len(latent.variance_of_means)}"
        ceiling = f" (its ceiling: log {diagnosis.num_images})" if latent.at_ceiling else ""
        numbers = f"{sum(latent.divergence):9.3f} {latent.mutual_information:20.3f}"
        print(f"{latent.name:10s} {active:>9s} {numbers}{ceiling}")
    print(f"negative ELBO {diagnosis.negative_elbo:.3f}, negative IWAE {diagnosis.negative_iwae:.3f} nats")
    print(
        f"Pareto k: median {diagnosis.pareto_k:.2f}; above {diagnosis.pareto_k_threshold:.2f} for "
        f"{100 * diagnosis.share_above_threshold:.0f} % of these"
    )


def command(argv: Sequence[str] | None = None) -> None:
    diagnose_run(*parse_run(DiagnoseOptions, __doc__, argv))
