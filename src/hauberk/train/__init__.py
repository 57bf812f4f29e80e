"""Training classifiers that resist several threats at once."""

from hauberk.train.maximum import train_max

__all__ = ["train_max"]
