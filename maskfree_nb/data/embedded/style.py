"""How a video is filmed: what the camera does, how fast objects are, how fine what is behind them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """Ranges and spreads that scenes are drawn from.

    Attributes:
        camera_speed: of the pan, pixels a frame.
        shake: largest amplitude, pixels.
        zoom, roll: standard deviations a frame, as a share and in radians.
        object_speed: of the objects that stay in the frame, pixels a frame.
        magnification: frame pixels a pixel of the background's photograph.
        contrast: standard deviation of the background's luma, grey levels.
    """

    camera_speed: tuple[float, float]
    shake: float
    zoom: float
    roll: float
    object_speed: tuple[float, float]
    magnification: tuple[float, float]
    contrast: tuple[float, float]


STYLES = {
    # tuned until the statistics (maskfree_nb/data/statistics.py) came near those of real clips
    "handheld": Style((0.0, 2.5), 1.2, 0.006, 0.006, (0.0, 2.5), (0.4, 0.8), (18.0, 70.0)),
    # what should suit TK-Loss: a background that neighbouring colours do not hold together, but time does,
    # and objects that soon lay bare what is behind them
    "fixed": Style((0.0, 0.0), 0.0, 0.0, 0.0, (3.0, 6.0), (0.2, 0.4), (60.0, 110.0)),
}
