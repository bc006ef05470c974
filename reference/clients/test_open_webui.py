"""Open WebUI's calls, as it sends them to a connection of type "OpenAI" (open_webui/*.json): its list of models, a chat
with a picture, and what it asks beside each chat: a title, tags, follow-up questions, words to search for.

A file is one call: "request" (method, path, headers, body; "data:@NAME" stands for that picture of demo/), "expect":
status, "stream" (the answer comes as events), and "content", the answer where one is known: [pictures, question] of
tests/golden/demo_answers.txt.
"""
import json
import pathlib
import urllib.request

from check import KEY, URL, case, data_uri, equal, main, truth


def send(request):
    body = request.get("body")
    data = None
    if body is not None:
        for message in body["messages"]:
            for part in message["content"] if isinstance(message["content"], list) else []:
                if part.get("image_url", {}).get("url", "").startswith("data:@"):
                    part["image_url"]["url"] = data_uri(part["image_url"]["url"].removeprefix("data:@"))
        data = json.dumps(body).encode()
    headers = {name: value.replace("$KEY", KEY) for name, value in request["headers"].items()}
    return urllib.request.urlopen(urllib.request.Request(URL + request["path"], data, headers, method=request["method"]),
                                  timeout=120)


def read_stream(reply):
    """What Open WebUI shows: it forwards lines as they are, and its page reads delta.content and usage."""
    assert reply.headers["content-type"].startswith("text/event-stream")
    text, finish, usage = "", None, None
    lines = [line for line in reply.read().decode().split("\n\n") if line]
    equal(lines[-1], "data: [DONE]")
    for line in lines[:-1]:
        if line.startswith(":"):
            continue
        assert line.startswith("data: ") and "\n" not in line, line
        chunk = json.loads(line[6:])
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
    return text, finish, usage


def check(call):
    expect = call["expect"]
    with send(call["request"]) as reply:
        equal(reply.status, expect["status"])
        if expect.get("stream"):
            text, finish, usage = read_stream(reply)
            assert usage is None or usage["completion_tokens"] > 0
        else:
            answer = json.loads(reply.read())
            if "choices" not in answer:
                equal(answer["object"], "list")
                assert all({"id", "object", "created", "owned_by"} <= set(model) for model in answer["data"]) and answer["data"]
                return
            text, finish = answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]
        assert finish in ("stop", "length") and isinstance(text, str)
        if "content" in expect:
            equal(text, truth(*expect["content"]))


for path in sorted((pathlib.Path(__file__).parent / "open_webui").glob("*.json")):
    case(path.stem)(lambda path=path: check(json.loads(path.read_text(encoding="utf-8"))))

if __name__ == "__main__":
    main("Open WebUI")
