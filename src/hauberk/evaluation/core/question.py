"""What a run asks: the one thing that a new kind of run has to say."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

from hauberk.evaluation.core.judge import Judge, PointJudge
from hauberk.evaluation.core.prepare import Setting
from hauberk.evaluation.core.progress import Reporter
from hauberk.evaluation.core.task import Block, Task
from hauberk.store.ledger import Store
from hauberk.threats.base import Threat

R = TypeVar("R")


class Question(ABC, Generic[R]):
    """What a run asks of a model; :func:`hauberk.evaluation.core.run.run` finds the answer.

    A subclass says which :class:`Task` objects are done to each block of examples, what decides
    (the :class:`Judge`), and what the parts of the ledger add up to. Blocks, resuming, progress,
    judging, writing and verifying are the same for all.

    Attributes:
        kind: what the manifest calls this kind of run.
        block: examples whose results are written together, unless the caller says otherwise.
    """

    kinds: ClassVar[dict[str, type["Question[Any]"]]] = {}
    """Every class of questions by its kind."""

    kind: ClassVar[str]
    block: ClassVar[int] = 1000

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "kind" in vars(cls):
            Question.kinds[cls.kind] = cls

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What decides the answer besides model and data, as the manifest records it."""

    @classmethod
    @abstractmethod
    def of(cls, manifest: Mapping[str, Any], objects: Mapping[str, Any] = {}) -> Self:
        """The question again, from what a run's manifest records.

        Args:
            objects: what text cannot say, by its name in the manifest: own distances, attacks,
                transformations, domains.

        Raises:
            InputError: if the manifest does not say what was asked.
        """

    def bind(self, setting: Setting) -> tuple[Self, Setting]:
        """The question for these models and data, and the data as it takes them (in groups, say).

        Raises:
            InputError: if they do not go together.
        """
        return self, setting

    def recall(self, setting: Setting) -> Self:
        """The question for the models and data of a ledger that holds it; for verification.

        Args:
            setting: with examples as the ledger has them, in groups if the run made groups.
        """
        return self

    @property
    def has_after(self) -> bool:
        """Whether :meth:`after` has something to do, which shards leave to a run on all of them."""
        return False

    def in_shards(self) -> None:
        """Refuse shards, where no block can be done without all the others.

        Raises:
            InputError: if so.
        """
        return

    def parts(self) -> Any:
        """Attacks, threats and the like: models inside them are fingerprinted with the run's."""
        return ()

    def sizes(self) -> Sequence[Threat]:
        """Threats whose sizes are asked about, which are looked at before anything is attacked."""
        one = getattr(self, "threat", None)
        return (*getattr(self, "threats", ()), *([one] if isinstance(one, Threat) else []))

    @abstractmethod
    def tasks(self, setting: Setting) -> Sequence[Task]:
        """What is done to every block, in order; a bound question knows them."""

    def plan(self, block: Block, tasks: Sequence[Task]) -> Iterator[Task]:
        """The tasks of a block, one after the other, each done before the next is asked for.

        Whatever it decides by, it reads from the block alone, so that the blocks of a run can be
        dealt to several processes, and a resumed run decides alike.
        """
        yield from tasks

    def judge(self, setting: Setting) -> Judge:
        """What decides; by default, the one model on each point."""
        return PointJudge(setting.victim, setting.box)

    def before(self, setting: Setting, store: Store, reporter: Reporter) -> None:
        """Write parts that are no block's, such as one perturbation for all examples."""
        return

    def after(self, setting: Setting, store: Store, judge: Judge, reporter: Reporter) -> None:
        """Do what takes the results of all blocks, once every task is done."""
        return

    def across(self, store: Store) -> Sequence[Task]:
        """Tasks of :meth:`after` on examples of several blocks; their keys name no block."""
        return ()

    def owns(self, key: str) -> bool:
        """Whether it is the key of a part that holds no judged points, of :meth:`before` say."""
        return False

    def extra_weight(self, setting: Setting) -> float:
        """Work of :meth:`before` and :meth:`after`, in units of a task's weight times examples."""
        return 0.0

    @abstractmethod
    def summarise(self, store: Store) -> dict[str, Any]:
        """What the parts add up to: ``summary.json``."""

    @abstractmethod
    def result(self, store: Store, summary: dict[str, Any]) -> R:
        """What the caller gets."""

    def again(self, summary: Mapping[str, Any]) -> Self:
        """The question with what only its summary records; for verification."""
        return self
