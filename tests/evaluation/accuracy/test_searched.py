"""Searches on a faster copy: the model decides, and what the copy mistook goes back to it."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import APGD, FGSM, PGD
from hauberk.engine.method import Job
from hauberk.engine.outcome import Outcome
from hauberk.errors import HauberkWarning, InputError
from hauberk.evaluation import verify
from hauberk.evaluation.accuracy.searched import doubtful, merged, searched
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.prepare import prepare
from hauberk.store.ledger import Ledger
from hauberk.victims.fast_copy import FastCopy, SearchOn
from hauberk.victims.victim import Victim

ON = SearchOn(precision="bf16", channels_last=True)


def net(seed=0):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4))
    # Inputs lie around 0.5: there are all classes among them.
    made[1].bias.data = -made[1].weight.data.sum(1) / 2
    made[3].bias.data.zero_()
    return made


def data(n=24):
    x = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    return x, net()(x).argmax(1)


class Mistaken(FastCopy):
    """A copy that takes the least likely class for the likeliest."""

    def __init__(self, victim):
        super().__init__(victim, SearchOn(precision="bf16"))

    def logits(self, x, soften=0.0):
        return -super().logits(x, soften)


def outcome(points, fooled, **more):
    n = len(points)
    ones = torch.ones(n, dtype=torch.int64)
    return Outcome(
        points,
        torch.zeros(n),
        fooled,
        torch.zeros(n, dtype=torch.float64),
        ones,
        ones,
        ones,
        **more,
    )


def setting(fast=None, n=24):
    x, y = data(n)
    made = prepare({"model": net()}, x, y, RunOptions(threads=1))
    return replace(made, copy=None if fast is None else fast(made.victim))


def job(n=24, eps=0.05):
    x, y = data(n)
    return Job(threat=hb.Linf(eps), x=x, y=y, seed=1)


def test_without_a_copy_it_is_the_attack_itself():
    attack = APGD(steps=5)
    one, other = attack.run(Victim(net()), job()), searched(setting(), attack, job())
    assert torch.equal(one.points, other.points)
    assert torch.equal(one.forwards, other.forwards)


def test_points_that_only_the_copy_believed_go_back_to_the_same_search():
    attack, asked = APGD(steps=5), job()
    alone = attack.run(Victim(net()), asked)
    found = searched(setting(Mistaken), attack, asked)  # at the first point, all are believed
    assert torch.equal(found.points, alone.points)
    assert torch.equal(found.fooled, alone.fooled)
    # The copy's first forward (a gradient goes with it), the look, and the whole search again;
    # where that first point fools the model, there is no second search.
    again = (alone.forwards > 1).long()
    assert again.sum() > 12
    assert torch.equal(found.forwards, alone.forwards * again + 2)
    assert torch.equal(found.backwards, alone.backwards * again + 1)


def test_what_fools_the_model_stays_as_the_copy_found_it():
    fast = FastCopy(Victim(net()), SearchOn(precision="bf16"))
    attack, asked = APGD(steps=5), job(eps=0.6)
    copied = attack.run(fast, asked)
    found = searched(setting(lambda v: FastCopy(v, SearchOn(precision="bf16"))), attack, asked)
    kept = doubtful(Victim(net()), fast, copied, asked.y)
    same = torch.ones(len(asked), dtype=torch.bool)
    same[kept] = False
    assert same.sum() > len(asked) // 2
    assert torch.equal(found.points[same], copied.points[same])
    assert torch.equal(found.forwards[same], copied.forwards[same] + 1)


def test_doubtful_are_false_claims_and_points_within_rounding():
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.eye(2)
    victim = Victim(model)
    fast = FastCopy(victim, SearchOn(precision="bf16"))
    edge = fast.rounding  # of the largest logit, which is 1
    points = torch.tensor(
        [[1.0, 0.5], [1.0, 0.5], [1.0, 1 - 0.9 * edge], [1.0, 1 - 1.1 * edge], [0.5, 1.0]]
    )
    claimed = torch.tensor([True, False, False, False, True])
    rows = doubtful(victim, fast, outcome(points, claimed), torch.zeros(5, dtype=torch.int64))
    assert rows.tolist() == [0, 2]
    exact = FastCopy(victim, SearchOn(channels_last=True))  # no other precision: claims alone
    rows = doubtful(victim, exact, outcome(points, claimed), torch.zeros(5, dtype=torch.int64))
    assert rows.tolist() == [0]


def test_merging_replaces_rows_and_adds_passes():
    names = ("worst", "zero", "huge", "violation")
    first = outcome(
        torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([True, True, False]),
        each=torch.ones(3, 2), by=("a", "b", "c"), report={"r": torch.tensor([1.0, 2.0, 3.0])},
        **{name: torch.tensor([1.0, 2.0, 3.0]) for name in names},
    )  # fmt: skip
    again = outcome(
        torch.tensor([[9.0], [8.0]]), torch.tensor([False, True]),
        each=torch.zeros(2, 2), by=("x", None), report={"r": torch.tensor([9.0, 8.0])},
        **{name: torch.tensor([9.0, 8.0]) for name in names},
    )  # fmt: skip
    found = merged(first, torch.tensor([2, 0]), again)
    assert found.points.tolist() == [[8.0], [2.0], [9.0]]
    assert found.fooled.tolist() == [True, True, False]
    assert found.forwards.tolist() == found.backwards.tolist() == [2, 1, 2]
    assert found.attempt.tolist() == [1, 1, 1]
    assert found.each.tolist() == [[0, 0], [1, 1], [0, 0]]
    assert found.by == (None, "b", "x")
    assert found.report["r"].tolist() == [8.0, 2.0, 9.0]
    for name in names:
        assert getattr(found, name).tolist() == [8.0, 2.0, 9.0]
    assert first.points.tolist() == [[1.0], [2.0], [3.0]]


def test_other_kinds_of_methods_take_the_model():
    class Own(FGSM):
        kind = hb.engine.method.Kind.FOREIGN

        def run(self, victim, job):
            assert type(victim) is Victim
            return super().run(victim, job)

    searched(setting(Mistaken), Own(), job())


@pytest.mark.parametrize("word", ["bf16", "fp16", "fp32"])
def test_accuracies_are_those_of_a_search_on_the_model(word):
    x, y = data(40)
    threats = [hb.Linf(0.03), hb.L2(0.12)]
    own = hb.evaluate(net(), x, y, threats, suite="fast")
    fast = hb.evaluate(net(), x, y, threats, suite="fast", search_precision=word)
    for name, accuracy in own.accuracy.items():
        assert 0 < accuracy < 1
        assert abs(fast.accuracy[name] - accuracy) <= 1 / 40


def test_the_manifest_says_so_a_resumed_run_keeps_it_and_verifying_needs_no_word(tmp_path):
    model, (x, y) = net(), data()

    def run(**how):
        return hb.evaluate(
            model, x, y, hb.Linf(0.1), suite={"pgd": PGD(steps=3)}, out=tmp_path, **how
        )

    before = copy.deepcopy(model.state_dict())
    found = run(search_precision=ON)
    manifest = Ledger.open(tmp_path).manifest
    assert (manifest["search_precision"], manifest["channels_last"]) == ("bf16", True)
    assert "compile" not in manifest
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert verify(tmp_path, model).ok
    resumed = run(search_precision=ON, resume=True)
    assert resumed.accuracy == found.accuracy
    with pytest.raises(InputError, match=r"search_precision is .* here but .bf16. there"):
        run(resume=True)
    plain = hb.evaluate(model, x, y, hb.Linf(0.1), suite={"pgd": PGD(steps=3)})
    assert "search_precision" not in plain.store.manifest


def test_passes_of_the_copy_are_in_the_cost_and_the_progress():
    def run(**how):
        events = []
        found = hb.evaluate(
            net(), *data(), hb.Linf(1e-4), suite={"pgd": PGD(steps=3)}, progress=events.append,
            **how,
        )  # fmt: skip
        assert events[-1].backwards == found.summary["cost"]["backwards"]
        return found.summary["cost"]

    own, copied = run(), run(search_precision=SearchOn(channels_last=True))
    assert copied["backwards"] == own["backwards"] == 24 * 3
    assert copied["forwards"] == own["forwards"] + 24  # a look at every point


def test_a_model_without_a_copy_is_searched_itself_with_a_warning():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x):
            return self.net(x.float())

    x, y = data()
    with pytest.warns(HauberkWarning, match="search on the model itself, without search_prec"):
        found = hb.evaluate(Own(), x, y, hb.Linf(0.1), suite=FGSM(), search_precision="bf16")
    plain = hb.evaluate(net(), x, y, hb.Linf(0.1), suite=FGSM())
    assert found.accuracy == plain.accuracy
