"""Images and labels from the usual files: `load_data("mnist:test", data_dir)`."""

from hauberk.data.corruptions import Corruption
from hauberk.data.dataset import Dataset
from hauberk.data.loading import load_data, open_data

__all__ = ["Corruption", "Dataset", "load_data", "open_data"]
