"""Which query answers for which object: the costs as a table, the chosen cells framed."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from maskfree_nb.viz.colours import PALETTE

FRAME = tuple(level / 255 for level in PALETTE[4])  # vermilion


def cost_figure(costs: Mapping[str, Tensor], query: Tensor, names: Sequence[str]) -> Figure:
    """Draw costs, one panel each, objects down and queries across; the assigned query of each is framed.

    Args:
        costs: title -> [Q, N], dark is cheap.
        query: int64 [N], see `matcher.assign`.
        names: of the N objects.

    >>> import torch
    >>> figure = cost_figure({"class": torch.rand(5, 2)}, torch.tensor([3, 0]), ["star", "cross"])
    >>> len(figure.axes[0].patches)
    2
    """
    Q, N = next(iter(costs.values())).shape
    size = (0.62 * Q + 1.2, (0.42 * N + 0.75) * len(costs) + 0.3)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    axes = figure.subplots(len(costs), 1, squeeze=False)[:, 0]
    for axis, (title, cost) in zip(axes, costs.items(), strict=True):
        cost = cost.detach().double().T.cpu()  # [N, Q]
        low, high = cost.min().item(), cost.max().item()
        axis.imshow(cost.numpy(), cmap="cividis", aspect="auto", vmin=low, vmax=high)
        for n in range(N):
            for q in range(Q):
                dark = cost[n, q] < (low + high) / 2
                axis.text(
                    q,
                    n,
                    f"{cost[n, q]:.2f}",
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="w" if dark else "k",
                )
            corner = (query[n].item() - 0.46, n - 0.44)
            axis.add_patch(Rectangle(corner, 0.92, 0.88, fill=False, edgecolor=FRAME, linewidth=2.5))
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_yticks(range(N), names)
        axis.set_xticks(range(Q) if axis is axes[-1] else [])
        axis.spines[:].set_visible(False)
    axes[-1].set_xlabel("query")
    return figure
