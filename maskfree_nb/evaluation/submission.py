"""Results as the YouTube-VIS evaluation server takes them: `results.json` in a zip without a folder."""

import io
import json
import zipfile
from pathlib import Path

from maskfree_nb import atomic
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.reading import load_json, read_categories, read_results, read_videos

NAME = "results.json"


def write_submission(
    folder: str | Path, results: list | str | Path, ground_truth: dict | str | Path
) -> tuple[Path, Path]:
    """Check results and write them as `results.json` and, ready to upload, `results.zip`.

    Every result is written as `{video_id, category_id, score, segmentations}` and no more: plain numbers,
    one compressed RLE or null a frame. Nothing is written unless all of it is right.

    Args:
        folder: gets the two files; it is made if it is missing.
        results: list of results, or a JSON file of it; masks may be compressed or not.
        ground_truth: annotation file of the set, or its content; its videos and categories are read, so that
            the file for the server's set, which has no annotations, will do.

    Returns:
        The paths of the JSON file and of the zip.

    Raises:
        InputError: names the result, the field, what was given and what was expected.

    >>> import tempfile
    >>> mask = {"size": [2, 2], "counts": [0, 1, 2, 1]}
    >>> result = {"video_id": 7, "category_id": 1, "score": 0.5, "segmentations": [mask, None]}
    >>> videos = {"videos": [{"id": 7, "height": 2, "width": 2, "length": 2}], "categories": [{"id": 1}]}
    >>> path, archive = write_submission(tempfile.mkdtemp(), [result], videos)
    >>> json.loads(path.read_text())[0]["segmentations"], zipfile.ZipFile(archive).namelist()
    ([{'size': [2, 2], 'counts': '0120'}, None], ['results.json'])
    """
    ground_truth, truth_name = load_json(ground_truth, dict, "ground_truth")
    results, name = load_json(results, list, "results")
    videos, categories = read_videos(ground_truth, truth_name), read_categories(ground_truth, truth_name)
    submitted = []
    for track in read_results(results, name, videos, "segm"):
        where, length = (
            f"{name}: result {track.index} (video {track.video_id})",
            videos[track.video_id].length,
        )
        if track.category_id not in categories:
            known = ", ".join(map(str, categories))
            raise InputError(
                f"{where}: category_id is {track.category_id}, those of {truth_name} are {known}"
            )
        if len(track.masks) != length:
            raise InputError(
                f"{where}: segmentations has {len(track.masks)} entries, the video has {length} frames; put "
                "null where the object is absent"
            )
        submitted.append(
            {
                "video_id": track.video_id,
                "category_id": int(track.category_id),
                "score": track.score,
                "segmentations": track.masks,
            }
        )
    path, archive = Path(folder) / NAME, Path(folder) / "results.zip"
    content = json.dumps(submitted)
    atomic.write_text(path, content)
    atomic.write_bytes(archive, _zipped(content))
    return path, archive


def _zipped(content: str) -> bytes:
    """A zip of one file, the same bytes for the same content."""
    archive = io.BytesIO()
    entry = zipfile.ZipInfo(NAME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(entry, content)
    return archive.getvalue()
