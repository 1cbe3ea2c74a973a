"""The small trained models that come with the package."""

from pathlib import Path

from maskfree_nb.errors import InputError

WEIGHTS = Path(__file__).parent / "weights"


def pretrained(name: str = "tiny_boxes") -> Path:
    """Return the file of a trained model that the package brings along, for `load_trained`.

    `tiny_boxes` is the smallest model, trained on the embedded data set from boxes alone. Beside
    `<name>.safetensors` lies `<name>.json`: how it was trained.

    Raises:
        InputError: no model of that name; the message lists those that there are.

    >>> pretrained("tiny_boxes").name                                        # doctest: +SKIP
    'tiny_boxes.safetensors'
    """
    names = sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))
    if name not in names:
        raise InputError(
            f"no trained model is called {name!r}; the package has {', '.join(names) or 'none at all'}"
        )
    return WEIGHTS / f"{name}.safetensors"
