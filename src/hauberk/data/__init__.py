"""Images and labels from the usual files: `load_data("mnist:test", data_dir)`."""

from hauberk.data.dataset import Dataset
from hauberk.data.loading import load_data

__all__ = ["Dataset", "load_data"]
