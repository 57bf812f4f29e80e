"""One block of perturbations after another: attacked, judged, written down."""

import time
from dataclasses import dataclass, field, replace
from zlib import crc32

import torch
from torch import Tensor

from hauberk.attacks.base import Attack
from hauberk.engine.method import Job
from hauberk.evaluation.core.judge import decide, measure
from hauberk.evaluation.core.same import require_same_domains
from hauberk.maths.rng import Draws
from hauberk.maths.seeding import seeded
from hauberk.objectives.combined import Combined
from hauberk.objectives.domains import Domain
from hauberk.store.ledger import Ledger, MemoryLedger
from hauberk.threats.base import Box, Threat
from hauberk.threats.each import Each
from hauberk.victims.victim import Victim


@dataclass
class Run:
    attack: Attack
    threat: Threat
    domains: list[Domain]
    x: Tensor
    y: Tensor
    ids: Tensor
    box: Box
    seed: int
    judge_draws: int
    stop: bool
    store: MemoryLedger | Ledger
    size: int
    """Perturbations that are written down together."""
    spent: tuple[int, int] = field(default=(0, 0))

    def block(self, name: str, objective: Combined, start: int) -> None:
        """Attack one block of slots, have it judged, write it down; nothing if it is there."""
        key = f"{name}-{start // self.size:05d}"
        if self.store.has(key):
            return
        rows = slice(start, start + self.size)
        x, y, ids = self.x[rows], self.y[rows], self.ids[rows]
        first = ids if ids.dim() == 1 else ids[:, 0]
        begun = time.monotonic()
        attack = replace(self.attack, loss=objective)
        victim = self.domains[0].model
        assert isinstance(victim, Victim)
        with seeded(self.seed, victim.device):  # for transforms that draw from torch's generators
            job = Job(
                threat=self.threat, x=x, y=y, ids=first, box=self.box, seed=self.seed,
                stop=self.stop,
            )  # fmt: skip
            found = attack.run(victim, job)
        seconds = time.monotonic() - begun
        allowed, distance = measure(
            self.threat, x.to(victim.device), found.points, self.box, found.witness
        )
        wrong = self.wrong(found.points, y, first) & allowed.cpu().view(1, -1, 1)
        self.spent = (
            self.spent[0] + int(found.forwards.sum()), self.spent[1] + int(found.backwards.sum())
        )  # fmt: skip
        self.store.write(
            key,
            {
                "id": first.numpy(),
                "allowed": allowed.cpu().numpy(),
                "distance": distance.cpu().numpy(),
                "loss": found.loss.double().cpu().numpy(),
                "forwards": found.forwards.cpu().numpy(),
                "backwards": found.backwards.cpu().numpy(),
                "seconds": torch.full((len(first),), seconds / max(1, len(first))).numpy(),
            },
            {
                "points": found.points.cpu(),
                "wrong": wrong.transpose(0, 1).to(torch.uint8).contiguous(),
                **({} if found.witness is None else {"witness": found.witness.cpu()}),
                **({} if found.weights is None else {"weights": found.weights.cpu()}),
                **({} if found.path is None else {"path": found.path.cpu().contiguous()}),
            },
        )

    def clean(self) -> None:
        """The decisions on the clean inputs, and what they are."""
        first = self.ids if self.ids.dim() == 1 else self.ids[:, 0]
        members = len(self.threat.parts) if isinstance(self.threat, Each) else None
        shown = self.x if members is None else self.x.unsqueeze(1).repeat_interleave(members, 1)
        wrong = self.wrong(shown, self.y, first)
        if self.store.has("clean"):
            recorded = self.store.tensors("clean")["wrong"].bool().transpose(0, 1)
            require_same_domains(wrong.transpose(0, 1), recorded.transpose(0, 1), first)
            return
        self.store.write(
            "clean",
            {"id": first.numpy()},
            {
                "wrong": wrong.transpose(0, 1).to(torch.uint8).contiguous(),
                "labels": self.y.cpu(),
                "inputs": self.x.cpu(),
                "ids": self.ids,
            },
        )

    def wrong(self, points: Tensor, y: Tensor, ids: Tensor) -> Tensor:
        """What the judge finds wrong: draws, slots, domains, ``(R, B, D * M)`` bool."""
        lead = points.dim() - self.x.dim()  # Each: several points for one input
        if y.dim() == 1 and lead:
            y = y.unsqueeze(1).expand(-1, points.shape[1])
        members = y.shape[1] if y.dim() == 2 else 1
        flat = points.flatten(0, 1) if y.dim() == 2 else points
        labels = y.reshape(-1)
        draws = self.judge_draws if any(domain.varies for domain in self.domains) else 1
        keys = Draws.of(self.seed, ids.repeat_interleave(members), 0x6A756467)
        keys = Draws(key=keys.key + torch.arange(members).repeat(len(ids)))
        found = []
        for number in range(draws):
            each = []
            for place, domain in enumerate(self.domains):
                victim = domain.model
                assert isinstance(victim, Victim)
                parts = []
                size = max(1, victim.batch_size(flat[:1]))
                # Other numbers than the attack's, and each domain its own.
                fresh = crc32(f"judge {self.seed} {number} {place}".encode())
                with seeded(fresh, victim.device), torch.no_grad():
                    for rows in torch.arange(len(flat)).split(size):
                        own = Draws(key=keys.split(place).key[rows].to(victim.device))
                        turn = torch.full_like(own.key, number)
                        x = flat[rows.to(flat.device)].to(victim.device)
                        shown = domain.but(draws=1).inputs(x, own, turn)
                        wants = labels[rows.to(labels.device)].to(victim.device)
                        parts.append(decide(victim, shown, wants)[1].cpu())
                each.append(torch.cat(parts) if parts else torch.zeros(0, dtype=torch.bool))
            found.append(torch.stack(each).view(len(self.domains), -1, members))
        return torch.stack(found).permute(0, 2, 1, 3).flatten(2)
