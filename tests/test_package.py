"""The package as a whole: what an import costs, what it offers, what it calls itself."""
import subprocess
import sys
from importlib.metadata import entry_points, version

import pytest

import ldl_cy


def python(code, folder):
    """Run code in a new interpreter, away from the source folder, which would be imported instead."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_import_leaves_the_heavy_packages_alone(tmp_path):
    heavy = ["sklearn", "matplotlib", "tqdm", "pandas"]
    code = f"import sys, ldl_cy; print([name for name in {heavy} if name in sys.modules])"
    assert python(code, tmp_path).strip() == "[]"


def test_layers_and_models_need_no_scikit_learn(tmp_path):
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from ldl_cy import Sequential, layers\n"
        "model = Sequential([layers.Dense(2)]); model.build((3,)); print(model.n_parameters)")
    assert python(code, tmp_path).strip() == "8"


@pytest.mark.parametrize("name", ldl_cy.__all__)
def test_every_public_name_resolves(name):
    assert getattr(ldl_cy, name) is not None
    assert name in dir(ldl_cy)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no_such_name"):
        ldl_cy.no_such_name  # noqa: B018


def test_version_is_the_distributions():
    assert ldl_cy.__version__ == version("ldl_cy")


def test_the_console_script_is_main():
    from ldl_cy.__main__ import main

    script, = entry_points(group="console_scripts", name="ldl-cy")
    assert script.load() is main
