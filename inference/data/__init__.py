"""Data sets of images, held in memory."""
