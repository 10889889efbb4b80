#!/bin/sh
# deps.sh build|test: installs the Debian packages that are missing, and nothing when none is.
#
# Each line: what it is for, the package, how to tell that it is there ("pc:NAME" asks pkg-config,
# anything else is a command).
set -eu

packages() {
    cat <<'END'
build gcc              command -v cc
build libc6-dev        echo '#include <stdio.h>' | cc -E -
build make             command -v make
build pkg-config       command -v pkg-config
build libsqlite3-dev   pc:sqlite3
build libpng-dev       pc:libpng
build zlib1g-dev       pc:zlib
build libcjson-dev     pc:libcjson
build libpcre2-dev     pc:libpcre2-8
build libutf8proc-dev  pc:libutf8proc
build libzstd-dev      pc:libzstd
build libfontconfig-dev  pc:fontconfig
build libcairo2-dev    pc:cairo
build libpango1.0-dev  pc:pangocairo
build liblapacke-dev   pc:lapacke
build fonts-dejavu-core  ls /usr/share/fonts/truetype/dejavu || fc-list | grep .
build python3          command -v python3
build python3-pip      python3 -m pip --version
test  libcmocka-dev    pc:cmocka
test  openmpi-bin      command -v mpirun
END
}

there() {
    case $1 in
    pc:*) pkg-config --exists "${1#pc:}" ;;
    *) sh -c "$1" ;;
    esac >/dev/null 2>&1
}

kind=${1:-build}
missing=
while read -r for package check; do
    [ "$for" = "$kind" ] || continue
    there "$check" || missing="$missing $package"
done <<END
$(packages)
END
[ -n "$missing" ] || exit 0

root=
[ "$(id -u)" = 0 ] || root=sudo
if ! command -v apt-get >/dev/null || { [ -n "$root" ] && ! command -v sudo >/dev/null; }; then
    echo "headscope: these packages are missing, and this is no place to install them:$missing" >&2
    exit 1
fi
echo "installing:$missing"
$root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
