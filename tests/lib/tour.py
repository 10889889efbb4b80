#!/usr/bin/env python3
"""Runs what a page shows.

    tour.py PAGE             runs the ```console blocks and compares; TAP on stdout
    tour.py PAGE --write     runs them and mends the page
    tour.py PAGE --extract   writes the blocks that name a file, ```c path/of/file.c

Commands run in the current folder, all in one shell, what they print to stderr included; lines
that begin with "> " go on with a command. Each has to succeed, but in a block ```console fails.

Output is compared word by word, so that the width of a column does not matter, and:
  - a line "..." stands for any number of lines, "..." in a line for any words;
  - a number with decimals (on either side) may differ by one unit in the last place that the page
    shows, or by two in 100,000: instruction sets round differently;
  - a number before s, ms, kB, MB or GB may be any: they depend on the machine.

--write keeps what still agrees and the "..." lines. Where the page shows a picture tour-X.png and a
command has made X.png, the picture is replaced.
"""
import os
import re
import shutil
import subprocess
import sys

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
UNITS = {"s", "ms", "kB", "MB", "GB"}
SLACK = 2e-5


def blocks(text):
    """(info, first line, end line) of every fenced block; lines are 0-based, fences outside."""
    lines, at, out = text.split("\n"), None, []
    for i, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if at is None:
            at, info = i, line[3:].split()
        else:
            out.append((info, at + 1, i))
            at = None
    if at is not None:
        sys.exit("tour.py: line %d: the block has no end" % (at + 1))
    return out


class Step:
    """A command of a page, and what it shows after it, lines [first, end)."""

    def __init__(self, no, command, first, fails):
        self.no, self.command, self.first, self.end, self.fails = no, command, first, first, fails
        self.got, self.status = [], None


def steps_of(text):
    lines, out = text.split("\n"), []
    for info, first, end in blocks(text):
        if info[:1] != ["console"]:
            continue
        i = first
        while i < end:
            if lines[i].startswith("$ "):
                no, command = i + 1, lines[i][2:]
                while i + 1 < end and lines[i + 1].startswith("> "):
                    i += 1
                    command += "\n" + lines[i][2:]
                out.append(Step(no, command, i + 1, "fails" in info))
            elif not out or out[-1].first < first:
                sys.exit("tour.py: line %d: output before any command" % (i + 1))
            i += 1
            if out:
                out[-1].end = i
    return out


def run(steps):
    mark = "@@tour@@"
    script = "exec </dev/null 2>&1\n"
    for s in steps:
        script += "%s\nprintf '\\n%s %%d\\n' $?\n" % (s.command, mark)
    got = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=False).stdout
    parts = re.split(r"\n%s (\d+)\n" % mark, got.decode("utf-8", "replace"))
    for k, s in enumerate(steps):
        if 2 * k + 1 >= len(parts):
            break  # the shell ended early
        s.got = [line.rstrip() for line in parts[2 * k].split("\n")]
        while s.got and not s.got[-1]:
            s.got.pop()
        s.status = int(parts[2 * k + 1])


# ---- comparing --------------------------------------------------------------------------------


def number_agrees(want, got, unit):
    if unit in UNITS or want == got:
        return True
    if not re.search(r"[.e]", want + got):
        return False
    digits = re.search(r"\.(\d+)", want)
    exponent = re.search(r"e([-+]?\d+)", want)
    place = 10.0 ** (-(len(digits.group(1)) if digits else 0) +
                     (int(exponent.group(1)) if exponent else 0))
    a, b = float(want), float(got)
    return abs(a - b) <= max(1.0001 * place, SLACK * abs(a))


def word_agrees(want, got, unit):
    """Equal but for the numbers in them."""
    a, b = NUMBER.split(want), NUMBER.split(got)
    x, y = NUMBER.findall(want), NUMBER.findall(got)
    return a == b and all(number_agrees(p, q, a[i + 1] or unit) for i, (p, q) in
                          enumerate(zip(x, y)))


def match(want, got, same, gap):
    """Whether the lists agree, where an item of `want` equal to `gap` stands for any items."""
    if not want:
        return not got
    if want[0] == gap:
        return any(match(want[1:], got[i:], same, gap) for i in range(len(got) + 1))
    return bool(got) and same(want[0], got[0]) and match(want[1:], got[1:], same, gap)


def line_agrees(want, got):
    # A word is told together with the one after it, which may be its unit.
    def pairs(line):
        words = line.split()
        return [(w, words[i + 1].rstrip(".,;:)") if i + 1 < len(words) else "") if w != "..."
                else "..." for i, w in enumerate(words)]
    return match(pairs(want), pairs(got), lambda a, b: word_agrees(a[0], b[0], a[1]), "...")


def output_agrees(want, got):
    return match([w for w in want if w.strip()], [g for g in got if g.strip()], line_agrees, "...")


# ---- mending ----------------------------------------------------------------------------------


def mended(want, got):
    """What the page should show: where it has gaps, the lines of `got` that begin as its own do."""
    out, at = [], 0
    for line in want if "..." in want else []:
        if line != "..." and line.strip():
            begins = line.split()[0]
            while at < len(got) and got[at].split()[:1] != [begins]:
                at += 1
            if at == len(got):
                return got
            line = got[at]
            at += 1
        out.append(line)
    return out or got


def write(page, text, steps):
    lines = text.split("\n")
    for s in reversed(steps):
        want = lines[s.first:s.end]
        if not output_agrees(want, s.got):
            lines[s.first:s.end] = mended(want, s.got)
            print("line %d: %s" % (s.no, s.command))
    new = "\n".join(lines)
    if new != text:
        with open(page, "w", encoding="utf-8") as f:
            f.write(new)
    folder = os.path.dirname(os.path.abspath(page))
    for shown in set(re.findall(r"\]\(((?:\w+/)*tour-(\w+\.png))\)", text)):
        if os.path.exists(shown[1]):
            shutil.copyfile(shown[1], os.path.join(folder, shown[0]))


# ---- what it is called with -------------------------------------------------------------------


def extract(text):
    lines = text.split("\n")
    for info, first, end in blocks(text):
        if len(info) < 2 or info[0] == "console":
            continue
        os.makedirs(os.path.dirname(info[1]) or ".", exist_ok=True)
        with open(info[1], "w", encoding="utf-8") as f:
            f.write("\n".join(lines[first:end]) + "\n")
        print(info[1])


def check(text, steps):
    lines, failed = text.split("\n"), 0
    for n, s in enumerate(steps, 1):
        want = lines[s.first:s.end]
        right = s.status is not None and (s.status != 0) == s.fails
        ok = right and output_agrees(want, s.got)
        failed += not ok
        print("%s %d - %s" % ("ok" if ok else "not ok", n, s.command.replace("\n", " ")))
        if not ok:
            print("#   line %d: status %s" % (s.no, s.status))
            for side, shown in (("page", want), ("got ", s.got)):
                for line in shown:
                    print("#   %s: %s" % (side, line))
    print("1..%d" % len(steps))
    return 1 if failed else 0


def main():
    page, what = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    with open(page, encoding="utf-8") as f:
        text = f.read()
    if what == "--extract":
        extract(text)
        return 0
    steps = steps_of(text)
    run(steps)
    if what == "--write":
        write(page, text, steps)
        return 0
    return check(text, steps)


if __name__ == "__main__":
    sys.exit(main())
