"""What trains a stored study again: the command line, or Python where the command line has no such data."""

import inspect
import json
import shlex
from dataclasses import asdict

from maskfree_nb.criterion import CriterionConfig
from maskfree_nb.data.clips import ClipConfig
from maskfree_nb.data.composites import make_composites
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.recipes import DEMO, DEMO_DATA
from maskfree_nb.studies import plan
from maskfree_nb.study import merged
from maskfree_nb.train_config import TrainConfig
from maskfree_nb.viz.study import Study

EMBEDDED, COMPOSITES, CLIPS = "embedded", "composites", "clips"  # what a study is trained on
SIZES = ("seed", "train_videos", "train_frames", "val_videos", "val_frames", "width", "height")
IMPORTS = """from functools import partial
from maskfree_nb.data.composites import make_composites
"""
MAKE_COMPOSITES = "partial(make_composites, annotations='instances.json', images='JPEGImages')"


def command(study: Study, stem: str) -> tuple[str, str]:
    """Return a code fence's language and the code that trains every row of the study with its seeds.

    Rows with other seeds than the rest take a call of their own. `stem` is the name of the stored file.
    """
    out = folder_of(study, stem)
    groups: dict[tuple[int, ...], list[str]] = {}
    for row in study.rows:
        groups.setdefault(tuple(seed["seed"] for seed in row.seeds), []).append(row.name)
    if is_made_by_default(study):
        return "sh", "\n".join(_shell(study, out, rows, seeds) for seeds, rows in groups.items())
    head = IMPORTS if kind_of(study) == COMPOSITES else ""
    calls = "\n".join(_python(study, out, rows, seeds) for seeds, rows in groups.items())
    return "python", f"{head}from maskfree_nb.study import run_study\n\n{calls}"


def folder_of(study: Study, stem: str) -> str:
    """Where the runs of a study stored as `stem`.json are: its default folder, if that name is the usual."""
    return _default_folder(study) if stem == usual_stem(study) else f"runs/{stem}"


def usual_stem(study: Study) -> str:
    """Name of the file that a study is stored as; another is for one with other settings."""
    kind, name = kind_of(study), study.name
    return "_".join(["study", *[kind] * (kind != EMBEDDED), *[name] * (name != "main")])


def _default_folder(study: Study) -> str:
    """Where `maskfree study` puts it."""
    kind = kind_of(study)
    return f"runs/study_{'' if kind == EMBEDDED else kind + '_'}{study.name}"


def kind_of(study: Study) -> str:
    """`EMBEDDED`, `COMPOSITES` pasted together from real clips, or real `CLIPS` as they are."""
    return study.data.get("kind", EMBEDDED)


def shows_real_clips(study: Study) -> bool:
    """Whether pictures of its videos would give away clips that are not this project's to give."""
    return kind_of(study) != EMBEDDED


def is_made_by_default(study: Study) -> bool:
    """Whether `maskfree study` makes the data set of this study, with no option for its sizes."""
    if kind_of(study) == CLIPS:
        return True
    make = make_composites if kind_of(study) == COMPOSITES else make_embedded
    parameters = inspect.signature(make).parameters
    default = {name: parameters[name].default for name in SIZES}
    made = {**default, **DEMO_DATA, **plan(study.name).data}
    return all(study.data[name] == made[name] for name in SIZES)


def changes(settings: dict, recipe: dict = DEMO) -> dict[str, object]:
    """Return how a study's settings differ from `recipe`, by dotted name.

    >>> from maskfree_nb.recipes import DEMO
    >>> changes({**DEMO, "steps": 9, "clips": {**DEMO["clips"], "flip": 0.0}})
    {'steps': 9, 'clips.flip': 0.0}
    """
    recipe = _flat(_complete(recipe))
    return {name: value for name, value in _flat(_complete(settings)).items() if recipe.get(name) != value}


def _complete(settings: dict) -> dict:
    """Settings with the defaults of what they leave out, so that what only one of two names is seen."""
    defaults = asdict(TrainConfig(annotations="", images=""))
    parts = {"criterion": asdict(CriterionConfig()), "clips": asdict(ClipConfig())}
    return {
        **defaults,
        **settings,
        **{name: {**part, **settings.get(name, {})} for name, part in parts.items()},
    }


def _flat(options: dict, prefix: str = "") -> dict[str, object]:
    flat = {}
    for name, value in options.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat


def _shell(study: Study, out: str, rows: list[str], seeds: tuple[int, ...]) -> str:
    words = ["maskfree", "study", study.name]
    if out != _default_folder(study):
        words += ["--out", out]
    if rows != list(plan(study.name).rows):
        words += ["--rows", *rows]
    words += ["--seeds", *map(str, seeds)]
    if changed := changes(study.settings, merged(DEMO, plan(study.name).settings)):
        words += ["--set", *(f"{name}={json.dumps(value)}" for name, value in changed.items())]
    if kind_of(study) != EMBEDDED:
        words += [f"--{kind_of(study)}", "instances.json", "JPEGImages"]
    return shlex.join(words)


def _python(study: Study, out: str, rows: list[str], seeds: tuple[int, ...]) -> str:
    nested: dict = {}
    for name, value in changes(study.settings, merged(DEMO, plan(study.name).settings)).items():
        *parents, last = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    options = {
        "rows": list(rows),
        "seeds": list(seeds),
        "data": {name: study.data[name] for name in SIZES},
        **nested,
    }
    lines = [repr(study.name), repr(out)]
    lines += [f"{name}={value!r}" for name, value in options.items()]
    if kind_of(study) == COMPOSITES:
        lines.append(f"make_data={MAKE_COMPOSITES}")
    return "run_study(\n" + "".join(f"    {line},\n" for line in lines) + ")"
