"""The command line: ``pyro-models train-vae ...``, or ``python scripts/train_vae.py ...``."""
