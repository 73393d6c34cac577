"""What depends on data stays the same in every process."""

import torch
import torch.distributed
import torch.multiprocessing

from inference.system.processes import leave_processes
from pyro_models import ActNorm


def initialise(rank: int, world_size: int, folder: str) -> None:
    """One process: an ActNorm that sees its share of a batch."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size)
    norm = ActNorm(3)
    norm.inv(batch()[rank::world_size])
    torch.save(norm.state_dict(), f"{folder}/{rank}.pt")
    leave_processes()


def batch() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return 2 + 3 * torch.randn(8, 3, 4, 4, generator=generator)


def test_actnorm_starts_from_the_statistics_of_all_processes(tmp_path):
    torch.multiprocessing.spawn(initialise, (2, str(tmp_path)), nprocs=2)
    alone = ActNorm(3)
    alone.inv(batch())
    for rank in range(2):
        state = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(state[name], value, msg=f"{name} of process {rank}")
    assert bool(alone.initialised)
