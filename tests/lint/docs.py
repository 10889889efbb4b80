#!/usr/bin/env python3
"""Fails on a page that points at what is not there.

In README.md, CONTRIBUTING.md and docs/*.md: links to files, pictures and headings, `paths/of/files`
in backquotes (with * and NAME as wildcards), and `hs_names` and `file.c:function` that the sources
do not have.
"""
import glob
import os
import re
import sys

ROOMS = ("model", "hooks", "analyses", "db", "viz", "cli", "tests", "docs")


def sources():
    out = {}
    for top in ROOMS:
        for folder, _, files in os.walk(top):
            for f in files:
                if f.endswith((".c", ".h", ".sql", ".py", ".sh", ".t")):
                    path = os.path.join(folder, f)
                    with open(path, encoding="utf-8", errors="replace") as file:
                        out[path] = file.read()
    return out


def outside_blocks(text):
    """The lines with their numbers that are not in a fenced or indented block."""
    fenced = False
    for no, line in enumerate(text.split("\n"), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            yield no, line


def anchors(path):
    with open(path, encoding="utf-8") as f:
        lines = [line for _, line in outside_blocks(f.read())]
    heads = [line for line in lines if line.startswith("#")]
    ids = {m for line in lines for m in re.findall(r'\bid="([^"]+)"', line)}
    titles = [h.lstrip("#").strip().lower() for h in heads]
    return ids | {re.sub(r"[^\w\- ]", "", t).replace(" ", "-") for t in titles}


def there(path):
    return bool(glob.glob(path.replace("NAME", "*").rstrip("/")))


def check_link(page, target):
    if re.match(r"[a-z]+:", target):
        return None
    path, _, anchor = target.partition("#")
    path = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
    if not os.path.exists(path):
        return "no file %s" % path
    if anchor and anchor not in anchors(path):
        return "no heading #%s in %s" % (anchor, path)
    return None


def check_code(word, words, text):
    """A word in backquotes: a path, a name of ours, or anything else, which is fine."""
    m = re.fullmatch(r"([\w/.*]+\.[ch]):(\w+)", word)
    if m:
        if m[1] not in text:
            return "no file %s" % m[1]
        return None if re.search(r"\b%s\(" % m[2], text[m[1]]) else "no %s in %s" % (m[2], m[1])
    if re.fullmatch(r"[\w.*-]+(/[\w.*-]+)+/?", word) and word.split("/")[0] in ROOMS:
        return None if there(word) else "no file %s" % word
    m = re.fullmatch(r"(hs_\w+)(\(\))?", word)
    if m and "NAME" not in word and m[1] not in words:
        return "no %s in the sources" % m[1]
    return None


def main():
    pages = ["README.md", "CONTRIBUTING.md"] + sorted(glob.glob("docs/*.md"))
    text = sources()
    words = set(re.findall(r"\bhs_\w+", "\n".join(text.values())))
    bad, n = [], 0
    for page in pages:
        with open(page, encoding="utf-8") as f:
            lines = list(outside_blocks(f.read()))
        for no, line in lines:
            links = re.findall(r"\]\(([^)\s]+)\)", line)
            links += re.findall(r'(?:src|href)="([^"]+)"', line)
            found = [check_link(page, m) for m in links]
            found += [check_code(m, words, text) for m in re.findall(r"`([^`]+)`", line)]
            n += len(found)
            bad += ["%s:%d: %s" % (page, no, f) for f in found if f]
    for b in bad:
        print(b, file=sys.stderr)
    print("docs: %d pages, %d links and names, %d not there" % (len(pages), n, len(bad)))
    return 1 if bad or not n else 0


if __name__ == "__main__":
    sys.exit(main())
