"""The stepping loop: slots, queries and responses.

Each attempt on an example has a slot in the running batch. Slots that are done, because the model
is fooled or the stepper is finished, are cleared inside the run and taken by the next attempts in
the queue, so the batch stays full. Everything per step stays on the device; the host reads it at
every step on a CPU, where reading is free, and at every eighth elsewhere.
"""

import numpy as np
import torch
from torch import Tensor

from hauberk.engine.method import Job
from hauberk.engine.outcome import Outcome
from hauberk.engine.results import Results
from hauberk.engine.slots import Slots
from hauberk.engine.state import Answer, BestSoFar, Clock, keep_, pick
from hauberk.engine.stepper import Stepper, record, record_candidates, respond
from hauberk.engine.targets import by_logits, linearised, metric_of
from hauberk.engine.trace import Trace
from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.rows import Rows
from hauberk.objectives.base import Objective
from hauberk.objectives.problem import Problem
from hauberk.victims.memory import MEMORY_ERRORS
from hauberk.victims.victim import Victim


def drive(stepper: Stepper, victim: Victim, job: Job) -> Outcome:
    """Drive a stepper through the examples of a job.

    Raises:
        InputError: for targets on a threat to groups.
    """
    threat = job.threat
    if threat.grouped and stepper.targets:
        raise InputError(f"{threat} is a threat to groups: an attack on it takes no targets")
    run = _Run(stepper, victim, job.on(victim.device))
    victim.top_label = int(job.y.max()) if len(job) else 0
    try:
        # The run's own objective: the attack's property makes a new one each time.
        with victim.held(), run.objective.held(victim), torch.no_grad():
            return run()
    finally:
        victim.top_label = 0


class _Run:
    def __init__(self, stepper: Stepper, victim: Victim, job: Job) -> None:
        self.stepper, self.victim, self.job = stepper, victim, job
        self.threat, self.box, self.stop = job.threat, job.box, job.stop
        self.enough = job.enough
        self.objective: Objective = stepper.objective
        x = job.x
        self.x, self.y = x, job.y
        self.ids = job.example_ids.to(x.device)
        self.look_every = 1 if x.device.type == "cpu" else 8
        self.asked = (0, 0)
        self.warm = None if job.warm is None else job.warm.points.to(x.device)
        self.has_warm = None if job.warm is None else job.warm.mask.to(x.device)
        first = torch.arange(min(1, len(x)))
        members = self.threat.take(first).at(x[:1], self.box).members if len(x) else None
        self.members = members or 1
        self.results = Results(stepper, x, None if self.threat.grouped else members)

    def __call__(self) -> Outcome:
        n, progress = len(self.x), self.job.progress
        if n == 0:
            return self.results.outcome(self.threat.at(self.x, self.box))
        size = self.victim.batch_size(self.x[:1])
        # Slots with several rows each: together they fill one batch.
        rows = self.stepper.spread_size(self.threat) * self.objective.samples * self.members
        size = max(1, size // max(1, rows))
        ranked = self.ranking()
        attempts = self.stepper.attempts(1 + ranked.shape[1] if ranked is not None else 2)
        attempts *= self.threat.variants
        self.results.expect(attempts)
        queue, total = 0, n * attempts
        slots: Slots | None = None
        step = 0
        while True:
            free = size - (len(slots.example) if slots else 0)
            if queue < total and (slots is None or free >= max(1, size // 8)):
                jobs: list[int] = []
                while queue < total and len(jobs) < free:
                    if not self.results.decided[queue % n]:
                        jobs.append(queue)
                    queue += 1
                if jobs:
                    new = self.slot(np.array(jobs), n, ranked)
                    slots = new if slots is None else slots.join(new)
            if slots is None:
                return self.results.outcome(self.threat.at(self.x, self.box))
            news, over = self.advance(slots, inspect=step % 8 == 0)
            step += 1
            if over is not None or (news and step % self.look_every == 0):
                slots = self.clear(slots, over)
                if progress is not None:
                    progress(queue - (len(slots.example) if slots else 0), total)

    def ranking(self) -> Tensor | None:
        """Wrong classes of each example in the stepper's order, ``(B, C - 1)``."""
        if not self.stepper.targets:
            return None
        if self.job.targets is not None:
            return self.job.targets.to(self.x.device)
        metric = metric_of(self.threat) if self.stepper.rank == "linear" else None
        if metric is not None:
            soften, victim = self.objective.soften, self.victim
            near = linearised(victim, self.x, self.y, [metric], box=self.box, soften=soften)
            self.results.spent += (near.forwards, near.backwards)
            return near.ranked()
        clean_logits = self.job.clean_logits
        if clean_logits is None:
            clean_logits = self.victim.predict(self.x)
            self.results.spent[:, 0] += self.victim.draws
        return by_logits(*self.victim.seen(clean_logits.to(self.x.device), self.y))

    def slot(self, jobs: np.ndarray, n: int, ranked: Tensor | None) -> Slots:
        example, attempt = jobs % n, jobs // n
        index = torch.from_numpy(example).to(self.x.device)
        variant = torch.from_numpy(attempt % self.threat.variants).to(self.x.device)
        number = torch.from_numpy(attempt // self.threat.variants).to(self.x.device)
        target = None
        if ranked is not None:
            aims = min(self.stepper.targets, ranked.shape[1])
            target = ranked[index, number % aims]
        streams: tuple[int | Tensor, ...] = (self.job.stream, number)
        streams += (variant,) if self.threat.variants > 1 else ()
        y = self.y[index]
        region = self.threat.take(index).at(self.x[index], self.box).at_variant(variant)
        if region.members is not None and y.dim() == 1:
            y = y.unsqueeze(1).expand(-1, region.members)
        problem = Problem(
            region=region,
            y=y,
            target=target,
            draws=Draws.of(self.job.seed, self.ids[index], *streams),
            index=index,
        )
        if self.warm is not None and self.has_warm is not None:
            restart = number if target is None else torch.div(number, aims, rounding_mode="floor")
            source = restart.clamp(max=self.warm.shape[1] - 1)
            problem.warm = self.warm[index, source]
            problem.has_warm = self.has_warm[index, source] & (source == restart)
        state = self.stepper.init(problem)
        problem.warm = problem.has_warm = None
        weights = self.objective.start(problem)
        traced = self.objective.traced(weights)
        return Slots(
            example=example,
            attempt=attempt,
            since=np.tile(self.asked, (len(jobs), 1)),
            problem=problem,
            state=state,
            clock=Clock.zero(len(jobs)),
            best=BestSoFar.none(state.u),
            weights=weights,
            trace=None if traced is None else Trace.empty(traced),
            hit=torch.zeros(len(jobs), dtype=torch.bool, device=index.device),
            hit_u=state.u.clone(),
            hit_loss=state.u.new_zeros(len(jobs)),
            violation=torch.zeros(len(jobs), dtype=torch.float64, device=index.device),
            inspected=torch.zeros(len(jobs), 3, device=index.device),
        )

    def advance(self, slots: Slots, inspect: bool) -> tuple[bool, np.ndarray | None]:
        """One evaluation and one step of every slot.

        Returns:
            Whether some model may have been fooled, and which slots are finished, None for none.
        """
        stepper, clock, best = self.stepper, slots.clock, slots.best
        news = self.evaluate_candidates(slots) if slots.state.candidates is not None else False
        state = slots.state
        gradient = stepper.wants_gradient(clock)
        answer, slots.weights = self.ask(slots.problem, state.u, slots.weights, gradient)
        response = respond(answer, clock, best)
        self.count(1, int(gradient))
        record(stepper, slots.problem, state, response)
        if slots.trace is not None:
            feasible = state.feasible
            inside = None if feasible is None else torch.as_tensor(feasible, device=state.u.device)
            traced = self.objective.traced(slots.weights, inside)
            assert traced is not None
            slots.trace.add_(traced)
        if inspect and answer.gradient is not None:
            size = answer.gradient.flatten(1).abs().amax(1)
            slots.inspected += torch.stack([size >= 0, size == 0, size > 1e30], 1)
        if self.stop and answer.any_fooled:
            fooled = answer.fooled
            if state.feasible is not None:
                fooled = fooled & torch.as_tensor(state.feasible, device=fooled.device)
            if self.enough is not None:
                fooled = fooled & (response.distance <= self.enough)
            self.hit(slots, fooled, state.u, answer.loss)
            news = True
        over = stepper.finished(state, response)
        if over is not None and over.any():
            self.note_end(slots, over)
        if over is None or not over.all():
            slots.state = stepper.step(slots.problem, state, response)
        clock.tick()
        return news, over

    def evaluate_candidates(self, slots: Slots) -> bool:
        """Evaluate the candidates and let the stepper select; whether some model was fooled."""
        state, news = slots.state, False
        candidates = state.candidates
        assert candidates is not None
        k = candidates.shape[1]
        each = torch.arange(len(state.u), device=state.u.device).repeat_interleave(k)
        rows = candidates.flatten(0, 1)
        weights = slots.weights.take(each) if slots.weights is not None else None
        answer, _ = self.ask(slots.problem.take(each), rows, weights, gradient=False)
        self.count(k, 0)
        response = respond(answer, slots.clock, slots.best)
        response.loss, response.fooled = answer.loss.view(-1, k), answer.fooled.view(-1, k)
        if self.stop and answer.any_fooled and self.enough is None:
            fooled = response.fooled
            if state.candidates_feasible is not None:
                fooled = fooled & state.candidates_feasible
            which = fooled.to(torch.uint8).argmax(1)
            loss = response.loss.gather(1, which.unsqueeze(1)).squeeze(1)
            self.hit(slots, fooled.any(1), pick(candidates, which), loss)
            news = True
        if self.stepper.counts_candidates:
            record_candidates(state, response)
        slots.state = self.stepper.select(slots.problem, state, response)
        return news

    def hit(self, slots: Slots, fooled: Tensor, u: Tensor, loss: Tensor) -> None:
        """Note the slots whose model is fooled for the first time, and where."""
        first = fooled & ~slots.hit
        keep_(slots.hit_u, u, first.to(u.dtype))
        slots.hit_loss = torch.where(first, loss.to(u.dtype), slots.hit_loss)
        slots.hit |= first

    def note_end(self, slots: Slots, over: np.ndarray) -> None:
        """Note how far outside the searches of the slots ``over`` (S,) ended."""
        ended = self.stepper.ended_at(slots.problem, slots.state)
        if ended is not None:
            beyond = slots.problem.region.violation(ended)
            now = torch.from_numpy(over).to(beyond.device)
            slots.violation = torch.where(now, beyond, slots.violation)

    def count(self, forwards: int, backwards: int) -> None:
        """Passes of every slot in the batch."""
        each = self.objective.passes(self.victim) * self.members
        self.asked = (self.asked[0] + forwards * each, self.asked[1] + backwards * each)

    def ask(
        self, problem: Problem, u: Tensor, weights: Rows | None, gradient: bool
    ) -> tuple[Answer, Rows | None]:
        """Evaluate the points asked for, in chunks if memory demands it."""
        size = max(1, self.victim.batch_size(u[:1]) // (self.objective.samples * self.members))
        while True:
            try:
                if len(u) <= size:
                    answer, weights = self.evaluate(problem, u, weights, gradient)
                else:
                    answer, weights = self.in_parts(problem, u, weights, gradient, size)
                break
            except MEMORY_ERRORS as error:
                size = self.victim.shrink(error, min(size, len(u)))
        answer.any_fooled = answer.fooled.device.type != "cpu" or bool(answer.fooled.any())
        return answer, weights

    def in_parts(
        self, problem: Problem, u: Tensor, weights: Rows | None, gradient: bool, size: int
    ) -> tuple[Answer, Rows | None]:
        answer: Answer | None = None
        kept: Rows | None = None
        for rows in torch.arange(len(u), device=u.device).split(size):
            w = weights.take(rows) if weights is not None else None
            part, w = self.evaluate(problem.take(rows), u[rows], w, gradient)
            answer = part if answer is None else answer.join(part)
            kept = w if kept is None or w is None else kept.join(w)
        assert answer is not None
        return answer, kept

    def evaluate(
        self, problem: Problem, u: Tensor, weights: Rows | None, gradient: bool
    ) -> tuple[Answer, Rows | None]:
        u = u.detach()
        with torch.set_grad_enabled(gradient):
            u.requires_grad_(gradient)
            x = problem.region.decode(u)
            found = self.objective(self.victim, x, problem.y, problem.target, weights)
            grad = self.victim.gradient(found.head, found.slope, u) if gradient else None
        return Answer(loss=found.loss, fooled=found.fooled, gradient=grad), found.weights

    def clear(self, slots: Slots, over: np.ndarray | None) -> Slots | None:
        """Let the slots go that are done; None when the batch is empty."""
        hit = slots.hit.cpu().numpy()
        # An example that one attempt has decided is not tried further by its siblings.
        decided = self.results.decided
        decided[slots.example[hit]] = True
        done = decided[slots.example]
        done = done if over is None else done | over
        if not done.any():
            return slots
        if done.all():
            self.results.settle(slots, self.asked)
            return None
        gone = torch.from_numpy(np.flatnonzero(done)).to(self.x.device)
        self.results.settle(slots.take(gone), self.asked)
        return slots.take(torch.from_numpy(np.flatnonzero(~done)).to(self.x.device))
