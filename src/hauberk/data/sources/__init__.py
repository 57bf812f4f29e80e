"""One file a data source; `SOURCES` is the table of them."""

from hauberk.data.source import DataSource
from hauberk.data.sources.arrays import NPY, PT
from hauberk.data.sources.cifar10 import CIFAR10, CIFAR100
from hauberk.data.sources.cifar10c import CIFAR10C
from hauberk.data.sources.digits import DIGITS
from hauberk.data.sources.folder import FOLDER
from hauberk.data.sources.mnist import FASHION, MNIST
from hauberk.data.sources.npz import NPZ
from hauberk.data.sources.svhn import SVHN
from hauberk.data.sources.table import CSV, DATASETS, HF, PARQUET
from hauberk.data.sources.tar import TAR, WDS

SOURCES: dict[str, DataSource] = {
    source.name: source
    for source in (
        DIGITS, MNIST, FASHION, CIFAR10, CIFAR100, CIFAR10C, SVHN, NPZ, NPY, PT, FOLDER, TAR, WDS,
        HF, DATASETS, CSV, PARQUET,
    )
}  # fmt: skip

SUFFIXES = {
    ".npz": "npz", ".npy": "npy", ".pt": "pt", ".pth": "pt", ".safetensors": "pt", ".tar": "tar",
    ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
}  # fmt: skip
"""Which source reads a file that is given without one."""
