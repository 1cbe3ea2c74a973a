"""The command `maskfree`: make data, train, evaluate, predict, label, compare."""

import argparse
import json
import os
import sys
import warnings
from dataclasses import asdict
from functools import partial
from pathlib import Path

from maskfree_nb import __version__
from maskfree_nb.cli_examples import EXAMPLES
from maskfree_nb.errors import InputError, InputWarning, TrainingDiverged
from maskfree_nb.flags import assign, training_config
from maskfree_nb.studies import STUDIES

COMPOSITES_SIZES = ("train_videos", "val_videos", "train_frames", "val_frames", "width", "height")
LEAST_EDGE = 32  # pixels: the stride of the coarsest features
REFINE = "redraw masks along the colours of the frames: sharper, slower"
TEMPORAL = "draw masks along the matches between frames too: better still, several times slower"
MASK_SCORES = "score tracks by class and by how sure their masks are, not by class alone"
SHAPES = "draw each mask after those of its class that are most like it: for classes that share a form"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 1 diverged, 2 bad input, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", InputWarning)
            warnings.showwarning = _show_warning
            options.run(options)
    except InputError as error:
        print(f"maskfree: {error}", file=sys.stderr)
        return 2
    except TrainingDiverged as error:
        print(f"maskfree: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("maskfree: interrupted; a training run goes on with --resume", file=sys.stderr)
        return 130
    return 0


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """A warning about what the user gave as one line; others as Python has them."""
    where = "maskfree" if issubclass(category, InputWarning) else f"{filename}:{lineno}: {category.__name__}"
    print(f"{where}: {message}", file=file or sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = _add(
        None, "maskfree", "Video instance segmentation trained from bounding boxes alone (MaskFreeVIS)."
    )
    parser.add_argument("--version", action="version", version=f"maskfree {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    data = commands.add_parser(
        "data", help="make the default data set, or hold a data set against real clips"
    )
    data_commands = data.add_subparsers(metavar="COMMAND", required=True)
    make = _add(data_commands, "make", "Make the default data set in the YouTube-VIS layout.", _data_make)
    make.add_argument("folder", type=Path)
    make.add_argument("--seed", type=int, default=0, help="another seed, another data set (default: 0)")
    make.add_argument(
        "--style",
        default="handheld",
        help="how it is filmed: handheld (default), or fixed: a camera that stands still",
    )
    composites = _add(
        data_commands,
        "composites",
        "Paste the objects of real clips with true masks on each other's frames.",
        _data_composites,
    )
    composites.add_argument("folder", type=Path)
    _add_data(composites)
    composites.add_argument("--seed", type=int, default=0, help="another seed, another data set (default: 0)")
    for name in COMPOSITES_SIZES:
        composites.add_argument(f"--{name.replace('_', '-')}", type=int, default=argparse.SUPPRESS)
    stats = _add(
        data_commands, "stats", "Print what clips look like to the losses; needs true masks.", _data_stats
    )
    _add_data(stats)

    training = _add(
        commands, "train", "Train a model from boxes alone (or as a baseline, or as the oracle).", _train
    )
    training.add_argument("out", type=Path, help="the run's folder: configuration, log, checkpoints, model")
    training.add_argument(
        "--config",
        type=Path,
        help="a config.json, or demo: the settings of maskfree demo; the flags below come on top",
    )
    _add_data(training, required=False)
    training.add_argument("--supervision", choices=["boxes", "boxinst", "masks"], help="default: boxes")
    training.add_argument("--preset", help="tiny, small, r50 or r101 (default: tiny)")
    training.add_argument("--steps", type=int)
    training.add_argument("--batch-size", type=int, help="clips a step and process")
    training.add_argument("--image-size", type=_edge, help="shortest edge in pixels (default: as they are)")
    training.add_argument("--seed", type=int)
    training.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="any key of config.json")
    training.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")

    evaluation = _add(
        commands, "eval", "Evaluate a model: video AP, per class, and of its masks' boxes.", _eval
    )
    evaluation.add_argument("model", type=Path)
    _add_data(evaluation)
    evaluation.add_argument("--image-size", type=_edge, help="shortest edge in pixels (default: as trained)")
    _add_drawing(evaluation)
    evaluation.add_argument(
        "--out", type=Path, help="also write results.json and metrics.json into this folder"
    )

    predict = _add(commands, "predict", "Segment and track the objects of one video.", _predict)
    predict.add_argument("model", type=Path)
    predict.add_argument("source", type=Path, help="a video file, or a folder of frames")
    predict.add_argument("--out", type=Path, required=True, help="gets results.json and overlay.mp4")
    predict.add_argument("--image-size", type=_edge, help="shortest edge in pixels (default: as trained)")
    _add_drawing(predict)
    predict.add_argument("--score", type=float, default=0.3, help="tracks below are not drawn (default: 0.3)")
    predict.add_argument("--max-frames", type=int, help="only the first so many frames")

    label = _add(commands, "label", "Draw the masks of objects whose boxes are given.", _label)
    label.add_argument("model", type=Path, help="of the same classes, such as one trained on these boxes")
    _add_data(label)
    label.add_argument("--image-size", type=_edge, help="shortest edge in pixels (default: as trained)")
    label.add_argument(
        "--least-span", type=float, help="masks that span less of their box are raised (default: 0.8)"
    )
    label.add_argument("--temporal", action="store_true", help=TEMPORAL)
    label.add_argument("--shapes", action="store_true", help=SHAPES)
    label.add_argument("--out", type=Path, required=True, help="the annotation file with masks")

    demo = _add(commands, "demo", "Make the data, train from boxes, evaluate, draw: the whole method.", _demo)
    demo.add_argument("--out", type=Path, default=Path("runs/demo"))
    demo.add_argument("--seed", type=int, default=0)

    study = _add(
        commands, "study", "Train the same model in several ways, with several seeds, and compare.", _study
    )
    study.add_argument("name", help="main, or an ablation: " + ", ".join(list(STUDIES)[1:]))
    study.add_argument("--out", type=Path, help="default: runs/study_NAME")
    study.add_argument("--rows", nargs="+", help="only these rows of the table")
    study.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    study.add_argument("--jobs", type=int, default=2, help="runs side by side, of one thread each")
    study.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="as in maskfree train")
    source = study.add_mutually_exclusive_group()
    for name, what in (("composites", "composites of these clips"), ("clips", "these clips, boxes to masks")):
        text = f"on {what} with true masks, instead of the default data set"
        source.add_argument(f"--{name}", nargs=2, metavar=("ANNOTATIONS", "IMAGES"), help=text)
    return parser


def _add(commands, name: str, description: str, run=None) -> argparse.ArgumentParser:
    options = dict(
        description=description, epilog=EXAMPLES[name], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if commands is None:
        return argparse.ArgumentParser(prog=name, **options)
    parser = commands.add_parser(name, help=description, **options)
    parser.set_defaults(run=run)
    return parser


def _edge(text: str) -> int:
    """A shortest edge, in pixels."""
    if not text.isdecimal() or int(text) < LEAST_EDGE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels of at least {LEAST_EDGE}")
    return int(text)


def _add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument("--annotations", required=required, help="a YouTube-VIS JSON file")
    parser.add_argument("--images", required=required, help="the folder that its file_names are in")


def _add_drawing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--refine", action="store_true", help=REFINE)
    parser.add_argument("--temporal", action="store_true", help=f"{TEMPORAL}; includes --refine")
    parser.add_argument("--mask-scores", action="store_true", help=MASK_SCORES)


def _drawing(options: argparse.Namespace) -> dict[str, bool]:
    """How tracks are drawn and scored: options of `inference.predict_video`."""
    return {name: getattr(options, name) for name in ("refine", "temporal", "mask_scores")}


def _data_make(options: argparse.Namespace) -> None:
    from maskfree_nb.data.embedded import make_embedded

    print(make_embedded(options.folder, seed=options.seed, style=options.style))


def _data_composites(options: argparse.Namespace) -> None:
    from maskfree_nb.data.composites import make_composites

    sizes = {name: value for name, value in vars(options).items() if name in COMPOSITES_SIZES}
    print(make_composites(options.folder, options.annotations, options.images, options.seed, **sizes))


def _data_stats(options: argparse.Namespace) -> None:
    from maskfree_nb.data.statistics import clip_statistics, format_statistics
    from maskfree_nb.data.ytvis import load_ytvis

    videos = load_ytvis(options.annotations, options.images, masks=True)
    print(format_statistics(clip_statistics(videos)))


def _train(options: argparse.Namespace) -> None:
    from maskfree_nb.training import train

    config = training_config(options)
    first_process = os.environ.get("RANK", "0") == "0"
    if first_process:
        print(json.dumps(asdict(config), indent=2))
    path = train(config, options.out, resume=options.resume)
    if first_process:
        print(f"written: {path}")


def _eval(options: argparse.Namespace) -> None:
    from maskfree_nb.atomic import check_writable
    from maskfree_nb.evaluation.report import evaluate_model

    data = (options.model, options.annotations, options.images)
    for name in ("results.json", "metrics.json") if options.out else ():
        check_writable(options.out / name)
    report = evaluate_model(*data, image_size=options.image_size, **_drawing(options))
    print(report.text())
    if options.out is not None:
        report.write(options.out)
        print(f"written: {options.out / 'results.json'}, {options.out / 'metrics.json'}")


def _predict(options: argparse.Namespace) -> None:
    from maskfree_nb.predicting import predict_source

    predict_source(
        options.model,
        options.source,
        options.out,
        image_size=options.image_size,
        min_score=options.score,
        max_frames=options.max_frames,
        **_drawing(options),
    )
    print(f"written: {options.out / 'results.json'}, {options.out / 'overlay.mp4'}")


def _label(options: argparse.Namespace) -> None:
    from maskfree_nb.fitted_masks import LEAST_SPAN
    from maskfree_nb.labelling import label_boxes

    data = (options.annotations, options.images)
    span = LEAST_SPAN if options.least_span is None else options.least_span
    given = {"image_size": options.image_size, "least_span": span, "temporal": options.temporal}
    given |= {"shapes": options.shapes}
    print(label_boxes(options.model, *data, options.out, **given).text())


def _demo(options: argparse.Namespace) -> None:
    from maskfree_nb.demo import run_demo

    run_demo(options.out, seed=options.seed)


def _study(options: argparse.Namespace) -> None:
    from maskfree_nb.data.composites import make_composites
    from maskfree_nb.data.embedded import make_embedded
    from maskfree_nb.data.given_clips import make_given_clips
    from maskfree_nb.study import run_study
    from maskfree_nb.viz.study import read_study

    make_data, out = make_embedded, "runs/study_"
    for name, make in (("composites", make_composites), ("clips", make_given_clips)):
        if source := getattr(options, name):
            make_data, out = partial(make, annotations=source[0], images=source[1]), f"{out}{name}_"
    out = options.out or Path(out + options.name)
    overrides: dict = {}
    for setting in options.set:
        assign(overrides, setting)
    run = partial(run_study, options.name, out, rows=options.rows, seeds=options.seeds, jobs=options.jobs)
    run(make_data=make_data, data={} if options.clips else None, **overrides)
    print(read_study(out / "study.json").table())
    print(f"written: {out / 'study.json'}")


if __name__ == "__main__":
    sys.exit(main())
