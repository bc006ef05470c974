"""The cache of ModelScope, which qvl and modelscope share, as test_huggingface.py for the other one."""
import shutil

from cases import case, equal, main
from hub import MODEL, NEEDED, begun_and_completed, fetched_and_pulled, home, hub, pulled_and_taken, python, qvl

SNAPSHOT = f"from modelscope import snapshot_download as s; print(s({MODEL!r}, allow_patterns={NEEDED!r}))"
ALL = f"from modelscope import snapshot_download as s; print(s({MODEL!r}))"
LOCAL = f"from modelscope import snapshot_download as s; print(s({MODEL!r}, local_files_only=True))"


@case("what qvl has pulled, snapshot_download takes as it is")
def _():
    with home() as folder:
        found = pulled_and_taken(folder, "ms:" + MODEL, SNAPSHOT)
        equal(python(LOCAL), found)


@case("what snapshot_download has fetched, qvl lists, pulls without a byte, and runs")
def _():
    with home() as folder:
        fetched_and_pulled(folder, "ms:" + MODEL, ALL)


@case("what it has fetched in part, qvl completes")
def _():
    with home() as folder:
        begun_and_completed(folder, "ms:" + MODEL,
                            f"from modelscope import snapshot_download as s; print(s({MODEL!r}, allow_patterns=['*.json']))")


@case("folders of its older versions are found, and by it, too")
def _():
    for old in (f"models/{MODEL}", f"hub/models/{MODEL}"):
        with home() as folder:
            found = python(SNAPSHOT)
            to = folder / "ms" / old
            to.parent.mkdir(parents=True)
            shutil.move(found, to)
            shutil.rmtree(folder / "ms/models" / MODEL.replace("/", "--"))
            equal(python(LOCAL), str(to))
            assert MODEL in qvl("list")
            hub.requests()
            qvl("pull", "ms:" + MODEL)
            equal(hub.fetched(), [])
            assert qvl("run", "-m", MODEL, "-n", "4", "Hello!", HF_HUB_OFFLINE="1").strip()


@case("what qvl has removed is gone for modelscope, too")
def _():
    with home() as folder:
        qvl("pull", "ms:" + MODEL)
        qvl("rm", MODEL, "--yes")
        assert not (folder / "ms/models" / MODEL.replace("/", "--")).exists()
        assert MODEL not in qvl("list")


@case("a model that one cache has is not fetched into the other")
def _():
    with home() as folder:
        python(SNAPSHOT)
        hub.requests()
        qvl("pull", MODEL)
        equal(hub.fetched(), [])
        assert not (folder / "hf/hub").exists() or not any((folder / "hf/hub").glob("models--*"))


if __name__ == "__main__":
    main("modelscope")
