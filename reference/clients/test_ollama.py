"""Ollama's Python library against the server."""
import json

import ollama
from pydantic import BaseModel

from check import KEY, URL, case, demo_base64, demo_bytes, equal, frees_within_a_second, main, raises, truth

client = ollama.Client(host=URL, headers={"Authorization": f"Bearer {KEY}"})
MODEL = client.list().models[0].model
SHAPES = "How many circles are there?"
CALM = {"temperature": 0, "num_predict": 64}


def picture(name, question):
    return [{"role": "user", "content": question, "images": [demo_base64(name)]}]


@case("list, show, ps")
def _():
    model = client.list().models[0]
    assert model.model and model.size > 0 and model.details.family and model.digest
    shown = client.show(MODEL)
    assert {"completion", "vision", "tools"} <= set(shown.capabilities), shown.capabilities
    assert shown.modelinfo and shown.details.parameter_size
    equal(client.ps().models[0].model, MODEL)


@case("chat")
def _():
    answer = client.chat(MODEL, picture("shapes.png", SHAPES), options=CALM)
    equal((answer.message.role, answer.message.content, answer.done, answer.done_reason), ("assistant", "1", True, "stop"))
    assert answer.total_duration > answer.prompt_eval_duration > 0 and answer.eval_count > 0 and answer.prompt_eval_count > 0
    assert answer.created_at
    image = ollama.Image(value=demo_bytes("text.png"))
    equal(client.chat(MODEL, [{"role": "user", "content": "What does it say?", "images": [image]}], options=CALM)
          .message.content, truth("text.png", "What does it say?"))
    cut = client.chat(MODEL, picture("shapes.png", "你看到了什么？"), options={"temperature": 0, "num_predict": 3})
    equal((cut.done_reason, cut.eval_count), ("length", 3))


@case("chat: stream")
def _():
    parts = list(client.chat(MODEL, picture("shapes.png", "你看到了什么？"), options=CALM, stream=True))
    equal("".join(p.message.content for p in parts), truth("shapes.png", "你看到了什么？"))
    equal([p.done for p in parts], [False] * (len(parts) - 1) + [True])
    assert parts[-1].eval_count > 0 and len(parts) > 5

    def leave():
        stream = client.chat(MODEL, [{"role": "user", "content": "x"}], options={"num_predict": 3000, "temperature": 1}, stream=True)
        next(stream)
        stream.close()
    frees_within_a_second(leave)


@case("generate, and its stream")
def _():
    answer = client.generate(MODEL, SHAPES, images=[demo_base64("shapes.png")], options=CALM)
    equal((answer.response, answer.done), ("1", True))
    parts = list(client.generate(MODEL, SHAPES, system="Be short.", images=[demo_base64("shapes.png")], options=CALM, stream=True))
    assert parts[-1].done and parts[-1].eval_count > 0


@case("format: json and a schema")
def _():
    class Form(BaseModel):
        no: str
        date: str
        time: str
        item: str
        total: str
    options = {"temperature": 0, "num_predict": 200}
    answer = client.chat(MODEL, picture("receipt.png", "Return the fields as JSON."), format=Form.model_json_schema(),
                         options=options)
    equal(Form.model_validate_json(answer.message.content).model_dump(),
          json.loads(truth("receipt.png", "Return the fields as JSON.")))
    answer = client.chat(MODEL, picture("receipt.png", "Return the fields as JSON."), format="json", options=options)
    equal(json.loads(answer.message.content), json.loads(truth("receipt.png", "Return the fields as JSON.")))


@case("tools are taken")
def _():
    def count(shape: str, number: int) -> str:
        """Notes how many shapes of a kind there are.

        Args:
            shape: what kind
            number: how many
        """
        return f"{number} {shape}"
    answer = client.chat(MODEL, picture("shapes.png", SHAPES), tools=[count], options=CALM)
    assert answer.done
    client.chat(MODEL, [*picture("shapes.png", SHAPES),
                        {"role": "assistant", "tool_calls": [{"function": {"name": "count", "arguments": {
                            "shape": "circle", "number": 1}}}]},
                        {"role": "tool", "tool_name": "count", "content": "1 circle"}], tools=[count], options=CALM)


@case("errors")
def _():
    equal(raises(ollama.ResponseError, client.chat, MODEL, picture("shapes.png", "x"), options={"temperature": "hot"})
          .status_code, 400)
    broken = raises(ollama.ResponseError, client.chat, MODEL, [{"role": "user", "content": "x", "images": ["AAAA"]}])
    equal(broken.status_code, 422)
    assert broken.error and not broken.error.startswith("{")
    equal(raises(ollama.ResponseError, ollama.Client(host=URL).chat, MODEL, picture("shapes.png", "x")).status_code, 401)
    equal(raises(ollama.ResponseError, client.embed, MODEL, "x").status_code, 404)


if __name__ == "__main__":
    main("ollama (Python)")
