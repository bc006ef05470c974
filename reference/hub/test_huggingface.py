"""The cache of Hugging Face, which qvl and huggingface_hub share: each finds what the other has fetched and asks for
none of it again. A program of Python is started for each step, since the package reads its environment when loaded."""
import json
import os
import pathlib

from cases import case, equal, main
from hub import MODEL, NEEDED, SUMS, TWIN, WEIGHTS, Hub, begun_and_completed, fetched_and_pulled, home, hub, is_whole, leftovers, \
    pulled_and_taken, python, qvl

SNAPSHOT = f"import huggingface_hub as h; print(h.snapshot_download({MODEL!r}, allow_patterns={NEEDED!r}))"
ALL = f"import huggingface_hub as h; print(h.snapshot_download({MODEL!r}))"
SCAN = """
import huggingface_hub as h, json
c = h.scan_cache_dir()
print(json.dumps({"warnings": [str(w) for w in c.warnings], "repos": [{"id": r.repo_id, "n_bytes": r.size_on_disk,
    "revisions": [{"commit": v.commit_hash, "refs": sorted(v.refs), "files": sorted(f.file_name for f in v.files)}
    for v in r.revisions]} for r in c.repos]}))
"""


def scan():
    found = json.loads(python(SCAN))
    equal(found["warnings"], [])
    return found["repos"]


def storage(folder, model=MODEL):
    return folder / "hf/hub" / ("models--" + model.replace("/", "--"))


@case("what qvl has pulled, snapshot_download takes as it is")
def _():
    with home() as folder:
        found = pulled_and_taken(folder, "hf:" + MODEL, SNAPSHOT)
        equal(python(SNAPSHOT, HF_HUB_OFFLINE="1"), found)


@case("so do hf_hub_download and try_to_load_from_cache")
def _():
    with home():
        qvl("pull", "hf:" + MODEL)
        hub.requests()
        found = json.loads(python(f"""
import huggingface_hub as h, json
print(json.dumps([[h.try_to_load_from_cache({MODEL!r}, n), h.hf_hub_download({MODEL!r}, n)] for n in {NEEDED!r}]))"""))
        equal(hub.fetched(), [])
        for name, (known, got) in zip(NEEDED, found):
            equal(known, got)
            is_whole(pathlib.Path(got).parent, [name])


@case("scan_cache_dir sees one whole revision under its name, and nothing to warn of")
def _():
    with home() as folder:
        qvl("pull", "hf:" + MODEL)
        repo, = scan()
        revision, = repo["revisions"]
        equal(repo["id"], MODEL)
        equal(revision["refs"], ["main"])
        equal(revision["files"], NEEDED)
        equal(repo["n_bytes"], sum(path.stat().st_size for path in (storage(folder) / "blobs").iterdir()))
        equal((storage(folder) / "refs/main").read_text(), revision["commit"])
        assert (folder / "hf/hub/CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")


@case("hf cache verify and hf cache rm work on it")
def _():
    with home():
        qvl("pull", "hf:" + MODEL)
        said = python(f"from huggingface_hub.cli.hf import main; import sys; sys.argv = ['hf', 'cache', 'verify', {MODEL!r}]; main()")
        assert "mismatch" not in said.lower(), said
        python(f"from huggingface_hub.cli.hf import main; import sys; sys.argv = ['hf', 'cache', 'rm', 'model/{MODEL}', '-y']; main()")
        equal(scan(), [])
        assert MODEL not in qvl("list")


@case("what snapshot_download has fetched, qvl lists, pulls without a byte, and runs")
def _():
    with home() as folder:
        fetched_and_pulled(folder, "hf:" + MODEL, ALL)
        repo, = scan()
        equal(len(repo["revisions"]), 1)


@case("what it has fetched in part, qvl completes")
def _():
    with home() as folder:
        begun_and_completed(folder, "hf:" + MODEL, f"import huggingface_hub as h; print(h.snapshot_download({MODEL!r}, allow_patterns=['*.json']))")
        equal(len(scan()), 1)


@case("what qvl has left in the middle, snapshot_download completes, and qvl after it")
def _():
    with home() as folder:
        hub.fault(where="cdn", what="status", n=404)
        qvl("pull", "hf:" + MODEL, code=6)
        hub.requests()
        scan()
        found = python(SNAPSHOT)
        is_whole(found)
        hub.requests()
        qvl("pull", "hf:" + MODEL)
        equal(hub.fetched(), [])
        equal(leftovers(folder), [])
        repo, = scan()
        equal([r["files"] for r in repo["revisions"]], [NEEDED])


@case("a later commit: only what has changed is fetched, by whoever is second")
def _():
    with home():
        python(SNAPSHOT)
        other = Hub(changed={"generation_config.json": b'{"do_sample": false}\n'})
        qvl("pull", "hf:" + MODEL, HF_ENDPOINT=other.url)
        equal([n for _, n in other.fetched()], [21])
        repo, = scan()
        equal(sorted(r["refs"] for r in repo["revisions"]), [[], ["main"]])
        third = Hub(changed={"generation_config.json": b'{"do_sample": true}\n'})
        python(SNAPSHOT, HF_ENDPOINT=third.url)
        equal([n for _, n in third.fetched()], [20])
        assert MODEL in qvl("list")


@case("a cache without links (HF_HUB_DISABLE_SYMLINKS), both ways")
def _():
    with home(HF_HUB_DISABLE_SYMLINKS="1"):
        qvl("pull", "hf:" + MODEL)
        hub.requests()
        found = python(SNAPSHOT)
        equal(hub.fetched(), [])
        is_whole(found)
        assert not any(path.is_symlink() for path in pathlib.Path(found).iterdir())
    with home(HF_HUB_DISABLE_SYMLINKS="1"):
        python(SNAPSHOT)
        hub.requests()
        qvl("pull", "hf:" + MODEL)
        equal(hub.fetched(), [])


@case("a blob that two models share is a link itself: found, and there for one when the other goes")
def _():
    with home() as folder:
        python(SNAPSHOT)
        python(SNAPSHOT.replace(MODEL, TWIN))
        blobs = [str(storage(folder, model) / "blobs" / SUMS[WEIGHTS]) for model in (MODEL, TWIN)]
        equal(python(f"""
import os
from huggingface_hub import constants
from huggingface_hub.utils._shared_blobs import publish_blob_to_shared_store, try_link_from_shared_store
one, other = {blobs!r}
of = dict(xet_hash={SUMS[WEIGHTS]!r}, cache_dir=constants.HF_HUB_CACHE, expected_size=os.path.getsize(one))
is_shared = publish_blob_to_shared_store(blob_path=one, **of)
os.unlink(other)
print(is_shared, try_link_from_shared_store(blob_path=other, **of), os.path.islink(one), os.path.islink(other))"""),
              "True True True True")
        hub.requests()
        assert MODEL in qvl("list") and TWIN in qvl("list")
        qvl("pull", "hf:" + MODEL)
        equal(hub.fetched(), [])
        qvl("rm", MODEL, "--yes")
        assert not storage(folder).exists()
        equal([repo["id"] for repo in scan()], [TWIN])
        is_whole(next((storage(folder, TWIN) / "snapshots").iterdir()))
        qvl("pull", "hf:" + TWIN)
        equal(hub.fetched(), [])


@case("what qvl has removed is gone for huggingface_hub, too")
def _():
    with home() as folder:
        qvl("pull", "hf:" + MODEL)
        qvl("rm", MODEL, "--yes")
        equal(scan(), [])
        assert not storage(folder).exists()


@case("a plain folder (--local-dir), both ways")
def _():
    with home() as folder:
        to = folder / "plain"
        local = f"import huggingface_hub as h; print(h.snapshot_download({MODEL!r}, local_dir={str(to)!r}, allow_patterns={NEEDED!r}))"
        qvl("pull", "hf:" + MODEL, "--local-dir", to)
        is_whole(to)
        hub.requests()
        python(local)
        equal(hub.fetched(), [])
        equal(sorted(name for name in os.listdir(to) if not name.startswith(".")), NEEDED)
    with home():
        python(local)
        hub.requests()
        qvl("pull", "hf:" + MODEL, "--local-dir", to)
        equal(hub.fetched(), [])
        is_whole(to)


@case("Xet's headers change nothing")
def _():
    xet = Hub("--xet")
    with home(HF_ENDPOINT=xet.url) as folder:
        qvl("pull", "hf:" + MODEL)
        xet.requests()
        is_whole(python(SNAPSHOT, HF_HUB_DISABLE_XET="1"))
        equal(xet.fetched(), [])
        equal(leftovers(folder), [])


if __name__ == "__main__":
    main("huggingface_hub")
