"""The bytes model of the kernels, and its pictures: floors, measured times, the roofline.

The model is that of `kernels/README.md`: every input is read once, every output written once, in float32.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskfree_nb.viz.colours import PALETTE

DPI = 100
BLUE, RED = (tuple(level / 255 for level in PALETTE[number]) for number in (6, 4))
COPY_BANDWIDTH = 3.0e12  # bytes a second: a large copy on an H100
FLOAT32_PEAK = 67e12  # operations a second: NVIDIA's data sheet of the H100 SXM, float32 without tensor cores
UNMEASURED = "not yet measured on a GPU"
# rows of the benchmark, and the passes of the model that they run through
ROWS = {
    "rgb_to_lab": ("rgb_to_lab",),
    "knn_match, official": ("knn_match, 9 candidates",),
    "knn_match, R=5": ("knn_match, 81 candidates",),
    "tube_consistency, official": ("tube_consistency, forward",),
    "pairwise": ("pairwise_loss, forward",),
    "projection": ("projection_loss, forward", "projection_loss, backward"),
    "ms_deform_attn": ("ms_deform_attn, forward", "ms_deform_attn, backward"),
}


@dataclass(frozen=True)
class KernelPass:
    """One pass of a kernel: the bytes that must pass memory, and the operations done for each of them."""

    name: str
    bytes: int
    intensity: float  # operations a byte

    def floor(self, bandwidth: float = COPY_BANDWIDTH) -> float:
        """The least seconds that it can take: its bytes at the bandwidth of a copy."""
        return self.bytes / bandwidth


@dataclass(frozen=True)
class Measured:
    """One row of the benchmark of the kernels, at its first setting."""

    name: str
    setting: str
    device: str
    bytes: int
    seconds: float
    intensity: float


def kernel_passes(
    height: int = 96, width: int = 160, instances: int = 4, *, layers: int = 10, frames: int = 5
) -> list[KernelPass]:
    """Return every pass of the bytes model for clips with mask maps of `height` x `width`.

    Deformable attention is that of the R50 pixel decoder: maps at strides 8, 16 and 32 of the image (the mask
    map has stride 4), 256 channels in 8 heads, 4 points on each of 3 levels.

    >>> {each.name: round(1e6 * each.floor(), 1) for each in kernel_passes()}["tube_consistency, forward"]
    8.3
    """
    frame_pixels = frames * height * width
    pixels = instances * frame_pixels
    logits = 4 * layers * pixels
    edges = layers * instances * frames * 8 * (height + width)
    tokens = frames * sum((-(-height // level)) * (-(-width // level)) for level in (2, 4, 8))
    value, locations, weights = (4 * tokens * numbers for numbers in (256, 8 * 3 * 4 * 2, 8 * 3 * 4))
    attention = 2 * value + locations + weights
    return [
        KernelPass("rgb_to_lab", frame_pixels * (48 + 12), 5),
        KernelPass("knn_match, 9 candidates", frame_pixels * (12 + 4), 25),
        KernelPass("knn_match, 81 candidates", frame_pixels * (12 + 12), 150),
        KernelPass(
            "tube_consistency, forward", 2 * logits + 4 * frame_pixels + instances * height * width, 5
        ),
        KernelPass("tube_consistency, backward", 2 * logits, 0.1),
        KernelPass("colour_affinity", frame_pixels * (12 + 4), 6),
        KernelPass("pairwise_loss, forward", 2 * logits + 8 * pixels + 4 * frame_pixels, 45),
        KernelPass("pairwise_loss, backward", 2 * logits, 0.1),
        KernelPass("projection_loss, forward", logits + edges, 3),
        KernelPass("projection_loss, backward", logits + edges, 1),
        KernelPass("ms_deform_attn, forward", attention, 9),
        KernelPass("ms_deform_attn, backward", attention + value + locations + weights, 15),
    ]


def read_measured(folder: str | Path) -> list[Measured]:
    """Read the stored reports of `benchmarks/run_kernels.py`: each op once; empty where there is none.

    Args:
        folder: `benchmarks/results`; files that are no reports of the kernels are left out.
    """
    model = {each.name: each for each in kernel_passes()}
    found = {}
    for file in sorted(Path(folder).glob("*.json")):
        report = json.loads(file.read_text())
        for row in report["rows"] if report.get("benchmark") == "kernels" else ():
            passes = [model[name] for name in ROWS.get(row["name"], ())]
            if passes and row["name"] not in found:
                operations = sum(each.bytes * each.intensity for each in passes)
                found[row["name"]] = Measured(
                    row["name"],
                    row["setting"]["setting"],
                    report["device"],
                    row["bytes"],
                    row["seconds"]["graph"]["p50"],
                    operations / sum(each.bytes for each in passes),
                )
    return list(found.values())


def floor_figure(passes: Sequence[KernelPass], bandwidth: float = COPY_BANDWIDTH) -> Figure:
    """Draw the floor of each pass, the time that its bytes alone take, as bars.

    >>> len(floor_figure(kernel_passes()).axes[0].patches)
    12
    """
    figure = Figure(figsize=(7, 0.26 * len(passes) + 0.9), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    micro = [1e6 * each.floor(bandwidth) for each in passes]
    bars = axes.barh([each.name for each in passes], micro, color=BLUE, height=0.65)
    axes.bar_label(bars, [f"{value:.1f}" for value in micro], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1 * max(micro))
    axes.set_title(f"bytes / {bandwidth / 1e12:.1f} TB/s: no kernel can be faster", loc="left", fontsize=10)
    axes.set_xlabel("microseconds", fontsize=9)
    _tidy(axes)
    return figure


def roofline_figure(
    passes: Sequence[KernelPass],
    measured: Sequence[Measured] = (),
    bandwidth: float = COPY_BANDWIDTH,
    peak: float = FLOAT32_PEAK,
) -> Figure:
    """Draw operations a second against operations a byte: the roof, the model on it, what was measured below.

    Left of the ridge memory is the limit, right of it arithmetic. Hollow: where a pass would be if it ran as
    fast as the roof allows. Filled: measured. Without measurements the title says so.

    >>> roofline_figure(kernel_passes()).axes[0].get_title(loc="left")
    'not yet measured on a GPU: hollow points are where the model puts the roof'
    """
    figure = Figure(figsize=(7.5, 4.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    intensities = np.geomspace(0.05, 1000, 200)
    axes.plot(intensities, np.minimum(bandwidth * intensities, peak), color="0.25", linewidth=1.5)
    for each in passes:
        roof = min(bandwidth * each.intensity, peak)
        axes.plot(each.intensity, roof, "o", color="white", markeredgecolor=BLUE, markersize=7)
    _label(axes, passes, bandwidth, peak)
    for row in measured:
        rate = row.intensity * row.bytes / row.seconds
        axes.plot(row.intensity, rate, "s", color=RED, markersize=6)
        axes.annotate(
            row.name, (row.intensity, rate), (6, -9), textcoords="offset points", fontsize=7, color=RED
        )
    devices = " and ".join(sorted({row.device for row in measured}))
    title = f"hollow: the roof; filled: measured, {devices}"
    if not measured:
        title = f"{UNMEASURED}: hollow points are where the model puts the roof"
    axes.set_title(title, loc="left", fontsize=10)
    axes.set(xscale="log", yscale="log", xlim=(0.05, 1000), ylim=(0.05 * bandwidth, 6 * peak))
    axes.set_xlabel("operations a byte", fontsize=9)
    axes.set_ylabel("operations a second", fontsize=9)
    _tidy(axes)
    return figure


def _label(axes: Axes, passes: Sequence[KernelPass], bandwidth: float, peak: float) -> None:
    """Name the passes: on the slope to the right and to the left in turns, under the flat roof above it."""
    for turn, intensity in enumerate(sorted({each.intensity for each in passes})):
        names = [each.name.replace(", ", " ") for each in passes if each.intensity == intensity]
        place = (intensity, min(bandwidth * intensity, peak))
        options = dict(textcoords="offset points", fontsize=8)
        if bandwidth * intensity > peak:
            axes.annotate(" + ".join(names), place, (2, 6), rotation=25, **options)
        elif turn % 2:
            axes.annotate("\n".join(names), place, (-8, 2), ha="right", va="center", **options)
        else:
            axes.annotate("\n".join(names), place, (8, 3), ha="left", va="top", **options)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
