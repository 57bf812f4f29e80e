"""One file a data source; `SOURCES` is the table of them."""

from hauberk.data.source import DataSource
from hauberk.data.sources.cifar10 import CIFAR10
from hauberk.data.sources.cifar10c import CIFAR10C
from hauberk.data.sources.digits import DIGITS
from hauberk.data.sources.folder import FOLDER
from hauberk.data.sources.mnist import FASHION, MNIST
from hauberk.data.sources.npz import NPZ

SOURCES: dict[str, DataSource] = {
    source.name: source for source in (DIGITS, MNIST, FASHION, CIFAR10, CIFAR10C, NPZ, FOLDER)
}
