"""Say what a trained run has learned: active coordinates, collapse, the quality of its guide."""

import json
from collections.abc import Sequence

from inference import Diagnosis, Run, diagnose
from pyro_models_cli.parser import Parser
from pyro_models_cli.trained import add_run_options, images_of, is_writable, load_pair


def command(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    add_run_options(parser)
    parser.add_argument("--num_images", type=int, default=1000, help="test images for the latents")
    parser.add_argument("--num_weighted", type=int, default=100, help="test images for the importance weights")
    parser.add_argument("--num_samples", type=int, default=5000, help="importance samples for each of these")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    options = parser.parse(argv)

    run = Run.open(options.run)
    kept = is_writable(run)
    pair, device = load_pair(options)
    test = images_of(pair.config, options.data_root)[1].to(device)
    sizes = {name: options[name] for name in ("num_images", "num_weighted", "num_samples", "seed")}
    diagnosis = diagnose(pair.model, pair.guide, test, **sizes)

    print_table(diagnosis)
    for line in diagnosis.verdict():
        print(line)
    if not kept:
        return
    run.write_result("diagnosis.json", json.dumps(diagnosis.as_dict(), indent=2) + "\n")
    from pyro_models_cli.report.figures import bars, save  # matplotlib is slow to import

    for latent in diagnosis.latents:
        panels = {"KL (nats)": latent.divergence, "variance of posterior means": latent.variance_of_means}
        figure = bars(panels, f"coordinates of {latent.name}, sorted")
        print(save(figure, run.path / "figures" / f"latent_{latent.name}.png"))


def print_table(diagnosis: Diagnosis) -> None:
    print(
        f"{diagnosis.num_images} test images; weights of {diagnosis.num_weighted} with {diagnosis.num_samples} samples"
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
        f"{100 * diagnosis.share_above_threshold:.0f} % of the images"
    )
