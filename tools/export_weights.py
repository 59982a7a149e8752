"""Export the weights of a finished ALKDNet run to where `alkdnet upscale` finds them: weights/.

PYTHONPATH=src python tools/export_weights.py --params study/params.yaml --run alkdnet_x2
"""

import argparse
import csv
import inspect
import shutil
import sys
from pathlib import Path
from typing import Any

from alkdnet.config.loading import load_params
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.files import atomic_path, read_json, sha256_file
from alkdnet.networks import build
from alkdnet.networks.alkdnet import ALKDNet
from alkdnet.weights.files import load_weights


def export(params_file: Path, run: str, target: Path) -> str:
    """Copy a run's weights to `target`/alkdnet_x<scale>.safetensors; return in words what was exported.

    Raises:
        UserError: the run is unknown, not trained, not finished, not by today's number of iterations, or not
            the paper's ALKDNet: without a run.json beside them, the weights are taken for that.
    """
    params = load_params(params_file)
    if run not in params.runs or params.runs[run].kind != "trained":
        trained = [name for name, row in params.runs.items() if row.kind == "trained"]
        raise UserError(f"{params_file} trains no {run}; it trains: {', '.join(trained) or 'nothing'}")
    folder = Paths(Path(params.dir), params.name).model(run)
    weights = folder / "weights.safetensors"
    if not (folder / "run.json").is_file():
        raise UserError(f"{folder}: not finished; `dvc repro` trains it")
    record = read_json(folder / "run.json")
    if different := _differences(record):
        raise UserError(f"{folder}: not the paper's ALKDNet, but {different}; pass it by `upscale --weights`")
    if record["iterations"] != params.train.iterations:
        raise UserError(
            f"{folder}: trained for {record['iterations']} iterations, {params_file} asks for "
            f"{params.train.iterations}; `dvc repro` brings them together"
        )
    if sha256_file(weights) != record["weights_sha256"]:
        raise UserError(f"{weights}: not the weights that run.json speaks of")
    load_weights(weights, build("alkdnet", record["scale"], {}))
    exported = target / f"alkdnet_x{record['scale']}.safetensors"
    with atomic_path(exported) as temporary:
        shutil.copyfile(weights, temporary)
    with (folder / "history.csv").open(newline="") as file:
        quality = [row["validation_psnr"] for row in csv.DictReader(file)][-1]
    psnr = f"{float(quality):.2f} dB on {record['recipe']['validation_set']}" if quality else "no validation"
    return (
        f"{exported}: {run} of {params.name}, x{record['scale']}, {record['iterations']} iterations, "
        f"seed {record['seed']}, {psnr}"
    )


def _differences(record: dict[str, Any]) -> str:
    """Return in words what makes a run another network than ALKDNet with its defaults; empty if nothing."""
    if record["network"] != "alkdnet":
        return str(record["network"])
    parameters = inspect.signature(ALKDNet).parameters
    return ", ".join(
        f"{name} {value}" for name, value in record["options"].items() if value != parameters[name].default
    )


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", type=Path, required=True, help="parameter file, from the root")
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--target", type=Path, default=Path("weights"), help="folder")
    arguments = parser.parse_args()
    try:
        print(export(arguments.params, arguments.run, arguments.target))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
