# Runs of the program as strangers provoke them, for the scripts' Python: limited memory and time, the
# status that was said, and on failure one line that names what is wrong.
import json
import os
import resource
import subprocess

MEMORY, SECONDS = 1 << 30, 60


class Cage:
    def __init__(self, exe, folder):
        self.exe, self.folder, self.bad = exe, folder, 0

    def complain(self, *what):
        self.bad += 1
        print("#  ", *what, flush=True)

    def path(self, name):
        return f"{self.folder}/{name}"

    # A file in the folder: bytes, a text, or JSON.
    def put(self, name, data):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if isinstance(data, (dict, list)):
            data = json.dumps(data)
        with open(path, "wb") as f:
            f.write(data.encode() if isinstance(data, str) else data)
        return path

    # Status and messages; `want` is a status, or several that would do. With --json, a good end has
    # printed JSON, and no NaN in it.
    def run(self, name, want, *words):
        def limit():
            if not os.environ.get("HS_SANITIZED"):
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        try:
            p = subprocess.run([self.exe, *words], stdin=subprocess.DEVNULL, capture_output=True,
                               timeout=SECONDS, preexec_fn=limit, cwd=self.folder)
            status, out, err = p.returncode, p.stdout, p.stderr
        except subprocess.TimeoutExpired:
            status, out, err = "no end", b"", b""
        good = status in (want if isinstance(want, tuple) else (want,))
        if status and good:
            good = err.startswith(b"headscope: ") and err.endswith(b"\n") and err.count(b"\n") == 1
            good = good and b"out of memory" not in err and is_text(err)
        if status == 0 and "--json" in words and not is_json(out):
            good, err = False, out
        if not good:
            self.complain(f"{name}: status {status}, not {want}: {err[:300]!r}")
        return status, err.decode("utf-8", "replace")


def is_text(b):
    try:
        b.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_json(b):
    def none(word):
        raise ValueError(word)
    try:
        json.loads(b.decode(), parse_constant=none)
    except ValueError:
        return False
    return True
