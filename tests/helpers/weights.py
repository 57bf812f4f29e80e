"""Files of weights, and what loading says of them."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hauberk.errors import InputError
from hauberk.models import MLP, load_weights


def small():
    """A network of a few weights."""
    return MLP((4, 3, 2))


def refused(*args, call=load_weights):
    """The message, of one line, with which weights are refused."""
    with pytest.raises(InputError) as caught:
        call(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


def save(state, path):
    """Write a state dict in the format that the file's name says."""
    if path.suffix == ".npz":
        np.savez(path, **{k: v.numpy() for k, v in state.items()})
    elif path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
