# What a database holds, for tests that break recordings: imported by the scripts' Python.
import re
import sqlite3

# Columns that tell times, and where two recordings of the same thing may differ.
SKIP = re.compile("_at|wall|second|time|argv|status|duration|_ms|command")


class Damage(Exception):
    pass


def _prompt_of(db, table, depth=0):
    if table == "prompt":
        return "{0}.id"
    for _, _, parent, column, to, *_ in db.execute(f"pragma foreign_key_list({table})"):
        up = _prompt_of(db, parent, depth + 1) if depth < 4 else None
        if up == "{0}.id":
            return "{0}." + column
        if up:
            alias = f"{parent}_{depth}"
            return f"(select {up.format(alias)} from {parent} {alias} where {alias}.{to or 'id'} = {{0}}.{column})"
    return None


# Every table's rows without the columns that tell times, and the prompt that each belongs to; `but`
# leaves out more columns.
def content(path, but="$^"):
    db = sqlite3.connect(path)
    try:
        got = db.execute("pragma integrity_check").fetchone()
        if got != ("ok",):
            raise Damage(f"{path}: {got}")
        if db.execute("pragma foreign_key_check").fetchall():
            raise Damage(f"{path}: foreign keys")
        out = {}
        for (t,) in db.execute("select name from sqlite_schema where type = 'table' order by 1").fetchall():
            names = [r[1] for r in db.execute(f"pragma table_info({t})")]
            cols = ", ".join(f"{t}.{n}" for n in names if not SKIP.search(n) and not re.search(but, n))
            prompt = (_prompt_of(db, t) or "null").format(t)
            out[t] = db.execute(f"select {prompt}, {cols} from {t} order by {cols}").fetchall()
        return out
    finally:
        db.close()


# The first table that differs, None when none does.
def differs(a, b):
    for t in sorted(set(a) | set(b)):
        if a.get(t) != b.get(t):
            return f"table {t}: {len(a.get(t, []))} rows, {len(b.get(t, []))} rows"
    return None
