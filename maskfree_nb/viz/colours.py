"""Colours that people with any colour vision tell apart, on photographs and on white."""

# Okabe and Ito's seven, then two of Paul Tol's for longer lists
PALETTE = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # green
    (240, 228, 66),  # yellow
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # pink
    (0, 114, 178),  # blue
    (136, 34, 85),  # wine
    (51, 34, 136),  # indigo
)


def track_colour(track_id: int) -> tuple[int, int, int]:
    """Return the RGB colour, 0..255, that a track has in every frame and every picture.

    >>> track_colour(0), track_colour(9) == track_colour(0)
    ((230, 159, 0), True)
    """
    return PALETTE[track_id % len(PALETTE)]


def text_colour(background: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return black or white, whichever is easier to read on `background`.

    >>> text_colour((240, 228, 66)), text_colour((51, 34, 136))
    ((0, 0, 0), (255, 255, 255))
    """
    red, green, blue = ((level / 255) ** 2.2 for level in background)
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else (255, 255, 255)
