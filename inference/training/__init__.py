"""Fitting a pair: the loop, its steps, settings and history."""
