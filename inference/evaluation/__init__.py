"""Measuring a trained pair: bounds on log p(x), diagnostics, collapse."""
