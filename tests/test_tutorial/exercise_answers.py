"""Answers to the exercise that students give: other right ones, and the mistakes that lose a question its points."""

from conftest import ROOT

SOURCE = (ROOT / "tutorial" / "exercise" / "generative_models.py").read_text()

DRAW = "return mean + variance.sqrt() * torch.randn_like(mean)"
KL = "kl = 0.5 * (variance + mean**2 - 1 - variance.log()).sum(-1).mean()"
RECONSTRUCTION = 'x, reduction="none").sum(-1).mean()\n    return kl'
TERMS = "return kl + reconstruction, kl, reconstruction"
WEIGHT = "log_w = log_likelihood + prior.log_prob(z).sum(-1) - guide.log_prob(z).sum(-1)"
BOUND = "return -(log_w.view(m, -1).logsumexp(0) - torch.tensor(m).log()).mean()"
FORWARD = """    a, b = x.chunk(2, dim=-1)
    s, t = network(a)
    return torch.cat([a, s.exp() * b + t], dim=-1), s.sum(-1)"""
INVERSE = """    a, b = y.chunk(2, dim=-1)
    s, t = network(a)
    return torch.cat([a, (b - t) * (-s).exp()], dim=-1)"""
PAIR = "x, total = flip(y), total + log_det"
DENSITY = "return -(torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1) + log_det).mean()"
INVERSES = """        for network in reversed(self.networks):
            z = coupling_inverse(flip(z), network)"""
COPIES = "    x = x.repeat(m, 1)\n"
MEAN_COPIES = "(part.repeat(m, 1) for part in vae.encode(x))"

RIGHT = [
    (DRAW, "return torch.distributions.Normal(mean, variance.sqrt()).rsample()"),
    (KL, "kl = -0.5 * (1 + variance.log() - mean.pow(2) - variance).sum() / len(x)"),
    (BOUND, "return torch.tensor(m).log() - log_w.view(m, -1).logsumexp(0).mean()"),
    (FORWARD, FORWARD.replace("torch.cat([a, s.exp() * b + t], dim=-1)", "torch.hstack([a, b * s.exp() + t])")),
    (PAIR, "x, total = y.flip(-1), total + log_det"),
    (DENSITY, "return (0.5 * z**2 + 0.5 * torch.tensor(6.283185307).log()).sum(-1).mean() - log_det.mean()"),
    # m copies of each image, one after the other
    (
        SOURCE[SOURCE.index("    mean, variance = (part.repeat") : SOURCE.index(BOUND)] + BOUND,
        f"""    mean, variance = (part.repeat_interleave(m, 0) for part in vae.encode(x))
    x, z = x.repeat_interleave(m, 0), sample_gaussian(mean, variance)
    guide, prior = torch.distributions.Normal(mean, variance.sqrt()), torch.distributions.Normal(0.0, 1.0)
    log_likelihood = torch.distributions.Bernoulli(logits=vae.decode(z)).log_prob(x).sum(-1)
    {WEIGHT}
    return -(log_w.view(-1, m).logsumexp(1) - torch.tensor(m).log()).mean()""",
    ),
    # one draw after another
    (
        SOURCE[SOURCE.index("    mean, variance = (part.repeat") : SOURCE.index(BOUND)] + BOUND,
        """    mean, variance = vae.encode(x)
    guide, prior = torch.distributions.Normal(mean, variance.sqrt()), torch.distributions.Normal(0.0, 1.0)
    log_w = []
    for _ in range(m):
        z = sample_gaussian(mean, variance)
        log_p = torch.distributions.Bernoulli(logits=vae.decode(z)).log_prob(x).sum(-1)
        log_w.append(log_p + (prior.log_prob(z) - guide.log_prob(z)).sum(-1))
    return -(torch.stack(log_w).logsumexp(0) - torch.tensor(m).log()).mean()""",
    ),
    # an axis of its own for the draws
    (
        SOURCE[SOURCE.index("    mean, variance = (part.repeat") : SOURCE.index(BOUND)] + BOUND,
        """    mean, variance = (part.expand(m, *part.shape) for part in vae.encode(x))
    z = sample_gaussian(mean, variance)
    guide, prior = torch.distributions.Normal(mean, variance.sqrt()), torch.distributions.Normal(0.0, 1.0)
    log_p = torch.distributions.Bernoulli(logits=vae.decode(z)).log_prob(x).sum(-1)
    log_w = log_p + (prior.log_prob(z) - guide.log_prob(z)).sum(-1)
    return -(log_w.logsumexp(0) - torch.tensor(m).log()).mean()""",
    ),
]


def within(answer: str, part: str, replacement: str, question: str, message: str) -> tuple[str, str, str, str]:
    """A mistake that replaces a part of a right answer."""
    return answer, answer.replace(part, replacement), question, message


WRONG = {  # what is replaced by what, the question that loses its points, and a part of its message
    # Q2a
    "variance for deviation": within(DRAW, "variance.sqrt()", "variance", "q2a", "taken for the standard dev"),
    "unscaled noise": (DRAW, "return mean + torch.randn_like(mean) + 0 * variance", "q2a", "noise is not scaled"),
    "the mean alone": (DRAW, "return mean + 0 * variance", "q2a", "draw fresh noise"),
    "one noise": (DRAW, "return mean + variance.sqrt() * torch.randn(len(mean), 1)", "q2a", "coordinates share"),
    "uniform noise": (DRAW, "return mean + variance.sqrt() * (12**0.5) * torch.rand_like(mean)", "q2a", "not centred"),
    "no gradient": (DRAW, "return torch.normal(mean, variance.sqrt()).detach()", "q2a", "no gradient reaches the mean"),
    "no draw returned": within(DRAW, "return", "z =", "q2a", "NoneType"),
    # Q2b
    "sign of log variance": within(KL, "1 - var", "1 + var", "q2b", "wrong sign in front of log variance; comp"),
    "sign of mean": within(KL, "+ mean", "- mean", "q2b", "wrong sign in front of the squared mean"),
    "sign of variance": within(KL, "(var", "(-var", "q2b", "wrong sign in front of the variance"),
    "sign of 1": within(KL, "- 1", "+ 1", "q2b", "wrong sign in front of the 1"),
    "sign of KL": within(KL, "0.5", "-0.5", "q2b", "wrong sign as a whole"),
    "no half": within(KL, "0.5 * ", "", "q2b", "factor 1/2"),
    "variance for deviation in KL": (
        *(KL, KL.replace("variance", "variance**2").replace("**2.log()", ".log() * 2")),
        *("q2b", "variance was taken for the standard deviation"),
    ),
    "deviation for variance in KL": within(
        KL, "variance", "variance.sqrt()", "q2b", "standard deviation was taken for the variance"
    ),
    "sum over the batch": within(KL, ".sum(-1).mean()", ".sum()", "q2b", "KL term: the sum over the batch"),
    "mean of all": within(KL, ".sum(-1).mean()", ".mean()", "q2b", "mean over the coordinates"),
    "one KL for each image": within(KL, ".mean()", "", "q2b", "shape (5,), expected ()"),
    "sum of reconstructions": within(
        RECONSTRUCTION, ".sum(-1).mean()", ".sum()", "q2b", "reconstruction term: the sum over the batch"
    ),
    "mean over pixels": within(
        RECONSTRUCTION, ".sum(-1).mean()", ".mean()", "q2b", "reconstruction term: the mean over the pixels"
    ),
    "log-likelihood": (TERMS, "return kl - reconstruction, kl, -reconstruction", "q2b", "the negative of log p(x | z)"),
    "ELBO": (TERMS, "return -kl - reconstruction, kl, reconstruction", "q2b", "the ELBO itself"),
    "KL subtracted": (TERMS, "return reconstruction - kl, kl, reconstruction", "q2b", "KL term is subtracted"),
    "one number": (TERMS, "return kl + reconstruction", "q2b", "must return 3 values"),
    "detached": (TERMS, TERMS.replace("tion,", "tion.item(),").replace("kl +", "kl.item() +"), "q2b", "tensors"),
    "deviation to the draw": (
        *("decode(sample_gaussian(mean, variance))", "decode(sample_gaussian(mean, variance.sqrt()))"),
        *("q2b", "something else than the encoder's mean and variance"),
    ),
    "no code drawn": ("decode(sample_gaussian(mean, variance))", "decode(mean)", "q2b", "no code was drawn"),
    # Q2d
    "closed-form KL in the weights": (
        *(WEIGHT, "log_w = log_likelihood - torch.distributions.kl_divergence(guide, prior).sum(-1)"),
        *("q2d", "closed-form KL stands in the weights"),
    ),
    "no log m": (BOUND, "return -log_w.view(m, -1).logsumexp(0).mean()", "q2d", "log m is missing"),
    "mean of exp": (BOUND, "return -log_w.view(m, -1).exp().mean(0).log().mean()", "q2d", "use torch.logsumexp"),
    "mean of logs": (BOUND, "return -log_w.mean()", "q2d", "which is the ELBO"),
    "one sum for the batch": (
        *(BOUND, "return -(log_w.logsumexp(0) - torch.tensor(float(len(log_w))).log())"),
        *("q2d", "one log-mean over the whole batch"),
    ),
    "images in another order": (COPIES, "    x = x.repeat_interleave(m, 0)\n", "q2d", "two different orders"),
    "codes in another order": within(
        MEAN_COPIES, "repeat(m, 1)", "repeat_interleave(m, 0)", "q2d", "two different orders"
    ),
    "weights in another order": (
        *(BOUND, "return -(log_w.view(-1, m).logsumexp(1) - torch.tensor(m).log()).mean()"),
        *("q2d", "x1 x1 x2 x2"),
    ),
    "the bound itself": within(BOUND, "-(", "(", "q2d", "the bound itself; its negative"),
    "sum of bounds": within(BOUND, ".mean()", ".sum()", "q2d", "the sum over the batch"),
    "no prior": within(WEIGHT, " + prior.log_prob(z).sum(-1)", "", "q2d", "log p(z) is missing"),
    "no guide": within(WEIGHT, " - guide.log_prob(z).sum(-1)", "", "q2d", "log q(z | x) is missing"),
    "guide added": within(WEIGHT, "- guide", "+ guide", "q2d", "added, not subtracted"),
    "one draw for all": (MEAN_COPIES, "vae.encode(x)", "q2d", ""),
    # Q3d, the coupling
    "halves swapped": (
        *(FORWARD, FORWARD.replace("network(a)", "network(b)").replace("[a, s.exp() * b + t]", "[s.exp() * a + t, b]")),
        *("q3d_values", "the halves are swapped"),
    ),
    "halves swapped as they are split": within(FORWARD, "a, b =", "b, a =", "q3d_values", "the halves are swapped"),
    "halves joined in another order": within(
        FORWARD, "[a, s.exp() * b + t]", "[s.exp() * b + t, a]", "q3d_values", "joined in the wrong order"
    ),
    "shift first": within(FORWARD, "s.exp() * b + t", "s.exp() * (b + t)", "q3d_values", "after the scale"),
    "log-determinant negated": within(FORWARD, "s.sum", "-s.sum", "q3d_log_det", "the wrong sign"),
    "determinant": (FORWARD, FORWARD + ".exp()", "q3d_log_det", "the determinant itself"),
    "log-determinant of the batch": within(FORWARD, "s.sum(-1)", "s.sum()", "q3d_log_det", "the batch too"),
    "mean of s": within(FORWARD, "s.sum", "s.mean", "q3d_log_det", "mean over the coordinates"),
    "scale not undone": within(INVERSE, "(-s)", "s", "q3d_inverse", "the scale is not undone"),
    "shift undone last": within(INVERSE, "(b - t) * (-s).exp()", "b * (-s).exp() - t", "q3d_inverse", "it comes first"),
    "shift added": within(INVERSE, "b - t", "b + t", "q3d_inverse", "shift is added"),
    "inverse forwards": (
        *(INVERSE, "    return coupling_forward(y, network)[0]"),
        *("q3d_inverse", "coupling_forward once more"),
    ),
    "inverse of the other half": within(
        INVERSE, "a, b =", "b, a =", "q3d_inverse", "coupling_inverse(coupling_forward(x)) differs"
    ),
    # Q3d, the flip
    "flip does nothing": ("return x.flip(-1)", "return x", "q3d_flip", "nothing changed"),
    "flip of the batch": ("return x.flip(-1)", "return x.flip(0)", "q3d_flip", "the images of the batch were reversed"),
    "halves change places": ("return x.flip(-1)", "return x.roll(x.shape[-1] // 2, -1)", "q3d_flip", "kept its order"),
    # Q3d, the flow
    "no flip": (PAIR, "x, total = y, total + log_det", "q3d_pairs", "there is no flip"),
    "one pair too few": ("range(4)", "range(3)", "q3d_pairs", "the flow has 3 couplings, expected 4 pairs"),
    "one pair too many": ("range(4)", "range(5)", "q3d_pairs", "the flow has 5 couplings"),
    "flip before": (
        f"y, log_det = coupling_forward(x, network)\n            {PAIR}",
        "x, log_det = coupling_forward(flip(x), network)\n            total = total + log_det",
        *("q3d_pairs", "before its coupling"),
    ),
    "last log-determinant": (PAIR, "x, total = flip(y), log_det", "q3d_pairs", "the last one alone"),
    "a plain list": (
        *("nn.ModuleList(Network(size // 2) for _ in range(4))", "[Network(size // 2) for _ in range(4)]"),
        *("q3d_pairs", "nn.ModuleList"),
    ),
    "one network": (
        *("nn.ModuleList(Network(size // 2) for _ in range(4))", "nn.ModuleList([Network(size // 2)] * 4)"),
        *("q3d_pairs", "couplings share a network"),
    ),
    "pairs undone in their order": within(
        INVERSES, "reversed(self.networks)", "self.networks", "q3d_pairs", "last pair first"
    ),
    "flip undone last": within(
        INVERSES,
        "coupling_inverse(flip(z), network)",
        "flip(coupling_inverse(z, network))",
        "q3d_pairs",
        "the flip before",
    ),
    # Q3d, the loss
    "sign of the log-determinant": within(DENSITY, "+ log_det", "- log_det", "q3d_loss", "wrong sign: log p(x) ="),
    "no log-determinant": within(DENSITY, " + log_det", "", "q3d_loss", "log-determinant is missing"),
    "log-likelihood of the flow": within(DENSITY, "-(", "(", "q3d_loss", "its negative is asked for"),
    "sum of losses": within(DENSITY, ").mean()", ").sum()", "q3d_loss", "the sum over the batch"),
    "no constant": (
        *(DENSITY, "return (0.5 * z**2).sum(-1).mean() - log_det.mean()"),
        *("q3d_loss", "constant of the normal"),
    ),
    "mean over coordinates": within(DENSITY, ".sum(-1) +", ".mean(-1) +", "q3d_loss", "mean over the coordinates"),
}
