"""The small trained models that come with the package."""

from pathlib import Path

from maskfree_nb.errors import InputError

WEIGHTS = Path(__file__).parent / "weights"


def pretrained(name: str = "tiny_shapes") -> Path:
    """Return the file of a trained model that the package brings along, for `load_trained`.

    Both models were trained on the embedded data set, and no true mask was trained on. `tiny_boxes` learned
    from the boxes in one training. `tiny_shapes`, the better one, learned from them more briefly, drew masks
    into them after the shapes of their class, and went on with these: it is the model of `maskfree demo`.
    Beside `<name>.safetensors` lies `<name>.json`: how it was trained.

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
