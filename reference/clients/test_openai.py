"""OpenAI's Python library against the server."""
import asyncio
import json
import re
import time
import urllib.request
from typing import Literal

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, Field

from check import (COUNT_TOOL, KEY, OTHER_TOOL, STRICT_URL, URL, case, data_uri, equal, frees_within_a_second,
                   image_part, main, metric, raises, satisfies_call, truth, user, video_part)

client = OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=120)
strict = OpenAI(base_url=f"{STRICT_URL}/v1", api_key=KEY, max_retries=0, timeout=120)
MODEL = client.models.list().data[0].id
create = client.chat.completions.create
ENDLESS = {"max_tokens": 3000, "temperature": 2, "seed": 1, "extra_body": {"ignore_eos": True}}
ASK_SHAPES = user(image_part("shapes.png"), "How many circles are there?")
ASK_CHINESE = user(image_part("shapes.png"), "你看到了什么？")


class Form(BaseModel):
    no: str
    date: str
    time: str
    item: str
    total: str


class Count(BaseModel):
    shape: Literal["circle", "square", "star"]
    count: int = Field(ge=0, le=9)


def ask(messages, **fields):
    return create(model=MODEL, messages=messages, **{"temperature": 0, "max_tokens": 64, **fields})


def said(messages, **fields):
    return ask(messages, **fields).choices[0].message.content


# ---- models --------------------------------------------------------------------------------------

@case("models.list, models.retrieve")
def _():
    models = client.models.list()
    equal(models.object, "list")
    model = models.data[0]
    equal(model.object, "model")
    assert model.id and model.owned_by and isinstance(model.created, int)
    equal(client.models.retrieve(model.id), model)
    raises(openai.NotFoundError, client.models.retrieve, "no-such-model")


# ---- text ----------------------------------------------------------------------------------------

@case("text: the whole object")
def _():
    answer = ask([{"role": "system", "content": "Be short."}, {"role": "user", "content": "hello"}])
    equal(answer.object, "chat.completion")
    equal(len(answer.choices), 1)
    assert answer.id.startswith("chatcmpl-") and abs(answer.created - time.time()) < 60
    equal(answer.model, MODEL)
    choice = answer.choices[0]
    equal((choice.index, choice.message.role, choice.logprobs), (0, "assistant", None))
    assert choice.finish_reason in ("stop", "length") and isinstance(choice.message.content, str)
    assert choice.message.tool_calls is None and choice.message.refusal is None
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0
    equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
    assert usage.prompt_tokens_details.cached_tokens >= 0


@case("text: conversation, developer, content as parts")
def _():
    answer = ask([{"role": "developer", "content": [{"type": "text", "text": "Be short."}]},
                  *ASK_SHAPES, {"role": "assistant", "content": "1"},
                  {"role": "user", "content": [{"type": "text", "text": "And stars"}, {"type": "text", "text": "?"}]}])
    assert answer.choices[0].message.content


@case("max_completion_tokens, and finish_reason length")
def _():
    answer = create(model=MODEL, messages=ASK_CHINESE, temperature=0, max_completion_tokens=3)
    equal((answer.usage.completion_tokens, answer.choices[0].finish_reason), (3, "length"))
    assert truth("shapes.png", "你看到了什么？").startswith(answer.choices[0].message.content)


@case("stop")
def _():
    text = truth("shapes.png", "你看到了什么？")
    answer = ask(ASK_CHINESE, stop=["圆形"])
    equal((answer.choices[0].message.content, answer.choices[0].finish_reason), (text.split("圆形")[0], "stop"))
    equal(said(ASK_CHINESE, stop="在"), text.split("在")[0])
    deltas = [c.choices[0].delta.content or "" for c in ask(ASK_CHINESE, stop=["色正"], stream=True)]
    equal("".join(deltas), text.split("色正")[0])


@case("what was computed before is not computed again, and the answer is the same")
def _():
    messages = [{"role": "system", "content": "Be short. " * 200}, *ASK_CHINESE]
    first, second = ask(messages), ask(messages)
    assert second.usage.prompt_tokens_details.cached_tokens > second.usage.prompt_tokens / 2
    equal(second.choices[0].message.content, first.choices[0].message.content)
    again = ask(messages + [first.choices[0].message.model_dump(exclude_none=True), {"role": "user", "content": "And now?"}])
    assert again.usage.prompt_tokens_details.cached_tokens > second.usage.prompt_tokens / 2


@case("seed")
def _():
    hot = {"temperature": 1.5, "max_tokens": 32}
    texts = [said(user("hello"), seed=seed, **hot) for seed in (1, 1, 2)]
    equal(texts[0], texts[1])
    assert texts[0] != texts[2]


@case("n")
def _():
    answer = ask(user("hello"), n=3, temperature=1.5, seed=5, max_tokens=16)
    equal([c.index for c in answer.choices], [0, 1, 2])
    assert len({c.message.content for c in answer.choices}) > 1
    equal(answer.choices[0].message.content, said(user("hello"), temperature=1.5, seed=5, max_tokens=16))
    texts, ends = ["", "", ""], [None] * 3
    for chunk in ask(user("hello"), n=3, temperature=1.5, seed=5, max_tokens=16, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason or ends[choice.index]
    equal(texts, [c.message.content for c in answer.choices])
    equal(ends, [c.finish_reason for c in answer.choices])
    equal(raises(openai.BadRequestError, ask, user("hello"), n=1000).param, "n")


@case("logprobs")
def _():
    answer = ask(ASK_CHINESE, logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs.content
    equal(b"".join(bytes(t.bytes) for t in tokens).decode(), truth("shapes.png", "你看到了什么？"))
    for token in tokens:
        equal(len(token.top_logprobs), 3)
        equal((token.top_logprobs[0].token, token.top_logprobs[0].bytes), (token.token, token.bytes))
        equal(token.top_logprobs[0].logprob, token.logprob)
        assert 0 >= token.logprob >= token.top_logprobs[1].logprob >= token.top_logprobs[2].logprob
    chunks = list(ask(ASK_CHINESE, logprobs=True, top_logprobs=3, stream=True))
    streamed = [t for c in chunks if c.choices[0].logprobs for t in c.choices[0].logprobs.content]
    equal([(t.bytes, t.logprob) for t in streamed], [(t.bytes, t.logprob) for t in tokens])
    equal(len(ask(ASK_SHAPES, logprobs=True).choices[0].logprobs.content[0].top_logprobs), 0)


@case("logit_bias")
def _():
    request = urllib.request.Request(f"{URL}/tokenize", json.dumps({"prompt": "1"}).encode(),
                                     {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        ids = json.load(reply)["tokens"]
    equal(said(ASK_SHAPES), "1")
    assert "1" not in said(ASK_SHAPES, logit_bias={str(i): -100 for i in ids})


@case("penalties, top_p, user and what extra_body brings")
def _():
    answer = ask(ASK_SHAPES, presence_penalty=0.1, frequency_penalty=0.1, top_p=0.9, user="somebody",
                 extra_body={"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.01})
    equal(answer.choices[0].message.content, "1")


# ---- pictures and clips --------------------------------------------------------------------------

@case("pictures: what transformers answers")
def _():
    for names, question in [("shapes.png", "How many circles are there?"), ("text.png", "What does it say?"),
                            ("receipt.png", "Return the fields as JSON."), ("text.png", "读出文字。"),
                            ("before.png after.png", "What changed from the first picture to the second?")]:
        answer = ask(user(*[image_part(name) for name in names.split()], question), max_tokens=128)
        equal(answer.choices[0].message.content, truth(names, question))
        assert answer.usage.prompt_tokens_details.image_tokens > 0


@case("clips: what transformers answers")
def _():
    for names, question in [("clip-2.mp4", "When does the orange cross appear?"),
                            ("clip-1.mp4 clip-2.mp4", "In which clip does the orange cross appear?")]:
        answer = ask(user(*[video_part(name) for name in names.split()], question))
        equal(answer.choices[0].message.content, truth(names, question))
        assert answer.usage.prompt_tokens_details.video_tokens > 0


@case("clips: spellings, and what chooses frames")
def _():
    question = "When does the orange cross appear?"
    whole = ask(user(video_part("clip-2.mp4"), question)).usage.prompt_tokens
    for part in [{"type": "input_video", "input_video": {"data": data_uri("clip-2.mp4").partition(",")[2]}},
                 {"type": "video", "video": data_uri("clip-2.mp4")}]:
        equal(ask(user(part, question)).usage.prompt_tokens, whole)
    few = ask(user(video_part("clip-2.mp4", num_frames=4), question)).usage.prompt_tokens
    assert few < whole
    equal(ask(user(video_part("clip-2.mp4"), question), extra_body={"mm_processor_kwargs": {"num_frames": 4}})
          .usage.prompt_tokens, few)
    frames = {"type": "video", "video": [data_uri("before.png"), data_uri("after.png")], "sample_fps": 1}
    assert ask(user(frames, "What happens?")).usage.prompt_tokens_details.video_tokens > 0


@case("pictures: input_image, bare strings, detail")
def _():
    for part in [{"type": "input_image", "image_url": data_uri("shapes.png")},
                 {"type": "image_url", "image_url": data_uri("shapes.png")},
                 {"type": "image", "image": data_uri("shapes.png")}, image_part("shapes.png", detail="high")]:
        equal(said(user(part, "How many circles are there?")), "1")


# ---- streams -------------------------------------------------------------------------------------

@case("stream: chunks")
def _():
    chunks = list(ask(ASK_CHINESE, stream=True))
    equal("".join(c.choices[0].delta.content or "" for c in chunks), truth("shapes.png", "你看到了什么？"))
    equal({(c.id, c.created, c.model, c.object) for c in chunks},
          {(chunks[0].id, chunks[0].created, MODEL, "chat.completion.chunk")})
    equal((chunks[0].choices[0].delta.role, chunks[0].choices[0].delta.content), ("assistant", ""))
    assert all(len(c.choices) == 1 and c.usage is None for c in chunks), "an empty choices list without include_usage"
    equal([c.choices[0].finish_reason for c in chunks], [None] * (len(chunks) - 1) + ["stop"])
    assert "content" not in chunks[-1].choices[0].delta.model_dump(exclude_unset=True)
    assert len(chunks) > 8 and not any("\ufffd" in (c.choices[0].delta.content or "") for c in chunks)


@case("stream: usage")
def _():
    whole = ask(ASK_CHINESE)
    chunks = list(ask(ASK_CHINESE, stream=True, stream_options={"include_usage": True}))
    equal(chunks[-1].choices, [])
    equal((chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens),
          (whole.usage.prompt_tokens, whole.usage.completion_tokens))
    assert all(c.usage is None for c in chunks[:-1])


@case("stream: the library's helper")
def _():
    with client.chat.completions.stream(model=MODEL, messages=ASK_CHINESE, temperature=0, max_tokens=64) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    text = truth("shapes.png", "你看到了什么？")
    equal("".join(e.delta for e in events if e.type == "content.delta"), text)
    equal([e.content for e in events if e.type == "content.done"], [text])
    equal(final.choices[0].message.content, text)


@case("stream: left early, and everything is free again within a second")
def _():
    def leave():
        stream = create(model=MODEL, messages=user("hello"), stream=True, **ENDLESS)
        for i, _ in enumerate(stream):
            if i == 5:
                break
        stream.close()
    frees_within_a_second(leave)


# ---- form ----------------------------------------------------------------------------------------

@case("parse: a picture into an object")
def _():
    messages = user(image_part("receipt.png"), "Return the fields as JSON.")
    answer = client.chat.completions.parse(model=MODEL, messages=messages, temperature=0, max_tokens=200, response_format=Form)
    form = answer.choices[0].message.parsed
    assert isinstance(form, Form)
    equal(form.model_dump(), json.loads(truth("receipt.png", "Return the fields as JSON.")))
    with client.chat.completions.stream(model=MODEL, messages=messages, temperature=0, max_tokens=200,
                                        response_format=Form) as stream:
        equal(stream.get_final_completion().choices[0].message.parsed, form)
    raises(openai.LengthFinishReasonError, client.chat.completions.parse, model=MODEL, messages=messages, max_tokens=4,
           response_format=Form)


@case("json_object")
def _():
    answer = ask(user("hello"), response_format={"type": "json_object"}, temperature=0.5, seed=3, max_tokens=400,
                 logit_bias=None)
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)
    else:
        assert answer.choices[0].message.content.lstrip().startswith("{")


@case("json_schema: hot sampling keeps to it; what cannot be enforced is refused")
def _():
    schema = {"type": "object", "required": ["a", "b"], "additionalProperties": False, "properties": {
        "a": {"type": "integer", "minimum": 0, "maximum": 99}, "b": {"type": "string", "maxLength": 8}}}

    def form(what):
        return {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": what}}
    for seed in range(5):
        found = json.loads(said(user("hello"), temperature=2, seed=seed, max_tokens=200, response_format=form(schema)))
        assert 0 <= found["a"] <= 99 and len(found["b"]) <= 8 and len(found) == 2
    error = raises(openai.BadRequestError, ask, user("x"), response_format=form({"type": "object", "not": {}}))
    assert error.param.startswith("response_format") and "not" in error.message


@case("regex and choice, as vLLM spells them")
def _():
    assert re.fullmatch(r"[A-Z]{2}-\d{6}", said(user(image_part("text.png"), "Read the text."), extra_body={
        "structured_outputs": {"regex": r"[A-Z]{2}-\d{6}"}}))
    assert said(user("hello"), extra_body={"guided_choice": ["yes", "no"]}) in ("yes", "no")


# ---- tools ---------------------------------------------------------------------------------------

@case("tools: required, and the result's way back")
def _():
    messages = user(image_part("shapes.png"), "How many circles are there?")
    answer = ask(messages, tools=[COUNT_TOOL], tool_choice="required", parallel_tool_calls=False, max_tokens=200)
    choice = answer.choices[0]
    equal((choice.finish_reason, len(choice.message.tool_calls)), ("tool_calls", 1))
    call = choice.message.tool_calls[0]
    assert call.id and call.type == "function" and not choice.message.content
    satisfies_call(call, "count_shapes")
    messages += [choice.message.model_dump(exclude_none=True),
                 {"role": "tool", "tool_call_id": call.id, "content": "There is one."}]
    after = ask(messages, tools=[COUNT_TOOL], tool_choice="none")
    assert after.choices[0].message.tool_calls is None and after.choices[0].finish_reason in ("stop", "length")
    messages[-1]["content"] = [{"type": "text", "text": "See:"}, image_part("shapes.png")]
    assert ask(messages, tools=[COUNT_TOOL], tool_choice="none").usage.prompt_tokens > after.usage.prompt_tokens


@case("tools: one by its name, none, several, hot")
def _():
    tools = [COUNT_TOOL, OTHER_TOOL]
    named = {"type": "function", "function": {"name": "do_nothing"}}
    answer = ask(user("hello"), tools=tools, tool_choice=named, parallel_tool_calls=False)
    equal([(c.function.name, json.loads(c.function.arguments)) for c in answer.choices[0].message.tool_calls],
          [("do_nothing", {})])
    for seed in range(5):
        answer = ask(user("hello"), tools=tools, tool_choice="required", temperature=1.5, seed=seed, max_tokens=400)
        calls = answer.choices[0].message.tool_calls
        for call in calls:
            if call.function.name == "count_shapes" and answer.choices[0].finish_reason == "tool_calls":
                satisfies_call(call, "count_shapes")
        equal(len({call.id for call in calls}), len(calls))
    assert ask(user("hello"), tools=tools, tool_choice="none").choices[0].message.tool_calls is None
    raises(openai.BadRequestError, ask, user("hello"), tools=tools, tool_choice={"type": "function", "function": {"name": "x"}})
    raises(openai.BadRequestError, ask, user("hello"), tool_choice="required")


@case("tools: streamed")
def _():
    fields = {"tools": [COUNT_TOOL], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 200}
    whole = ask(ASK_SHAPES, **fields).choices[0].message.tool_calls[0]
    names, ids, arguments, ends, n_piece = [], [], "", [], 0
    for chunk in ask(ASK_SHAPES, stream=True, **fields):
        choice = chunk.choices[0]
        ends.append(choice.finish_reason)
        for call in choice.delta.tool_calls or []:
            equal(call.index, 0)
            names += [call.function.name] if call.function.name else []
            ids += [call.id] if call.id else []
            arguments += call.function.arguments or ""
            n_piece += bool(call.function.arguments)
    equal((names, len(ids), ends[-1]), (["count_shapes"], 1, "tool_calls"))
    equal(json.loads(arguments), json.loads(whole.function.arguments))
    assert n_piece > 1, "arguments come in one piece"
    with client.chat.completions.stream(model=MODEL, messages=ASK_SHAPES, temperature=0, **fields) as stream:
        done = [e for e in stream if e.type == "tool_calls.function.arguments.done"]
    equal([e.name for e in done], ["count_shapes"])


@case("tools: parsed into an object")
def _():
    answer = client.chat.completions.parse(model=MODEL, messages=ASK_SHAPES, temperature=0, max_tokens=200,
                                           tools=[openai.pydantic_function_tool(Count)], tool_choice="required",
                                           parallel_tool_calls=False)
    assert isinstance(answer.choices[0].message.tool_calls[0].function.parsed_arguments, Count)


@case("tools and a form: calls, or JSON of the form")
def _():
    tool = {"type": "function", "function": {**COUNT_TOOL["function"], "strict": True}}
    messages = user(image_part("receipt.png"), "Return the fields as JSON.")
    for choice in ("auto", "required", "none"):
        message = client.chat.completions.parse(model=MODEL, messages=messages, temperature=0, max_tokens=300, tools=[tool],
                                                tool_choice=choice, response_format=Count).choices[0].message
        if choice == "required" or message.tool_calls:
            assert choice != "none" and message.parsed is None
            satisfies_call(message.tool_calls[0], "count_shapes")
        else:
            assert isinstance(message.parsed, Count), message


# ---- errors --------------------------------------------------------------------------------------

@case("400 BadRequestError")
def _():
    error = raises(openai.BadRequestError, ask, user("x"), temperature="hot")
    equal((error.status_code, error.param, error.type), (400, "temperature", "invalid_request_error"))
    assert error.request_id and "temperature" in error.message
    for messages, param in [([], "messages"), ([{"role": "king", "content": "x"}], "messages"),
                            (user({"type": "audio"}), "messages")]:
        assert raises(openai.BadRequestError, ask, messages).param.startswith(param)
    error = raises(openai.BadRequestError, ask, user("one two " * 20000))
    equal(error.code, "context_length_exceeded")
    raises(openai.BadRequestError, ask, user({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}))
    raises(openai.BadRequestError, ask, user({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}))


@case("401 AuthenticationError")
def _():
    wrong = OpenAI(base_url=f"{URL}/v1", api_key="wrong", max_retries=0)
    for call in (wrong.models.list, lambda: wrong.chat.completions.create(model=MODEL, messages=user("x"))):
        error = raises(openai.AuthenticationError, call)
        assert error.status_code == 401 and error.body["message"] and KEY not in str(error)


@case("404 NotFoundError")
def _():
    raises(openai.NotFoundError, client.embeddings.create, model=MODEL, input="x")
    error = raises(openai.NotFoundError, strict.chat.completions.create, model="gpt-4o", messages=user("x"))
    equal(error.code, "model_not_found")
    assert ask(user("hello")).choices, "another name is taken without --strict-model"


@case("413: APIStatusError")
def _():
    error = raises(openai.APIStatusError, strict.chat.completions.create, model=MODEL, messages=user("x" * 2_000_000))
    equal(error.status_code, 413)


@case("422 UnprocessableEntityError")
def _():
    for url in ("data:image/png;base64,AAAA", data_uri("shapes.png")[:2000]):
        error = raises(openai.UnprocessableEntityError, ask, user({"type": "image_url", "image_url": {"url": url}}))
        assert error.body["message"] and error.param
    raises(openai.UnprocessableEntityError, ask, user({"type": "video_url", "video_url": {
        "url": data_uri("shapes.png")[:200].replace("image/png", "video/mp4")}}))


@case("429 RateLimitError, and the library's own retries")
def _():
    streams = []
    try:
        # One works, one waits: a stream's reply begins when its turn comes, so the second one needs a thread.
        streams.append(strict.chat.completions.create(model=MODEL, messages=user("x"), stream=True, **ENDLESS))

        async def rest():
            other = AsyncOpenAI(base_url=f"{STRICT_URL}/v1", api_key=KEY, max_retries=0)
            waiting = asyncio.create_task(other.chat.completions.create(model=MODEL, messages=user("x"), max_tokens=4))
            for _ in range(3000):
                if metric("qvl_requests_waiting", STRICT_URL):
                    break
                await asyncio.sleep(0.02)
            try:
                await other.chat.completions.create(model=MODEL, messages=user("x"), max_tokens=4)
                raise AssertionError("no 429")
            except openai.RateLimitError as error:
                assert int(error.response.headers["retry-after"]) >= 1
            patient = asyncio.create_task(other.with_options(max_retries=8).chat.completions.create(
                model=MODEL, messages=user("x"), max_tokens=4))
            await asyncio.sleep(0.3)
            streams.pop().close()
            assert (await waiting).choices and (await patient).choices
        asyncio.run(rest())
    finally:
        for stream in streams:
            stream.close()


@case("time-out: APITimeoutError, and the server stops working on it")
def _():
    frees_within_a_second(lambda: raises(openai.APITimeoutError, client.with_options(timeout=0.3).chat.completions.create,
                                         model=MODEL, messages=user("hello"), **ENDLESS))


@case("headers: request id, ignored and refused fields")
def _():
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=user("hello"), max_tokens=4, extra_body={"frobnicate": 1},
        extra_headers={"X-Request-ID": "my-own-id.1"})
    equal(raw.headers["x-request-id"], "my-own-id.1")
    equal(raw.headers["x-ignored-params"], "frobnicate")
    assert raw.headers["content-type"].startswith("application/json") and raw.parse().choices
    assert client.chat.completions.with_raw_response.create(model=MODEL, messages=user("hello"), max_tokens=4).request_id
    error = raises(openai.BadRequestError, strict.chat.completions.create, model=strict.models.list().data[0].id,
                   messages=user("x"), extra_body={"frobnicate": 1})
    equal(error.param, "frobnicate")


@case("eight at once, with the async client")
def _():
    async def all_of_them():
        other = AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
        return await asyncio.gather(*[other.chat.completions.create(
            model=MODEL, messages=ASK_CHINESE if i % 2 else ASK_SHAPES, temperature=0, max_tokens=64) for i in range(8)])
    equal([a.choices[0].message.content for a in asyncio.run(all_of_them())], ["1", truth("shapes.png", "你看到了什么？")] * 4)


# ---- responses -----------------------------------------------------------------------------------

INPUT = [{"role": "user", "content": [{"type": "input_image", "image_url": data_uri("shapes.png"), "detail": "auto"},
                                      {"type": "input_text", "text": "你看到了什么？"}]}]


@case("responses.create")
def _():
    answer = client.responses.create(model=MODEL, input=INPUT, instructions="Be short.", max_output_tokens=32, temperature=0)
    assert answer.id.startswith("resp_") and answer.status in ("completed", "incomplete") and answer.output_text
    equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)
    answer = client.responses.create(model=MODEL, input=INPUT, max_output_tokens=64, temperature=0)
    equal((answer.status, answer.output_text), ("completed", truth("shapes.png", "你看到了什么？")))
    cut = client.responses.create(model=MODEL, input=INPUT, max_output_tokens=3, temperature=0)
    equal((cut.status, cut.incomplete_details.reason), ("incomplete", "max_output_tokens"))
    raises(openai.BadRequestError, client.responses.create, model=MODEL, input="x", previous_response_id="resp_1")
    raises(openai.BadRequestError, client.responses.create, model=MODEL, input="x", temperature="hot")


@case("responses.stream")
def _():
    text = truth("shapes.png", "你看到了什么？")
    with client.responses.stream(model=MODEL, input=INPUT, max_output_tokens=64, temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [e.type for e in events]
    order = ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
             "response.output_text.delta", "response.output_text.done", "response.content_part.done",
             "response.output_item.done", "response.completed"]
    equal(list(dict.fromkeys(kinds)), order)
    equal("".join(e.delta for e in events if e.type == "response.output_text.delta"), text)
    equal(final.output_text, text)
    equal([e.sequence_number for e in client.responses.create(model=MODEL, input="x", max_output_tokens=4, stream=True)][:3],
          [0, 1, 2])


@case("responses.parse")
def _():
    answer = client.responses.parse(model=MODEL, temperature=0, max_output_tokens=200, text_format=Form, input=[
        {"role": "user", "content": [{"type": "input_image", "image_url": data_uri("receipt.png"), "detail": "auto"},
                                     {"type": "input_text", "text": "Return the fields as JSON."}]}])
    equal(answer.output_parsed.model_dump(), json.loads(truth("receipt.png", "Return the fields as JSON.")))


@case("responses: tools, and the result's way back")
def _():
    tool = {"type": "function", "strict": True, **COUNT_TOOL["function"]}
    answer = client.responses.create(model=MODEL, input=INPUT, tools=[tool], tool_choice="required", temperature=0,
                                     parallel_tool_calls=False, max_output_tokens=200)
    calls = [item for item in answer.output if item.type == "function_call"]
    equal([(c.name, sorted(json.loads(c.arguments))) for c in calls], [("count_shapes", ["count", "shape"])])
    after = client.responses.create(model=MODEL, temperature=0, max_output_tokens=32, tools=[tool], tool_choice="none", input=[
        *INPUT, *[item.model_dump(exclude_none=True) for item in answer.output],
        {"type": "function_call_output", "call_id": calls[0].call_id, "output": "one"}])
    assert after.status in ("completed", "incomplete")


if __name__ == "__main__":
    main("openai (Python)")
