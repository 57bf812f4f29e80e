"""Grey and colour images as PNG files, without a library."""

import struct
import zlib

import numpy as np
import numpy.typing as npt


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file, lossless.

    Args:
        pixels: ``(H, W)`` of a grey image, ``(H, W, 3)`` of a colour one.

    Raises:
        ValueError: for another shape.

    Example:
        >>> png(np.zeros((2, 2), np.uint8))[1:4]
        b'PNG'
    """
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ValueError(f"pixels have shape {pixels.shape}: give (H, W) or (H, W, 3)")
    height, width = pixels.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    plain = np.concatenate((np.zeros((height, 1), np.uint8), rows), 1)  # no filter
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(plain.tobytes(), 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
