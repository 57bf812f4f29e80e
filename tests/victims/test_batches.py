"""How many examples go through a model at once: by a trial of memory, not by the input alone."""

import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.store.ledger import Ledger
from hauberk.victims import batches
from hauberk.victims.averaged import Averaged
from hauberk.victims.batches import BatchSize, choose, measured
from hauberk.victims.victim import Victim, usual_batch


class Wide(nn.Module):
    """Keeps so many numbers of an example of 4 for the way back."""

    def __init__(self, kept):
        super().__init__()
        self.kept, self.sizes = kept, []

    def forward(self, x):
        self.sizes.append(len(x))
        wide = x.flatten(1).repeat(1, self.kept // 4)
        return wide.exp().view(len(x), 2, -1).mean(2)


X = torch.rand(40, 4, generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")


@pytest.fixture
def free(monkeypatch):
    """How much is free; and that the process grows by nothing, as with memory it has kept."""
    left = [2**40]
    monkeypatch.setattr(batches, "free_memory", lambda device: left[0])

    class Still:
        bytes = 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(batches, "Growth", Still)
    return left


def test_what_an_example_takes_is_what_a_pass_keeps_and_a_quarter_more(free):
    # exp keeps its result; its width is that of the input.
    assert measured(Victim(Wide(4000)), X) == 1.25 * 4 * 4000
    assert measured(Victim(Wide(8000)), X[:2]) == 1.25 * 4 * 8000
    assert measured(Averaged(Wide(4000), draws=5), X) == pytest.approx(1.25 * 4 * 4000, rel=0.01)


def test_parameters_are_no_part_of_it(free):
    model = nn.Sequential(nn.Linear(4, 50_000), nn.Tanh(), nn.Linear(50_000, 2))
    assert measured(Victim(model), X) == pytest.approx(1.25 * 4 * 50_000, rel=0.01)


def test_growth_counts_where_it_is_more(monkeypatch):
    grown = iter([1000, 301_000])

    class Grows:
        def __enter__(self):
            self.bytes = next(grown)
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(batches, "Growth", Grows)
    assert measured(Victim(Wide(40)), X) == 100_000


@pytest.mark.parametrize(
    ("left", "size"),
    [(2**40, 256), (2 * 256 * 20_000, 256), (2 * 256 * 20_000 - 2, 128), (2 * 65 * 20_000, 64),
     (2 * 3 * 20_000, 2), (10, 1)],
)  # fmt: skip
def test_half_of_the_free_memory_is_filled_in_powers_of_two(free, left, size):
    free[0] = left
    found = choose(Victim(Wide(4000)), X, n=1000)
    assert (found.size, found.each, found.free, found.limited) == (size, 20_000, left, size < 256)


def test_no_more_than_2_gigabytes_on_a_cpu(free, monkeypatch):
    monkeypatch.setitem(batches.MOST, "cpu", 20_000 * 100)
    assert choose(Victim(Wide(4000)), X, n=1000).size == 64


def test_processes_share_what_is_free(free):
    free[0] = 2 * 256 * 20_000
    assert [choose(Victim(Wide(4000)), X, 1000, sharing=k).size for k in (1, 2, 5)] == [
        256,
        128,
        32,
    ]


def test_what_was_asked_for_or_begun_with_is_kept(free):
    model = Wide(4000)
    assert choose(Victim(model, batch_size=7), X, n=1000) == BatchSize(7, "as asked")
    assert model.sizes == []
    assert choose(Victim(model), X, n=1000, kept=64).size == 64
    assert choose(Victim(model), X, n=1000, kept=4096).size == 256
    free[0] = 2 * 33 * 20_000
    assert choose(Victim(model), X, n=1000, kept=64).size == 32


def test_a_trial_is_small_and_leaves_no_trace(free):
    model = Wide(4000)
    victim = Victim(model)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    choose(victim, X, n=1000)
    assert sum(model.sizes) <= 6
    assert (victim.forwards, victim.backwards, victim.rows) == (0, 0, None)
    assert torch.equal(torch.get_rng_state(), state)
    model.sizes.clear()
    assert choose(victim, X, n=8).size == usual_batch(CPU, X[:1]) == 256
    assert model.sizes == []


def test_a_model_that_fails_is_left_to_the_run_and_one_too_large_gets_one_example(free):
    class Fails(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    class Large(nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("no")

    assert choose(Victim(Fails()), X, n=1000).size == 256
    assert choose(Victim(Large()), X, n=1000).size == 1


def test_it_is_told_where_memory_decides(caplog):
    caplog.set_level("INFO", logger="hauberk")
    batches.tell(BatchSize(256, "as is usual", 20_000, 10**9))
    assert caplog.messages == []
    batches.tell(BatchSize(64, "measured", 28_000_000, 22_400_000_000, True), "wrn")
    assert caplog.messages == [
        "wrn: batches of 64 (an example takes 28 MB, of 22 GB that are free)"
    ]


@pytest.mark.filterwarnings("ignore:the gradient of the logit margin")
def test_a_run_takes_the_batch_records_it_and_is_resumed_with_it(free, tmp_path):
    free[0] = 2 * 16 * 20_000
    model, y = Wide(4000), torch.zeros(40, dtype=torch.int64)
    options = {"suite": hb.attacks.FGSM(), "out": tmp_path / "r"}
    hb.evaluate(model, X, y, hb.Linf(0.1), **options)
    assert max(model.sizes) == 16
    manifest = Ledger.open(tmp_path / "r").manifest
    assert (manifest["batch_size"], manifest["batch_sizes"]) == (None, {"model": 16})
    free[0], model.sizes = 2**40, []
    (tmp_path / "r/summary.json").unlink()
    for file in (tmp_path / "r/parts").glob("attack-*"):
        file.unlink()
    hb.evaluate(model, X, y, hb.Linf(0.1), **options, resume=True)
    assert max(model.sizes) == 16


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory as Linux knows them")
def test_a_run_goes_on_where_the_system_refuses_memory():
    """Under a limit that 64 examples exceed; the trial is told that everything is free."""
    script = """
        import resource, torch
        import hauberk as hb
        from hauberk.victims import batches, victim

        batches.free_memory = victim.free_memory = lambda device: 2**40
        batches.MOST["cpu"] = 2**40

        class Wide(torch.nn.Module):
            sizes = []

            def forward(self, x):
                wide = x.repeat(1, 2**18).exp()  # 4 MiB an example, and as much again
                self.sizes.append(len(x))
                return wide.view(len(x), 2, -1).mean(2)

        held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + 2**28, resource.RLIM_INFINITY))
        x, y = torch.rand(64, 4), torch.zeros(64, dtype=torch.int64)
        model = Wide()
        found = hb.evaluate(model, x, y, hb.Linf(0.1), suite=hb.attacks.FGSM())
        print(max(model.sizes), len(found.ids))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    most, n = map(int, done.stdout.split())
    assert most < 64
    assert n == 64
