"""The section of a report on a pair of programs of any type, such as a user's own."""

from inference import Pair, Run
from pyro_models_cli.report.blocks import blocks_of
from pyro_models_cli.report.run_data import RunData
from pyro_models_cli.report.sections import Section, binarisation, measured, trained


def any_section(pair: Pair, run: Run, data: RunData) -> Section:
    model, guide = type(pair.model).__name__, type(pair.guide).__name__
    given = " given the label" if data.shown.conditional else ""
    return Section(
        f"{model} on {data.name}{given}",
        f"A {model}{given} with the guide {guide}, {trained(run, pair)}.",
        blocks_of(pair, run, data),
        [*binarisation(getattr(data.shown, "binarisation", "none")), *measured(run, data)],
    )
