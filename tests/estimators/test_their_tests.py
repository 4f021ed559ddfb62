"""scikit-learn's own tests of its MLP, with the import swapped."""
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn.neural_network

THEIRS = Path(sklearn.neural_network.__file__).parent / "tests" / "test_mlp.py"
# they read private attributes: _optimizer, _backprop, _loss_grad_lbfgs
PRIVATE = ("test_fit", "test_gradient", "test_learning_rate_warmstart", "test_adaptive_learning_rate")
CONFTEST = """
import pytest

@pytest.fixture
def global_random_seed():
    return 42
"""


@pytest.mark.skipif(not THEIRS.exists(), reason="this scikit-learn comes without its tests")
def test_with_the_import_swapped(tmp_path):
    text = THEIRS.read_text(encoding="utf-8")
    swapped = text.replace("from sklearn.neural_network import MLP", "from ldl_cy import MLP")
    assert swapped != text
    (tmp_path / "test_mlp.py").write_text(swapped, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    left_out = [f"--deselect=test_mlp.py::{name}" for name in PRIVATE]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *left_out],
                          cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
