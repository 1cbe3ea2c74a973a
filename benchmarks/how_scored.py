"""What the page of results says of how the models of a stored study were scored, and by which command."""

from score_again import suffix
from study_command import folder_of

from maskfree_nb.viz.study import Study

FLAGS = {  # of `maskfree eval`: in a title, and in a sentence
    "--refine": (", masks redrawn along the colours", "all masks redrawn along the colours of the frames"),
    "--temporal": (
        ", masks redrawn along the colours and the matches between frames",
        "all masks redrawn along the colours of the frames and the matches between them",
    ),
    "--mask-scores": (
        ", tracks scored by their masks too",
        "the score of every track multiplied by how sure its mask is",
    ),
}


def base_of(stem: str, study: Study) -> str:
    """The name of a stored file without what says how its models were scored."""
    return stem.removesuffix(suffix(_flags(study)))


def title_of_scoring(study: Study) -> str:
    """What a title adds where masks were redrawn or scores were not those of the classes."""
    return "".join(FLAGS[flag][0] for flag in _flags(study))


def scoring_command(stem: str, study: Study) -> str:
    """The command that scored its models again, with all seeds; "" where `maskfree study` did."""
    base, flags, on_others = base_of(stem, study), _flags(study), "fresh" in study.data
    if not flags and not on_others:
        return ""
    trained = folder_of(study, base.replace("_fresh", ""))
    words = ["python benchmarks/score_again.py", trained, *["--held-out"] * (not on_others), *flags]
    words += ["--rows", *study.data["rows"]] if "rows" in study.data else []
    return " ".join(words)


def scoring_sentence(study: Study) -> str:
    """On which videos and how, where `maskfree study` does otherwise; "" where it does not."""
    words = [FLAGS[flag][1] for flag in _flags(study)]
    if "fresh" not in study.data:
        return f" Scored again, {', and '.join(words)}." if words else ""
    fresh = study.data["fresh"]
    return (
        f" **Scored on {fresh['val_videos']} other videos**, of seed {fresh['seed']} "
        f"(sha256 `{fresh['sha256'][:16]}`), {', and '.join(['nothing being trained anew', *words])}."
    )


def _flags(study: Study) -> list[str]:
    return study.data.get("flags", [])
