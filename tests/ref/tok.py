"""Tokenizer fixtures: tiny byte-level BPEs trained here, and the ids the reference gives.

    python tests/ref/tok.py tests/golden/data

Writes tok_NAME/ (tokenizer.json and what belongs beside it, ids.jsonl) and tok_texts.jsonl, the
texts that the lines of every ids.jsonl answer. Needs `tokenizers` and `gguf`. The files of one
version of tokenizers are the same each time.
"""
import json
import os
import random
import sys

from gguf import GGUFWriter
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

CORPUS = """The quick brown fox jumps over the lazy dog. The dog, who isn't quick, doesn't jump.
When Mary and John went to the store, John gave a drink to Mary, and she said: "Thank you!"
It's what they've said; we'll see what I'd do, and I'm sure you're right.
In 1984 there were 1,234,567 people and 42 cats. 3.14159 is close to pi. 2024-06-30 12:59:00
def forward(self, x):\n    return self.norm(x + self.attn(x))\n\n\nfor (int i = 0; i < n; i++) {\n\t\tsum += a[i];\n\t}
Größe, façade, naïve, señor, coöperate, Ærøskøbing. Ein Mädchen heißt Käthe. L'été, où, ça.
Привет, мир! Это токенизатор. Привет ещё раз, мир.
東京は日本の首都です。今日は天気がいい。 中文分词没有空格。你好世界。
안녕하세요 세계. 한국어 문장입니다.
مرحبا بالعالم، هذا نص عربي. नमस्ते दुनिया, यह हिन्दी है। สวัสดีชาวโลก
<p class="a">html &amp; text</p> https://example.org/a?b=c#d user@example.org #tag @name
the the the and and of of to to in in is is that that for for with with as as on on
""".splitlines() * 3

TEXTS = ["", " ", "  ", "\n", "\n\n", " \n", "\n ", "\t\t x", "a", "Hello", " Hello",
         "Hello world", "Hello  world", "Hello world ", "  Hello   world  ",
         "don't DON'T I'll I'LL we've WE'VE 'tis", "it's 's 'S 'ſ '", "0", "1234567890",
         "12 345 6789", "1a2b3c", "３４５ ١٢٣ १२३ ½ ² Ⅷ ①",
         "The quick brown fox jumps over the lazy dog.", "the" * 40, "a" * 300, " " * 70 + "x",
         "\n" * 9 + "x", "\r\n\r\nx\r",
         "a\u00a0b\u2003c\u3000d\u180ee\u200bf\u0085g\u2028h\x1ci\x0bj", "\u0000",
         "a\u0000b\u0001\u007f", "Größe façade", "e\u0301 \u00e9 a\u0323\u0302 \u1ea5 \u212b",
         "\u1100\u1161\u11a8 \uac01 \u1112\u1161\u11ab", "Привет, мир!", "東京は日本の首都です。",
         "안녕하세요 세계", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก",
         "👩\u200d👩\u200d👧\u200d👦 👍🏽 🇫🇷 ❤\ufe0f", "𝒳 𐐷 \U0010ffff \ufffd \ufeff",
         "\u1c8a\ua7cb\U0002ebf0\U000105c0\U00011de0", "<|endoftext|>", "a<|endoftext|>b",
         " <|endoftext|> ", "<|endoftext|><|endoftext|>", "<|endoftext",
         "<|im_start|>user\nHi<|im_end|>\n", "<|begin_of_text|>x<|eot_id|>", "<s>x</s>", "<a",
         "<ab>", "<abc>", "<ab><abc><a", "[L] x [L]  y", "x [R]  \n y[R]", "a[W]b [W] c[W]",
         "[W]", "[B]  [B]", "  [B]  ", "caf\u00e9 cafe\u0301 [cafe\u0301] [caf\u00e9]",
         "[N]x[N] y", "def f(x):\n    return x\n\n\nprint(f(1))\n",
         "for (int i = 0; i < n; i++) { a[i] += 2; }",
         "$100 + 5% = ~x^2 & y|z `code` _under_score_ --dash-- ...!!!???", "a.b-a.b a.b",
         "#version 1", "<p class=\"a\">html &amp; text</p>", "https://example.org/a?b=c#d",
         "WHAT? Camel CaseWords XMLHttp"]

POOL = [" ", " ", "  ", "\n", "\t", "\r\n", "a", "the", "The", "e", "E", "x1", "1", "23", "456",
        "١", "½", "é", "e\u0301", "ß", "ſ", "'s", "'T", "'ll", "'", "\"", ".", ",", "...", "-",
        "_", "中", "文", "の", "ア", "한", "\u1100", "\u1161", "П", "мир", "م", "न", "\u094d",
        "\u0301", "\u0323", "👩", "\u200d", "🏽", "\u00a0", "\u3000", "\u180e", "\u0000",
        "\u001f", "<|endoftext|>", "<ab>", "[L]", "[R]", "[W]", "[B]", "a.b", "\U0001fae9"]


def all_texts():
    rng = random.Random(20240630)
    more = ["".join(rng.choice(POOL) for _ in range(rng.randint(1, 24))) for _ in range(90)]
    return TEXTS + more


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")


def split(regex, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(regex), behavior, invert)


def byte_level(prefix=False, regex=True):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def train(pre, size, specials=(), normalizer=None, alphabet=True, unk=None):
    tok = Tokenizer(models.BPE(unk_token=unk))
    tok.pre_tokenizer = pre
    tok.decoder = decoders.ByteLevel()
    if normalizer:
        tok.normalizer = normalizer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet()) if alphabet else []
    tok.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(specials), initial_alphabet=letters,
        show_progress=False))
    return tok


def edit(tok, change):
    """tok after change(its JSON)."""
    doc = json.loads(tok.to_str())
    change(doc)
    return Tokenizer.from_str(json.dumps(doc))


def gpt2():
    tok = train(byte_level(), 480, ["<|endoftext|>"])
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return tok


def llama3():
    pre = pre_tokenizers.Sequence([split(LLAMA3), byte_level(regex=False)])
    tok = train(pre, 480)

    def change(doc):  # tokens that no merge makes: only ignore_merges finds them
        model = doc["model"]
        model["merges"] = [m for i, m in enumerate(model["merges"]) if i < 60 or i % 3]
        model["ignore_merges"] = True
    tok = edit(tok, change)
    tok.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    bos = "<|begin_of_text|>"
    template = processors.TemplateProcessing(single=bos + " $A", pair=bos + " $A " + bos + " $B",
                                             special_tokens=[(bos, tok.token_to_id(bos))])
    tok.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), template])
    return tok


def qwen2():
    pre = pre_tokenizers.Sequence([split(QWEN2), byte_level(regex=False)])
    tok = train(pre, 480, normalizer=normalizers.NFC())
    tok.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tok.add_tokens([AddedToken("<ab>", normalized=False)])
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return tok


def smollm():
    pre = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level()])
    return train(pre, 480, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])


def added():
    """Every flag of an added token, with a normalizer and an invented space."""
    forms = normalizers.Sequence([normalizers.NFD(), normalizers.NFC()])
    tok = train(byte_level(prefix=True), 420, normalizer=forms)
    tok.add_tokens([
        AddedToken("<a", normalized=False), AddedToken("<ab>", normalized=True),
        AddedToken("<abc>", normalized=False), AddedToken("[L]", lstrip=True, normalized=False),
        AddedToken("[R]", rstrip=True, normalized=True),
        AddedToken("[W]", single_word=True, normalized=False),
        AddedToken("[cafe\u0301]", normalized=True), AddedToken("é", normalized=True),
        AddedToken("the the", single_word=True, normalized=True)])
    tok.add_special_tokens([AddedToken("[B]", lstrip=True, rstrip=True, normalized=False),
                            "<|endoftext|>"])
    return tok


def unknown():
    """Letters that the vocabulary lacks become the unknown token, fused."""
    tok = train(byte_level(), 260, ["<unk>"], alphabet=False, unk="<unk>")
    return edit(tok, lambda doc: doc["model"].update(fuse_unk=True))


def fallback():
    """Letters that the vocabulary lacks become <0xHH>, where it has these, or <unk>."""
    tokens = ["<unk>"] + ["<0x%02X>" % b for b in range(0x80, 0xd0)]
    tok = train(byte_level(), 260, tokens, alphabet=False, unk="<unk>")
    return edit(tok, lambda doc: doc["model"].update(byte_fallback=True))


def roberta():
    tok = train(byte_level(), 400, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tok.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True,
                                                      add_prefix_space=False)
    return tok


def splits():
    """The ways to split: each behavior, inverted or not, a plain string."""
    pre = pre_tokenizers.Sequence([
        pre_tokenizers.Split("a.b", "merged_with_previous"),
        split(r"[\p{Han}\p{Hiragana}]+", "merged_with_next"), split(r"\p{Nd}", "contiguous"),
        split(r"-", "removed"), split(r"[^_]+", "merged_with_next", True),
        pre_tokenizers.Digits(individual_digits=False), split(r"(?=(\d{3})+(?!\d))"),
        byte_level()])
    return train(pre, 400)


def write(folder, name, text):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8", newline="\n") as f:
        f.write(text)


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write_ids(folder, tok):
    lines = []
    for text in all_texts():
        ids, plain = tok.encode(text).ids, tok.encode(text, add_special_tokens=False).ids
        lines.append(compact({"ids": ids} if ids == plain else {"ids": ids, "plain": plain}))
    write(folder, "ids.jsonl", "\n".join(lines) + "\n")


def write_json(data, name, tok, beside=(), legacy=False):
    folder = os.path.join(data, "tok_" + name)
    doc = json.loads(tok.to_str())
    if legacy:  # as older versions write merges
        doc["model"]["merges"] = [" ".join(m) for m in doc["model"]["merges"]]
    write(folder, "tokenizer.json", compact(doc) + "\n")
    for file, content in beside:
        write(folder, file, compact(content) + "\n")
    write_ids(folder, tok)
    return folder


def write_gguf(data, name, tok, pre, bos=None, add_bos=None, eos=None):
    """The same tokenizer as GGUF metadata; added tokens are control tokens."""
    folder = os.path.join(data, "tok_" + name)
    os.makedirs(folder, exist_ok=True)
    doc = json.loads(tok.to_str())
    names = {i: s for s, i in doc["model"]["vocab"].items()}
    names.update({a["id"]: a["content"] for a in doc["added_tokens"]})
    control = {a["id"] for a in doc["added_tokens"]}
    w = GGUFWriter(os.path.join(folder, "tok.gguf"), "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list([names[i] for i in range(len(names))])
    w.add_token_types([3 if i in control else 1 for i in range(len(names))])
    w.add_token_merges([" ".join(m) for m in doc["model"]["merges"]])
    if bos is not None:
        w.add_bos_token_id(tok.token_to_id(bos))
    if eos is not None:
        w.add_eos_token_id(tok.token_to_id(eos))
    if add_bos is not None:
        w.add_add_bos_token(add_bos)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    write_ids(folder, tok)


def main(data):
    lines = [compact({"hex": t.encode().hex()} if "\0" in t else {"text": t})
             for t in all_texts()]
    write(data, "tok_texts.jsonl", "\n".join(lines) + "\n")
    end = {"bos_token": "<|endoftext|>", "eos_token": {"content": "<|endoftext|>"}}
    write_json(data, "gpt2", gpt2(), [("tokenizer_config.json", end)], legacy=True)
    meta = llama3()
    stops = [meta.token_to_id("<|end_of_text|>"), meta.token_to_id("<|eot_id|>")]
    write_json(data, "llama3", meta, [("generation_config.json", {"eos_token_id": stops}),
                                      ("tokenizer_config.json", {"bos_token": "<|begin_of_text|>"})])
    small = smollm()
    write_json(data, "smollm", small, [
        ("tokenizer_config.json", {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}),
        ("config.json", {"eos_token_id": small.token_to_id("<|im_end|>")})])
    for make in (qwen2, added, unknown, fallback, roberta, splits):
        write_json(data, make.__name__, make())
    write_gguf(data, "gguf_smollm", small, "smollm", bos="<|im_start|>", add_bos=False,
               eos="<|im_end|>")
    write_gguf(data, "gguf_llama", meta, "llama-bpe", bos="<|begin_of_text|>", eos="<|eot_id|>")
    # GPT-2's older pair of files
    folder = os.path.join(data, "tok_pair")
    os.makedirs(folder, exist_ok=True)
    pair = gpt2()
    pair.model.save(folder)
    write_ids(folder, pair)


if __name__ == "__main__":
    main(sys.argv[1])
