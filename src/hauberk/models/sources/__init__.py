"""One file a model source; `SOURCES` is the table of them."""

from hauberk.models.source import ModelSource
from hauberk.models.sources.hf import HF
from hauberk.models.sources.onnx import ONNX
from hauberk.models.sources.pt2 import PT2
from hauberk.models.sources.robustbench import ROBUSTBENCH
from hauberk.models.sources.timm import TIMM
from hauberk.models.sources.torchvision import TORCHVISION

SOURCES: dict[str, ModelSource] = {
    source.name: source for source in (TIMM, HF, TORCHVISION, ROBUSTBENCH, PT2, ONNX)
}
