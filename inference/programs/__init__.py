"""A model and a guide run together: traces and their terms, importance weights, checks, protocols."""
