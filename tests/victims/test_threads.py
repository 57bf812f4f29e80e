"""The number of threads: asked for, set outside, kept by a resumed run, or timed."""

import logging

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.errors import InputError
from hauberk.evaluation import verify
from hauberk.store.ledger import Ledger
from hauberk.train.strategies.standard import Standard
from hauberk.victims import threads
from hauberk.victims.threads import Threads, choose, tell, timed
from hauberk.victims.victim import Victim


@pytest.fixture(autouse=True)
def torch_threads(monkeypatch):
    """Four threads that nothing outside has set, whatever this machine has."""
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    number = [4]  # noted only: the tests would wait for busy cores
    monkeypatch.setattr(torch, "get_num_threads", lambda: number[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda n: number.__setitem__(0, n))


class Work:
    """Work that takes so many seconds at each number of threads, by a clock of its own."""

    def __init__(self, seconds):
        self.seconds, self.now, self.seen = seconds, 0.0, []

    def __call__(self):
        self.seen.append(torch.get_num_threads())
        self.now += self.seconds[self.seen[-1]]

    def clock(self):
        return self.now


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def data(n=6):
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return x, net()(x).argmax(1)


@pytest.mark.parametrize(
    ("seconds", "most", "number", "tried"),
    [
        ({1: 0.08, 2: 0.05, 4: 0.03, 8: 0.02}, 8, 8, [1, 2, 4, 8]),
        ({1: 0.08, 2: 0.05, 4: 0.051, 8: 0.01}, 8, 2, [1, 2, 4]),  # what comes later is not tried
        ({1: 0.01, 2: 0.2, 4: 0.001}, 4, 1, [1, 2]),
        ({1: 0.1, 2: 0.091}, 2, 1, [1, 2]),  # less than a tenth faster is not worth a core
        ({1: 0.1, 2: 0.089}, 2, 2, [1, 2]),
        ({1: 0.08, 2: 0.05, 4: 0.03, 6: 0.02}, 6, 6, [1, 2, 4, 6]),
        ({1: 0.08}, 1, 1, [1]),
    ],
)
def test_more_threads_while_they_make_a_pass_faster(seconds, most, number, tried):
    work = Work(seconds)
    found = timed(work, most, work.clock)
    assert found.number == number
    assert found.timed == pytest.approx({n: seconds[n] for n in tried})
    assert list(dict.fromkeys(work.seen)) == tried
    assert torch.get_num_threads() == 4


def test_the_fastest_of_three_passes_counts_and_slow_ones_are_not_repeated():
    times = iter([0.1, 0.02, 0.05, 0.04, 0.03, 0.06])
    now = [0.0]

    def work():
        now[0] += next(times)

    assert timed(work, 2, lambda: now[0]).timed == pytest.approx({1: 0.02, 2: 0.03})
    slow = Work({1: 40.0, 2: 20.0})
    assert timed(slow, 2, slow.clock).number == 2
    assert slow.seen == [1, 2]


def test_what_is_asked_for_wins_then_the_environment_then_what_was_kept(monkeypatch):
    victims, x = [Victim(net())], data()[0]
    monkeypatch.setattr(threads, "timed", lambda work, most: Threads(3, "timed", {1: 1.0}))
    assert choose(victims, x).number == 3
    assert choose(victims, x, kept=2) == Threads(2, "as the run was begun")
    assert choose(victims, x, kept=9).number == 4  # on a smaller machine
    monkeypatch.setenv("MKL_NUM_THREADS", "4")
    assert choose(victims, x, kept=2) == Threads(4, "MKL_NUM_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert choose(victims, x, kept=2) == Threads(4, "OMP_NUM_THREADS")
    assert choose(victims, x, 7, kept=2) == Threads(7, "as asked")


def test_nothing_is_timed_where_there_is_nothing_to_choose(monkeypatch):
    monkeypatch.setattr(threads, "timed", lambda work, most: pytest.fail("timed"))
    assert choose([Victim(net())], torch.zeros(0, 1, 8, 8)).number == 4
    elsewhere = Victim(net())
    elsewhere.device = torch.device("meta")
    assert choose([elsewhere], data()[0], kept=2).number == 4
    torch.set_num_threads(1)
    assert choose([Victim(net())], data()[0]) == Threads(1, "as torch is set")


def test_timing_leaves_no_trace():
    class Noisy(nn.Module):
        """Draws, and is in train mode."""

        def __init__(self):
            super().__init__()
            self.net, self.sizes = net(), []

        def forward(self, x):
            self.sizes.append(len(x))
            return self.net(x + 0.1 * torch.rand_like(x))

    model = Noisy().train()
    victim, x = Victim(model, batch_size=4), data()[0]
    torch.manual_seed(3)
    found = choose([victim], x)
    after = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(3))
    assert (victim.forwards, victim.backwards) == (0, 0)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert set(model.sizes) == {4}  # the run's batch
    assert found.timed
    assert found.number in found.timed
    assert torch.get_num_threads() == 4


def test_a_model_that_fails_is_left_to_the_run():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("broken")

    assert choose([Victim(Broken())], data()[0]) == Threads(4, "as torch is set")
    with pytest.raises(InputError, match="the model fails"):
        hb.evaluate(Broken(), *data(), hb.Linf(0.1), suite="fast")


@pytest.mark.parametrize("number", [0, -1, 1.5])
def test_what_is_no_number_of_threads_is_refused(number):
    with pytest.raises(InputError, match=f"threads is {number}: give 1 or more"):
        choose([Victim(net())], data()[0], number)
    with pytest.raises(InputError, match=f"threads is {number}: give 1 or more"):
        hb.evaluate(net(), *data(), hb.Linf(0.1), threads=number)
    with pytest.raises(InputError, match=f"threads is {number}: give 1 or more"):
        hb.train.fit(net(), data(), Standard(), epochs=1, threads=number)


def test_the_line_says_what_was_timed(caplog):
    with caplog.at_level(logging.INFO, "hauberk"):
        tell(Threads(1, "OMP_NUM_THREADS"))
        tell(Threads(2, "timed", {1: 0.0251, 2: 0.013}))
        tell(Threads(3, "as asked"))
    # What the environment says is no news.
    assert caplog.messages == [
        "2 threads (a pass takes 25.1 ms with 1, 13 ms with 2)",
        "3 threads (as asked)",
    ]


class Watching(nn.Module):
    """Notes the number of threads that it is run with."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        SEEN.append(torch.get_num_threads())
        return self.net(x)


SEEN: list[int] = []


@pytest.fixture
def seen():
    SEEN.clear()
    return SEEN


RUNS = {
    "evaluate": lambda model, x, y, **how: hb.evaluate(
        model, x, y, hb.Linf(0.1), suite=hb.attacks.FGSM(), **how
    ),
    "radius": lambda model, x, y, **how: hb.radius(model, x, y, "l2", budget=60, **how),
    "minmax": lambda model, x, y, **how: hb.minmax(
        {"a": model, "b": model}, x, y, hb.Linf(0.1), attack=hb.attacks.FGSM(), **how
    ),
    "universal": lambda model, x, y, **how: hb.universal(
        model, x, y, hb.Linf(0.1), epochs=1, **how
    ),
    "transfer": lambda model, x, y, **how: hb.transfer(
        {"a": model, "b": model}, x, y, hb.Linf(0.1), hb.attacks.FGSM(), **how
    ),
    "corruptions": lambda model, x, y, **how: hb.analysis.corruption_table(
        {"a": model}, x, y, kinds=["fog"], severities=[1], **how
    ),
}


@pytest.mark.parametrize("kind", RUNS)
def test_every_run_takes_and_records_its_number_and_leaves_torch_alone(kind, seen, tmp_path):
    model, (x, y) = Watching(), data()
    RUNS[kind](model, x, y, threads=2, out=tmp_path)
    assert set(seen) == {2}
    assert torch.get_num_threads() == 4
    assert Ledger.open(tmp_path).manifest["threads"] == 2


def test_a_run_that_fails_leaves_torch_alone():
    def stop(_):
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        hb.evaluate(net(), *data(), hb.Linf(0.1), suite="fast", threads=2, progress=stop)
    assert torch.get_num_threads() == 4


def test_a_resumed_run_keeps_its_number_unless_another_is_asked_for(seen, tmp_path, monkeypatch):
    def run(**how):
        seen.clear()
        hb.evaluate(Watching(), *data(), hb.Linf(0.1), suite="fast", out=tmp_path, **how)

    monkeypatch.setattr(threads, "timed", lambda work, most: Threads(3, "timed", {1: 1.0}))
    run()
    assert set(seen) == {3}
    monkeypatch.setattr(threads, "timed", lambda work, most: pytest.fail("timed"))
    run(resume=True)
    assert set(seen) == {3}
    run(resume=True, threads=2)
    assert set(seen) == {2}
    assert Ledger.open(tmp_path).manifest["threads"] == 3
    seen.clear()
    model = Watching()
    assert verify(tmp_path, model).ok
    assert set(seen) == {3}
    seen.clear()
    assert verify(tmp_path, model, threads=1).ok
    assert set(seen) == {1}
    assert torch.get_num_threads() == 4


def test_a_ledger_of_before_is_resumed(tmp_path, monkeypatch):
    model = net()
    monkeypatch.setattr(threads, "timed", lambda work, most: Threads(2, "timed", {1: 1.0}))
    hb.evaluate(model, *data(), hb.Linf(0.1), suite="fast", out=tmp_path)
    file = tmp_path / "manifest.json"
    file.write_text(file.read_text().replace('"threads"', '"other"'))
    text = file.read_text()
    file.write_text("".join(line for line in text.splitlines(True) if '"other"' not in line))
    found = hb.evaluate(model, *data(), hb.Linf(0.1), suite="fast", out=tmp_path, resume=True)
    assert found.summary["n"] == 6


def test_training_takes_a_number_and_keeps_it(seen, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def stop(event):
        if event.done > 0.4:
            raise Stop

    def train(**how):
        seen.clear()
        found = hb.train.fit(
            Watching(), data(), Standard(), epochs=2, minibatch=3, out=tmp_path, **how
        )
        return found.summary["threads"]

    monkeypatch.setattr(threads, "timed", lambda work, most: Threads(3, "timed", {1: 1.0}))
    with pytest.raises(Stop):
        train(progress=stop, every_minutes=1e-9)
    assert seen[-1] == 3
    assert torch.get_num_threads() == 4
    monkeypatch.setattr(threads, "timed", lambda work, most: pytest.fail("timed"))
    assert train(resume=True) == 3
    assert seen[-1] == 3
    assert torch.get_num_threads() == 4
    assert hb.train.fit(net(), data(), Standard(), epochs=1, threads=2).summary["threads"] == 2
