"""Data sets of images and vectors, in memory or mapped from files."""
