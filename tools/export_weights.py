"""Export the weights of a finished ALKDNet run to where `alkdnet upscale` finds them: weights/.

PYTHONPATH=src python tools/export_weights.py study --run alkdnet_x2
"""

import argparse
import inspect
import shutil
from pathlib import Path

from alkdnet.config.loading import dvc_target, load_pipeline
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError, exit_in_words
from alkdnet.files import atomic_path, sha256_file
from alkdnet.networks import build
from alkdnet.networks.alkdnet import ALKDNet
from alkdnet.results.history import read_history
from alkdnet.results.run import HISTORY, RECORD, WEIGHTS, RunRecord
from alkdnet.weights.files import load_weights


def export(pipeline: str, run: str, target: Path) -> str:
    """Copy a run's weights to `target`/alkdnet_x<scale>.safetensors; return a message.

    Raises:
        UserError: the run is unknown, not trained, not finished, not by today's number of iterations, or not
            the paper's ALKDNet: without a run.json beside them, the weights are taken for that.
    """
    params = load_pipeline(pipeline)
    if run not in params.trained:
        raise UserError(f"{pipeline} trains no {run}; it trains: {', '.join(params.trained) or 'nothing'}")
    stage = f"{'finetune' if run in params.finetuned else 'train'}@{run}"
    folder, command = Paths(pipeline).model(run), f"dvc repro {dvc_target(pipeline, stage)}"
    if not (folder / RECORD).is_file():
        raise UserError(f"{folder}: not finished; `{command}` trains it")
    record = RunRecord.read(folder)
    if different := _differences(record):
        raise UserError(f"{folder}: not the paper's ALKDNet, but {different}; pass it by `upscale --weights`")
    training, wanted = record.training, params.recipe_of(run).iterations
    if training is None or training.recipe.iterations != wanted:
        iterations = training.recipe.iterations if training else 0
        raise UserError(
            f"{folder}: trained for {iterations} iterations, the parameters of {pipeline} ask for "
            f"{wanted}; `{command}` trains it again"
        )
    weights = folder / WEIGHTS
    if sha256_file(weights) != record.weights_sha256:
        raise UserError(f"{weights}: not the weights that {RECORD} describes")
    load_weights(weights, build("alkdnet", record.scale, {}))
    exported = target / f"alkdnet_x{record.scale}.safetensors"
    with atomic_path(exported) as temporary:
        shutil.copyfile(weights, temporary)
    last = read_history(folder / HISTORY)[-1]
    psnr = last.validation_psnr if training.recipe.ema_decay is None else last.validation_psnr_ema
    sets = ", ".join(training.validation_sets)
    return (
        f"{exported}: {run} of {pipeline}, x{record.scale}, {training.recipe.iterations} iterations, "
        f"seed {training.seed}, trained on {', '.join(training.sets)}, "
        f"{'not validated' if psnr is None else f'{psnr:.2f} dB on {sets}'}"
    )


def _differences(record: RunRecord) -> str:
    """Return the differences of a run's network from ALKDNet with its defaults; empty if none."""
    if record.network != "alkdnet":
        return record.network
    parameters = inspect.signature(ALKDNet).parameters
    return ", ".join(
        f"{name} {value}" for name, value in record.options.items() if value != parameters[name].default
    )


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pipeline", help="its name: study, paper, ...")
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--target", type=Path, default=Path("weights"), help="folder")
    arguments = parser.parse_args()
    with exit_in_words():
        print(export(arguments.pipeline, arguments.run, arguments.target))


if __name__ == "__main__":
    main()
