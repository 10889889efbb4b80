#!/usr/bin/env python3
"""Fails on an include that runs against the house's arrows.

core <- model <- hooks <- analyses <- db <- viz <- cli; cuda sees core and model/backend.h only; a
library that lives behind one file is included by that file alone.
"""
import os
import re
import sys

ROOMS = ["model/core", "model", "hooks", "analyses", "db", "viz", "cli"]
BEHIND = {  # header of a library -> the only files that may include it
    "cjson/": {"model/core/json.c"},
    "pcre2.h": {"model/core/regex.c"},
    "utf8proc.h": {"model/core/utf8.c"},
    "png.h": {"viz/png.c"},
    "cairo.h": {"viz/canvas.c"},
    "pango/": {"viz/canvas.c"},
    "zstd.h": {"db/codec.c"},
    "lapacke.h": {"analyses/linalg.c"},
    "zlib.h": {"model/core/hash.c"},
    "sqlite3.h": None,  # the db room
}


def room(path):
    if path.startswith("model/core/"):
        return "model/core"
    return path.split("/")[0]


def check(path, bad):
    here = room(path)
    for no, line in enumerate(open(path, errors="replace"), 1):
        m = re.match(r'\s*#\s*include\s+([<"])([^>"]+)', line)
        if not m:
            continue
        where, name = "%s:%d" % (path, no), m.group(2)
        if m.group(1) == "<":
            for lib, owners in BEHIND.items():
                if not name.startswith(lib):
                    continue
                if here != "db" if owners is None else path not in owners:
                    bad.append("%s: <%s> belongs behind %s" % (
                        where, name, "db/" if owners is None else ", ".join(sorted(owners))))
        elif not name.startswith("gen/"):
            if not os.path.exists(name):
                bad.append('%s: "%s" is not a path from the top of the tree' % (where, name))
            elif here == "cuda":
                if room(name) not in ("cuda", "model/core") and name != "model/backend.h":
                    bad.append("%s: cuda may not include %s" % (where, name))
            elif here in ROOMS and room(name) in ROOMS and \
                    ROOMS.index(room(name)) > ROOMS.index(here):
                bad.append("%s: %s may not include %s" % (where, here, name))


def main():
    bad, n = [], 0
    for top in ("model", "hooks", "analyses", "db", "viz", "cli", "cuda"):
        for folder, _, files in os.walk(top):
            for f in sorted(files):
                if f.endswith((".c", ".h", ".cu")):
                    check(os.path.join(folder, f), bad)
                    n += 1
    for b in bad:
        print(b, file=sys.stderr)
    print("arrows: %d files, %d against the arrows" % (n, len(bad)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
