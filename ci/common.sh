# Sourced by the scripts of this folder: the root of the repository, a clean environment, the virtual environment.
# VENV names the virtual environment (.venv), PYTHON the interpreter that makes it (the first that is 3.11 or newer).
set -eu
cd "$(dirname "$0")/.."

# Both hold OpenBLAS to another processor's kernels; a PYTHONPATH could put another copy of the package in front.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE PYTHONPATH
export PIP_DISABLE_PIP_VERSION_CHECK=1

VENV=${VENV:-.venv}

find_python() {
    for candidate in ${PYTHON:-python3 python3.15 python3.14 python3.13 python3.12 python3.11 python}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "No Python 3.11 or newer with venv was found; name one: PYTHON=/path/to/python $0" >&2
    return 1
}

make_venv() {    # make_venv FOLDER: a virtual environment, unless it is there; its programs are then in $BIN
    if [ ! -f "$1/pyvenv.cfg" ]; then
        python=$(find_python)
        "$python" -m venv "$1"
    fi
    BIN=$1/bin
    [ -d "$BIN" ] || BIN=$1/Scripts
    case $BIN in /*) ;; *) BIN=$PWD/$BIN ;; esac
}

install_package() {    # the package with what its tests and its demo need; nothing is done where no source is newer
    make_venv "$VENV"
    stamp=$VENV/ldl_cy.installed
    if [ -f "$stamp" ] && [ -z "$(find ldl_cy setup.py pyproject.toml MANIFEST.in -name __pycache__ -prune \
            -o -newer "$stamp" -print)" ]; then
        return
    fi
    # setuptools would ship modules that an earlier build left here and the source no longer has
    rm -rf build
    "$BIN/python" -m pip install --quiet ".[test,plot]"
    touch "$stamp"
}

install_tools() {    # install_tools EXTRA: what one extra of pyproject.toml lists, without the package
    "$BIN/python" -c 'import sys, tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["optional-dependencies"][sys.argv[1]], sep="\n")' "$1" > "$VENV/$1.txt"
    "$BIN/python" -m pip install --quiet -r "$VENV/$1.txt"
}
