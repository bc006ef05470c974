"""What the tests of the client libraries share: where the server is, the demo's pictures and true answers.

run.sh says in the environment: QVL_URL, QVL_KEY of a server as users start it; QVL_STRICT_URL of one with one place
to work, one to wait, bodies of 1 MiB, and --strict --strict-model.
"""
import base64
import json
import os
import pathlib
import time
import urllib.request

from cases import case, equal, main, raises  # pylint: disable=unused-import

ROOT = pathlib.Path(__file__).resolve().parents[2]
URL = os.environ["QVL_URL"]
STRICT_URL = os.environ["QVL_STRICT_URL"]
KEY = os.environ["QVL_KEY"]


def demo_bytes(name):
    return (ROOT / "demo" / name).read_bytes()


def demo_base64(name):
    return base64.b64encode(demo_bytes(name)).decode()


def data_uri(name):
    return f"data:{'video/mp4' if name.endswith('.mp4') else 'image/png'};base64,{demo_base64(name)}"


def truth(names, question):
    """What transformers answers with the same weights (reference/demo_answers.py)."""
    for line in (ROOT / "tests/golden/demo_answers.txt").read_text(encoding="utf-8").splitlines():
        found_names, found_question, answer = line.split("\t")
        if (found_names, found_question) == (names, question):
            return answer
    raise KeyError((names, question))


def image_part(name, **fields):
    return {"type": "image_url", "image_url": {"url": data_uri(name), **fields}}


def video_part(name, **fields):
    return {"type": "video_url", "video_url": {"url": data_uri(name)}, **fields}


def user(*content):
    return [{"role": "user", "content": [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]}]


def metric(name, url=URL):
    request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def is_idle_within(seconds, url=URL):
    """Nothing runs or waits any more."""
    until = time.monotonic() + seconds
    while metric("qvl_requests_running", url) + metric("qvl_requests_waiting", url):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def frees_within_a_second(leave):
    """A client leaves, and a second later nothing runs any more; a machine that stands still in it gets another chance."""
    for _ in range(5):
        leave()
        if is_idle_within(1):
            return
        assert is_idle_within(60), "still at work"
    raise AssertionError("five times it took more than a second")


def satisfies_call(call, name):
    """A tool call's name, and its arguments as the schema of tests says: {"shape": one of three, "count": integer}."""
    equal(call.function.name, name)
    arguments = json.loads(call.function.arguments)
    equal(sorted(arguments), ["count", "shape"])
    assert arguments["shape"] in ("circle", "square", "star") and isinstance(arguments["count"], int), arguments
    return arguments


COUNT_TOOL = {"type": "function", "function": {
    "name": "count_shapes", "description": "Tells how many shapes of a kind there are.",
    "parameters": {"type": "object", "additionalProperties": False, "required": ["shape", "count"], "properties": {
        "shape": {"type": "string", "enum": ["circle", "square", "star"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 9}}}}}
OTHER_TOOL = {"type": "function", "function": {
    "name": "do_nothing", "description": "Does nothing.",
    "parameters": {"type": "object", "additionalProperties": False, "properties": {}}}}
