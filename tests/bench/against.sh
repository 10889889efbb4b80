#!/bin/sh
# against.sh: headscope and its peers on the same work, measured in turns on this machine.
#
#     tests/bench/against.sh [--venv DIR] [OPTIONS] [MODEL.gguf]
#
# The peers (torch, transformers, TransformerLens, llama.cpp in the package xllamacpp) come from PyPI
# into a virtual environment that is thrown away, or kept in DIR; one that is there already is used
# as it is. The default model is used unless another is given. OPTIONS and what is measured how:
# against.py. `--only sweep` is the sweep of all heads against TransformerLens, about 20 minutes;
# with --long that does every head itself instead of a sample.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$root/build}
venv=
if [ "${1-}" = --venv ]; then
    venv=${2:?against.sh: --venv takes a folder}
    shift 2
fi
[ -x "$build/headscope" ] || {
    echo "against.sh: no $build/headscope: run make first" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
: "${venv:=$work/venv}"
if [ ! -x "$venv/bin/python" ]; then
    echo "against.sh: installing the peers into $venv (some GB, minutes)" >&2
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check torch transformers transformer-lens gguf numpy \
        xllamacpp
fi
"$venv/bin/python" "$root/tests/bench/against.py" --headscope "$build/headscope" --work "$work" \
    --default "$build/models/SmolLM2-135M-Instruct.Q4_1.gguf" "$@"
