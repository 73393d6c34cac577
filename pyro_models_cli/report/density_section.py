"""The section of a report on a flow over continuous data."""

from inference import Pair, Run
from pyro_models import DensityModel
from pyro_models_cli.report.blocks import blocks_of
from pyro_models_cli.report.flow_section import form
from pyro_models_cli.report.run_data import RunData
from pyro_models_cli.report.sections import Section, measured, section, trained


@section.register
def _(model: DensityModel, pair: Pair, run: Run, data: RunData) -> Section:
    given = " given the label" if model.num_classes else ""
    return Section(
        f"Flow on {data.name}{given}",
        f"A flow {form(model.flow)} over {data.noun}s of {data.dims}{given}, without latents, {trained(run, pair)}.",
        blocks_of(pair, run, data),
        [
            "The model has no latents, so that its ELBO and all its bounds are log p(x) itself.",
            *measured(run, data),
        ],
    )
