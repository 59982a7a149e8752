import re
import tomllib
from pathlib import Path


def test_both_locks_have_the_same_versions_and_name_pypi_only(repository: Path) -> None:
    text = (repository / "uv.lock").read_text()
    assert set(re.findall(r'https?://[^/"]+', text)) == {"https://pypi.org", "https://files.pythonhosted.org"}
    locked = {(package["name"], package["version"]) for package in tomllib.loads(text)["package"]}
    assert set(requirements(repository).items()) <= locked
    # A CPU build of torch needs none of these, the others bring them.
    assert not [name for name in requirements(repository) if name.startswith(("cuda", "nvidia", "triton"))]


def test_the_lock_has_what_pyproject_asks_for(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = (project["optional-dependencies"][extra] for extra in ("pipeline", "onnx", "cluster", "dev"))
    asked = {
        re.split(r"[^\w.-]", each)[0].lower().replace(".", "-")
        for dependencies in (project["dependencies"], *extras)
        for each in dependencies
    }
    assert asked <= requirements(repository).keys()


def requirements(repository: Path) -> dict[str, str]:
    lines = (repository / "requirements.lock").read_text().splitlines()
    return {name: version for name, _, version in (line.split(" ;")[0].partition("==") for line in lines)}
