"""Networks of RobustBench's model zoo."""

from typing import Any

from torch import nn

from hauberk.errors import InputError
from hauberk.models.source import FoundModel, ModelRequest, ModelSource, made, required
from hauberk.spec.build import did_you_mean


def _open(request: ModelRequest) -> FoundModel:
    zoo: Any = required(
        "robustbench.model_zoo", request.spec, "pip install robustbench, as its page says"
    )
    given = request.settings
    dataset, threat = str(given.pop("dataset", "")), str(given.pop("threat_model", ""))
    if given:
        raise InputError(
            f"model {request.spec!r} has no setting {next(iter(given))!r}: it has dataset and "
            "threat_model, e.g. robustbench:NAME,dataset=cifar10,threat_model=Linf"
        )
    rows = [
        (data, norm, found[name])
        for data, norms in zoo.model_dicts.items()
        for norm, found in norms.items()
        for name in [request.argument]
        if name in found and _is(data, dataset) and _is(norm, threat)
    ]
    if not rows:
        _unknown(request, zoo)
    if len(rows) > 1:
        places = ", ".join(f"{_word(data)}/{_word(norm)}" for data, norm, _ in rows)
        raise InputError(
            f"model {request.spec!r} is in {places}: add ,dataset=NAME or ,threat_model=NAME"
        )
    data, norm, row = rows[0]
    if request.download:
        utils: Any = required("robustbench.utils", request.spec)
        with made(request):
            model = utils.load_model(
                model_name=request.argument, dataset=_word(data), threat_model=_word(norm)
            )
        return FoundModel(model, trained=True)
    with made(request):
        model = row["model"]()
    assert isinstance(model, nn.Module)
    return FoundModel(model)


def _word(value: Any) -> str:
    return str(getattr(value, "value", value))


def _is(value: Any, wanted: str) -> bool:
    plain = [text.lower().replace("_", "").replace("-", "") for text in (_word(value), wanted)]
    return not wanted or plain[0] == plain[1]


def _unknown(request: ModelRequest, zoo: Any) -> None:
    known = {n for norms in zoo.model_dicts.values() for found in norms.values() for n in found}
    where = "" if request.argument not in known else " for this data set and threat model"
    raise InputError(
        f"model {request.spec!r}: RobustBench has no {request.argument!r}{where}"
        f"{did_you_mean(request.argument, sorted(known))}: its page lists them"
    )


ROBUSTBENCH = ModelSource(
    "robustbench",
    "robustbench:NAME[,dataset=cifar10][,threat_model=Linf]",
    "A network of RobustBench's zoo, with weights from a file (--weights), or with --download.",
    _open,
)
