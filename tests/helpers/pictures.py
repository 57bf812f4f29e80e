"""What every picture must be, whatever it shows."""


def check_png(draw, folder):
    """A small PNG file, in a folder that is made for it."""
    path = folder / "new" / "figure.png"
    assert draw(path) == path
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 200_000


def check_svg(draw, folder):
    """An SVG file that names no date."""
    text = draw(folder / "figure.SVG").read_text()
    assert "<svg" in text
    assert "<dc:date>" not in text


def check_same(draw, folder):
    """The same numbers give the same file."""
    one, other = (draw(folder / f"{n}.png").read_bytes() for n in (1, 2))
    assert one == other
