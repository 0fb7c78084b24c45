"""The house stands as it was designed: stages, layers, what each stage depends on, and the configuration in force."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest
import yaml

from pipeline.core.params import SECTIONS
from pipeline.services.composition import compose, validate

ROOT = Path(__file__).parents[1]
PIPELINE = ROOT / "pipeline"
WRITTEN = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
STAGES = {name: stage for name, stage in WRITTEN.items() if "cmd" in stage}  # the others are there on request only
MODULES = sorted(PIPELINE.rglob("*.py"))
NO_STAGE = {"__init__", "cli"}
USED_WITHOUT_IMPORT = {  # what reaches a stage's output another way
    "report": ["pipeline/io/templates/*"],
    "robustness": ["pipeline/vision/frost/*.jpg"],
    # what ships with the model
    "register": ["pipeline/services/pyfunc.py", "pipeline/core/*.py", "pipeline/runtime/**/*.py"],
}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pipeline")


def path_of(module: str) -> str:
    file = Path(*module.split("."))
    return (file / "__init__.py" if (ROOT / file).is_dir() else file.with_suffix(".py")).as_posix()


@cache
def code_of(stage: str) -> tuple[str, ...]:
    """Every file of ours that a stage runs: its module, what that imports (in functions too), and so on.

    `__init__.py` files are left out: a test below holds them to a docstring.
    """
    module = f"pipeline.{stage}"
    used = {path.relative_to(ROOT).as_posix() for it in USED_WITHOUT_IMPORT.get(stage, ()) for path in ROOT.glob(it)}
    files = used | {path_of(name) for name in graph().find_upstream_modules(module)}
    own = path_of(module)
    return (own, *sorted(file for file in files if file != own and not file.endswith("__init__.py")))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def sections_loaded(path: Path) -> Iterator[str]:
    """Sections of params.yaml that a file loads: `TrainParams.load("train")`; all of them: `read_params()`."""
    if path == PIPELINE / "core" / "config.py":  # where both are defined
        return
    for node in ast.walk(tree(path)):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=model), attr="load"), args=[ast.Constant(value=str(section)), *_]
            ) if model.endswith("Params"):
                yield section
            case ast.Call(func=ast.Name(id="read_params")):
                yield from SECTIONS


def strings(path: Path) -> Iterator[str]:
    """String literals of a file, docstrings left out."""
    nodes = list(ast.walk(tree(path)))
    docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_every_module_directly_in_pipeline_is_a_stage_and_no_other() -> None:
    assert {path.stem for path in PIPELINE.glob("*.py")} - NO_STAGE == set(STAGES)


def test_what_is_no_module_is_a_command_that_is_there_on_request() -> None:
    on_request = {name: stage["do"]["cmd"] for name, stage in WRITTEN.items() if name not in STAGES}
    assert on_request == {"pull": "sightline labels pull --snapshot ${data.labels.path}"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_code_that_it_runs(stage: str) -> None:
    code = list(code_of(stage))
    written = [dep for dep in STAGES[stage]["deps"] if dep.startswith("pipeline/")]
    data = STAGES[stage]["deps"][: -len(written)]
    paste = "".join(f"\n      - {dep}" for dep in code)
    assert written == code, f"stage {stage} of dvc.yaml: after its data, deps must be:{paste}"
    assert not [dep for dep in data if dep.startswith("pipeline/")], f"stage {stage}: data come first in deps"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_sections_that_it_loads(stage: str) -> None:
    loaded = {section for file in code_of(stage) if file.endswith(".py") for section in sections_loaded(ROOT / file)}
    tracked = {key.partition(".")[0] for key in STAGES[stage].get("params", [])}
    assert tracked == loaded - {"compute"}, f"stage {stage} of dvc.yaml: params must name the sections it loads"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_takes_its_paths_from_the_command_line_alone(stage: str) -> None:
    named = [text for text in strings(PIPELINE / f"{stage}.py") if text.startswith(("data/", "models/", "reports/"))]
    assert not named, f"pipeline/{stage}.py names paths that dvc.yaml must give it"


def test_packages_hold_nothing_but_their_docstring() -> None:
    for path in PIPELINE.rglob("__init__.py"):
        assert [type(node) for node in tree(path).body] == [ast.Expr], f"{path.relative_to(ROOT)} must be a docstring"


def test_layers_hold() -> None:
    """In a process of its own: import-linter sets logging up anew, which silences every logger that is there."""
    code = (
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(cache_dir=None, no_cache=True))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_every_module_has_its_tests() -> None:
    modules = [path.relative_to(PIPELINE) for path in MODULES if path.name != "__init__.py"]
    missing = [test for m in modules if not (ROOT / (test := Path("tests", m.with_name(f"test_{m.name}")))).exists()]
    assert not missing, f"modules without tests: {', '.join(map(str, missing))}"


def test_params_in_force_are_the_default_composition() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert text == compose([], ROOT / "conf"), "params.yaml is not what conf/ composes; run: sightline compose"


def test_dvc_composes_the_same_configuration() -> None:
    settings = (ROOT / ".dvc" / "config").read_text(encoding="utf-8").split()
    assert "".join(settings).partition("[hydra]")[2] == "enabled=trueconfig_dir=confconfig_name=config"


@pytest.mark.parametrize(
    "choice", [f"{path.parent.name}={path.stem}" for path in sorted((ROOT / "conf").glob("*/*.yaml"))]
)
def test_every_option_of_every_group_composes_and_is_good(choice: str) -> None:
    own = ["data.path=/set/images", "data.labels.path=/set/labels"] if choice.startswith("data=") else []
    validate(yaml.safe_load(compose([choice, *own], ROOT / "conf")))
