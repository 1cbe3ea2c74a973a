"""Alarms of a training from boxes: the ways in which it fails without its loss saying so.

The loss of a collapsed model may fall as that of a good one does. Two figures of the log tell them apart: how
much of their boxes the masks fill (an object fills about half; without a box in any clip there is no such
figure), and how many matches TK-Loss finds a pixel.
"""

import math
from collections import deque
from collections.abc import Mapping

WINDOW = 100  # steps that a figure is averaged over
# box fill at which masks are (nearly) empty, are threads that touch the sides of their boxes, or are boxes
VANISHED, THREADS, RECTANGLES = 0.1, 0.2, 0.9
TOO_FEW, TOO_MANY = 0.02, 0.9  # matches a pixel; the latter of the K that there can be

LEARNT = 0.3  # box fill that a warm-up must have come to: its target is 1

MESSAGES = {
    "no boxes": "no clip of the last {value} steps has a box: no mask is learnt; look at the bboxes of the "
    "annotations ([x, y, width, height] in pixels, null where absent), and lower clips.min_box_size or take "
    "larger clips.image_sizes or clips.crop",
    "not learnt": "the masks are nearly empty at the end of the box warm-up (they fill {value:.2f} of their "
    "boxes), although filled boxes were their target: too little was learnt; raise learning_rate, steps or "
    "criterion.box_warmup",
    "vanished": "the masks have vanished (they fill {value:.2f} of their boxes): the losses from boxes are "
    "content with empty masks; train with the fill loss (criterion.fill_weight), a longer box warm-up "
    "(criterion.box_warmup), or a smaller criterion.tk_weight and criterion.pairwise_weight",
    "threads": "the masks have thinned out (they fill {value:.2f} of their boxes): threads that touch all "
    "sides of their boxes are enough for the projection loss; unless the objects are as thin as that, train "
    "with the fill loss (criterion.fill_weight), a longer box warm-up (criterion.box_warmup), or a smaller "
    "criterion.tk_weight and criterion.pairwise_weight",
    "rectangles": "the masks are rectangles (they fill {value:.2f} of their boxes): colour does not part the "
    "objects from what is behind them, or counts too little; look at `maskfree data stats`, and raise "
    "criterion.tk_weight and criterion.pairwise_weight",
    "no matches": "TK-Loss finds {value:.3f} matches a pixel: the frames of a clip are too far apart or too "
    "noisy; lower clips.frame_range, or find more by a larger criterion.tk.radius or a smaller "
    "criterion.tk.threshold",
    "all match": "TK-Loss finds {value:.1f} matches a pixel, nearly as many as there can be: the videos are "
    "homogeneous, and matches tell objects from background only by chance; raise criterion.tk.threshold",
}


class Alarms:
    """Watches the figures of a run; each alarm sounds once.

    Args:
        most_matches: K, the largest number of matches a pixel can have.

    >>> alarms = Alarms(most_matches=5)
    >>> heard = [alarms.update({"box_warmup": 0.0, "box_fill": 0.03}) for _ in range(WINDOW)]
    >>> heard[-1][0][:23]
    'the masks have vanished'
    """

    def __init__(self, most_matches: int):
        self.most_matches = most_matches
        self._recent = {name: deque(maxlen=WINDOW) for name in ("box_fill", "matches_per_pixel")}
        self._warmup: list[float] = []  # box fill of its steps
        self._without_box = 0  # steps in a row
        self._heard: set[str] = set()

    def update(self, figures: Mapping[str, float | None]) -> list[str]:
        """Take in the figures of one step; returns what is newly wrong, in words.

        While filled boxes are the target of the masks only one sounds: that no clip has had a box (a box fill
        of None or NaN) for a whole window. The end of the warm-up is judged by the last quarter of its steps.
        For all but that one, figures that do not exist do not count.
        """
        known = {name: figures[name] for name in self._recent if _exists(figures.get(name))}
        missing = "box_fill" in figures and "box_fill" not in known
        self._without_box = self._without_box + 1 if missing else 0
        kinds = [("no boxes" if self._without_box >= WINDOW else None, WINDOW)]
        warmup = figures.get("box_warmup", 0.0)
        if warmup == 1:
            self._warmup += [known["box_fill"]] if "box_fill" in known else []
            return self._new(kinds)
        quarter = len(self._warmup) // 4
        if quarter >= 5:  # fewer steps tell nothing
            mean = sum(self._warmup[-quarter:]) / quarter
            kinds.append(("not learnt" if mean < LEARNT else None, mean))
        if warmup == 0:
            for name, value in known.items():
                self._recent[name].append(value)
            for name, recent in self._recent.items():
                if len(recent) == WINDOW:
                    mean = sum(recent) / WINDOW
                    kinds.append((self._kind(name, mean), mean))
        return self._new(kinds)

    def _new(self, kinds: list[tuple[str | None, float]]) -> list[str]:
        """What of (kind or None, value) was not heard before, in words."""
        messages = []
        for kind, value in kinds:
            if kind is not None and kind not in self._heard:
                self._heard.add(kind)
                messages.append(MESSAGES[kind].format(value=value))
        return messages

    def _kind(self, name: str, value: float) -> str | None:
        if name == "box_fill":
            if value < THREADS:
                return "vanished" if value < VANISHED else "threads"
            return "rectangles" if value > RECTANGLES else None
        if value < TOO_FEW:
            return "no matches"
        return "all match" if value > TOO_MANY * self.most_matches else None


def _exists(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
