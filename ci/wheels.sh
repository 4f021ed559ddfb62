#!/bin/sh
# What a Linux machine can prove of the wheels without containers or other machines.
#
#   ci/wheels.sh first    sdist, the wheel from it, its repair, what both hold and what the tools say of them, and the
#                         wheel installed and tried on each CPython >= 3.11 that is found here
#   ci/wheels.sh          that, and: the wheel on newer Pythons from Debian; the same bytes from a second build; all C
#                         compiled for nine systems; a wheel for aarch64, run under qemu; a wheel for musl, run; which
#                         wheels cibuildwheel would build
#
# One line tells what passed, what was skipped and why, and what failed; all are repeated at the end. dist/ then holds
# the sdist and the repaired wheel. Further interpreters are found by MORE_PYTHONS="/path/to/python ...".
VENV=${VENV:-.venv}-wheels
. "$(dirname "$0")/common.sh"
case ${1:-all} in first | all) ;; *) sed -n 2,12p "$0"; exit 2 ;; esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
lines=$scratch/lines
: > "$lines"
passed() { echo "passed   $*" | tee -a "$lines"; }
skipped() { echo "SKIPPED  $*" | tee -a "$lines"; }
failed() { echo "FAILED   $*" | tee -a "$lines"; }

quietly() {    # quietly COMMAND...: what it prints is shown only where it fails
    "$@" > "$scratch/log" 2>&1 || { status=$?; tail -n 60 "$scratch/log"; return $status; }
}

try() {    # try TITLE COMMAND...
    title=$1
    shift
    if quietly "$@"; then passed "$title"; else failed "$title"; return 1; fi
}

. ci/wheels.d/pythons.sh

build() {    # dist/*.tar.gz and dist/*.whl, the repaired one
    make_venv "$VENV"
    quietly install_tools package
    rm -rf dist
    # the wheel is made from the sdist, so that nothing can be missing there
    try "sdist, and a wheel from it with nothing but what pyproject.toml asks for" \
        "$BIN/python" -m build --outdir "$scratch/raw" . || return 1
    mkdir dist
    cp "$scratch"/raw/*.tar.gz dist
    # auditwheel refuses what the tag does not allow, and names the oldest system that the wheel runs on
    try "auditwheel repair" env PATH="$BIN:$PATH" "$BIN/auditwheel" repair -w dist "$scratch"/raw/*.whl || return 1
    wheel=$(echo "$PWD"/dist/*.whl)
}

audits() {
    fault=0
    allowed='[-.](manylinux_2_([0-9]|1[0-9]|2[0-8])|musllinux_1_2)_'
    if echo "$wheel" | grep -Eq -- "$allowed"; then
        passed "$(basename "$wheel"), $(wc -c < "$wheel") bytes: for manylinux_2_28 or older"
    else
        failed "$(basename "$wheel") needs a newer system than manylinux_2_28"
        fault=1
    fi
    try "the wheel and the sdist hold what they should (ci/check_wheel.py)" "$BIN/python" ci/check_wheel.py dist || fault=1
    try "twine check --strict" "$BIN/twine" check --strict dist/* || fault=1
    try "check-wheel-contents" "$BIN/check-wheel-contents" dist/*.whl || fault=1
    case $wheel in
    *-abi3-*) try "abi3audit --strict" "$BIN/abi3audit" --strict "$wheel" || fault=1 ;;
    *) skipped "abi3audit: no CPython 3.11 with headers is here, so the wheel is for one Python alone" ;;
    esac
    return $fault
}

same_bytes() {    # a second build, in another folder and another environment
    tar -xzf dist/*.tar.gz -C "$scratch"
    source=$(echo "$scratch"/ldl_cy-*/)
    quietly install_build_requirements
    quietly "$BIN/python" -m build --wheel --no-isolation --outdir "$scratch/again" "$source" || return 1
    for one in "$scratch"/raw/*.whl; do
        if cmp "$one" "$scratch/again/$(basename "$one")"; then
            passed "a second build, in another folder, gives the same bytes"
        else
            failed "a second build, in another folder, gives another wheel"
            return 1
        fi
    done
}

identifiers() {    # the wheels that cibuildwheel would build and test, by system
    for system in linux macos windows pyodide; do
        for arch in x86_64 aarch64 arm64 AMD64 ARM64 wasm32; do
            case $system/$arch in
            linux/x86_64 | linux/aarch64 | macos/x86_64 | macos/arm64 | windows/A* | pyodide/wasm32) ;;
            *) continue ;;
            esac
            found=$("$BIN/cibuildwheel" --print-build-identifiers --platform $system --archs $arch .) || return 1
            # shellcheck disable=SC2086    # one line of them
            passed "cibuildwheel on $system $arch:" $found
            case $system in pyodide) want=cp314-pyodide ;; *) want="cp311- cp314t- cp315t-" ;; esac
            for one in $want; do
                case $found in *"$one"*) ;; *) failed "cibuildwheel on $system $arch builds no $one"; return 1 ;; esac
            done
        done
    done
}

# Wheels of one commit are the same bytes whenever they are built.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1700000000)}
export SOURCE_DATE_EPOCH

found_pythons > "$scratch/pythons"
PYTHON=$(building_python)
echo "CPythons found: $(cut -d' ' -f1 "$scratch/pythons" | tr '\n' ' ')"
started=$(date +%s)
result=0
if build; then
    audits || result=1
    try_pythons || result=1
    echo "first half: $(($(date +%s) - started)) s"
    if [ "${1:-all}" = all ]; then
        . ci/wheels.d/debian.sh
        . ci/wheels.d/newer.sh
        . ci/wheels.d/targets.sh
        . ci/wheels.d/aarch64.sh
        . ci/wheels.d/musl.sh
        quietly install_tools wheels
        run_newer || result=1
        identifiers || result=1
        # the others start from the C files that the second build leaves in its folder
        if same_bytes; then
            compile_targets || result=1
            run_aarch64 || result=1
            run_musl || result=1
        else
            result=1
        fi
    fi
else
    result=1
fi
echo
cat "$lines"
echo "$(grep -c ^passed "$lines" || true) passed, $(grep -c ^FAILED "$lines" || true) failed," \
    "$(grep -c ^SKIPPED "$lines" || true) skipped in $(($(date +%s) - started)) s"
exit $result
