"""Images and labels from the usual files: `load_data("mnist:test", data_dir)`."""

from hauberk.data.corruptions import Corruption
from hauberk.data.dataset import Dataset
from hauberk.data.labelled import labelled
from hauberk.data.loading import load_data, open_data
from hauberk.data.reading import Reading

__all__ = ["Corruption", "Dataset", "Reading", "labelled", "load_data", "open_data"]
