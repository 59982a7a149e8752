"""Comparing a pipeline's numbers with those that git has: machines round differently, but by little."""

import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from alkdnet.config.loading import dvc_target
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.results.costs import Cost, read_costs
from alkdnet.results.scores import SCORES, SetScore, read_means

_REVISION = "HEAD"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference of one PSNR in dB, without its sign."""

    psnr: float
    row: str
    test_set: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """How a pipeline's results compare with the committed ones.

    Attributes:
        rows: how many rows were compared.
        tolerance: in dB.
        largest: of all differences of PSNR.
        problems: what differs by more than the tolerance, a line for each.
        new: rows that are not committed.
    """

    rows: int
    tolerance: float
    largest: Difference
    problems: tuple[str, ...]
    new: tuple[str, ...]

    def __str__(self) -> str:
        new = [f"not committed, so not compared: {', '.join(self.new)}"] if self.new else []
        if self.problems:
            return "\n".join(["these results differ from the committed ones:", *self.problems, *new])
        largest = (
            f"largest difference {self.largest.psnr:.3f} dB, {self.largest.row} on {self.largest.test_set}"
        )
        how = f"within {self.tolerance} dB ({largest})" if self.largest.psnr else "in every digit"
        return "\n".join([f"{self.rows} rows agree with the committed results {how}", *new])


def verify(paths: Paths, rows: Collection[str], *, psnr: float = 0.02, ssim: float = 0.0005) -> Verification:
    """Compare the scores and costs of a pipeline in the working tree with those of the last commit.

    Args:
        paths: the pipeline's outputs; `paths.root` is in a git repository.
        rows: of the parameter file; results of others may have been left.
        psnr: the largest difference of a mean PSNR in dB that counts as agreement.
        ssim: likewise of a mean SSIM; costs must be equal.

    Raises:
        UserError: there are no results, here or in the last commit, or no git repository.
    """
    found = _read(paths, rows)
    if not found:
        command = f"dvc repro {dvc_target(paths.pipeline)}"
        raise UserError(f"{paths.directory / 'results'}: no results; `{command}` makes them")
    with tempfile.TemporaryDirectory() as folder:
        committed = Paths(paths.pipeline, Path(folder))
        _check_out(paths.root, Paths(paths.pipeline).directory / "results", Path(folder))
        try:
            known, known_costs = _read(committed, rows), _read_costs(committed)
        except UserError:
            raise UserError(
                f"the results of {paths.pipeline} in the last commit have another format: commit these first"
            ) from None
    if not known:
        raise UserError(f"the last commit has no results of {paths.pipeline} to compare with")
    largest = Difference(psnr=0.0, row="", test_set="")
    problems: list[str] = []
    for row, scores in known.items():
        if row not in found:
            problems.append(f"{row}: not evaluated")
            continue
        for difference, different in _compare_scores(row, found[row], scores, psnr, ssim):
            problems += different
            largest = max(largest, difference, key=lambda each: each.psnr)
    problems += _compare_costs(_read_costs(paths), known_costs)
    return Verification(
        rows=len(known.keys() & found.keys()),
        tolerance=psnr,
        largest=largest,
        problems=tuple(problems),
        new=tuple(row for row in found if row not in known),
    )


def _compare_scores(
    row: str, found: Mapping[str, SetScore], known: Mapping[str, SetScore], psnr: float, ssim: float
) -> Iterator[tuple[Difference, list[str]]]:
    for name, expected in known.items():
        score = found.get(name)
        if score is None:
            yield Difference(psnr=0.0, row=row, test_set=name), [f"{row} on {name}: not measured"]
            continue
        problems = []
        difference = abs(score.psnr - expected.psnr)
        if not difference <= psnr:
            problems.append(f"{row} on {name}: {score.psnr:.3f} dB, committed {expected.psnr:.3f} dB")
        if not abs(score.ssim - expected.ssim) <= ssim:
            problems.append(f"{row} on {name}: SSIM {score.ssim:.5f}, committed {expected.ssim:.5f}")
        if score.images != expected.images:
            problems.append(f"{row} on {name}: {score.images} images, committed {expected.images}")
        yield Difference(psnr=difference, row=row, test_set=name), problems


def _compare_costs(found: Mapping[str, Cost], known: Mapping[str, Cost]) -> Iterator[str]:
    for row in sorted(found.keys() & known.keys()):
        expected = asdict(known[row])
        for key, value in asdict(found[row]).items():
            if value != expected[key]:
                yield f"{row}: {value:,} {key}, committed {expected[key]:,}"


def _read(paths: Paths, rows: Collection[str]) -> dict[str, Mapping[str, SetScore]]:
    """Return the means by row and test set, rows sorted by name."""
    evaluated = [row for row in sorted(rows) if (paths.evaluation(row) / SCORES).is_file()]
    return {row: read_means(paths.evaluation(row)) for row in evaluated}


def _read_costs(paths: Paths) -> Mapping[str, Cost]:
    return read_costs(paths.complexity) if paths.complexity.is_file() else {}


def _check_out(root: Path, results: Path, target: Path) -> None:
    """Write the JSON files that the last commit has in `results` to `target`, at the same paths."""
    listed = _git(root, "ls-tree", "-r", "-z", "--name-only", _REVISION, "--", f"./{results.as_posix()}")
    for name in listed.split("\0"):
        if name.endswith((f"/{SCORES}", "/complexity.json")):
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_git(root, "show", f"{_REVISION}:./{name}"), encoding="utf-8")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, encoding="utf-8"
        )
    except FileNotFoundError:
        raise UserError("git is not installed: there is nothing to compare with") from None
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        raise UserError(f"nothing to compare with: git says {' '.join(reason)}")
    return done.stdout
