"""From a mask to its tight box, and from a box to its filled mask, without decoding either."""

from pycocotools import mask as coco_mask

from maskfree_nb.data.rle import Rle


def tight_box(rle: Rle) -> tuple[int, int, int, int]:
    """Return the tight box (x, y, w, h), in whole pixels, of a compressed RLE that is not empty.

    >>> tight_box({"size": [2, 2], "counts": "0120"})  # two pixels on the diagonal
    (0, 0, 2, 2)
    """
    return tuple(int(side) for side in coco_mask.toBbox(rle))


def filled_box(box: tuple[int, int, int, int], height: int, width: int) -> Rle:
    """Return the compressed RLE of a filled box (x, y, w, h), in whole pixels of a frame `height` x `width`.

    >>> filled_box((1, 1, 1, 1), 2, 2)
    {'size': [2, 2], 'counts': '31'}
    """
    x, y, w, h = box
    columns = [w * height] if h == height else [h, height - h] * (w - 1) + [h]
    runs = [x * height + y, *columns]
    if sum(runs) < height * width:
        runs.append(height * width - sum(runs))
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}
