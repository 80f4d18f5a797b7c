"""The order of the house: who may import whom, read from every import, also inside functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import softprompt

PACKAGE = Path(softprompt.__file__).parent
# Each folder imports only from itself and from those before it.
ORDER = (
    "errors",
    "settings",
    "text",
    "data",
    "prompts",
    "backbones",
    "methods",
    "inference",
    "analysis",
    "tuning",
    "pretraining",
    "recipes",
    "serving",
    "cli",
)
HEAVY = ("torch", "transformers")
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = ("softprompt", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> list[str]:
    """Every module that a file imports, at the top or inside a function, by its full name."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who imports whom"
            found.append(node.module or "")
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def floor(module: str) -> int | None:
    """How high a module lives, or None outside the house (and for its roof, `__init__`)."""
    parts = module.split(".")
    if parts[0] != "softprompt" or len(parts) < 2 or parts[1] not in ORDER:
        return None
    return ORDER.index(parts[1])


def test_no_file_imports_from_a_higher_layer() -> None:
    upward = []
    for path in FILES:
        own = floor(module_name(path))
        for name in imported(path):
            other = floor(name)
            if own is not None and other is not None and other > own:
                upward.append(f"{module_name(path)} imports {name}")
    assert not upward


def test_every_folder_has_its_place_in_the_order() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert folders <= set(ORDER)


def test_no_circle_of_imports() -> None:
    modules = {module_name(path): path for path in FILES}
    edges = {
        name: {m for m in imported(path) if m in modules and m != name}
        for name, path in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a circle: {' → '.join((*above[above.index(name) :], name))}"
        if name in done:
            return
        for other in sorted(edges[name]):
            visit(other, (*above, name))
        done.add(name)

    for name in sorted(modules):
        if name != "softprompt":  # the roof hands all names on, lazily
            visit(name, ())


@pytest.mark.parametrize("folder", ["text", "data"])
def test_texts_and_data_know_no_tensors(folder: str) -> None:
    for path in sorted((PACKAGE / folder).glob("*.py")):
        heavy = [n for n in imported(path) if n.split(".")[0] in HEAVY]
        assert not heavy, f"{path.name} imports {heavy}"


def test_only_backbones_and_pretraining_touch_model_classes() -> None:
    allowed = {"backbones", "pretraining"}
    for path in FILES:
        folder = path.relative_to(PACKAGE).parts[0]
        models = [
            n for n in imported(path) if n.startswith(("transformers.Auto", "transformers.models"))
        ]
        assert not models or folder in allowed, f"{path}: {models}"


def test_nothing_is_evaluated_or_unpickled() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, path
        assert not {"pickle", "dill"} & {name.split(".")[0] for name in imported(path)}, path
