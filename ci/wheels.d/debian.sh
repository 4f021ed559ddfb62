# Sourced by ci/wheels.sh and ci/freethreading: Debian's packages, unpacked into a folder. Nothing is installed and no right is needed.

have_apt() { command -v apt-get > "$scratch/log" && command -v dpkg-deb > "$scratch/log"; }

apt_for() {    # apt_for ARCHITECTURE[-SUITE] ARGUMENTS...: apt with lists and packages of its own; its sources are the
    # system's, or those of another suite, of sources where DEB=deb-src
    own=$scratch/apt-$1
    mkdir -p "$own/state/lists/partial" "$own/cache/archives/partial"
    : > "$own/status"
    cat > "$own/conf" <<CONF
APT { Architecture "${1%-*}"; Architectures { "${1%-*}"; }; Sandbox::User "$(id -un)"; };
Dir { State "$own/state"; State::status "$own/status"; Cache "$own/cache"; };
CONF
    case $1 in
    *-*)
        echo "${DEB:-deb} [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian ${1#*-} main" \
            > "$own/sources.list"
        echo "Dir::Etc { sourcelist \"$own/sources.list\"; sourceparts \"$own/none\"; };" >> "$own/conf"
        ;;
    esac
    shift
    APT_CONFIG=$own/conf apt-get -q "$@"
}

unpack() {    # unpack ARCHITECTURE[-SUITE] FOLDER PACKAGES...: they and what they need
    architecture=$1
    folder=$2
    shift 2
    mkdir -p "$folder"
    apt_for "$architecture" update -o APT::Update::Error-Mode=any &&
        apt_for "$architecture" install --yes --no-install-recommends --download-only "$@" || return 1
    for package in "$scratch/apt-$architecture"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$folder" || return 1
    done
}

pip_into() {    # pip_into FOLDER PYTHON MACHINE WHEEL: what the wheel needs on another Python, and it
    into=$1
    version=$2
    set -- --platform "manylinux_2_28_$3" --platform "manylinux_2_27_$3" --platform "manylinux_2_26_$3" \
        --platform "manylinux_2_17_$3" --platform "manylinux2014_$3" "$4"
    quietly "$BIN/python" -m pip install --target "$into" --python-version "$version" --implementation cp \
        --abi "cp$(echo "$version" | tr -d .)" --abi abi3 --abi none --only-binary :all: "$@"
}
