"""Programs recorded as graphs and compiled; what cannot be recorded runs as it is."""
