"""Networks of the package torchvision."""

from typing import Any

from torch import nn

from hauberk.errors import InputError
from hauberk.models.source import FoundModel, ModelRequest, ModelSource, made, required
from hauberk.spec.build import did_you_mean


def _open(request: ModelRequest) -> FoundModel:
    models: Any = required("torchvision.models", request.spec, "pip install torchvision")
    name, given = request.argument, request.settings
    known = models.list_models()
    if name not in known and name.lower() not in known:
        raise InputError(
            f"model {request.spec!r}: torchvision has no {name!r}{did_you_mean(name, known)}: "
            "torchvision.models.list_models() shows all"
        )
    weights = "DEFAULT" if request.download else None
    # Some of its networks otherwise download those of their first part.
    backbone = {"weights_backbone": None} if name.partition("_")[0] in _WITH_BACKBONE else {}

    def build(**more: Any) -> nn.Module:
        if "in_chans" in more:
            raise InputError(
                f"model {request.spec!r}: torchvision's networks take images of 3 channels, the "
                f"weights {more['in_chans']}: name a function that returns the network"
            )
        with made(request):
            built = models.get_model(name, weights=weights, **{**backbone, **given, **more})
        assert isinstance(built, nn.Module)
        return built

    model = build()
    return FoundModel(
        model, _says(models, name) if request.download else {}, build, trained=request.download
    )


_WITH_BACKBONE = (
    "fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet", "fcos", "ssd300", "ssdlite320",
    "deeplabv3", "fcn", "lraspp",
)  # fmt: skip


def _says(models: Any, name: str) -> dict[str, Any]:
    """Mean, std and size of the images that the default weights were trained on."""
    try:
        asks = models.get_model_weights(name).DEFAULT.transforms()
        size = asks.crop_size
        return {"mean": list(asks.mean), "std": list(asks.std), "crop_size": list(size),
                "resize_size": list(asks.resize_size)}  # fmt: skip
    except (AttributeError, TypeError):
        return {}


TORCHVISION = ModelSource(
    "torchvision",
    "torchvision:NAME",
    "A network of torchvision, with weights from a file (--weights), or its own with --download.",
    _open,
)
