"""What the tests of the caches share: fake hubs (tests/e2e/tool/fake_hub), the program, and a home for each case.

run.sh says in the environment: QVL_BUILD, the build folder; QVL_WORK, a folder to work in. The fake hub shows the demo
model as Qwen/Qwen3-VL-Demo (and -Twin), with a weight file that is LFS, and a README.md that a model does not need.
"""
import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

from cases import equal

BUILD = pathlib.Path(os.environ["QVL_BUILD"])
WORK = pathlib.Path(tempfile.mkdtemp(dir=os.environ["QVL_WORK"]))
MODEL, TWIN = "Qwen/Qwen3-VL-Demo", "Qwen/Qwen3-VL-Twin"
WEIGHTS = "model.safetensors"
DEMO = pathlib.Path("demo/model").resolve()
# What `qvl pull` takes of it: what no program needs to run the model stays away.
UNNEEDED = {"curve.png", "metrics.csv"}
NEEDED = sorted(path.name for path in DEMO.iterdir() if path.name not in UNNEEDED)


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


SUMS = {name: sha256(DEMO / name) for name in NEEDED}


class Hub:
    """A fake hub that shows the demo model, under two names; `changed`: files with other bytes, so that there is another
    commit."""
    n_hub = 0

    def __init__(self, *options, changed=None):
        Hub.n_hub += 1
        root = WORK / f"root-{Hub.n_hub}"
        for model in (MODEL, TWIN):
            folder = root / model
            folder.mkdir(parents=True)
            for path in DEMO.iterdir():
                os.symlink(path, folder / path.name)
            for name, content in (changed or {}).items():
                (folder / name).unlink(missing_ok=True)
                (folder / name).write_bytes(content)
        self.process = subprocess.Popen([BUILD / "fake_hub", *options, root], stdout=subprocess.PIPE, text=True)
        self.url, self.cdn = (self.process.stdout.readline().split()[1] for _ in range(2))

    def ask(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as reply:
            return reply.read().decode()

    def fault(self, **fields):
        self.ask("/_fault?" + urllib.parse.urlencode(fields))

    def requests(self):
        """(who, method, path, status, bytes) of each since the last time."""
        found = [re.match(r"(\w+) (\w+) (\S+) (\d+) sent=(\d+) ", line).groups() for line in self.ask("/_log").splitlines()]
        self.ask("/_reset")
        return [(who, method, path, int(status), int(n)) for who, method, path, status, n in found]

    def fetched(self):
        """Bodies of files that were sent since the last time: (path or sum, bytes)."""
        is_file = re.compile(r"/resolve|/resolve-cache/|^/lfs/|[?&]FilePath=")
        return [(path, n) for _, method, path, status, n in self.requests()
                if method == "GET" and status in (200, 206) and is_file.search(path)]


hub = Hub()


@contextlib.contextmanager
def home(**variables):
    """A cache of each kind, empty, for this process and its children; the network is the fake hub."""
    folder = WORK / "home"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    was = dict(os.environ)
    os.environ.update({"HOME": str(folder), "HF_HOME": str(folder / "hf"), "MODELSCOPE_CACHE": str(folder / "ms"),
                       "HF_ENDPOINT": hub.url, "MODELSCOPE_ENDPOINT": hub.url, "LC_ALL": "C", **variables})
    hub.requests()
    try:
        yield folder
    finally:
        os.environ.clear()
        os.environ.update(was)


def qvl(*arguments, code=0, **variables):
    """What the program says, on both streams."""
    done = subprocess.run([BUILD / "qvl", *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, **variables}, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, f"qvl {' '.join(map(str, arguments))}: exit code {done.returncode}: {said[-500:]}"
    return said


def python(program, **variables):
    """What a program says that reads its environment once, when it is loaded; its last line."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, **variables}, timeout=120, check=False)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-900:]}"
    return done.stdout.strip().rpartition("\n")[2]


def is_whole(folder, names=None):
    """Each file is there with the right bytes."""
    for name in names or NEEDED:
        assert sha256(pathlib.Path(folder) / name) == SUMS[name], f"{folder}/{name} is another one"


def leftovers(folder):
    """Files of a fetch that is not finished."""
    return sorted(str(path.relative_to(folder)) for path in pathlib.Path(folder).rglob("*")
                  if "qvl-part" in path.name or path.name.endswith((".incomplete", ".tmp")))


# ---- what holds of both caches: name is qvl's, program the library's, which prints the folder ----------

def pulled_and_taken(home_folder, name, program):
    """What qvl has pulled, the library takes as it is."""
    qvl("pull", name)
    equal(len({path for path, _ in hub.fetched()}), len(NEEDED))
    found = python(program)
    equal(hub.fetched(), [])
    is_whole(found)
    equal(leftovers(home_folder), [])
    equal(sorted(os.listdir(found)), NEEDED)
    return found


def fetched_and_pulled(home_folder, name, program):
    """What the library has fetched whole, qvl lists, pulls without a byte, and runs, asking nobody."""
    found = python(program)
    hub.requests()
    assert MODEL in qvl("list")
    qvl("pull", name)
    equal(hub.fetched(), [])
    is_whole(found)
    equal(leftovers(home_folder), [])
    assert qvl("run", "-m", MODEL, "-n", "4", "Hello!", HF_HUB_OFFLINE="1").strip()
    equal(hub.requests(), [])
    return found


def begun_and_completed(home_folder, name, program):
    """Where the library has fetched the JSON alone, qvl fetches the rest and nothing else."""
    found = python(program)
    hub.requests()
    qvl("pull", name)
    equal(sorted(n for _, n in hub.fetched()), sorted((DEMO / n).stat().st_size for n in NEEDED if not n.endswith(".json")))
    is_whole(found)
    equal(leftovers(home_folder), [])
    return found
