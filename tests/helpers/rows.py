"""Inputs that lie elsewhere than in memory."""

from hauberk.data.examples import ReadByRows


class Rows(ReadByRows):
    """A tensor that notes which windows of it are read."""

    def __init__(self, x):
        super().__init__(x.shape, x.dtype)
        self.x, self.windows = x, []

    def read(self, start, stop):
        self.windows.append((start, stop))
        return self.x[start:stop].clone()
