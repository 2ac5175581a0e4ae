"""``train``: train either model on a user's own data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qupath_hccmil.cli import head_options, judgement_options, options
from qupath_hccmil.cli.lazy import LazyGroup

if TYPE_CHECKING:
    from qupath_hccmil.heads.head_settings import HeadSettings
    from qupath_hccmil.learning.device import DeviceName
    from qupath_hccmil.training.clinical_table import ClinicalColumns
    from qupath_hccmil.training.head_figures import HeadFigures
    from qupath_hccmil.training.head_patients import HeadChoices
    from qupath_hccmil.training.prepare_bags import Tiling
    from qupath_hccmil.training.train_heads import HeadModel
    from qupath_hccmil.training.train_mil import Choices, MilModel

_HERE = "qupath_hccmil.cli.train"


@click.group(
    cls=LazyGroup,
    lazy={
        "nuclei": (f"{_HERE}:nuclei", "Train the nuclei U-Net from images and masks."),
        "mil": (f"{_HERE}:mil", "Train the risk model from bags of images and outcomes."),
    },
)
def train() -> None:
    """Train the nuclei or the risk model. An interrupted training can be continued."""


@click.command()
@options.images_and_masks
@options.settings_file()
@click.option("--out", type=options.PathType, required=True, help="Folder for all results.")
@options.image_mpp
@options.groups
@click.option(
    "--held-out",
    multiple=True,
    metavar="GROUP",
    help="Group to hold out for choosing the epoch; repeatable.",
)
@click.option(
    "--start",
    type=options.Existing,
    help="Weights to start from: a model folder, or ImageNet weights as safetensors.",
)
@click.option(
    "--design",
    type=click.Choice(["mobilenet_unet", "unet"]),
    help="Start anew with this network; default: continue from the model that ships.",
)
@click.option("--base", type=click.IntRange(min=4), help="Channels of the first level of a unet.")
@click.option("--epochs", type=click.IntRange(min=1), help="Number of epochs; default: 20.")
@click.option("--steps", type=click.IntRange(min=1), help="Batches per epoch; default: 120.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of every random draw; default: 0.")
@options.device
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Processes that draw the crops, for a GPU that would wait for them; 0: none.",
)
@click.option("--name", default="nuclei", show_default=True, help="Name of the model.")
@options.quiet
def nuclei(
    images: Path,
    masks: Path,
    out: Path,
    mpp: float | None,
    groups: Path | None,
    held_out: tuple[str, ...],
    start: Path | None,
    design: str | None,
    base: int | None,
    device: DeviceName,
    workers: int,
    name: str,
    quiet: bool,
    **given: Any,
) -> None:
    """Train the nuclei U-Net from a folder of IMAGES and one of MASKS, paired by file name.

    The checkpoint, log.csv, curve.png and the model folder are written to the folder given by
    --out.
    """
    from qupath_hccmil.nuclei.nuclei_training import NucleiSettings
    from qupath_hccmil.training.train_nuclei import train_nuclei

    model = train_nuclei(
        images,
        masks,
        out,
        mpp=mpp,
        groups=groups,
        held_out=held_out,
        architecture=_architecture(design, base),
        start=start,
        settings=NucleiSettings(**options.settings_given(NucleiSettings, given)),
        name=name,
        progress=None if quiet else _show_epoch,
        device=device,
        workers=workers,
    )
    _finish(model.notes, quiet)
    if not quiet:
        click.echo(f"{model.folder.path}: held-out Dice {model.held_out.dice_pooled:.3f} (pooled)")


@click.command()
@click.argument("source", type=options.Existing)
@click.argument("clinical", type=options.Existing)
@options.settings_file()
@click.option("--out", type=options.PathType, required=True, help="Folder for all results.")
@options.clinical_columns
@options.tiling
@click.option(
    "--start",
    type=options.Existing,
    help="Weights to start from: a model folder, or ImageNet weights as safetensors.",
)
@options.nuclei_model
@head_options.head
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Largest number of epochs; default: 30, with --features 40.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="Stop after this many epochs without improvement; default: 10.",
)
@click.option(
    "--chosen-by",
    type=click.Choice(["cross_entropy", "auc", "loss", "c_index"]),
    help="Measure on held-out patients that chooses the epoch; default: cross_entropy, with "
    "--features loss.",
)
@click.option(
    "--tiles",
    type=click.IntRange(min=1),
    help="Random tiles per patient in each epoch; default: 100, with --features 512.",
)
@options.method
@click.option(
    "--folds", type=click.IntRange(min=2), help="Also cross-validate, with this many folds."
)
@click.option(
    "--held-out",
    "share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of patients held out for choosing the epoch.",
)
@click.option(
    "--derive-threshold",
    is_flag=True,
    help="Derive the threshold from held-out patients, by Youden's J.",
)
@click.option(
    "--fit-temperature",
    is_flag=True,
    help="Fit T in r = sigmoid(S/T) on held-out patients, to calibrate the risk.",
)
@judgement_options.judgement
@click.option("--seed", type=click.IntRange(min=0), help="Seed of every random draw; default: 0.")
@options.device
@click.option("--name", default="hcc-risk", show_default=True, help="Name of the model.")
@options.quiet
def mil(source: Path, clinical: Path, out: Path, quiet: bool, **given: Any) -> None:
    """Train the risk model from SOURCE and a CLINICAL table.

    SOURCE is a QuPath project with tumour annotations, a folder of slides, a folder with one
    subfolder of images per patient, or bags that were prepared before. Outlines of a slide in a
    folder are read from a GeoJSON file of the same name next to it (.gz and .zip too); without
    one, all the tissue is used.

    CLINICAL (CSV, Parquet or Excel) has the columns patient and label (good, poor), or patient,
    time and event. From time and event, distinct outcomes are derived: good is 4 years or more
    without recurrence, poor is a recurrence within 1.6 years. It also needs a column slides,
    unless the names of the slides or the project's metadata give the patient.

    With --features, a head is trained on features that were computed before, and SOURCE says which
    slides are used; without slides at hand, give the folder of features as SOURCE too. --loss cox
    and --loss discrete-time use the follow-up of all patients, not distinct outcomes alone. With
    --judge or --group-column, the training is judged first, by nested cross-validation: the report
    is judgement/report.html in the folder given by --out.

    The prepared bags, the checkpoint, log.csv, curve.png, left_out.csv and the model folder are
    written to the folder given by --out; with --folds also predictions.csv, the scores of
    held-out patients. Run the same command again to continue a training that was interrupted. For
    research use only.
    """
    from qupath_hccmil.mil.risk_training import MilSettings
    from qupath_hccmil.mil.threshold_and_temperature import DecisionRule
    from qupath_hccmil.training.train_mil import train_mil

    head_options.check_together(given)
    judging = judgement_options.asked(given)
    if given["features"] is not None:
        _train_head(source, clinical, out, quiet, given, judging=judging)
        return
    settings = MilSettings(**options.settings_given(MilSettings, given))
    model = train_mil(
        source,
        clinical,
        out,
        columns=clinical_columns(given),
        tiling=tiling({**given, "seed": settings.seed}),
        start=given["start"],
        nuclei=given["nuclei"],
        share=given["share"],
        folds=given["folds"] or 0,
        rule=DecisionRule(given["derive_threshold"], given["fit_temperature"]),
        settings=settings,
        device=given["device"],
        name=given["name"],
        prepared=None if quiet else show_prepared,
        chosen=None if quiet else _show_choices,
        progress=None if quiet else _show_epoch,
    )
    if not quiet:
        _show_model(model)
    _finish(model.notes, quiet)


def _train_head(
    source: Path,
    clinical: Path,
    out: Path,
    quiet: bool,
    given: Mapping[str, Any],
    *,
    judging: bool,
) -> None:
    from qupath_hccmil.heads.head_settings import HeadSettings
    from qupath_hccmil.mil.threshold_and_temperature import DecisionRule
    from qupath_hccmil.training.train_heads import train_head

    settings = HeadSettings(**options.settings_given(HeadSettings, given))
    head_options.check_settings(settings, given["also"])
    if judging:
        settings = _judge(source, clinical, out, quiet, given, settings)
    model = train_head(
        source,
        clinical,
        out,
        given["features"],
        columns=clinical_columns(given),
        tiling=tiling({**given, "seed": settings.seed}),
        encoder=given["encoder"],
        share=given["share"],
        # The folds of a judgement are nested, so the same need not be done again without.
        folds=0 if judging else given["folds"] or 0,
        rule=DecisionRule(given["derive_threshold"], given["fit_temperature"]),
        settings=settings,
        device=given["device"],
        name=given["name"],
        prepared=None if quiet else show_features,
        chosen=None if quiet else _show_choices,
        progress=None if quiet else _show_epoch,
    )
    if not quiet:
        _show_head(model)
    _finish(model.notes, quiet)


def _judge(
    source: Path,
    clinical: Path,
    out: Path,
    quiet: bool,
    given: Mapping[str, Any],
    settings: HeadSettings,
) -> HeadSettings:
    """Judge the training, and return the settings with the head that was chosen."""
    from qupath_hccmil.training.judge_heads import judge_heads

    # Widths in a settings file are those of --head, and other heads have others.
    heads: dict[str, HeadSettings] = {settings.head: settings}
    for name in given["also"]:
        heads.setdefault(name, replace(settings, head=name, arguments={}))
    found = judge_heads(
        source,
        clinical,
        out,
        given["features"],
        heads,
        judgement_options.request(given, settings.seed),
        columns=clinical_columns(given),
        tiling=tiling({**given, "seed": settings.seed}),
        device=given["device"],
        prepared=None if quiet else show_features,
        progress=None if quiet else lambda line: click.echo(line, err=True),
    )
    if not quiet:
        value, low, high = found.judgement.concordance()
        _finish(found.judgement.cautions, quiet)
        click.echo(f"{found.report}: C-index {value:.3f} ({low:.3f} to {high:.3f}) in outer folds")
    return heads[found.judgement.chosen]


def _show_choices(choices: Choices | HeadChoices) -> None:
    for one in choices.left_out:
        # Patients left out for an obvious reason are only counted below; left_out.csv has all.
        if one.detail:
            click.echo(f"note: {one}")
    for line in choices.lines():
        click.echo(line)


def show_prepared(patient: str, number: int, patients: int) -> None:
    """Report that a patient's tiles are ready."""
    click.echo(f"tiles of patient {patient} ready ({number} of {patients})", err=True)


def show_features(patient: str, number: int, patients: int) -> None:
    """Report that a patient's features are ready."""
    click.echo(f"features of patient {patient} ready ({number} of {patients})", err=True)


def tiling(given: Mapping[str, Any]) -> Tiling:
    """Turn the options of `options.tiling` into the settings of how tiles are taken."""
    from qupath_hccmil.training.prepare_bags import Tiling

    classes = given["annotation_classes"]
    return Tiling(
        mpp=given["mpp"],
        per_patient=given["tiles_per_patient"],
        seed=given["seed"],
        engine=given["engine"],
        images=given["images"],
        slides_dir=given["slides"],
        patient_key=given["patient_key"],
        **({"annotation_classes": classes} if classes else {}),
    )


def _show_model(model: MilModel) -> None:
    from qupath_hccmil.method.patient_score import rule_text

    risk = model.folder.config.risk
    assert risk is not None
    if model.cross_validation is not None:
        pooled = model.cross_validation.pooled
        click.echo(f"Cross-validation: AUC {pooled.auc.value:.3f}, Brier {pooled.brier.value:.3f}")
    click.echo(f"Threshold {risk.threshold:.4f}, temperature {risk.temperature:.4g}")
    click.echo(f"Slides of a patient: {rule_text('pool', risk.p)}")
    click.echo(f"{model.folder.path}: held-out AUC {model.held_out.auc.value:.3f}")


def _show_head(model: HeadModel) -> None:
    from qupath_hccmil.training.train_heads import RULE

    risk = model.folder.config.risk
    assert risk is not None
    if model.cross_validation is not None:
        click.echo(f"Cross-validation: {_figures(model.cross_validation.pooled)}")
    click.echo(f"Threshold {risk.threshold:.4f}, temperature {risk.temperature:.4g}")
    click.echo(f"Slides of a patient: {RULE}")
    click.echo(f"{model.folder.path}: held-out {_figures(model.held_out)}")


def _figures(figures: HeadFigures) -> str:
    known = []
    if figures.c_index is not None:
        known.append(f"C-index {figures.c_index.value:.3f}")
    if figures.scores is not None:
        known.append(f"AUC {figures.scores.auc.value:.3f}")
    return ", ".join(known)


_TEXTS = ("date_order", "match", "sheet", "delimiter", "decimal")


def clinical_columns(given: Mapping[str, Any]) -> ClinicalColumns:
    """Turn the options of `options.clinical_columns` into the columns of the clinical table."""
    from qupath_hccmil.training.clinical_table import ClinicalColumns

    return ClinicalColumns(
        patient=given["patient"] or "",
        slides=given["slides_column"] or "",
        label=given["label"] or "",
        time=given["time"] or "",
        event=given["event"] or "",
        start=given["start_date"] or "",
        end=given["end_date"] or "",
        unit=given["time_unit"] or "",
        event_values=given["event_values"],
        censored_values=given["censored_values"],
        missing=given["missing"],
        **{name: given[name] or "" for name in _TEXTS},
    )


def _architecture(design: str | None, base: int | None) -> dict[str, Any] | None:
    if base is None:
        return None if design is None else {"name": design}
    if design == "mobilenet_unet":
        raise click.UsageError("--base applies to --design unet only; leave one of the two out")
    return {"name": "unet", "base": base}


def _show_epoch(row: Mapping[str, float]) -> None:
    """Print completed epochs; the steps within them are for progress bars."""
    if "step" in row or "bag" in row:
        return
    # A figure without a value, such as the AUC of a cohort without labels, is left out.
    named = {k: value for k, value in row.items() if k not in ("epoch", "fold") and value == value}
    values = [f"{k} {value:.4g}" for k, value in named.items()]
    fold = f"fold {row['fold']:.0f}, " if "fold" in row else ""
    click.echo(f"{fold}epoch {row['epoch']:.0f}: {', '.join(values)}")


def _finish(notes: list[str], quiet: bool) -> None:
    for note in notes:
        if not quiet:
            click.echo(f"note: {note}")
