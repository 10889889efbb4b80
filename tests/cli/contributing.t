# CONTRIBUTING.md's examples, built into a copy of the source and run as the page says; and what the
# pages point at is there. With WRITE=1 the page gets the outputs.
. tests/cli/lib.sh

t "what the pages name exists" python3 tests/lint/docs.py
if [ -n "${HS_SANITIZED-}" ]; then # the objects at hand were built by other rules
    skip "the examples" "a sanitized build"
    finish
    exit 0
fi

tree=$tmp/tree
page=$PWD/CONTRIBUTING.md tour=$PWD/tests/lib/tour.py

# The source with the objects that were built from it, so that only what is new is compiled. The
# lists of dependencies name the old folder of objects.
copy() {
    mkdir -p "$tree/build" &&
        tar -cf - --exclude='*.d' Makefile model hooks analyses db viz cli docs \
            .clang-format tests/golden/data |
        tar -xf - -C "$tree" &&
        (cd "$BUILD" && tar -cf - .have-libs gen model hooks analyses db viz cli) |
        tar -xf - -C "$tree/build" &&
        find "$tree/build" -name '*.d' -exec sed -i "s|$BUILD/|build/|g" {} +
}
t "a copy of the source" copy
extract() {
    (cd "$tree" && python3 "$tour" "$page" --extract) >"$tmp/files" &&
        [ "$(wc -l <"$tmp/files")" = 6 ]
}
t "six files in the page" extract
formatted() {
    (cd "$tree" && grep '\.c$' "$tmp/files" | xargs clang-format --dry-run -Werror) 2>"$err"
}
if command -v clang-format >/dev/null; then
    t "formatted as the sources are" formatted
else
    skip "formatted as the sources are" "no clang-format"
fi
build() {
    (cd "$tree" && unset MAKEFLAGS MFLAGS MAKELEVEL &&
        make CC="${CC:-cc}" BUILD=build build/headscope) >"$out" 2>"$err"
}
t "they compile" build

[ -z "${WRITE-}" ] || (cd "$tree" && python3 "$tour" "$page" --write && rm cursor.db)

# The page's own commands, a test each.
plan=0
run_page() {
    (cd "$tree" && python3 "$tour" "$page") >"$tmp/page"
    plan=$(grep -c '^\(not \)\?ok ' "$tmp/page")
    sed "/^1\.\./d; s/^\(not ok\|ok\) \([0-9]*\) - /\1 - /" "$tmp/page"
}
run_page
count=$((count + plan))
t "the page shows commands" [ "$plan" -gt 10 ]
finish
