"""headscope against its peers: the same work in turns (A B A B ..), a table with targets.

Every measurement is a process of its own, so that its peak memory is its own too. It loads its
model, does a short warm-up, and times the work alone: loading is never counted. A round runs each
side once; the least time of all rounds counts, and the largest peak of memory. Both sides get the
same random token ids and the same number of threads.

headscope's recordings and sweeps are whole ones, by the command `record`: from the moment when the run is
entered into the database, after the model was loaded, to the end of the process. Its prefill and
decoding are the figures of `bench`. llama.cpp's are those that its server reports.
"""
import argparse
import datetime
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time

# ---- children: one peer, one piece of work --------------------------------------------------------


def token_ids(n, n_vocab):
    rng = random.Random(n)
    return [rng.randrange(n_vocab) for _ in range(n)]


def repeat(work):
    """The least seconds of work(), some repetitions of it when it is short."""
    least, spent = float("inf"), 0
    while spent < 2 and least > 0:
        start = time.perf_counter()
        work()
        took = time.perf_counter() - start
        least, spent = min(least, took), spent + took
    return least


def child_transformers(a, attention, watch):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(a.threads)
    folder, name = os.path.split(os.path.abspath(a.model))
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.float32, attn_implementation=attention).eval()
    ids = torch.tensor([token_ids(a.tokens, a.vocab)])

    def statistics(map):  # [head, query, key]
        entropy = torch.special.entr(map).sum(-1)
        top = map.max(-1)
        own = map.diagonal(0, 1, 2)
        return entropy, map[:, :, 0], top.values, top.indices, own, map.diagonal(-1, 1, 2)

    def work(ids=ids):
        with torch.inference_mode():
            out = model(ids, output_attentions=watch, use_cache=False, logits_to_keep=1)
            return [statistics(layer[0]) for layer in out.attentions] if watch else None

    work(ids[:, :32])
    return {"seconds": repeat(work)}


def child_llama(a, decode):
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = a.model
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = a.threads
    p.n_gpu_layers = 0
    p.n_parallel = 1
    p.n_ctx = a.tokens + 128
    p.verbosity = -1
    server = xllamacpp.Server(p)

    def run(ids, n):
        return server.handle_completions(
            {"prompt": ids, "max_tokens": n, "n_predict": n, "cache_prompt": False, "ignore_eos": True,
             "temperature": 0, "samplers": ["temperature"]})["timings"]

    run(token_ids(32, a.vocab), 4)
    if decode:
        t = run(token_ids(a.tokens, a.vocab), 64)
        return {"seconds": t["predicted_ms"] / 1000 / t["predicted_n"]}
    t = run(token_ids(a.tokens, a.vocab), 1)
    assert t["prompt_n"] == a.tokens and t["cache_n"] == 0
    return {"seconds": t["prompt_ms"] / 1000}


def child_products(a, library):
    """Seconds of y[m, n] = x[m, k] w[n, k]^T, by a peer's library; --shapes says which."""
    import numpy
    import torch

    torch.set_num_threads(a.threads)
    seconds = []
    for m, n, k in json.loads(a.shapes):
        x, w = numpy.random.rand(m, k).astype("f4"), numpy.random.rand(n, k).astype("f4")
        tx, tw = torch.from_numpy(x), torch.from_numpy(w)
        work = {"numpy": lambda: x @ w.T, "torch": lambda: torch.nn.functional.linear(tx, tw)}[library]
        work()
        spent, least = 0, float("inf")
        while spent < 0.3:
            start = time.perf_counter()
            work()
            took = time.perf_counter() - start
            spent, least = spent + took, min(least, took)
        seconds.append(least)
    return {"seconds": seconds}


def child_lens(a):
    """Losses of prompts, and again with the output of one head at zero, for each head of --heads."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
    from transformer_lens.model_bridge import TransformerBridge

    torch.set_num_threads(a.threads)
    folder, name = os.path.split(os.path.abspath(a.model))
    weights = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.float32, attn_implementation="eager").eval()
    # It asks for a tokenizer, which token ids have no need of.
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")),
                                    pad_token="a")
    with tempfile.TemporaryDirectory() as config:
        weights.config.save_pretrained(config)
        model = TransformerBridge.boot_transformers(config, hf_model=weights, tokenizer=words)
    with open(a.prompts) as f:
        ids = torch.tensor([json.loads(line)["tokens"] for line in f])

    def losses(layer=None, head=None):
        def zero(z, hook):
            z[:, :, head] = 0
            return z

        hooks = [] if layer is None else [(f"blocks.{layer}.attn.hook_z", zero)]
        with torch.inference_mode():
            each = model.run_with_hooks(ids, return_type="loss", loss_per_token=True, fwd_hooks=hooks)
        return each.mean(1).tolist()

    base = losses()
    start = time.perf_counter()
    edited = [losses(*head) for head in json.loads(a.heads)]
    return {"seconds": time.perf_counter() - start, "base": base, "losses": edited}


CHILDREN = {
    "lens": child_lens,
    "eager": lambda a: child_transformers(a, "eager", True),
    "sdpa": lambda a: child_transformers(a, "sdpa", False),
    "llama-prefill": lambda a: child_llama(a, False),
    "llama-decode": lambda a: child_llama(a, True),
    "numpy": lambda a: child_products(a, "numpy"),
    "torch": lambda a: child_products(a, "torch"),
}

# ---- the parent's side of a measurement ------------------------------------------------------------


class Failed(Exception):
    pass


def process(command, threads):
    """Runs a command. Its output, peak memory in bytes and the time of day when it ended."""
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads),
               MKL_NUM_THREADS=str(threads), TRANSFORMERS_VERBOSITY="error", HF_HUB_OFFLINE="1")
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        p = subprocess.Popen(command, stdout=out, stderr=err, env=env)
        _, status, usage = os.wait4(p.pid, 0)
        ended = time.time()
        p.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if p.returncode:
            lines = err.read().decode(errors="replace").strip().splitlines() or ["no message"]
            raise Failed(f"{os.path.basename(command[0])} ended with {p.returncode}: {lines[-1]}")
        return out.read().decode(), usage.ru_maxrss * 1024, ended


def child(a, name, tokens=0, more=()):
    """What a child says, and its peak memory."""
    command = [sys.executable, os.path.abspath(__file__), "--child", name, "--threads", str(a.threads),
               "--tokens", str(tokens), "--vocab", str(a.vocab), *more, a.model]
    out, peak, _ = process(command, a.threads)
    return json.loads(out.splitlines()[-1]), peak


def peer(a, name, tokens, shapes=None):
    said, peak = child(a, name, tokens, ["--shapes", json.dumps(shapes)] if shapes else [])
    return said["seconds"], peak


def run_began(sql):
    (at,) = sql.execute("SELECT created_at FROM run").fetchone()
    return datetime.datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()


def record(a, tokens, whole_process=False):
    db, prompts = os.path.join(a.work, "run.db"), os.path.join(a.work, "prompt.jsonl")
    with open(prompts, "w") as f:
        json.dump({"tokens": token_ids(tokens, a.vocab)}, f)
    began = time.time()
    _, peak, ended = process([a.headscope, "record", a.model, "-f", prompts, "-o", db, "--threads",
                              str(a.threads), "--ctx", str(max(tokens, a.context))], a.threads)
    with sqlite3.connect(db) as sql:
        counted_from = began if whole_process else run_began(sql)
    sql.close()
    os.unlink(db)
    return ended - counted_from, peak


def bench(a, stage, job, detail="", tokens=None):
    command = [a.headscope, "bench", a.model, "--only", stage, "--reps", "1", "--json", "--dir", a.work,
               "--threads", str(a.threads)] + (["--tokens", str(tokens)] if tokens else [])
    out, peak, _ = process(command, a.threads)
    row = next(r for r in json.loads(out)["jobs"] if r["job"] == job and detail in r["detail"])
    return (1 / row["rate"] if job == "decode" else row["seconds"]), peak


# ---- rows ------------------------------------------------------------------------------------------

# name, peer, what the peer does, ours, tokens, [(what, limit)], long. Limits: "time" and "memory" are
# ours over theirs, "seconds" and "bytes" ours alone.
STATISTICS = "statistics of all heads"
ROWS = [
    (STATISTICS, "transformers eager", "eager", "record", 256, [], False),
    (STATISTICS, "transformers eager", "eager", "record", 1024, [("time", 1 / 4), ("memory", 1 / 4)], False),
    (STATISTICS, "transformers eager", "eager", "record", 2048, [], False),
    (STATISTICS, "transformers eager", "eager", "record", 4096, [("time", 1 / 10), ("memory", 1 / 20)], True),
    ("statistics against nothing watched", "transformers sdpa", "sdpa", "record", 1024, [("time", 1)], False),
    ("statistics against nothing watched", "transformers sdpa", "sdpa", "record", 2048, [], False),
    ("prefill", "llama.cpp", "llama-prefill", "prefill", 512, [("time", 1 / 1.7)], False),
    ("prefill", "llama.cpp", "llama-prefill", "prefill", 1024, [], False),
    ("prefill", "llama.cpp", "llama-prefill", "prefill", 2048, [], False),
    ("prefill", "llama.cpp", "llama-prefill", "prefill", 4096, [("time", 1 / 1.6)], False),
    ("decode, a token", "llama.cpp", "llama-decode", "decode", 16, [("time", 1)], False),
    ("load to the first token", None, None, "load", 10, [("seconds", 0.3)], False),
    ("record, the whole process", None, None, "process", 10, [("seconds", 0.5)], False),
    ("record", None, None, "record", 32768, [("bytes", 1.5e9)], True),
]
OURS = {
    "record": lambda a, n: record(a, n),
    "process": lambda a, n: record(a, n, whole_process=True),
    "prefill": lambda a, n: bench(a, "prefill", "prefill", tokens=n),
    "decode": lambda a, n: bench(a, "decode", "decode", "kept"),
    "load": lambda a, n: bench(a, "load", "load to first token", "kept"),
}


def measure(a, row):
    """(seconds, peak) of both sides: the least and the largest of all rounds."""
    _, _, theirs, ours, tokens, _, _ = row
    sides = [lambda: OURS[ours](a, tokens)] + ([lambda: peer(a, theirs, tokens)] if theirs else [])
    best = [(float("inf"), 0)] * len(sides)
    for _ in range(a.rounds):
        for i, side in enumerate(sides):
            seconds, peak = side()
            best[i] = (min(best[i][0], seconds), max(best[i][1], peak))
    return best


def targets(row, best):
    """What was asked for and whether it is so, in words."""
    ours, theirs = best[0], best[-1]
    values = {"time": ours[0] / theirs[0], "memory": ours[1] / theirs[1], "seconds": ours[0], "bytes": ours[1]}
    told = {"time": lambda x: f"{1 / x:.3g} x as fast", "memory": lambda x: f"{1 / x:.3g} x less memory",
            "seconds": lambda x: f"{x:g} s", "bytes": lambda x: f"{x / 1e9:g} GB"}
    return ", ".join(f"{told[what](limit)}: {'met' if values[what] <= limit else 'NOT MET'}"
                     for what, limit in row[5])


def text(row, best):
    ours, theirs = best[0], best[-1] if row[1] else None
    mb = lambda peak: f"{peak / 1e6:.0f}"
    seconds = lambda s: f"{s:.4f}" if s < 0.1 else f"{s:.3f}"
    return [row[0], str(row[4]), row[1] or "-", seconds(theirs[0]) if theirs else "-", seconds(ours[0]),
            f"{theirs[0] / ours[0]:.2f}" if theirs else "-", mb(theirs[1]) if theirs else "-", mb(ours[1]),
            f"{theirs[1] / ours[1]:.1f}" if theirs else "-", targets(row, best)]


def print_table(head, lines, left):
    width = [max(len(line[c]) for line in [head] + lines) for c in range(len(head))]
    for line in [head] + lines:
        cells = [x.ljust(w) if c in left else x.rjust(w) for c, (x, w) in enumerate(zip(line, width))]
        print("  ".join(cells).rstrip())


def work_table(a):
    lines = []
    for row in ROWS:
        if (row[6] and not a.long) or not any(word in f"{row[0]} {row[1]} {row[4]}" for word in a.only.split(",")):
            continue
        print(f"measuring: {row[0]}, {row[4]} tokens", file=sys.stderr)
        try:
            lines.append(text(row, measure(a, row)))
            print(f"  theirs {lines[-1][3]} s, ours {lines[-1][4]} s", file=sys.stderr)
        except Failed as why:
            lines.append([row[0], str(row[4]), row[1] or "-"] + ["-"] * 6 + [f"failed: {why}"])
    head = ["work", "tokens", "peer", "its s", "our s", "times", "its MB", "our MB", "times", "target"]
    if lines:
        print_table(head, lines, {0, 2, 9})


# ---- products --------------------------------------------------------------------------------------


def products_table(a):
    """GF/s of products at the model's shapes: ours packed, theirs as their libraries take them."""
    if "products" not in a.only.split(",") and a.only:
        return
    command = [a.headscope, "bench", a.model, "--only", "linear", "--json", "--dir", a.work, "--threads",
               str(a.threads)]
    rows, best = [], {}
    for _ in range(a.rounds):
        print("measuring: products", file=sys.stderr)
        ours = [r for r in json.loads(process(command, a.threads)[0])["ops"] if r["rows"] >= 64]
        rows = [(r["detail"], r["rows"], *map(int, r["detail"].rsplit(", ", 1)[1].split(" x "))) for r in ours]
        shapes = [row[1:] for row in rows]
        for name, seconds in [("ours", [r["seconds"] for r in ours])] + [
                (name, peer(a, name, 0, shapes)[0]) for name in ("torch", "numpy")]:
            best[name] = [min(s) for s in zip(seconds, best.get(name, seconds))]
    rate = lambda name, i: f"{2e-9 * rows[i][1] * rows[i][2] * rows[i][3] / best[name][i]:.0f}"
    print()
    print_table(["product, GF/s", "rows", "ours", "torch", "numpy (OpenBLAS)"],
                [[row[0], str(row[1])] + [rate(name, i) for name in ("ours", "torch", "numpy")]
                 for i, row in enumerate(rows)], {0})


# ---- sweeps ----------------------------------------------------------------------------------------

# name, what headscope is told beyond `sweep`, how many times as fast it is to be, seconds, bytes.
SWEEPS = [
    ("zero ablation, loss", [], 2, None, 1e9),
    ("the same in bf16", ["--precision", "bf16"], 4, None, None),
    ("a metric on the last token", ["--metric", "prob"], 3, None, None),
    ("that, edits at the last position only", ["--metric", "prob", "--pos", "-1"], 50, None, None),
    ("loss, first order by gradients", ["--by", "gradient"], 50, 10, None),
]
WHOLE = {"--by", "--pos"}  # of seconds: these do all heads in every turn, and the mean of the turns counts
SWEEP_TURNS = 6
SWEEP_HEADS = 3  # that the peer does in a turn; with --long all of them


def write_prompts(a, path, n_prompt, n_token):
    """Runs of a text's tokens; the token that follows each is its answer."""
    text = os.path.join(os.path.dirname(__file__), "..", "data", "passages.jsonl")
    out, _, _ = process([a.headscope, "tokens", a.model, "-f", text, "--json"], a.threads)
    ids = [i for prompt in json.loads(out)["prompts"] for i in prompt["ids"]]
    with open(path, "w") as f:
        for i in range(n_prompt):
            at = i * (len(ids) - n_token - 1) // (n_prompt - 1)
            json.dump({"id": str(i), "tokens": ids[at:at + n_token], "answer": ids[at + n_token]}, f)
            f.write("\n")


def sweep(a, prompts, heads, told):
    """Seconds, peak, and the losses {(layer, head): [of each prompt]} of one sweep."""
    db = os.path.join(a.work, "sweep.db")
    _, peak, ended = process([a.headscope, "sweep", a.model, "-f", prompts, "-o", db, "--heads", heads,
                              "--threads", str(a.threads), "--control", "0", *told, "--json"], a.threads)
    losses = {}
    with sqlite3.connect(db) as sql:
        seconds = ended - run_began(sql)
        for layer, head, value in sql.execute(
                "SELECT layer, idx, value FROM sweep_unit WHERE metric = 'nll' ORDER BY prompt_id"):
            losses.setdefault((layer, head), []).append(value)
    sql.close()
    for end in ("", "-wal", "-shm"):
        if os.path.exists(db + end):
            os.unlink(db + end)
    return seconds, peak, losses


def sweep_turn(a, prompts, turn, n_turn, sums):
    """Some layers: some of their heads by the peer, whose cost of a head is the same anywhere, then all."""
    first, end = a.n_layer * turn // n_turn, a.n_layer * (turn + 1) // n_turn
    all_heads = [(layer, head) for layer in range(first, end) for head in range(a.n_head)]
    n = len(all_heads) if a.long else min(SWEEP_HEADS, len(all_heads))
    some = [all_heads[(2 * i + 1) * len(all_heads) // (2 * n)] for i in range(n)]
    said, peak = child(a, "lens", more=["--prompts", prompts, "--heads", json.dumps(some)])
    sums["theirs"] += said["seconds"] / n * len(all_heads)
    sums["peak"] = max(sums["peak"], peak)
    for i, (_, told, *_) in enumerate(SWEEPS):
        whole = WHOLE & set(told)
        seconds, peak, losses = sweep(a, prompts, "all" if whole else f"L{first}-{end - 1}H*", told)
        sums["ours"][i] += seconds / n_turn if whole else seconds
        sums["peaks"][i] = max(sums["peaks"][i], peak)
        for head, theirs in zip(some, said["losses"]) if not told else []:
            sums["apart"] = max([sums["apart"]] + [abs(x - y) for x, y in zip(losses[head], theirs)])
    print(f"  layers {first} to {end - 1}: theirs {said['seconds'] / n:.2f} s a head", file=sys.stderr)


def sweep_table(a, n_prompt, n_token):
    prompts = os.path.join(a.work, "prompts.jsonl")
    write_prompts(a, prompts, n_prompt, n_token)
    sums = {"theirs": 0, "peak": 0, "ours": [0] * len(SWEEPS), "peaks": [0] * len(SWEEPS), "apart": 0}
    print(f"measuring: sweeps, {n_prompt} prompts of {n_token} tokens", file=sys.stderr)
    n_turn = min(SWEEP_TURNS, a.n_layer)
    for turn in range(n_turn):
        sweep_turn(a, prompts, turn, n_turn, sums)
    lines = []
    for i, (name, _, times, limit, most) in enumerate(SWEEPS):
        ours, peak = sums["ours"][i], sums["peaks"][i]
        told = [(f"{times} x as fast", ours * times <= sums["theirs"])]
        told += [(f"{limit} s", ours <= limit)] if limit else []
        told += [(f"{most / 1e9:g} GB", peak <= most)] if most else []
        lines.append([name, f"{sums['theirs']:.1f}", f"{ours:.2f}", f"{sums['theirs'] / ours:.2f}",
                      f"{sums['peak'] / 1e6:.0f}", f"{peak / 1e6:.0f}",
                      ", ".join(f"{what}: {'met' if so else 'NOT MET'}" for what, so in told)])
    n_head = a.n_layer * a.n_head
    print(f"\n{n_head} heads, {n_prompt} prompts of {n_token} tokens, in {n_turn} turns by layers; TransformerLens "
          + ("did them all" if a.long else f"did {n_turn * SWEEP_HEADS} heads, times {n_head / n_turn / SWEEP_HEADS:g}"))
    print_table(["sweep", "its s", "our s", "times", "its MB", "our MB", "target"], lines, {0, 6})
    print(f"largest difference of a prompt's loss under the same ablation: {sums['apart']:.2g} "
          f"({'met' if sums['apart'] <= 1e-4 else 'NOT MET'}: 1e-4)")


def sweeps(a):
    if "sweep" not in a.only.split(",") and not (a.long and not a.only):
        return
    sweep_table(a, 16, 64)
    if a.long:
        sweep_table(a, 8, 256)


# ---- the command -----------------------------------------------------------------------------------


def versions():
    from importlib.metadata import version
    import xllamacpp
    peers = ("torch", "transformers", "transformer-lens", "xllamacpp", "numpy")
    named = ", ".join(f"{name} {version(name)}" for name in peers)
    has = [word.split()[0] for word in xllamacpp.get_system_info().split(":", 1)[-1].split("|") if " = 1" in word]
    return f"{named}; its llama.cpp uses {' '.join(has)}"


def main():
    p = argparse.ArgumentParser(prog="against.sh", description="headscope against its peers")
    p.add_argument("model", nargs="?", help="a GGUF file")
    p.add_argument("--long", action="store_true", help="the rows that take minutes and much memory too")
    p.add_argument("--rounds", type=int, default=3, help="times that both sides run")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--only", default="", help="rows whose name, peer or length holds one of these words, or products, or sweep")
    for hidden in ("--headscope", "--work", "--default", "--child", "--shapes", "--prompts", "--heads"):
        p.add_argument(hidden, help=argparse.SUPPRESS)
    for hidden in ("--tokens", "--vocab"):
        p.add_argument(hidden, type=int, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.child:
        print(json.dumps(CHILDREN[a.child](a)))
        return
    a.model = a.model or a.default
    try:
        info = json.loads(process([a.headscope, "info", a.model, "--json"], a.threads)[0])
        a.vocab, a.context = info["n_vocab"], info["n_ctx"]
        a.n_layer, a.n_head = info["n_layer"], info["n_head"]
        print(f"{os.path.basename(a.model)}, {a.threads} threads, best of {a.rounds} in turns\n{versions()}\n")
        work_table(a)
        products_table(a)
        sweeps(a)
    except Failed as why:
        sys.exit(f"against.sh: {why}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
