"""Train, evaluate and report on scikit-learn's digits, in about a minute."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_models_cli.commands.evaluate import EvaluateOptions, evaluate
from pyro_models_cli.commands.explore import ExploreOptions, explore
from pyro_models_cli.commands.report import ReportOptions, report
from pyro_models_cli.commands.train_realnvp import TrainRealNVPOptions, train_realnvp
from pyro_models_cli.commands.train_vae import TrainVAEOptions, train_vae
from pyro_models_cli.parser import Parser
from pyro_models_cli.recorded import command_of

FOLDER = Path("demo")


def demo(folder: Path | str = FOLDER, epochs: tuple[int, int] = (80, 50)) -> Path:
    """Train a VAE and a flow, evaluate both and report on them; returns the path of the report.

    Args:
        folder: folder for the runs, the report, and the page to play with the VAE.
        epochs: epochs of the VAE and of the flow.
    """
    networks = {"class_path": "flip_realnvp", "init_args": {"hidden": [256, 256]}}
    common: dict[str, Any] = {"dataset": "digits", "batch_size": 50, "overwrite": True}
    vae = TrainVAEOptions(latent_dim=16, epochs=epochs[0], out=str(Path(folder) / "vae"), **common)
    flow = TrainRealNVPOptions(flow=networks, epochs=epochs[1], out=str(Path(folder) / "realnvp"), **common)
    for_vae, for_flow, for_both = EvaluateOptions(repeats=10), EvaluateOptions(), ReportOptions(out=str(folder))
    to_play = ExploreOptions(out=str(Path(folder) / "explore.html"))

    _show("train-vae", vae)
    train_vae(vae)
    _show("evaluate", for_vae, vae.out)
    evaluate(vae.out, for_vae)
    _show("train-realnvp", flow)
    train_realnvp(flow)
    _show("evaluate", for_flow, flow.out)
    evaluate(flow.out, for_flow)
    _show("explore", to_play, vae.out)
    explore([vae.out], to_play)
    _show("report", for_both, vae.out, flow.out)
    page = report([vae.out, flow.out], for_both)
    print(f"\nOpen the report: {page.resolve()}")
    return page


def _show(name: str, options: object, *positional: str) -> None:
    print(f"\n$ {command_of(name, options, *positional)}", flush=True)


def command(argv: Sequence[str] | None = None) -> None:
    Parser(description=__doc__).parse(argv)
    demo()
