"""Figures of runs and pairs, made with matplotlib alone: without pyplot, and without changing its settings."""
