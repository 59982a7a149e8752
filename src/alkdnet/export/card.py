"""Model cards: Markdown with the metadata block of the Hugging Face hub, from a run's record and scores."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import yaml

from alkdnet.config.loading import dvc_target
from alkdnet.config.params import Evaluate
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.evaluation.protocol import Protocol
from alkdnet.files import atomic_path
from alkdnet.markdown import render, table
from alkdnet.networks import network_class
from alkdnet.results.run import RECORD, RunRecord
from alkdnet.results.scores import SCORES, Scores, SetScore
from alkdnet.sources.catalogue import SOURCES

_CHANNELS = {"y": "luma (BT.601)", "rgb": "RGB"}


def write_card(paths: Paths, run: str, target: Path, evaluate: Evaluate) -> None:
    """Write the card of a trained or imported run, with the scores of the weights that are there.

    Args:
        paths: of the pipeline.
        run: its row.
        target: the file, README.md on the hub.
        evaluate: how the scores were measured.

    Raises:
        UserError: the run or its scores are missing or damaged, or the scores are of other weights.
    """
    folder, command = paths.model(run), f"dvc repro {dvc_target(paths.pipeline)}"
    if not (folder / RECORD).is_file():
        raise UserError(f"{folder}: there is no {RECORD}; `{command}` makes it")
    if not (paths.evaluation(run) / SCORES).is_file():
        raise UserError(f"{paths.evaluation(run)}: there is no {SCORES}; `{command}` makes it")
    record = RunRecord.read(folder)
    scores = Scores.read(paths.evaluation(run))
    if scores.weights_sha256 != record.weights_sha256:
        raise UserError(f"{paths.evaluation(run)}: scores of other weights than those of {folder}")
    page = card(run, record, scores.means(), evaluate)
    with atomic_path(target) as temporary:
        temporary.write_text(page, encoding="utf-8")


def card(run: str, record: RunRecord, scores: dict[str, SetScore], evaluate: Evaluate) -> str:
    """Return a run's card.

    Args:
        run: its name.
        record: its run.json.
        scores: means by test set.
        evaluate: how they were measured.
    """
    training, published = record.training, record.published
    source = SOURCES.get(published.source) if published else None
    rows = [
        (name, str(score.images), f"{score.psnr:.2f}", f"{score.ssim:.4f}") for name, score in scores.items()
    ]
    metadata = yaml.safe_dump(
        _metadata(run, record, scores, _CHANNELS[evaluate.channel]),
        sort_keys=False,
        allow_unicode=True,
        width=110,
    )
    return render(
        "alkdnet.export",
        "card.md.j2",
        metadata=metadata.strip(),
        run=run,
        record=record,
        network=network_class(record.network).__name__,
        options=", ".join(f"{name} {value}" for name, value in record.options.items()),
        training=training,
        recipe=_stated(asdict(training.recipe)) if training else [],
        start=_stated(asdict(training.init_from)) if training and training.init_from else [],
        published=published,
        source=source,
        protocol=_protocol(evaluate, record.scale),
        scores=table(("test set", "images", "PSNR (dB)", "SSIM"), rows),
    )


def _protocol(evaluate: Evaluate, scale: int) -> str:
    """Return in words how the scores were measured."""
    border = Protocol.of(evaluate).border(scale)
    parts = [
        f"PSNR and SSIM of {_CHANNELS[evaluate.channel]}",
        "rounded to integers" if evaluate.round_luma and evaluate.channel == "y" else "",
        f"without a border of {border} pixels" if border else "without cropping",
        "with self-ensemble" if evaluate.self_ensemble else "",
        f"in tiles of {evaluate.tile} pixels" if evaluate.tile else "",
        "means over the images",
    ]
    return ", ".join(part for part in parts if part)


def _stated(settings: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the settings that are not off, those of a section joined."""
    texts = {
        name: ", ".join(" ".join(pair) for pair in _stated(value)) if isinstance(value, dict) else str(value)
        for name, value in settings.items()
        if value not in (None, ())
    }
    return list(texts.items())


def _metadata(run: str, record: RunRecord, scores: dict[str, SetScore], channel: str) -> dict[str, object]:
    """Return the metadata block of a card, which the hub reads."""
    results = [
        {
            "task": {"type": "image-to-image", "name": f"Image super-resolution x{record.scale}"},
            "dataset": {"name": name, "type": name},
            "metrics": [
                {"type": "psnr", "name": f"PSNR of {channel}", "value": round(score.psnr, 4)},
                {"type": "ssim", "name": f"SSIM of {channel}", "value": round(score.ssim, 6)},
            ],
        }
        for name, score in scores.items()
    ]
    metadata: dict[str, object] = {
        # Weights of others keep their authors' licence, which the hub has no identifier for.
        "license": "mit" if record.training else "other",
        "library_name": "pytorch",
        "pipeline_tag": "image-to-image",
        "tags": ["super-resolution", "image-super-resolution", record.network, f"x{record.scale}"],
        "metrics": ["psnr", "ssim"],
    }
    if record.training:
        metadata["datasets"] = list(record.training.sets)
    if results:
        metadata["model-index"] = [{"name": run, "results": results}]
    return metadata
