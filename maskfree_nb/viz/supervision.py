"""What a model is trained with: the frames of a clip and a box around each object."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from maskfree_nb.data.clips import Clip
from maskfree_nb.viz.colours import PALETTE


def supervision_figure(clip: Clip, names: Sequence[str]) -> Figure:
    """Draw the frames of a clip side by side, each with the boxes and the names of its objects.

    Args:
        clip: its masks, if it has any, are not drawn.
        names: of the classes.
    """
    num_frames, _, height, width = clip.frames.shape
    figure = Figure(figsize=(9, 9 / num_frames * height / width + 0.3), dpi=80, layout="constrained")
    for t, panel in enumerate(figure.subplots(1, num_frames, squeeze=False)[0]):
        panel.imshow(clip.frames[t].permute(1, 2, 0).numpy() // 8 * 8, interpolation="nearest")
        for n, (box, label) in enumerate(zip(clip.boxes[:, t].tolist(), clip.labels.tolist(), strict=True)):
            left, top, right, bottom = box
            if left == left:  # not NaN: present in this frame
                colour = tuple(level / 255 for level in PALETTE[n % len(PALETTE)])
                place, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
                panel.add_patch(Rectangle(place, *size, fill=False, edgecolor=colour, linewidth=2))
                panel.text(*place, names[label], va="bottom", fontsize=9, backgroundcolor=colour)
        panel.set_title(f"frame {clip.frame_indices[t]}", fontsize=10)
        panel.set_xticks([])
        panel.set_yticks([])
    return figure
