"""How weights change over a run: the box warm-up and the learning rate."""

import math


def box_warmup(progress: float, fraction: float, ramp: float) -> float:
    """How much of the mask supervision is still the filled box, 1 to 0.

    'The box is a coarse mask' used as a curriculum: for the first `fraction` of the steps the filled box is
    the mask target; over the next `ramp` of the steps it gives way, linearly, to the losses from boxes.

    Args:
        progress: share of the steps done, 0..1.
        fraction: share of the steps with the filled box as the target; 0 turns the warm-up off.
        ramp: share of the steps over which it gives way.

    >>> box_warmup(0.1, 0.4, 0.1), box_warmup(0.45, 0.4, 0.1), box_warmup(0.6, 0.4, 0.1)
    (1.0, 0.5, 0.0)
    """
    if progress < fraction:
        return 1.0
    if fraction == 0 or progress >= fraction + ramp:
        return 0.0
    return round(1.0 - (progress - fraction) / ramp, 9)


def learning_rate_factor(step: int, steps: int, warmup_steps: int, final: float = 0.01) -> float:
    """Linear rise over `warmup_steps`, then a cosine down to `final` at the last of `steps`.

    >>> [learning_rate_factor(step, 100, 10) for step in (0, 10, 100)]
    [0.1, 1.0, 0.01]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(steps - warmup_steps, 1)
    return final + (1 - final) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
