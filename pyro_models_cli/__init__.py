"""The command line: ``pyro-models train-vae ...``, or ``python scripts/train_vae.py ...``.

Every command is also a function of typed options:

>>> from pyro_models_cli.commands.evaluate import EvaluateOptions, evaluate
>>> from pyro_models_cli.commands.train_vae import TrainVAEOptions, train_vae
>>> options = TrainVAEOptions(dataset="digits", prior="VampPrior", epochs=1, compile="off", out="runs/vamp")
>>> run = train_vae(options)  # doctest: +ELLIPSIS
digits: 1,438 training and 359 test images ...
seen in black and white, drawn anew every time (--binarisation dynamic)
epoch 1/1: ...
run written to runs/vamp: last epoch 1, ... minutes
>>> record = evaluate(run.path, EvaluateOptions(m=[5], repeats=2))  # doctest: +ELLIPSIS
359 test images of digits, binarisation dynamic, 2 repeats; ± standard error over repeats; in brackets over ...
negative ELBO ...
negative IWAE, m = 5 ...
>>> record["negative_iwae"]["5"]["value"] < record["negative_elbo"]["value"]
True
"""
