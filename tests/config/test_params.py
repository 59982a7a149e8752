"""The parameter file: what is rejected, with which words, and that the shipped files are right."""

import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

from alkdnet.config.loading import load_params, load_pipeline, params_path
from alkdnet.errors import UserError
from alkdnet.networks import build

# Counts of the authors' networks and of the ablations between them (x2): from the released weights' shapes.
PUBLISHED_COUNTS = {
    "bicubic": {2: 0, 3: 0, 4: 0},
    "bsrn": {2: 331_628, 3: 340_283, 4: 352_400},
    "imdn": {2: 694_404, 3: 703_059, 4: 715_176},
    "srcnn": dict.fromkeys((2, 3, 4), 57_281),
    "fsrcnn": dict.fromkeys((2, 3, 4), 12_809),
    "vdsr": dict.fromkeys((2, 3, 4), 665_921),
    "drrn": dict.fromkeys((2, 3, 4), 297_216),
    "idn": dict.fromkeys((2, 4), 552_769),
    "erfdn": {4: 433_448},
    "fmen_s": {4: 341_066},
    "safmn": {2: 227_820},
    "cfsr": {2: 291_324, 3: 297_819, 4: 306_912},
    "lkdn": {2: 303_812, 4: 321_992},
    "smfanet": {2: 185_628, 4: 197_328},
    "lkfmixer": {2: 357_228, 4: 372_816},
    "lkmn": {2: 206_004, 4: 217_704},
    "alkdnet": {2: 372_716, 3: 381_371, 4: 393_488},
    "kernel3": {2: 349_548},
    "kernel5": {2: 356_716},
    "kernel7": {2: 363_884},
    "kernel9": {2: 371_052},
    "kernel11": {2: 378_220},
    "abrl": {2: 331_628},
    "fsrl_abrl": {2: 331_628},
    "kernel9_abrl": {2: 371_052},
    "norm": {2: 332_652},
    # 1024 more than kernel9_abrl: eight block norms of 2 x 64 values
    "kernel9_abrl_norm": {2: 372_076},
}
RELEASED = {"network": "bsrn", "scale": 2, "source": "bsrn_x2"}
FINETUNED = {"network": "bsrn", "scale": 2, "recipe": "paper", "init_from": "alkdnet_x2"}
PIPELINES = ("demo", "field", "paper", "recipes", "released", "study")
FULL_SIZE = ("field", "paper", "released", "study")


@pytest.mark.parametrize("pipeline", FULL_SIZE)
def test_every_row_has_its_published_size(repository: Path, pipeline: str) -> None:
    for name, run in load_pipeline(pipeline, repository).rows.items():
        model = build(run.network, run.scale, run.options)
        count = sum(parameter.numel() for parameter in model.parameters())
        variant = name.partition("_x")[0]
        assert count == PUBLISHED_COUNTS[variant][run.scale], name


def test_the_demo_differs_from_the_paper_in_size_only(repository: Path) -> None:
    demo = load_pipeline("demo", repository).runs
    paper = load_pipeline("paper", repository).runs
    assert set(demo) < set(paper)
    for name, run in demo.items():
        sizes = {key: run.options[key] for key in ("blocks", "channels") if key in run.options}
        assert {**paper[name].options, **sizes} == run.options, name


def test_the_paper_recipe_is_the_papers(repository: Path) -> None:
    paper = load_pipeline("paper", repository)
    recipe = paper.recipes["paper"]
    # Section 4.2 of the paper; the end of the cosine from the authors' released options.
    assert (recipe.iterations, recipe.batch_size, recipe.patch_size) == (1_000_000, 64, 48)
    assert (recipe.learning_rate, recipe.final_learning_rate) == (1e-3, 1e-7)
    assert (recipe.beta1, recipe.beta2, recipe.precision) == (0.9, 0.999, "tf32")
    assert (paper.history.validation_sets, paper.history.validation_interval) == (("set5",), 5000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipes.paper.itertions": 5}, "recipes.paper.itertions: unknown key; did you mean iterations?"),
        ({"recipes.paper.batch_size": -1}, "recipes.paper.batch_size: -1 is below the least value 1"),
        ({"recipes.paper.batch_size": 1.5}, "recipes.paper.batch_size: expected integer, got 1.5 (float)"),
        ({"recipes.paper.batch_size": True}, "recipes.paper.batch_size: expected integer, got True (bool)"),
        (
            {"recipes.paper.learning_rate": "fast"},
            "recipes.paper.learning_rate: expected number, got 'fast' (str)",
        ),
        ({"recipes.paper.learning_rate": 0}, "recipes.paper.learning_rate: 0.0 must be above 0"),
        (
            {"recipes.paper.learning_rate": float("nan")},
            "recipes.paper.learning_rate: nan is not a finite number",
        ),
        (
            {"recipes.paper.precision": "half"},
            "recipes.paper.precision: 'half' (str) is none of float32, tf32, bfloat16",
        ),
        (
            {"history.validation_sets": ["set6"]},
            "history.validation_sets: set6 is no data set with `use: test`",
        ),
        ({"downscale.scales": [2, 5]}, "downscale.scales[1]: 5 is above the greatest value 4"),
        (
            {"downscale.scales": [2, 2]},
            "downscale.scales: [2, 2] must hold at least one scale, and each once",
        ),
        ({"downscale.scales": []}, "downscale.scales: [] must hold at least one scale"),
        (
            {"downscale.scales": [2, 4]},
            "runs.alkdnet_x3.scale: 3 is not among downscale.scales; there are: 2, 4",
        ),
        ({"recipes.paper.beta2": 1.0}, "recipes.paper.beta2: 1.0 must be below 1"),
        (
            {"recipes.paper.iterations": 1e6},
            "recipes.paper.iterations: expected integer, got 1e+06 (float); write 1000000",
        ),
        ({"recipes.paper.optimizer": "adan"}, "recipes.paper.beta3: missing; adan needs it"),
        ({"recipes.paper.beta3": 0.9}, "recipes.paper.beta3: only adan has it"),
        (
            {"recipes.paper.weight_decay": 0.1},
            "recipes.paper.weight_decay: adam has none here; set it to 0, or take adamw",
        ),
        ({"recipes.paper.gamma": 0.5}, "recipes.paper.gamma: schedule cosine has none; leave it out"),
        (
            {"recipes.paper.final_learning_rate": None},
            "recipes.paper.final_learning_rate: schedule cosine needs it",
        ),
        ({"recipes.paper.schedule": "multistep"}, "recipes.paper.milestones: schedule multistep needs it"),
        ({"recipes.paper.milestones": [20, 10]}, "recipes.paper.milestones: [20, 10] must increase"),
        ({"recipes.paper.warmup": 1200}, "recipes.paper: warmup and milestones must lie before the end"),
        (
            {"recipes.paper.loss": {"l1": 0}},
            "recipes.paper.loss: no term has a weight; the paper's is {l1: 1}",
        ),
        ({"recipes.paper.loss": {"l3": 1}}, "recipes.paper.loss.l3: unknown key"),
        ({"recipes.paper.ema_decay": 1}, "recipes.paper.ema_decay: 1.0 must be below 1"),
        ({"recipes.paper.clip_norm": 0}, "recipes.paper.clip_norm: 0.0 must be above 0"),
        (
            {"runs.alkdnet_x2.recipe": "other"},
            "runs.alkdnet_x2.recipe: other is not among recipes; there are: paper",
        ),
        (
            {"finetuned.a": {**FINETUNED, "init_from": "b"}},
            "finetuned.a.init_from: b is no row with weights; there are: ",
        ),
        (
            {"finetuned.a": {**FINETUNED, "init_from": "bicubic_x2"}},
            "finetuned.a.init_from: bicubic_x2 is no row with weights",
        ),
        (
            {
                "finetuned.a": {**FINETUNED, "init_from": "b"},
                "finetuned.b": {**FINETUNED, "init_from": "a"},
            },
            "finetuned.a.init_from: the row starts from itself: a from b from a",
        ),
        (
            {"finetuned.a": {**FINETUNED, "init_from": "a"}},
            "finetuned.a.init_from: the row starts from itself: a from a",
        ),
        ({"finetuned.bsrn_x2": FINETUNED}, "finetuned.bsrn_x2: a row of runs has this name too"),
        (
            {"execution.processes": 3},
            "recipes.paper.batch_size: 8 patches cannot be shared evenly by 3 processes",
        ),
        (
            {"recipes.paper.precision": "tf32", "execution.device": "cpu"},
            "recipes.paper.precision: tf32 needs a CUDA device",
        ),
        (
            {"execution.kernels": "triton", "execution.device": "cpu"},
            "execution.kernels: triton needs a CUDA device",
        ),
        ({"runs.alkdnet_x2.scale": 5}, "runs.alkdnet_x2.scale: 5 is above the greatest value 4"),
        ({"runs.alkdnet_x2.network": "bicubic"}, "runs.alkdnet_x2.network: bicubic has no weights"),
        (
            {"runs.bicubic_x2": {"network": "bsrn", "scale": 2, "recipe": "paper"}},
            "runs.bicubic_x2: this name is that of",
        ),
        ({"released.bsrn_x2": RELEASED}, "released.bsrn_x2: a row of runs has this name too"),
        (
            {"released.mine": {**RELEASED, "path": "a.pth"}},
            "released.mine.path: source bsrn_x2 takes none; leave it out",
        ),
        (
            {"released.mine": {**RELEASED, "source": "file"}},
            "released.mine.path: source file needs the file's path",
        ),
        ({"pipeline": "demo"}, "pipeline: unknown key; the name of a pipeline is set in its dvc.yaml"),
        ({"runs.alkdnet_x2": 7}, "runs.alkdnet_x2: expected keys and values, got 7 (int)"),
        ({"datasets.embedded_train.use": "test"}, "runs.bsrn_x2: nothing to train on"),
        (
            {"datasets.embedded_train.path": "x"},
            "datasets.embedded_train.path: source embedded_train takes none; leave it out",
        ),
        ({"datasets.embedded_train.source": "folder"}, "datasets.embedded_train.path: missing"),
        (
            {"datasets.embedded_train.source": "folder", "datasets.embedded_train.path": "demo/raw/x"},
            "datasets.embedded_train.path: demo/raw/x lies in demo",
        ),
        ({"runs.alkdnet_x2.seed": 2**63}, "runs.alkdnet_x2.seed: 9223372036854775808 is above"),
        ({"features.field_size": 64}, "features.field_size: 64 is even"),
        (
            {"features.maps_run": "alkdnet_x9"},
            "features.maps_run: alkdnet_x9 is no row; there are: ",
        ),
        (
            {"datasets.embedded_train.source": "folder", "datasets.embedded_train.path": "~no_such_user/x"},
            "datasets.embedded_train.path: '~no_such_user/x' is no path of a file or folder on this computer",
        ),
        (
            {"datasets.embedded_train.source": "folder", "datasets.embedded_train.path": "a\0b"},
            "datasets.embedded_train.path: 'a\\x00b' holds a character that no file can hold",
        ),
        ({"report.title": "\ud800"}, "report.title: '\\ud800' holds a character that no file can hold"),
        ({"datasets.embedded_train.source": "a\nb"}, "datasets.embedded_train.source: 'a\\nb' is no name"),
        ({"runs.alkdnet_x2.network": "a\nb"}, "runs.alkdnet_x2.network: 'a\\nb' is no name"),
        ({"runs.a\nb": 7}, "runs.a\\nb: expected keys and values, got 7 (int)"),
        ({"runs.alkdnet_x2.scale": int("7" * 300)}, f"runs.alkdnet_x2.scale: {'7' * 80}... is above"),
        ({"execution.processes": 10**9}, "execution.processes: 1000000000 is above the greatest value 1024"),
        ({"complexity.width": 10**18}, "complexity.width: 1000000000000000000 is above the greatest value"),
        ({"features.maps_image": "../a"}, "features.maps_image: '../a' is no name of a file"),
        ({"report.table1.baseline": "imdn_x2"}, "report.table1.baseline: imdn_x2 is not among its rows"),
    ],
)
def test_a_mistake_is_named_by_its_path(
    repository: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    file = _changed(repository / "params.yaml", tmp_path, change)
    with pytest.raises(UserError) as error:
        load_params(file, "demo")
    assert f"{file}: {message}" in str(error.value)


def test_all_mistakes_are_reported_at_once(repository: Path, tmp_path: Path) -> None:
    file = _changed(
        repository / "params.yaml", tmp_path, {"recipes.paper.batch_size": 0, "evaluate.channel": "x"}
    )
    with pytest.raises(UserError, match=r"(?s)recipes\.paper\.batch_size.*evaluate\.channel"):
        load_params(file, "demo")


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "", "-h", "$(touch x)", "a;b", "a" * 101, "checked"])
def test_names_that_are_no_names_of_folders_are_rejected(repository: Path, tmp_path: Path, name: str) -> None:
    params = yaml.safe_load((repository / "params.yaml").read_text())
    params["datasets"][name] = params["datasets"]["embedded_train"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(UserError, match=rf"datasets.{re.escape(name)}: (a name has 1 to|this name is used)"):
        load_params(tmp_path / "params.yaml", "demo")


def test_a_missing_key_is_reported_with_its_meaning(repository: Path, tmp_path: Path) -> None:
    content = yaml.safe_load((repository / "params.yaml").read_text())
    del content["recipes"]["paper"]["patch_size"]
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=r"recipes\.paper\.patch_size: missing \(side of an LR patch"):
        load_params(file, "demo")


@pytest.mark.parametrize(
    "text", ["a: [", "[]", "", "name: 5", "a: 1\na: 2", "2020: 1", "x: " + "[" * 3000, "x: " + "1" * 5000]
)
def test_any_text_is_rejected_without_a_traceback(tmp_path: Path, text: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml: "):
        load_params(file, "demo")


def test_yaml_numbers_with_an_exponent_and_no_point_are_numbers(repository: Path, tmp_path: Path) -> None:
    # YAML 1.1 reads 1e-3 as text.
    file = tmp_path / "params.yaml"
    text = (repository / "params.yaml").read_text()
    file.write_text(re.sub(r"\blearning_rate: \S+", "learning_rate: 1e-3", text))
    assert load_params(file, "demo").recipes["paper"].learning_rate == 1e-3


def test_the_page_of_parameters_is_that_of_the_code(repository: Path) -> None:
    spec = importlib.util.spec_from_file_location("parameter_docs", repository / "tools/parameter_docs.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert (repository / "docs/parameters.md").read_text() == tool.page(), "run `make docs`"
    assert (repository / "docs/parameters.schema.json").read_text() == tool.schema(), "run `make docs`"


@pytest.mark.parametrize("name", ["..", "../photos", ".", "-h", "a b", "$(touch x)", "efficiency", "x" * 101])
def test_names_that_are_no_names_of_pipelines_are_rejected(repository: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"params.yaml: pipeline, in dvc.yaml: .* is no name of a pipeline"):
        load_params(repository / "params.yaml", name)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_editors_check_the_shipped_files_by_the_schema(repository: Path, pipeline: str) -> None:
    schema = json.loads((repository / "docs/parameters.schema.json").read_text())
    path = repository / params_path(pipeline)
    (line,) = re.findall(r"^# yaml-language-server: \$schema=(.*)$", path.read_text(), re.MULTILINE)
    assert (path.parent / line).resolve() == repository / "docs/parameters.schema.json"
    content = yaml.safe_load(path.read_text())
    assert set(schema["required"]) == set(content)
    for section, value in content.items():
        known = schema["properties"][section]
        if "required" in known:
            assert set(known["required"]) <= set(value) <= set(known["properties"])


def _changed(file: Path, folder: Path, change: dict[str, object]) -> Path:
    content = yaml.safe_load(file.read_text())
    for path, value in change.items():
        *parents, key = path.split(".")
        section = content
        for parent in parents:
            section = section[parent]
        section[key] = value
    changed = folder / "params.yaml"
    changed.write_text(yaml.safe_dump(content))
    return changed


def test_the_largest_patch_of_every_scale_is_known(repository: Path) -> None:
    params = load_params(repository / "params.yaml", "demo")
    run = params.runs["alkdnet_x2"]
    recipe = params.recipe_of("alkdnet_x2")
    sizes = {"small": 16, "large": 40}
    params = dataclasses.replace(
        params,
        recipes={name: dataclasses.replace(recipe, patch_size=size) for name, size in sizes.items()},
        runs={name: dataclasses.replace(run, recipe=name) for name in sizes},
        finetuned={},
        downscale=dataclasses.replace(params.downscale, scales=(2, 3)),
    )
    assert params.patch_sizes == {2: 40, 3: 1}
