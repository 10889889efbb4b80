#!/usr/bin/env python3
"""What `headscope export` writes, opened with the tools it is written for.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install numpy pandas safetensors torch \\
        bertviz ipython circuitsvis importlib_metadata datasette sqlite-utils
    /tmp/peers/bin/python tests/ref/peers.py build/headscope run.db [RUN]

run.db holds a run with maps (record --maps all), of prompts short enough for a page. Prints an ok
line for each check and stops at the first that fails. Numbers are compared with what the database
says through att_row, att_series and the views.
"""
import asyncio
import csv
import importlib
import json
import math
import os
import sqlite3
import subprocess
import sys
import tempfile
import urllib.parse

HEADSCOPE, DB = sys.argv[1:3]
RUN = sys.argv[3:4]
TMP = tempfile.mkdtemp()
DONE = 0
PAGES = None


def ok(what, count=None):
    global DONE
    DONE += 1
    print("ok %d - %s%s" % (DONE, what, "" if count is None else " (%s)" % count), flush=True)


def path(name):
    return os.path.join(TMP, name)


def headscope(*args):
    r = subprocess.run([HEADSCOPE, *args, "-q"], capture_output=True, text=True)
    assert r.returncode == 0, (args, r.returncode, r.stderr)
    return r.stdout


def export(name, *args):
    headscope("export", *RUN, "--db", DB, "-o", path(name), *args)
    return path(name)


def query(sql, db=None):
    return json.loads(headscope("query", sql, "--db", db or DB, "--json"))["rows"]


def f32(x):
    import numpy
    return float(numpy.float32(x))


# ---- what the database says ---------------------------------------------------------------------

RUN_ID = int(RUN[0]) if RUN else query("select max(id) from run")[0][0]
PROMPTS = query("select id, ord, label from prompt where run_id = %d order by ord" % RUN_ID)
P0 = PROMPTS[0][0]
N_LAYER, N_HEAD = query("select n_layer, n_head from model where id = "
                        "(select model_id from run where id = %d)" % RUN_ID)[0]
MAPS = {}  # (layer, head) -> rows of visible keys
for layer, head, row in query(
        "select m.layer, m.head, att_row(m.id, k.value) from map m, json_each('[' || (with recursive"
        " c(i) as (select 0 union all select i + 1 from c where i + 1 < (select max(n_q) from map "
        "where prompt_id = %d)) select group_concat(i) from c) || ']') k where m.prompt_id = %d and "
        "m.point = 'pattern' order by m.id, k.value" % (P0, P0)):
    MAPS.setdefault((layer, head), []).append(json.loads(row))
assert MAPS, "the run has no maps: record --maps all"
T = len(next(iter(MAPS.values())))
TOKENS = [t for t, in query("select text from token where prompt_id = %d order by pos" % P0)]


def full(row):
    return row + [0] * (T - len(row))


# ---- arrays -------------------------------------------------------------------------------------

def arrays():
    import numpy
    z = numpy.load(export("run.npz"))
    every = all((l, h) in MAPS for l in range(N_LAYER) for h in range(N_HEAD))
    for (l, h), rows in MAPS.items():
        name = "p0/blocks.%d.attn.hook_pattern" % l
        a = z[name][h] if every else z["%s.h%d" % (name, h)] if name not in z else z[name][h]
        assert (a == numpy.array([full(r) for r in rows], dtype="float32")).all(), (l, h)
    ok("numpy reads the npz, maps to the bit", len(z.files))
    from safetensors.numpy import load_file
    s = load_file(export("run.safetensors"))
    assert set(s) == set(z.files)
    assert all((s[k].view("uint8") == z[k].view("uint8")).all() if s[k].ndim else True for k in s)
    ok("safetensors reads the same", len(s))


# ---- tables -------------------------------------------------------------------------------------

def tables():
    import pandas
    heads = pandas.read_csv(export("heads.csv"),
                            dtype={"id": str, "reason": str})
    want = query("select prompt, layer, head, metric, value from v_head_metric where run_id = %d "
                 "order by prompt, layer, head, metric" % RUN_ID)
    assert len(heads) == len(want)
    for got, (prompt, l, h, metric, value) in zip(heads.itertuples(), want):
        assert (got.run, got.prompt, got.layer, got.head, got.metric) == (RUN_ID, prompt, l, h, metric)
        assert got.name == "L%dH%d" % (l, h)
        assert math.isnan(got.value) and isinstance(got.reason, str) if value is None else got.value == value
    ok("pandas reads heads.csv, to the bit", len(heads))

    stats = pandas.read_csv(export("stats.csv", "--what", "stats"))
    n = 0
    for prompt, l, h, stat, row0, data in query(
            "select p.ord, s.layer, s.head, s.stat, s.row0, att_series(s.data) from row_series s "
            "join prompt p on p.id = s.prompt_id where p.run_id = %d" % RUN_ID):
        if (l + h) % 5:
            continue
        part = stats[(stats.prompt == prompt) & (stats.layer == l) & (stats["head"] == h)]
        data = json.loads(data)
        part = part.iloc[row0:row0 + len(data)]
        assert list(part.pos) == list(range(row0, row0 + len(data)))
        assert all(v is None or f32(got) == f32(v) for got, v in zip(part[stat], data)), (l, h, stat)
        n += len(data)
    ok("pandas reads stats.csv", n)

    maps = pandas.read_csv(export("maps.csv", "--what", "maps", "--prompt", "0"))
    for (l, h), rows in MAPS.items():
        part = maps[(maps.layer == l) & (maps["head"] == h)]
        flat = [(q, k, f32(v)) for q, r in enumerate(rows) for k, v in enumerate(r)]
        assert [(a, b, f32(c)) for a, b, c in zip(part["query"], part.key, part.weight)] == flat
    ok("pandas reads maps.csv", len(maps))

    with open(export("tokens.csv", "--what", "tokens"), newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert [r["token"] for r in rows if r["prompt"] == "0"] == [t or "" for t in TOKENS]
    ok("csv reads tokens.csv", len(rows))

    d = json.load(open(export("run.json", "--what", "all"), encoding="utf-8"))
    assert d["run"] == RUN_ID and len(d["prompts"]) == len(PROMPTS)
    flat = pandas.json_normalize(d["prompts"], "heads", ["prompt", "id"])
    assert len(flat) == len(heads)
    for a, b in zip(flat["value"], heads["value"]):
        assert a == b or (math.isnan(a) and math.isnan(b))
    for m in d["prompts"][0]["maps"]:
        rows = MAPS[m["layer"], m["head"]]
        assert [[f32(v) for v in r] for r in m["weight"]] == [[f32(v) for v in full(r)] for r in rows]
    ok("json nests the same", len(d["prompts"][0]["maps"]))


# ---- pages --------------------------------------------------------------------------------------

def bertviz():
    import torch
    from bertviz import head_view, model_view
    d = json.load(open(export("bertviz.json", "--format", "bertviz"), encoding="utf-8"))
    d["attention"] = [torch.tensor(a) for a in d["attention"]]
    html = head_view(**d, html_action="return").data
    assert len(html) > 1000 and d["tokens"][-1] in html
    drawn = json.loads(html.split("const params = ")[1].split("; // HACK")[0])
    for i, l in enumerate(drawn["include_layers"]):
        for h in drawn["heads"]:
            if (l, h) in MAPS:
                got = drawn["attention"][0]["attn"][i][h]
                assert got == [[f32(v) for v in full(r)] for r in MAPS[l, h]], (l, h)
    ok("BertViz head_view draws every map", len(drawn["include_layers"]) * len(drawn["heads"]))
    html = model_view(d["attention"], d["tokens"], include_layers=d["include_layers"],
                      include_heads=d["heads"], html_action="return").data
    assert len(html) > 1000
    ok("BertViz model_view")

    some = sorted(MAPS)[-1:]
    one = json.load(open(export("one.json", "--format", "bertviz", "--heads", "L%dH%d" % some[0]),
                         encoding="utf-8"))
    one["attention"] = [torch.tensor(a) for a in one["attention"]]
    html = head_view(**one, html_action="return").data
    drawn = json.loads(html.split("const params = ")[1].split("; // HACK")[0])
    l, h = some[0]
    assert drawn["include_layers"] == [l] and drawn["heads"] == [h]
    assert drawn["attention"][0]["attn"][0][h] == [[f32(v) for v in full(r)] for r in MAPS[l, h]]
    model_view(one["attention"], one["tokens"], include_layers=one["include_layers"],
               include_heads=one["heads"], html_action="return")
    ok("BertViz draws one head under its own number")


def circuitsvis():
    from circuitsvis.attention import attention_heads, attention_pattern, attention_patterns
    d = json.load(open(export("cv.json", "--format", "circuitsvis"), encoding="utf-8"))
    html = str(attention_heads(**d))
    assert "AttentionHeads" in html and len(html) > 1000
    assert [tuple(map(int, n[1:].split("H"))) for n in d["attention_head_names"]] == sorted(MAPS)
    for name, a in zip(d["attention_head_names"], d["attention"]):
        rows = MAPS[tuple(map(int, name[1:].split("H")))]
        assert [[f32(v) for v in r] for r in a] == [[f32(v) for v in full(r)] for r in rows], name
    ok("CircuitsVis attention_heads draws every map", len(d["attention"]))
    assert "AttentionPatterns" in str(attention_patterns(d["tokens"], d["attention"]))
    assert "AttentionPattern" in str(attention_pattern(d["tokens"], d["attention"][0]))
    ok("CircuitsVis attention_patterns, attention_pattern")


# ---- the published database ---------------------------------------------------------------------

def tool(name, *args):
    r = subprocess.run([os.path.join(os.path.dirname(sys.executable), name), *args],
                       capture_output=True, text=True)
    assert r.returncode == 0, (name, args, r.returncode, r.stderr[-2000:], r.stdout[-2000:])
    return r.stdout


def get(page):
    """What Datasette answers, which has to be status 200."""
    global PAGES
    from datasette.app import Datasette
    if not PAGES:
        PAGES = Datasette([path("paper.db")], metadata=json.load(open(path("paper.metadata.json"))))
    r = asyncio.run(PAGES.client.get(page))
    assert r.status_code == 200, (page, r.status_code, r.text[:2000])
    return r.text


def datasette():
    headscope("export", "--publish", "--db", DB, "-o", path("paper.db"))
    was, now = sqlite3.connect(DB), sqlite3.connect(path("paper.db"))
    for pragma in "user_version", "application_id", "page_size", "journal_mode":
        assert was.execute("pragma " + pragma).fetchone() == now.execute("pragma " + pragma).fetchone()
    assert now.execute("pragma integrity_check").fetchone() == ("ok",)
    assert not now.execute("pragma foreign_key_check").fetchall()
    heads = ["heads", *RUN, "--metric", "entropy_nats", "--sort", "head", "--json", "--db"]
    assert headscope(*heads, DB) == headscope(*heads, path("paper.db"))
    ok("the published database is sound, and headscope reads it")

    meta = json.load(open(path("paper.metadata.json"), encoding="utf-8"))["databases"]["paper"]
    have = {n for n, in now.execute("select name from sqlite_master where type in ('table', 'view')")}
    assert set(meta["tables"]) == have, set(meta["tables"]) ^ have
    for name, table in meta["tables"].items():
        cols = [r[1] for r in now.execute("select * from pragma_table_info(?)", (name,))]
        assert set(table["columns"]) <= set(cols), name
        assert table.get("label_column", cols[0]) in cols, name
        assert set(table.get("facets", [])) <= set(cols), name
        assert table.get("description"), name
        undocumented = set(cols) - set(table["columns"])
        assert not undocumented, (name, undocumented)
    ok("every table and column is described", len(meta["tables"]))

    home = json.loads(get("/paper.json"))
    assert {t["name"] for t in home["tables"] if t["hidden"]} >= {"map_chunk", "act_chunk", "row_series", "series"}
    assert {q["name"] for q in home["queries"]} == set(meta["queries"])
    for name in sorted(n for n in have if not n.endswith("_chunk")):
        d = json.loads(get("/paper/%s.json?_shape=objects&_size=3" % name))
        count, = now.execute('select count(*) from "%s"' % name).fetchone()
        assert len(d["rows"]) == min(3, count), name
        get("/paper/" + name)
    ok("Datasette shows every table and view", len(have))
    assert ">%s</a>" % PROMPTS[0][2] in get("/paper/token?_size=1&_labels=on").replace("&nbsp;", " ")
    ok("links carry labels")
    page = tool("datasette", path("paper.db"), "-m", path("paper.metadata.json"), "--get",
                "/paper/v_head_metric.json?_shape=objects")
    assert len(json.loads(page)["rows"]) == 100
    ok("so does the command line")
    page = get("/paper/v_head_metric")
    assert "The newest analysis" in page or "newest analysis counts" in page
    ok("pages tell what they show")
    rows = 0
    for name, q in meta["queries"].items():
        d = json.loads(get("/paper/%s.json?_shape=objects" % urllib.parse.quote(name)))
        assert d["ok"] and not d.get("error"), (name, d)
        rows += len(d["rows"])
        if ":prompt" in q["sql"]:
            one = json.loads(get("/paper/%s.json?_shape=objects&run=%d&prompt=%d" % (name, RUN_ID, P0)))
            assert one["ok"] and len(one["rows"]) <= max(len(d["rows"]), 1000), name
    ok("every query of the pages runs", "%d queries, %d rows" % (len(meta["queries"]), rows))
    top = json.loads(get("/paper/top_heads.json?_shape=objects&metric=entropy_nats&top=3&run=%d" % RUN_ID))
    mine = query("select 'L' || layer || 'H' || head, value from v_head_mean where run_id = %d and "
                 "metric = 'entropy_nats' order by value desc, layer, head limit 3" % RUN_ID)
    assert [[r["name"], r["value"]] for r in top["rows"]] == mine, (top["rows"], mine)
    ok("and gives what headscope gives")


def sqlite_utils():
    names = {t["table"] for t in json.loads(tool("sqlite-utils", "tables", path("paper.db")))}
    assert {"run", "prompt", "head_metric", "map"} <= names
    assert len(json.loads(tool("sqlite-utils", "rows", path("paper.db"), "v_head_mean", "--limit", "3"))) == 3
    assert "CREATE TABLE head_metric" in tool("sqlite-utils", "schema", path("paper.db"))
    assert "v_head_metric" in tool("sqlite-utils", "views", path("paper.db"))
    ok("sqlite-utils lists tables, rows, views and schema", len(names))


for package in "numpy", "pandas", "torch", "bertviz", "circuitsvis", "datasette", "sqlite_utils":
    importlib.import_module(package)
arrays()
tables()
bertviz()
circuitsvis()
datasette()
sqlite_utils()
print("%d passed, 0 failed" % DONE)
