"""The rules that keep the design true: docs/decisions.md says why each is there."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import yaml

from alkdnet.config.loading import load_pipeline
from alkdnet.config.paths import Paths
from alkdnet.paper.published import table4
from alkdnet.results.scores import IMAGES, RECORD, SCORES, read_means

ROOT = Path(__file__).resolve().parent.parent
PIPELINES = ("field", "paper", "recipes", "released", "study")
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# Imported by a stage, yet no reason to run it again.
SURROUNDING = {
    "alkdnet.config": "the values it reads are DVC parameters, its paths are the stages' outputs",
    "alkdnet.arrays": "names types",
    "alkdnet.errors": "yields nothing",
    "alkdnet.data.disk": "yields nothing",
    "alkdnet.files": "yields what it is given",
    "alkdnet.progress": "yields nothing",
    "alkdnet.results": "records: the fields that a stage fills are its own",
    "alkdnet.networks": "dispatch: the network's own file, or their folder, is a dependency",
}
EXEMPT = {
    "check": ("alkdnet.training.runtime",),  # warns, and yields nothing
    "download": ("alkdnet.sources", "alkdnet.data"),  # the descriptor, a dependency, has the files' checksums
    "download_weights": ("alkdnet.sources", "alkdnet.data"),
    # The weights that are loaded are a dependency, and verified by checksum.
    "evaluate": ("alkdnet.weights",),
    "features": ("alkdnet.weights",),
    # What surrounds a training; its stage has the list DECIDING (tests/training/runtime/test_identity.py).
    "train": (
        "alkdnet.training.runtime",
        "alkdnet.tracking",
        "alkdnet.data.packs",
        "alkdnet.data.validation_images",
        "alkdnet.weights",
    ),
    "track": ("alkdnet.tracking", "alkdnet.training", "alkdnet.data", "alkdnet.weights"),
}
# Which of them a row's network imports is known only at run time.
OF_NETWORKS = ("src/alkdnet/layers", "src/alkdnet/kernels")
# Stages that run the file of another one: the same work on rows of another table.
SAME_FILE = {
    "finetune": "train",
    **{
        f"{stage}_{table}": stage
        for stage in ("evaluate", "features")
        for table in ("finetuned", "released", "bicubic")
    },
}


def _stage(name: str) -> dict:
    return DVC[name].get("do", DVC[name])


@cache
def _imports(file: Path) -> frozenset[str]:
    """Return the modules of this project that a file imports itself."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(name for name in found if name.startswith("alkdnet") and _file(name))


def _file(module: str) -> Path | None:
    path = ROOT / "src" / Path(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _closure(file: Path, exempt: set[str]) -> Iterator[str]:
    """Yield all modules that a file imports, through others too, but not through exempt ones."""
    seen: set[str] = set()
    waiting = sorted(_imports(file))
    while waiting:
        module = waiting.pop()
        if module in seen or any(module == name or module.startswith(f"{name}.") for name in exempt):
            continue
        seen.add(module)
        path = _file(module)
        assert path is not None
        waiting += sorted(_imports(path))
        # A package's __init__ has a docstring only, or it is a module like any other.
        if path.name != "__init__.py" or _imports(path):
            yield module


@pytest.mark.parametrize("name", DVC)
def test_a_stage_is_a_short_file_of_the_same_name_with_a_description(name: str) -> None:
    stage = _stage(name)
    file = ROOT / "pipeline" / f"{SAME_FILE.get(name, name)}.py"
    # No value of a parameter file in a command: a shell would read it.
    assert stage["cmd"] == f"PYTHONPATH=src python pipeline/{file.name} ${{pipeline}}"
    assert (f"pipeline/{file.name}" in stage["deps"]) == (name not in ("train", "finetune", "track"))
    assert len(file.read_text().splitlines()) <= 60
    assert stage["desc"]


def test_stages_of_one_file_are_the_same_but_for_their_table() -> None:
    for name, original in SAME_FILE.items():
        if name.endswith(("_finetuned", "_released")):
            assert _stage(name) == _stage(original)


def test_a_finetuning_is_a_training_that_also_depends_on_other_weights() -> None:
    train, finetune = _stage("train"), _stage("finetune")
    start = "${pipeline}/models/${item.init_from}/weights.safetensors"
    assert sorted([*train["deps"], start]) == sorted(finetune["deps"])
    assert yaml.safe_dump(train["params"]).replace("runs.", "finetuned.") == yaml.safe_dump(
        finetune["params"]
    )


def test_compiled_files_are_no_dependency() -> None:
    """Folders of code are dependencies; their digests must not depend on what Python leaves in them."""
    locked = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    folders = {
        dep["path"]: dep["nfiles"]
        for stage in locked.values()
        for dep in stage.get("deps", [])
        if dep["path"].startswith("src/") and "nfiles" in dep
    }
    assert folders
    for folder, count in folders.items():
        assert count == sum(
            path.is_file() and path.suffix != ".pyc" for path in (ROOT / folder).rglob("*")
        ), folder


def test_every_file_of_the_pipeline_is_a_stage() -> None:
    assert {file.stem for file in (ROOT / "pipeline").glob("*.py")} == set(DVC) - set(SAME_FILE) | {"stage"}


@pytest.mark.parametrize("name", [name for name in DVC if not name.endswith("_bicubic")])
def test_the_dependencies_are_the_imports(name: str) -> None:
    file = SAME_FILE.get(name, name)
    declared = {dep for dep in _stage(name)["deps"] if dep.startswith("src/") and "${" not in dep}
    exempt = set(SURROUNDING) | set(EXEMPT.get(file, ()))
    imported = {
        str(path.relative_to(ROOT))
        for module in _closure(ROOT / "pipeline" / f"{file}.py", exempt)
        if (path := _file(module)) is not None
    }
    missing = {
        file for file in imported if not any(file == dep or file.startswith(f"{dep}/") for dep in declared)
    }
    assert not missing, f"{name} imports these, but dvc.yaml does not name them"
    unused = {dep for dep in declared if dep.endswith(".py") and dep not in imported}
    assert all(dep.startswith("src/alkdnet/results/") for dep in unused), f"{name} does not import these"


@pytest.mark.parametrize("name", ["evaluate_bicubic", "features_bicubic"])
def test_an_interpolation_depends_on_nothing_of_a_network(name: str) -> None:
    deps = {dep for dep in _stage(name)["deps"] if dep.startswith("src/")}
    assert "src/alkdnet/networks/bicubic.py" in deps
    own = {f"src/alkdnet/{file}.py" for file in ("networks/bicubic", "data/resize", "layers/luma")}
    assert deps - own < set(_stage(SAME_FILE[name])["deps"])


@pytest.mark.parametrize("name", DVC)
def test_the_parameters_read_are_the_parameters_declared(name: str) -> None:
    text = (ROOT / "pipeline" / f"{SAME_FILE.get(name, name)}.py").read_text()
    read = set(re.findall(r"\bparams\.(\w+)", text)) - {"names", "rows", "pipeline", "execution"}
    # Decides whether images are refused, and nothing of what is packed.
    read -= {"patch_sizes"}
    # Which data sets there are shows in the folders of descriptors: in raw/ and lr/ DVC leaves those of sets
    # that are gone. How images are read shows in the LR images.
    descriptors = [dep for dep in _stage(name).get("deps", []) if dep.startswith("${pipeline}/checked/")]
    if any(dep.endswith(("/train", "/test", "/${item.use}/${key}.json")) for dep in descriptors):
        read -= {"datasets"}
    entries = _stage(name).get("params", [])
    sections = [section for entry in entries for values in entry.values() for section in (values or [None])]
    if None not in sections:  # None: the whole file
        assert read - {"runs", "finetuned", "trained", "released"} <= {
            section.partition(".")[0] for section in sections
        }, name
    assert not any(str(section).startswith("execution") for section in sections)


def test_outputs_are_where_the_code_writes_them() -> None:
    paths = Paths("${pipeline}")
    key, use, scale = "${key}", "${item.use}", "${item}"
    expected = {
        "check": {
            *map(str, paths.checked_marks),
            *(str(paths.descriptor(use, "x").parent) for use in ("train", "test", "weights")),
        },
        "download": {str(paths.raw(use, key))},
        "download_weights": {str(paths.raw_weights(key))},
        "downscale": {str(paths.lr(use, key))},
        "leakage": {str(paths.leakage)},
        "patches": {str(paths.patches)},
        "validation": {str(paths.validation(2)).replace("x2", "x${item}")},
        "train": {str(paths.model(key))},
        "finetune": {str(paths.model(key))},
        "import_weights": {str(paths.model(key))},
        **{f"evaluate{table}": _scores(paths.evaluation(key)) for table in ("", "_finetuned", "_released")},
        "evaluate_bicubic": _scores(paths.evaluation(f"bicubic_x{scale}")),
        "complexity": {str(paths.complexity)},
        "features": {str(paths.features(key))},
        "features_finetuned": {str(paths.features(key))},
        "features_released": {str(paths.features(key))},
        "features_bicubic": {str(paths.features(f"bicubic_x{scale}"))},
        "report": {str(paths.report), str(paths.curves)},
        "track": set(),
    }
    for name in DVC:
        stage = _stage(name)
        entries = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
        declared = {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}
        assert declared == expected[name], name


def test_results_are_not_deleted_before_the_keys_in_their_paths_are_checked() -> None:
    """DVC deletes what has no `persist`, and a key of the parameter file may be `../../../photos`."""
    for name in DVC:
        stage = _stage(name)
        for entry in [*stage.get("outs", []), *stage.get("metrics", [])]:
            path, flags = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
            free = "${" in path.removeprefix("${pipeline}/")
            if free and not path.startswith(("${pipeline}/raw/", "${pipeline}/lr/", "${pipeline}/models/")):
                assert flags.get("persist"), path


def _scores(folder: Path) -> set[str]:
    return {str(folder / name) for name in (SCORES, IMAGES, RECORD)}


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_all_pipelines_are_the_same_below_their_name(pipeline: str) -> None:
    head, body = (ROOT / pipeline / "dvc.yaml").read_text().split("\nstages:", 1)
    assert body == (ROOT / "dvc.yaml").read_text().split("\nstages:", 1)[1]
    variables = {"pipeline": pipeline, "root": "..", "params_file": f"{pipeline}/params.yaml"}
    assert yaml.safe_load(head) == {"vars": [variables]}
    assert load_pipeline(pipeline, ROOT).pipeline == pipeline


def test_packages_import_in_the_order_of_the_layout() -> None:
    """That of CONTRIBUTING.md; packages build on the modules beside them, and on those above them."""
    library = ROOT / "src" / "alkdnet"
    modules = {file.stem for file in library.glob("*.py")} - {"cli", "__init__"}
    packages = re.findall(r"^  (\w+)/ ", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert set(packages) == {file.parent.name for file in library.glob("*/__init__.py")}
    allowed = {name: modules | {*packages[: packages.index(name)]} for name in packages}
    allowed |= dict.fromkeys(modules, modules) | {"layers": set()}
    for file in library.rglob("*.py"):
        package = file.relative_to(library).parts[0].removesuffix(".py")
        imported = {name.split(".")[1] for name in _imports(file) if name.count(".")} - {package}
        assert imported <= allowed.get(package, imported), f"{file}: {imported - allowed[package]}"


def test_only_tracking_imports_mlflow() -> None:
    importers = {
        str(file.relative_to(ROOT))
        for folder in ("src", "pipeline", "tools", "benchmarks")
        for file in (ROOT / folder).rglob("*.py")
        if re.search(r"^\s*(import|from) mlflow", file.read_text(), re.MULTILINE)
    }
    assert importers
    assert all(file.startswith("src/alkdnet/tracking") for file in importers)


def test_the_library_reads_no_environment() -> None:
    readers = {
        str(file.relative_to(ROOT / "src" / "alkdnet"))
        for file in (ROOT / "src").rglob("*.py")
        if re.search(r"os\.(environ|getenv)|Path\.cwd\(|params\.yaml\"", file.read_text())
    }
    # config/loading.py: which parameter file the name of a pipeline means.
    allowed = ("cli.py", "tracking", "config/loading.py")
    assert {file for file in readers if not file.startswith(allowed)} == set()


def test_no_output_names_a_machine_or_a_moment() -> None:
    moment = re.compile(r"\b20\d\d-[01]\d-[0-3]\d[T ][0-2]\d:[0-5]\d|mlflow|run_id|/(home|root|tmp|Users)/")
    files = [
        file
        for folder in (
            *(f"{pipeline}/results" for pipeline in ("demo", *PIPELINES)),
            "reports",
        )
        for file in (ROOT / folder).rglob("*")
        if file.suffix in {".json", ".csv", ".md", ".tex"}
    ]
    assert files
    for file in files:
        assert not moment.search(file.read_text()), file


@pytest.mark.parametrize(
    ("light", "heavy"),
    [
        (
            "alkdnet.config.loading, alkdnet.config.paths, alkdnet.progress, alkdnet.tracking.settings",
            {"torch", "pandas", "mlflow", "matplotlib", "skimage", "scipy"},
        ),
        ("alkdnet.reporting.report", {"torch", "mlflow", "skimage"}),
    ],
)
def test_importing_is_light(light: str, heavy: set[str]) -> None:
    code = f"import sys; import {light}; print({heavy} & set(sys.modules))"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "src"
    )
    assert shown.stdout.strip() == "set()"


def test_the_readme_draws_the_stages_as_dvc_does() -> None:
    dag = subprocess.run(
        [sys.executable, "-m", "dvc", "dag", "--dot", "dvc.yaml"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    arrows = set(re.findall(r'"(\w+)(?:@[\w-]+)?" -> "(\w+)(?:@[\w-]+)?"', dag))
    reached: dict[str, set[str]] = {}

    def below(stage: str) -> set[str]:
        if stage not in reached:
            nearest = {target for source, target in arrows if source == stage}
            reached[stage] = nearest.union(*map(below, nearest))
        return reached[stage]

    implied = {(a, b) for a, b in arrows for c in DVC if (a, c) in arrows and b in below(c)}
    readme = (ROOT / "README.md").read_text()
    (drawing,) = re.findall(r"```mermaid\nflowchart LR\n(.*?)```", readme, re.DOTALL)
    chains = [line.strip().split(" --> ") for line in drawing.splitlines()]
    assert {pair for chain in chains for pair in pairwise(chain)} == arrows - implied


PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{each.name}" for each in (ROOT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_target_in_the_documentation_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for script in re.findall(r"\bpython (tools/\w+\.py)", text):
        assert (ROOT / script).is_file(), script
    for module in re.findall(r"\bpython -m (benchmarks\.\w+)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("page", PAGES)
def test_what_the_documentation_imports_exists(page: str) -> None:
    lines = re.findall(r"^from (alkdnet[\w.]*) import ([\w, ]+)$", (ROOT / page).read_text(), re.MULTILINE)
    for module, names in lines:
        for name in names.split(", "):
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_every_command_in_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text()
    for pipeline in re.findall(r"\b([\w/]*dvc\.yaml)", text):
        assert (ROOT / pipeline).is_file(), pipeline
    changes = re.findall(r"-S '?(?:([\w/]+\.yaml):)?(\+?)([\w.]+)=", text)
    assert len(changes) == len(re.findall(r"-S ", text))
    for file, added, key in changes:
        value = yaml.safe_load((ROOT / (file or "params.yaml")).read_text())
        *parents, last = key.split(".")
        for part in parents:
            value = value[part]
        assert (last in value) == (not added), key
    for command in re.findall(r"(?:bin/|`)alkdnet (\w+)", text):
        assert re.search(rf"^def {command}\(", (ROOT / "src/alkdnet/cli.py").read_text(), re.MULTILINE)


def test_the_numbers_of_the_readme_are_those_of_the_results() -> None:
    text = (ROOT / "README.md").read_text()
    measured = re.findall(r"^\| ×(\d) measured \| (.*) \|$", text, re.MULTILINE)
    published = re.findall(r"^\| ×(\d) published \| (.*) \|$", text, re.MULTILINE)
    assert [scale for scale, _ in measured] == [scale for scale, _ in published] == ["2", "3", "4"]
    for scale, cells in measured:
        means = read_means(Paths("released", ROOT).evaluation(f"alkdnet_x{scale}"))
        found = (means[name] for name in ("set5", "set14", "bsd100", "urban100"))
        assert cells == " | ".join(f"{mean.psnr:.4f} / {mean.ssim:.5f}" for mean in found)
    table = table4()
    for scale, cells in published:
        rows = table[(table["method"] == "ALKDNet") & (table["scale"] == int(scale))].set_index("set")
        found = (rows.loc[name] for name in ("Set5", "Set14", "BSD100", "Urban100"))
        assert cells == " | ".join(f"{row['psnr']:.2f} / {row['ssim']:.4f}" for row in found)


def test_the_ratios_of_the_readme_are_those_of_the_measured_times() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    range_of = r"([\d.]+) to ([\d.]+) times"
    found = re.search(rf"on a CPU {range_of} as fast by `alkdnet upscale`, {range_of} in OpenVINO", text)
    assert found is not None
    printed = iter(found.groups())
    machines = sorted((ROOT / "reports/efficiency").glob("*/measurements.csv"))
    assert [path.parent.name for path in machines] == ["cpu", "intel-xeon"]
    for backend in ("upscale", "openvino"):
        for path in machines:
            times = pd.read_csv(path).set_index(["network", "backend"])
            rows = times[(times["scale"] == 4) & (times["precision"] == "float32")]["median_ms"]
            assert next(printed) == f"{rows['alkdnet', backend] / rows['lkdn', backend]:.1f}"


def test_plots_need_no_internet() -> None:
    """DVC's own page loads Vega from a CDN."""
    page = (ROOT / ".dvc/plots/page.html").read_text()
    sources = re.findall(r'src="([^"]+)"', page)
    assert [Path(each).name for each in sources] == ["vega.min.js", "vega-lite.min.js"]
    # dvc_plots/index.html lies one folder below the root.
    assert all((ROOT / each.removeprefix("../")).is_file() for each in sources)
    assert "{scripts}" not in page  # what DVC replaces by its CDN
