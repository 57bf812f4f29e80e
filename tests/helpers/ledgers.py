"""Two ledgers compared: all that they hold, apart from times and what may differ."""

import numpy as np
import torch

from hauberk.store.ledger import VOLATILE, Ledger


def without_times(value):
    """A summary or a manifest without seconds."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if not k.startswith("seconds")}
    return value


def require_equal(one, other):
    """Fail unless two folders hold the same run: parts, manifest and summary."""
    one, other = Ledger.open(one), Ledger.open(other)
    first, second = (
        {k: v for k, v in ledger.manifest.items() if k not in VOLATILE} for ledger in (one, other)
    )
    assert first == second
    assert one.keys() == other.keys()
    for key in one.keys():  # noqa: SIM118
        a, b = one.part(key), other.part(key)
        assert list(a) == list(b)
        for name in a:
            if name != "seconds":
                assert np.array_equal(a[name], b[name], equal_nan=a[name].dtype.kind == "f"), key
        a, b = one.tensors(key), other.tensors(key)
        assert a.keys() == b.keys()
        for name in a:
            assert torch.equal(a[name], b[name]) or bool(a[name].isnan().any())
            assert torch.equal(a[name].nan_to_num(), b[name].nan_to_num()), key
    assert without_times(one.summary()) == without_times(other.summary())
