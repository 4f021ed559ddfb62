# Sourced by ci/wheels.sh: the wheel on Pythons newer than those of this machine, from Debian's unstable packages, with
# the C library of those packages.

NEWER="3.14 3.15"    # those that cibuildwheel tests (pyproject.toml)

run_newer() {
    missing=
    for version in $NEWER; do
        grep -q "^$version " "$scratch/pythons" || missing="$missing $version"
    done
    [ -n "$missing" ] || return 0
    case $(uname -m):$wheel in
    x86_64:*-abi3-*) ;;
    *) skipped "$missing: only the abi3 wheel for x86-64 is tried there"; return 0 ;;
    esac
    root=$scratch/unstable
    # shellcheck disable=SC2046,SC2086    # lists
    if ! have_apt || ! quietly unpack amd64-sid "$root" $(printf 'python%s ' $missing) libstdc++6 libgomp1; then
        skipped "$missing: apt has none of Debian's unstable packages here"
        return 0
    fi
    libraries=$root/usr/lib/x86_64-linux-gnu
    fault=0
    for version in $missing; do
        if pip_into "$scratch/site-$version" "$version" x86_64 "$wheel" && (cd "$scratch" && PYTHONHOME=$root/usr PYTHONPATH=$scratch/site-$version \
                "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$root/usr/bin/python$version" \
                "$OLDPWD/ci/smoke.py") > "$scratch/smoke" 2>&1; then
            passed "$version, newest versions: $(tail -n 1 "$scratch/smoke")"
        else
            cat "$scratch/log" "$scratch/smoke"
            failed "$version, newest versions"
            fault=1
        fi
    done
    return $fault
}
