"""Natural training mixed into adversarial training by projection, epoch after epoch."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.errors import InputError
from hauberk.spec.imports import one_line
from hauberk.train.loop.processes import Processes
from hauberk.victims.outputs import as_logits


class Natural:
    """A twin of the model that trains on the clean minibatches, from the same weights each epoch.

    At the end of an epoch every parameter has moved by ``a`` in adversarial training and by ``n``
    in natural training, and is set to where it was, plus::

        (1 - share) a + share max(0, cos(a, n)) n

    So do running means and variances; other buffers are those of adversarial training.

    Source: Jiang & Singh 2024 (RAMP), gradient projection; their share is 0.5.

    Args:
        model: The model in adversarial training.
        share: That of natural training, in (0, 1].
        make: Makes the optimiser of a model.

    Attributes:
        twin: The model in natural training.
        optimiser: That of the twin.

    Raises:
        InputError: for a model that cannot be copied.
    """

    def __init__(
        self, model: nn.Module, share: float, make: Callable[[nn.Module], torch.optim.Optimizer]
    ) -> None:
        self.share = share
        try:
            self.twin = copy.deepcopy(model)
            self.optimiser = make(self.twin)
        except InputError:
            raise
        except Exception as error:  # whatever copying a user's model raises
            raise InputError(
                f"natural trains a copy of the model, which cannot be made ({one_line(error)}): "
                "leave natural out"
            ) from error
        self._before = _copied(model)

    def learn(self, x: Tensor, y: Tensor, processes: Processes, weight: float) -> Tensor:
        """The gradient of a clean minibatch's loss, over all processes; the loss."""
        self.twin.train()
        self.optimiser.zero_grad(set_to_none=True)
        value = torch.zeros((), device=processes.device)
        if len(x):
            with processes.fabric.autocast():
                loss = F.cross_entropy(as_logits(self.twin(x), len(x)).values, y)
            loss.backward()
            value = loss.detach()
        return processes.average(self.twin, value, weight)

    @torch.no_grad()
    def mix(self, model: nn.Module) -> None:
        """End an epoch: both models continue from the mixture."""
        clean = _mixed(self.twin)
        for name, value in _mixed(model).items():
            old = self._before[name]
            a, n = value - old, clean[name] - old
            near = F.cosine_similarity(a.flatten(), n.flatten(), dim=0).clamp_min(0)
            value.copy_(old + (1 - self.share) * a + self.share * near * n)
        self.twin.load_state_dict(model.state_dict())
        self._before = _copied(model)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "twin": self.twin.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "before": self._before,
        }

    def restore(self, found: dict[str, Any]) -> None:
        """Continue from what :meth:`state` gave."""
        self.twin.load_state_dict(found["twin"])
        self.optimiser.load_state_dict(found["optimiser"])
        for name, value in found["before"].items():
            self._before[name].copy_(value)


def _mixed(model: nn.Module) -> dict[str, Tensor]:
    """Parameters, each once, and running statistics. Other buffers, of spectral norms or masks
    say, need not stay what they are if they are mixed."""
    kinds = ("running_mean", "running_var")
    statistics = {k: b for k, b in model.named_buffers() if k.rpartition(".")[2] in kinds}
    return {**dict(model.named_parameters()), **statistics}


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in _mixed(model).items()}
