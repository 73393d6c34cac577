"""Break the code on purpose, one place at a time, and check that the tests notice.

Run ``make mutate``, or ``python tools/mutate.py NAME ...`` for some of the mutations.  Works on a copy.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
# name: file, text, replacement, and the tests that should notice
MUTATIONS: dict[str, tuple[str, str, str, str]] = {
    "sign of a coupling's log-determinant": (
        "pyro_models/transforms/coupling.py",
        "(-log_scale).exp()), -self._sum(log_scale)",
        "(-log_scale).exp()), self._sum(log_scale)",
        "test_pyro_models/test_transforms.py",
    ),
    "a coupling's scale counted over too few dimensions": (
        "pyro_models/transforms/coupling.py",
        "return log_scale.flatten(self.halves.dim).sum(-1)",
        "return log_scale.flatten(self.halves.dim).mean(-1)",
        "test_pyro_models/test_transforms.py",
    ),
    "a mask inverted": (
        "pyro_models/transforms/coupling.py",
        "kept = torch.where(self.mask, x, 0.0)",
        "kept = torch.where(self.mask, 0.0, x)",
        "test_pyro_models/test_transforms.py",
    ),
    "the bound of the log scale gone": (
        "pyro_models/transforms/coupling.py",
        "bounded(raw.to(x_a.dtype), self.bound)",
        "bounded(raw.to(x_a.dtype), None)",
        "test_pyro_models/test_transforms.py",
    ),
    "the flip between couplings omitted": (
        "pyro_models/flows/flip_realnvp.py",
        "transforms += [coupling_of_halves(conditioner, components, bound), Flip()]",
        "transforms += [coupling_of_halves(conditioner, components, bound)]",
        "test_pyro_models/test_flows.py",
    ),
    "a mixture's slope without its upper tail": (
        "pyro_models/transforms/logistic_mixture.py",
        "(above - log_rest[..., None, :])",
        "above",
        "test_pyro_models/test_mixture_coupling.py",
    ),
    "a mixture's inverse without the gradient of its parameters": (
        "pyro_models/transforms/logistic_mixture.py",
        "return x + (odds - found) * (-log_slope.detach()).exp()",
        "return x + (odds - odds.detach()) * (-log_slope.detach()).exp()",
        "test_pyro_models/test_mixture_coupling.py",
    ),
    "a guide of mixtures that draws in their slow direction": (
        "pyro_models/guides/flow_guide.py",
        "[coupling.inv for coupling in chain] if components else chain",
        "chain",
        "test_pyro_models/test_mixture_coupling.py",
    ),
    "a pixel that sees itself": (
        "pyro_models/networks/pixel_cnn.py",
        "pad(x[..., :-1], (self.sight, 0))",
        "pad(x, (self.sight - 1, 0))",
        "test_pyro_models/test_pixel_cnn.py",
    ),
    "a pixel's channels that see themselves": (
        "pyro_models/networks/pixel_cnn.py",
        "self.earlier_channels.triu(1)",
        "self.earlier_channels.triu(0)",
        "test_pyro_models/test_pixel_cnn.py",
    ),
    "ActNorm's determinant of one pixel alone": (
        "pyro_models/transforms/actnorm.py",
        "(math.prod(x.shape[split + 1 :]) * self.log_scale.sum())",
        "(self.log_scale.sum())",
        "test_pyro_models/test_transforms.py",
    ),
    "the squash's margin left out of its determinant": (
        "pyro_models/transforms/squash.py",
        "math.log(1 - 2 * self.alpha) - log_p - log_q",
        "-log_p - log_q",
        "test_pyro_models/test_transforms.py",
    ),
    "the log-determinant of all transforms but the first": (
        "pyro_models/flows/flow.py",
        "log_det = log_det + sum_rightmost(part, part.dim() - batch_dims)",
        "log_det = sum_rightmost(part, part.dim() - batch_dims)",
        "test_pyro_models/test_flows.py",
    ),
    "a temperature that is squared": (
        "pyro_models/flows/flow.py",
        "self.base_scale * temperature",
        "self.base_scale * temperature**2",
        "test_pyro_models/test_flows.py",
    ),
    "dequantisation without its log levels": (
        "pyro_models/distributions/quantization.py",
        "math.prod(self.event_shape) * math.log(self.levels), value.dtype",
        "0.0, value.dtype",
        "test_pyro_models/test_quantization.py",
    ),
    "binary pixels of the wrong sign": (
        "pyro_models/distributions/bernoulli.py",
        "return chosen - softplus(logits)",
        "return -chosen - softplus(-logits)",
        "test_pyro_models/test_likelihoods.py",
    ),
    "a logistic's last level without its tail": (
        "pyro_models/distributions/pixels.py",
        "torch.where(last, -softplus(lower), inner)",
        "inner",
        "test_pyro_models/test_likelihoods.py",
    ),
    "a mixture without the weights of its components": (
        "pyro_models/distributions/mixture.py",
        "peaks = self.mixture_distribution.logits - ",
        "peaks = -",
        "test_pyro_models/test_likelihoods.py",
    ),
    "binary pixels cut at one half in place of drawn": (
        "pyro_models/distributions/bernoulli.py",
        "torch.bernoulli(self.mean.expand(self._extended_shape(torch.Size(sample_shape))))",
        "self.mean.expand(self._extended_shape(torch.Size(sample_shape))).round()",
        "test_pyro_models/test_likelihoods.py",
    ),
    "an effective sample size that is one over the largest share": (
        "inference/evaluation/weights.py",
        "(2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp()",
        "(log_w.logsumexp(0) - log_w.amax(0)).exp()",
        "test_inference/test_diagnostics.py",
    ),
    "active units by ten times the threshold": (
        "inference/evaluation/diagnosis.py",
        "ACTIVE = 0.01  # v",
        "ACTIVE = 0.1  # v",
        "test_inference/test_diagnostics.py",
    ),
    "a missing log m": (
        "inference/programs/importance.py",
        "return (grouped.logsumexp(1) - math.log(m)).mean(0)",
        "return grouped.logsumexp(1).mean(0)",
        "test_inference/test_bounds.py",
    ),
    "overlapping groups of samples": (
        "inference/programs/importance.py",
        "groups = num_samples // m",
        "groups = 1",
        "test_inference/test_bounds.py",
    ),
    "the guide's density left out of the weights": (
        "inference/programs/importance.py",
        "return (log_joint(model_trace, x) - log_joint(guide_trace, x))",
        "return (log_joint(model_trace, x))",
        "test_inference/test_bounds.py",
    ),
    "the closed-form divergence in place of the drawn densities": (
        "inference/programs/importance.py",
        "return (log_joint(model_trace, x) - log_joint(guide_trace, x))",
        "return (-elbo_terms(model_trace, guide_trace).negative_elbo)",
        "test_inference/test_bounds.py",
    ),
    "the divergence the wrong way round": (
        "inference/programs/terms.py",
        'kl_divergence(guide_site["fn"], model_site["fn"])',
        'kl_divergence(model_site["fn"], guide_site["fn"])',
        "test_inference/test_bounds.py",
    ),
    "DReG's weights not squared": (
        "inference/objectives/path_derivative.py",
        "scale=scale: scale * gradient)",
        "scale=scale: gradient)",
        "test_pyro_models/test_gradients.py",
    ),
    "STL with the score": (
        "inference/objectives/path_derivative.py",
        "with _frozen(list(module.parameters())), _drawing_from(",
        "with _frozen([]), _drawing_from(",
        "test_pyro_models/test_gradients.py",
    ),
    "a Renyi bound of another order": (
        "inference/objectives/renyi.py",
        "power = 1 - self.alpha",
        "power = 1 + self.alpha",
        "test_inference/test_objectives.py",
    ),
    "free bits for the sum of the coordinates": (
        "inference/objectives/beta.py",
        "torch.where(of_all <= self.free_bits, self.free_bits, means).sum()",
        "means.sum().clamp(min=self.free_bits)",
        "test_inference/test_objectives.py",
    ),
    "pixels binarised once": (
        "inference/data/images.py",
        "return torch.rand_like(pixels).lt_(pixels.div_(self.levels - 1))",
        "return (pixels / (self.levels - 1) > 0.5).float()",
        "test_inference/test_data.py",
    ),
    "a loss that is a sum over the batch": (
        "inference/objectives/with_terms.py",
        "differentiable_loss(model, guide, *data) / len(data[0])",
        "differentiable_loss(model, guide, *data)",
        "test_inference/test_bounds.py",
    ),
    "the best epoch chosen by the test images": (
        "inference/training/history.py",
        'row.get("validation_negative_elbo", row["train_negative_elbo"])',
        'row["test_negative_elbo"]',
        "test_inference/test_fit.py",
    ),
    "metrics of standardised data reported for the data as they came": (
        "inference/training/history.py",
        "float(part.negative_elbo) - data.log_det",
        "float(part.negative_elbo)",
        "test_inference/test_any_data.py",
    ),
    "bounds of standardised data reported for the data as they came": (
        "inference/evaluation/bounds.py",
        "shares_joined(torch.cat(bounds[m])) - data.log_det",
        "shares_joined(torch.cat(bounds[m]))",
        "test_inference/test_any_data.py",
    ),
    "a divergence where there are no latents": (
        "inference/programs/terms.py",
        "torch.zeros_like(reconstruction[0])",
        "torch.ones_like(reconstruction[0])",
        "test_inference/test_no_latents.py",
    ),
    "standardised data whose determinant has the wrong sign": (
        "inference/data/vectors.py",
        "-math.fsum(self.scale",
        "math.fsum(self.scale",
        "test_inference/test_any_data.py",
    ),
    "data of a run that are not compared with its record": (
        "inference/data/records.py",
        "if not _same(name, record, now):",
        "if False:",
        "test_inference/test_own_data.py",
    ),
    "programs that mix up draws and observations": (
        "inference/programs/particles.py",
        "            if different is not None:",
        "            if False:",
        "test_inference/test_particles.py",
    ),
    "functions measured with dropout": (
        "inference/programs/evaluation_mode.py",
        "modes.enter_context(ModulesFound())",
        "pass",
        "test_inference/test_functions.py",
    ),
    "random numbers that do not depend on the epoch": (
        "inference/training/fit.py",
        "return self.settings.seed, self.history.epoch, self.rank, _STREAMS[stream]",
        "return self.settings.seed, 0, self.rank, _STREAMS[stream]",
        "test_inference/test_fit.py",
    ),
    "steps that are not finite taken after all": (
        "inference/training/steps.py",
        "elif not left_out:",
        "else:",
        "test_trust/test_nonfinite.py",
    ),
    "a checkpoint whose digest is not looked at": (
        "inference/runs/checkpoint.py",
        'if header.pop("sha256") != _digest(tensors, header):',
        'if not header.pop("sha256"):',
        "test_trust/test_files.py",
    ),
    "an epoch that is taken up without its random numbers": (
        "inference/training/fit.py",
        "restore_generators(partial.generators, self.device)",
        "restore_generators({}, self.device)",
        "test_trust/test_kills.py",
    ),
    "a graph that leaves stand-ins in its module": (
        "inference/compilation/graph.py",
        "            container.clear()\n",
        "            continue\n",
        "test_inference/test_compiled_programs.py",
    ),
    "a broken step that moves the weights in its graph": (
        "inference/compilation/update.py",
        "tensor.copy_(torch.where(finite, value, tensor))",
        "tensor.copy_(value)",
        "test_inference/test_update.py",
    ),
    "a graph's steps that are not counted": (
        "inference/compilation/update.py",
        "self._held.counts.add_(1)",
        "pass",
        "test_inference/test_update.py",
    ),
    "a graph that follows parameters which took other numbers of steps": (
        "inference/compilation/update.py",
        "return len(counts) == 1 and not any",
        "return not any",
        "test_inference/test_update.py",
    ),
    "a lowered precision that stays": (
        "inference/system/products.py",
        "        if precision is not None and _precision() != precision:\n",
        "        if precision is None:\n",
        "test_inference/test_products.py",
    ),
    "a run that goes on with other products": (
        "inference/training/history.py",
        'self.products = values.get("products", "default")',
        "self.products",
        "test_inference/test_update.py",
    ),
}


def copy_to(folder: Path) -> None:
    """Copy the files under version control, in their present state."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def noticed(folder: Path, name: str) -> bool:
    """Whether the tests fail with one place broken: first the nearest test file, then its folder.

    Raises:
        ValueError: if the text to replace is missing.
        RuntimeError: if the tests could not be run.
    """
    file, before, after, tests = MUTATIONS[name]
    nearest = f"tests/{tests}"
    whole = (folder / file).read_text()
    if before not in whole:
        raise ValueError(f"{name}: {before!r} is not in {file}; update the mutation")
    (folder / file).write_text(whole.replace(before, after))
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    try:
        for part in (nearest, str(Path(nearest).parent)):
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", part]
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            if done.returncode not in (0, 1):
                raise RuntimeError(f"{name}: the tests could not be run: {done.stdout[-500:]}{done.stderr[-500:]}")
            if done.returncode:
                return True
    finally:
        (folder / file).write_text(whole)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutations to try; by default all")
    names = parser.parse_args().names or list(MUTATIONS)
    unknown = [name for name in names if name not in MUTATIONS]
    if unknown:
        parser.error(f"unknown mutations {', '.join(unknown)}: expected {', '.join(MUTATIONS)}")
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy_to(Path(folder))
        for name in names:
            started = time.perf_counter()
            if not noticed(Path(folder), name):
                survivors.append(name)
            verdict = "NOT NOTICED" if name in survivors else "noticed"
            print(f"{verdict:12s} {time.perf_counter() - started:6.1f} s  {name}", flush=True)
    print(f"{len(names) - len(survivors)} of {len(names)} noticed")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
