"""Say what a trained run has learned: active coordinates, collapse, the quality of its guide."""

import json
from pathlib import Path

from _cli import Parser, main
from _trained import add_run_options, images_of, load_pair

from inference import Diagnosis, diagnose, write_whole


def diagnose_run() -> None:
    parser = Parser(description=__doc__)
    add_run_options(parser)
    parser.add_argument("--num_images", type=int, default=1000, help="test images for the latents")
    parser.add_argument("--num_weighted", type=int, default=100, help="test images for the importance weights")
    parser.add_argument("--num_samples", type=int, default=5000, help="importance samples for each of these")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    options = parser.parse()

    pair = load_pair(options)
    test = images_of(pair.config, options.data_root)[1]
    sizes = {name: options[name] for name in ("num_images", "num_weighted", "num_samples", "seed")}
    diagnosis = diagnose(pair.model, pair.guide, test, **sizes)

    run = Path(options.run)
    write_whole(run / "diagnosis.json", json.dumps(diagnosis.as_dict(), indent=2) + "\n")
    print_table(diagnosis)
    for line in diagnosis.verdict():
        print(line)
    from _figures import bars, save  # matplotlib is slow to import

    for latent in diagnosis.latents:
        panels = {"KL (nats)": latent.divergence, "variance of posterior means": latent.variance_of_means}
        print(
            save(bars(panels, f"coordinates of {latent.name}, sorted"), run / "figures" / f"latent_{latent.name}.png")
        )


def print_table(diagnosis: Diagnosis) -> None:
    print(
        f"{diagnosis.num_images} test images; weights of {diagnosis.num_weighted} with {diagnosis.num_samples} samples"
    )
    print(f"{'latent':10s} {'active':>9s} {'KL':>9s} {'mutual information':>20s}")
    for latent in diagnosis.latents:
        active = f"{latent.active}/{len(latent.variance_of_means)}"
        print(f"{latent.name:10s} {active:>9s} {sum(latent.divergence):9.3f} {latent.mutual_information:20.3f}")
    print(f"negative ELBO {diagnosis.negative_elbo:.3f}, negative IWAE {diagnosis.negative_iwae:.3f} nats")


if __name__ == "__main__":
    main(diagnose_run)
