"""A run goes on only with what it began with: model, data and settings, for every kind of run."""

import copy
import threading
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import APGD, FGSM, PGD
from hauberk.evaluation import Suite, Transfer

TWO = (hb.Linf(0.1), hb.L2(0.4))


def net(seed=0, act=nn.ReLU, width=8):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, width), act(), nn.Linear(width, 3))


class Called(nn.Module):
    """The activation stands in the code of forward, where no repr shows it."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return self.net[3](torch.relu(self.net[1](x.flatten(1))))


class CalledOtherwise(Called):
    def forward(self, x):
        return self.net[3](torch.tanh(self.net[1](x.flatten(1))))


CalledOtherwise.__qualname__ = "Called"


def data(n=12, seed=1):
    x = torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(seed))
    return x, net()(x).argmax(1)


def evaluate(model, x, y, **options):
    given = {"threats": TWO, "suite": {"fgsm": FGSM(), "apgd": APGD(steps=3)}} | options
    return hb.evaluate(model, x, y, given.pop("threats"), **given)


def radius(model, x, y, **options):
    given = {"metric": ["l2", "linf"], "budget": 60} | options
    return hb.radius(model, x, y, given.pop("metric"), **given)


def minmax(model, x, y, **options):
    given = {"threat": "linf:0.1", "attack": PGD(loss="cw", steps=2)} | options
    models = model if isinstance(model, dict) else {"a": model, "b": net(5)}
    return hb.minmax(models, x, y, given.pop("threat"), **given)


KINDS = {"evaluate": evaluate, "radius": radius, "minmax": minmax}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def begun(kind, out, model, x, y, **options):
    """A run that was interrupted after its first parts."""

    def stop(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kind(model, x, y, out=out, progress=stop, **options)


def scaled(model):
    """Other weights by a hair, which no clean decision shows."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[1].weight[0, 0] += 1e-6
    return other


def hooked(model):
    model[1].register_forward_hook(lambda module, given, out: out * (1 + 1e-7))
    return model


def buffered(model):
    model.register_buffer("temperature", torch.ones(1))
    return model


OTHER_MODELS = {
    "weights": lambda model: net(7),
    "one weight": scaled,
    "activation": lambda model: nn.Sequential(model[0], model[1], nn.GELU(), model[3]),
    "width": lambda model: net(act=nn.ReLU, width=9),
    "dtype": lambda model: copy.deepcopy(model).double(),
    "normalisation": lambda model: hb.models.normalised(model, (1e-7,), (1.0,)),
    "another layer": lambda model: nn.Sequential(*model, nn.Dropout(0.5)),
    "a hook": lambda model: hooked(copy.deepcopy(model)),
    "a buffer": lambda model: buffered(copy.deepcopy(model)),
}


@pytest.mark.parametrize("what", OTHER_MODELS)
def test_another_model_is_refused_in_one_line(kind, what, tmp_path):
    model, (x, y) = net(), data()
    begun(kind, tmp_path / "r", model, x, y)
    with pytest.raises(hb.InputError, match=r"the (weights|architecture or code) of model") as told:
        kind(OTHER_MODELS[what](model), x, y, out=tmp_path / "r", resume=True)
    assert "\n" not in str(told.value)
    same = kind(copy.deepcopy(model), x, y, out=tmp_path / "r", resume=True)
    assert same.summary["n"] == len(x)


def test_code_of_forward_tells_models_apart(kind, tmp_path):
    x, y = data()
    begun(kind, tmp_path / "r", Called(), x, y)
    with pytest.raises(hb.InputError, match="architecture"):
        kind(CalledOtherwise(), x, y, out=tmp_path / "r", resume=True)


class Held(nn.Module):
    """Calls whatever it holds, by one and the same code."""

    def __init__(self, inner):
        super().__init__()
        self.inner = threading.local()  # no fingerprint looks into it
        self.inner.model = inner

    def forward(self, x):
        return self.inner.model(x)


def test_hidden_models_are_told_apart_by_their_decisions(kind, tmp_path):
    x, y = data()
    begun(kind, tmp_path / "r", Held(net()), x, y)
    with pytest.raises(hb.InputError, match="otherwise than this run recorded"):
        kind(Held(net(7)), x, y, out=tmp_path / "r", resume=True)
    kind(Held(net()), x, y, out=tmp_path / "r", resume=True)


def test_the_message_names_the_input(tmp_path):
    x, y = data()
    begun(evaluate, tmp_path / "r", Held(net()), x, y, ids=torch.arange(17, 29))
    with pytest.raises(hb.InputError, match=r"clean input 17 otherwise.*same model.*--out"):
        evaluate(
            Held(lambda x: net()(x) * 2), x, y, out=tmp_path / "r", resume=True,
            ids=torch.arange(17, 29),
        )  # fmt: skip


def test_rounding_is_allowed(kind, tmp_path):
    x, y = data()
    begun(kind, tmp_path / "r", Held(net()), x, y)
    kind(Held(lambda x: net()(x) * (1 + 1e-6)), x, y, out=tmp_path / "r", resume=True)


OTHER_RUNS = {
    "images_crc": {"x": lambda x: x.flip(0)},
    "labels_crc": {"y": lambda y: y.flip(0)},
    "ids_crc": {"ids": torch.arange(1, 13)},
    "box": {"box": (-1.0, 1.0)},
    "seed": {"seed": 1},
    "hauberk_version": {},
}


@pytest.mark.parametrize("what", OTHER_RUNS)
def test_other_data_and_settings_are_refused(kind, what, tmp_path, monkeypatch):
    model, (x, y) = net(), data()
    begun(kind, tmp_path / "r", model, x, y)
    given = dict(OTHER_RUNS[what])
    x, y = given.pop("x", lambda x: x)(x), given.pop("y", lambda y: y)(y)
    if what == "hauberk_version":
        text = (tmp_path / "r" / "manifest.json").read_text()
        (tmp_path / "r" / "manifest.json").write_text(text.replace('"0.1.0"', '"0.0.9"'))
    with pytest.raises(hb.InputError, match=f"other settings.*{what}") as told:
        kind(model, x, y, out=tmp_path / "r", resume=True, **given)
    assert "\n" not in str(told.value)


OTHER_SETTINGS = [
    (evaluate, {"threats": hb.Linf(0.1)}, "threats"),
    (evaluate, {"suite": {"fgsm": FGSM()}}, "attacks"),
    (evaluate, {"suite": {"fgsm": FGSM(), "apgd": APGD(steps=4)}}, "steps"),
    (evaluate, {"union_only": True}, "union_only"),
    (radius, {"metric": ["l2", "l1"]}, "metrics"),
    (radius, {"budget": 70}, "budget"),
    (radius, {"solver": "fmn"}, "solver"),
    (minmax, {"threat": "linf:0.2"}, "threat"),
    (minmax, {"attack": PGD(loss="cw", steps=3)}, "steps"),
    (minmax, {"objectives": {"minmax": hb.MinMax()}}, "objectives"),
    (minmax, {"gamma": 1.0}, "gamma"),
    (minmax, {"group": 2}, "group"),
    (minmax, {"judge_draws": 3}, "judge_draws"),
]


@pytest.mark.parametrize(("run", "given", "told"), OTHER_SETTINGS)
def test_other_questions_are_refused(run, given, told, tmp_path):
    model, (x, y) = net(), data()
    begun(run, tmp_path / "r", model, x, y)
    with pytest.raises(hb.InputError, match=f"other settings.*{told}"):
        run(model, x, y, out=tmp_path / "r", resume=True, **given)


def test_another_version_of_the_suite_is_refused(tmp_path):
    model, (x, y) = net(), data()
    suite = Suite(name="mine", version=1, about="", attacks={"fgsm": FGSM()})
    begun(evaluate, tmp_path / "r", model, x, y, suite=suite)
    later = Suite(name="mine", version=2, about="", attacks={"fgsm": FGSM()})
    with pytest.raises(hb.InputError, match="suite_version"):
        evaluate(model, x, y, out=tmp_path / "r", resume=True, suite=later)


def test_models_inside_the_settings_are_told_apart(tmp_path):
    """The sources of a transfer attack, and the features of a perceptual threat."""
    model, (x, y) = net(), data()
    for number, (one, other) in enumerate(
        [
            ({"suite": Transfer(sources={"s": net(1)}, attack=FGSM())},
             {"suite": Transfer(sources={"s": net(2)}, attack=FGSM())}),
            ({"threats": hb.Perceptual(net(1)[:2], 0.5)},
             {"threats": hb.Perceptual(net(2)[:2], 0.5)}),
        ]
    ):  # fmt: skip
        begun(evaluate, tmp_path / f"{number}", model, x, y, **one)
        with pytest.raises(hb.InputError, match=r"the weights of model '\S*' differ"):
            evaluate(model, x, y, out=tmp_path / f"{number}", resume=True, **other)
        evaluate(model, x, y, out=tmp_path / f"{number}", resume=True, **one)


@dataclass(frozen=True)
class Warmed(hb.MinMax):
    """An objective with a setting of its own."""

    heat: float = 1.0


def test_settings_that_no_notation_has_are_told_apart(tmp_path):
    model, (x, y) = net(), data()
    features = net(1)[:2]
    for number, (run, one, other) in enumerate(
        [
            (evaluate, {"threats": hb.Perceptual(features, 0.5, p=1)},
             {"threats": hb.Perceptual(features, 0.5, p=2)}),
            (evaluate, {"threats": hb.Measured(near, 0.5)}, {"threats": hb.Measured(far, 0.5)}),
            (minmax, {"objectives": {"o": Warmed(heat=1.0)}},
             {"objectives": {"o": Warmed(heat=2.0)}}),
        ]
    ):  # fmt: skip
        begun(run, tmp_path / f"{number}", model, x, y, **one)
        with pytest.raises(hb.InputError, match=r"other settings"):
            run(model, x, y, out=tmp_path / f"{number}", resume=True, **other)
        run(model, x, y, out=tmp_path / f"{number}", resume=True, **one)


def near(x0, x):
    return (x - x0).flatten(1).abs().amax(1)


def far(x0, x):
    return 2 * (x - x0).flatten(1).abs().amax(1)


class Scaled(nn.Module):
    """A number in an attribute, of which only the gradient knows."""

    def __init__(self, slope):
        super().__init__()
        self.net, self.slope = net(), slope

    def forward(self, x):
        x = x + (self.slope - 1) * (x - x.detach())
        return self.net(x)


def test_numbers_in_attributes_tell_models_apart(kind, tmp_path):
    x, y = data()
    begun(kind, tmp_path / "r", Scaled(1.0), x, y)
    with pytest.raises(hb.InputError, match="architecture"):
        kind(Scaled(0.5), x, y, out=tmp_path / "r", resume=True)
    kind(Scaled(1.0), x, y, out=tmp_path / "r", resume=True)


def own_loss(logits, y):
    return -logits.gather(1, y[:, None])[:, 0]


def test_a_loss_function_survives_another_process(tmp_path):
    """Where it lies in memory is not part of the manifest."""
    x, y = data()
    suite = {"pgd": PGD(steps=2, loss=own_loss)}
    begun(evaluate, tmp_path / "r", net(), x, y, suite=suite)
    assert " at 0x" not in (tmp_path / "r" / "manifest.json").read_text()


def scaled_distance(k):
    return lambda a, b: k * (a - b).flatten(1).norm(dim=1)


def scaled_loss(k):
    return lambda logits, y: k * logits.gather(1, y[:, None])[:, 0]


def clamped(k):
    return lambda x: x.clamp(0, k)


@pytest.mark.parametrize(
    ("run", "make", "message"),
    [
        (evaluate, lambda k: {"threats": hb.Measured(scaled_distance(k), 0.3, name="m")},
         "the threat 'm:0.3' in threats.0 is another one"),
        (evaluate, lambda k: {"suite": PGD(steps=2, loss=scaled_loss(k))}, "the function .*loss"),
        (evaluate, lambda k: {"threats": hb.FiniteSet([lambda x: x * 0.9, clamped(k)])},
         "the threat 'finite"),
        (minmax, lambda k: {"transforms": [clamped(k)]}, "the function .*transform"),
    ],
)  # fmt: skip
def test_closures_in_the_settings_are_told_apart(run, make, message, tmp_path):
    model, (x, y) = net(), data()
    begun(run, tmp_path / "r", model, x, y, **make(1.0))
    with pytest.raises(hb.InputError, match=message) as told:
        run(model, x, y, out=tmp_path / "r", resume=True, **make(2.0))
    assert "\n" not in str(told.value)
    run(model, x, y, out=tmp_path / "r", resume=True, **make(1.0))


class Cached(nn.Module):
    """Counts its calls, keeps its last input, and makes a table when it is first needed."""

    def __init__(self, levels=255):
        super().__init__()
        self.net, self.config, self.calls = net(), {"levels": levels}, 0
        self.last = self.table = None

    def forward(self, x):
        self.calls, self.last = self.calls + 1, x
        self.table = torch.ones(3) if self.table is None else self.table
        return self.net(x * (self.config["levels"] / 255)) * self.table


@pytest.mark.parametrize("warm", [False, True])
def test_what_changes_in_running_hinders_no_resuming(kind, warm, tmp_path):
    """Neither the model that was run, nor a new one, in place of either."""
    x, y = data()
    model = Cached()
    if warm:
        model(x)
    begun(kind, tmp_path / "r", model, x, y)
    with pytest.raises(hb.InputError, match="architecture or code"):
        kind(Cached(254), x, y, out=tmp_path / "r", resume=True)
    begun(kind, tmp_path / "r", Cached(), x, y, resume=True)
    kind(model, x, y, out=tmp_path / "r", resume=True)


def test_source_models_that_count_can_be_resumed_with(tmp_path):
    model, (x, y), source = net(), data(), Cached()
    suite = {"suite": Transfer(sources={"s": source}, attack=FGSM())}
    begun(evaluate, tmp_path / "r", model, x, y, **suite)
    evaluate(model, x, y, out=tmp_path / "r", resume=True, **suite)


def test_seeds_beyond_int64_are_refused(kind):
    x, y = data()
    with pytest.raises(hb.InputError, match="seed is 9223372036854775808"):
        kind(net(), x, y, seed=2**63)
