import os
import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from pipeline.modeling import ranks
from pipeline.modeling.detector import Detector, Target

BATCH = torch.randn(6, 4, 5, 7, generator=torch.Generator().manual_seed(0)) * 3 + 2


def two(work: Callable[[], None]) -> None:
    """Run `work` in two ranks; what it raises is raised here."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    spawn(_rank, (port, work), nprocs=2)  # type: ignore[no-untyped-call]


def _rank(number: int, port: int, work: Callable[[], None]) -> None:
    here = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in here.items()})
    with ranks.joined():
        work()


class Bright(Detector):
    """One convolution and one batch norm; the loss is a mean over the batch."""

    def __init__(self) -> None:
        super().__init__(1)
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3))

    def loss(self, images: Tensor, _: list[Target]) -> dict[str, Tensor]:
        return {"level": (self.body(images) - images[:, :1, 1:-1, 1:-1]).square().mean()}

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


def stepped(model: Detector, batch: Tensor) -> dict[str, Tensor]:
    """State and gradients after one backward pass."""
    losses = ranks.shared(model)  # held: what averages the gradients lives as long as it does
    losses(batch, [])["level"].backward()
    gradients = {f"{name}.grad": it.grad for name, it in model.named_parameters() if it.grad is not None}
    return {**model.state_dict(), **gradients}


def compare_with_one() -> None:
    """In a rank: its half of the batch gives the gradients and running figures that plain torch gives of the whole."""
    plain = Bright()
    plain.loss(BATCH, [])["level"].backward()  # type: ignore[no-untyped-call]
    wanted = {**plain.state_dict(), **{f"{name}.grad": it.grad for name, it in plain.named_parameters()}}
    found = stepped(Bright(), BATCH[3 * ranks.rank() :][:3])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    assert len(found) == 2 + 2 + 3 + 4  # weights, running figures, gradients


def test_two_halves_of_a_batch_give_the_gradients_of_the_whole() -> None:
    two(compare_with_one)


def exchange() -> None:
    """In a rank: what is dealt out comes back in order; means are of both."""
    assert ranks.count() == 2
    dealt = ranks.share(list("abcde"))
    assert dealt == [["a", "c", "e"], ["b", "d"]][ranks.rank()]
    assert ranks.gathered(dealt) == list("abcde")
    assert ranks.mean(torch.tensor([1.0, 10.0]) * (1 + 2 * ranks.rank())).tolist() == [2, 20]


def test_ranks_deal_out_and_gather_in_order() -> None:
    two(exchange)


def add_up() -> None:
    """In a rank: gradients of parts stay apart until the last; then they are the mean over the ranks."""
    model = Bright().eval()
    losses, value = ranks.shared(model), float(ranks.rank())
    for last in (False, True):
        with ranks.apart(losses, not last):
            losses(BATCH + value, [])["level"].backward()
        held = model.body[1].bias.grad
        assert isinstance(held, Tensor)
        same = torch.equal(ranks.mean(held), held)
        assert same == last


def test_gradients_stay_apart_until_the_last_part() -> None:
    two(add_up)


def test_alone_everything_is_as_it_was() -> None:
    model = Bright()
    with ExitStack() as stack:
        stack.enter_context(ranks.joined())
        assert (ranks.rank(), ranks.count(), ranks.launched()) == (0, 1, False)
        value = torch.ones(2)
        assert ranks.mean(value) is value
        assert ranks.gathered(ranks.share([1, 2, 3])) == [1, 2, 3]
        ranks.shared(model)
    assert type(model.body[1]) is nn.BatchNorm2d


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shared_batch_norm_at_rest_is_torchs(dtype: torch.dtype) -> None:
    plain = nn.BatchNorm2d(4).eval()
    shared = ranks.SharedBatchNorm(4).eval()
    assert torch.equal(shared(BATCH.to(dtype)), plain(BATCH.to(dtype)))
