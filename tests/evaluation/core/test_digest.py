"""Whatever a function, an object or a model does otherwise shows in its digest."""

import copy
import functools
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.evaluation.core.digest import digest, is_own, traits

LEVELS = 255


def closure(k):
    def inner(x):
        return k * x

    return inner


def defaults(k):
    def inner(x, k=k):
        return k * x

    return inner


def keyword(k):
    def inner(x, *, k=k):
        return k * x

    return inner


def nested(k):
    return closure(closure(k))


class Scale:
    def __init__(self, k):
        self.k = k

    def __call__(self, x):
        return self.k * x


class Text(str):
    __slots__ = ()


class Slotted:
    __slots__ = ("k",)

    def __init__(self, k):
        self.k = k


def with_global(k):
    """A function whose helper stands in its module."""
    scope = {"__name__": "own"}
    exec(f"def helper(x): return x * {k}\ndef outer(x): return helper(x)", scope)
    return scope["outer"]


def with_constant(k):
    scope = {"__name__": "own", "K": k}
    exec("def outer(x): return x * K", scope)
    return scope["outer"]


def with_method(k):
    scope = {"__name__": "own"}
    text = f"class C:\n    def a(self): return self.b()\n    def b(self): return {k}"
    exec(text, scope)
    return scope["C"]()


GUISES = {
    "lambda": lambda k: (lambda x: x[0]) if k == 1 else (lambda x: x[1]),
    "closure": closure,
    "closure in a closure": nested,
    "defaults": defaults,
    "keyword defaults": keyword,
    "partial": lambda k: functools.partial(closure(1), k),
    "partial keywords": lambda k: functools.partial(keyword(1), k=k),
    "bound method": lambda k: Scale(k).__call__,
    "callable": Scale,
    "slots": Slotted,
    "helper": with_global,
    "global constant": with_constant,
    "method": with_method,
    "wrapped": lambda k: functools.lru_cache(closure(k)),
    "no_grad": lambda k: torch.no_grad()(closure(k)),
    "namespace": lambda k: types.SimpleNamespace(k=k),
    "dict": lambda k: {"k": [k]},
    "set": lambda k: {"a", "b", k},
    "array": lambda k: np.array([k]),
    "array of objects": lambda k: np.array([closure(k), None], dtype=object),
    "tensor": lambda k: torch.tensor([k]),
    "model in a list": lambda k: [torch.manual_seed(k) and nn.Linear(2, 2)],
    "kind of number": lambda k: 1 if k == 1 else 1.0,
    "text": lambda k: str(k),
    "own text": lambda k: Text(str(k)),
    "dtype": lambda k: torch.float32 if k == 1 else torch.float16,
    "device": lambda k: torch.device("cpu" if k == 1 else "meta"),
    "torch function": lambda k: torch.relu if k == 1 else torch.tanh,
    "distribution": lambda k: torch.distributions.Normal(0.0, k),
    "finite set": lambda k: hb.FiniteSet([lambda x: x * 0.9, closure(k)]),
    "measured": lambda k: hb.Measured(functools.partial(closure(1), k), 0.3),
}


@pytest.mark.parametrize("guise", GUISES)
def test_every_guise_is_told_apart_and_is_itself(guise):
    make = GUISES[guise]
    assert digest(make(1)) == digest(make(1))
    assert digest(make(1)) != digest(make(2))


class Holder(nn.Module):
    def __init__(self, value=None):
        super().__init__()
        self.net, self._value = nn.Linear(2, 2), value

    def forward(self, x):
        return self.net(x)


VALUES = [
    1, 2, 1.0, True, None, "a", (1, 2), [1, 2], {"a": 1}, {"a": 2}, {1}, {2}, np.ones(2),
    np.zeros(2), torch.ones(2), torch.zeros(2), closure(1), closure(2), Scale(1), Scale(2),
]  # fmt: skip


def test_attributes_of_every_kind_tell_models_apart():
    torch.manual_seed(0)
    base = Holder()
    found = []
    for value in VALUES:
        model = copy.deepcopy(base)
        model._value = value
        assert traits(model) == traits(copy.deepcopy(model))
        found.append(tuple(traits(model).items()))
    assert len(set(found)) == len(VALUES)


def patched(model):
    model.forward = types.MethodType(lambda self, x: self.net(x.detach()), model)


CHANGES = {
    "forward hook": lambda m: m.net.register_forward_hook(lambda m, i, o: o * 0.5),
    "pre hook": lambda m: m.register_forward_pre_hook(lambda m, i: (i[0].detach(),)),
    "patched forward": patched,
    "alias": lambda m: setattr(m, "_value", m.net.weight),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_put_on_an_instance_shows(change):
    one, other = Holder(), Holder()
    CHANGES[change](other)
    assert traits(one) != traits(other)


def test_objects_that_hold_themselves_end():
    one = Scale(1)
    one.me = [one]
    model = Holder()
    model._value = [model, one]
    assert digest(one) == digest(copy.deepcopy(one))
    assert traits(model) == traits(copy.deepcopy(model))


def test_weights_are_no_attributes():
    model = Holder()
    model._value = [model.net.weight]
    before = traits(model)
    with torch.no_grad():
        model.net.weight.mul_(2)
    assert traits(model) == before


def test_digests_are_those_of_another_process():
    script = (
        "from tests.evaluation.core.test_digest import GUISES, Holder, digest, traits\n"
        "print(digest([m(1) for m in GUISES.values()], traits(Holder({'b', 'a', 'c'}))))"
    )
    root = str(Path(__file__).parents[3])
    found = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert found[0] == found[1]


def test_functions_in_a_set_that_they_use_themselves(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    code = "def a(x):\n    return x in KNOWN\ndef b(x):\n    return x + {}\nKNOWN = {{a, b}}\n"
    found = []
    for number, name in enumerate(("own_set_a", "own_set_b", "own_set_c")):
        (tmp_path / f"{name}.py").write_text(code.format(min(number, 1)))
        module = __import__(name)
        found.append(digest(module.a))
        assert digest(module.a) == found[-1]
        monkeypatch.delitem(sys.modules, name)
    assert found[0] != found[1] == found[2]


def test_what_goes_deep():
    deep = []
    for _ in range(5_000):
        deep = [deep, object]
    limit = sys.getrecursionlimit()
    assert digest(deep) == digest(deep)
    assert sys.getrecursionlimit() == limit


def test_packages_beside_their_distribution_are_no_own_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("packed_alone", "packed_beside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("def f(x):\n    return x\n")
    (tmp_path / "packed_beside-1.0.dist-info").mkdir()
    assert is_own(__import__("packed_alone").f)
    assert not is_own(__import__("packed_beside").f)
