"""Scripts run in forks of a process that has imported all that is slow to import, and killed where that is asked for.

    scripts = Warm()
    done = scripts.run("train_vae.py", "--out", "run", cwd=folder, kill_at=7)

A script can be killed after some seconds, or just before its n-th call that changes files: between any two of
these there is nothing else that a kill could cut short.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent.parent
CHANGING = ("replace", "rename", "link", "unlink", "rmdir", "mkdir", "fsync", "chmod", "symlink")


class Done(NamedTuple):
    """How a script ended.

    ``code`` is negative for the signal that killed it; ``calls`` counts those that change files.
    """

    code: int
    calls: int
    out: str
    err: str


class Warm:
    """The process to fork from; it lives as long as this object."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self,
        script: str,
        *arguments: Any,
        cwd: Path | str = ".",
        kill_at: int | None = None,
        kill_after: float | None = None,
    ) -> Done:
        argv = [script, *map(str, arguments)]
        order = {"argv": argv, "cwd": str(cwd), "kill_at": kill_at, "kill_after": kill_after}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return Done(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def _count_changes(kill_at: int | None) -> list[int]:
    calls = [0]

    def counted(name: str, only_new: bool = False) -> None:
        original = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if not only_new or args[1] & os.O_CREAT:
                calls[0] += 1
                if calls[0] == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        setattr(os, name, call)

    for name in CHANGING:
        counted(name)
    counted("open", only_new=True)
    return calls


def _child(argv: list[str], cwd: str, kill_at: int | None, pipe: int, files: list[int]) -> None:
    os.chdir(cwd)
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
    calls, code = _count_changes(kill_at), 0
    sys.argv = [str(ROOT / "scripts" / argv[0]), *argv[1:]]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(pipe, f"{calls[0]}".encode())
    os._exit(code)


def _serve() -> None:
    import torch
    import torch._dynamo

    import pyro_models_cli.commands.train_vae as train_vae  # noqa: F401
    from inference import load_dataset

    load_dataset("digits", None)
    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        outputs = [os.memfd_create(name) for name in ("out", "err")]
        receive, send = os.pipe()
        pid = os.fork()
        if not pid:
            _child(order["argv"], order["cwd"], order["kill_at"], send, outputs)
        os.close(send)
        killer = None
        if order["kill_after"] is not None:
            killer = threading.Timer(order["kill_after"], os.kill, (pid, signal.SIGKILL))
            killer.start()
        status = os.waitpid(pid, 0)[1]
        if killer:
            killer.cancel()
            killer.join()
        calls = os.read(receive, 20).decode() or "0"
        os.close(receive)
        texts = []
        for file in outputs:
            os.lseek(file, 0, os.SEEK_SET)
            with open(file, errors="replace") as stream:
                texts.append(stream.read())
        done = Done(os.waitstatus_to_exitcode(status), int(calls), *texts)
        print(json.dumps(done._asdict()), flush=True)


if __name__ == "__main__":
    _serve()
