"""LiteLLM against the server, under both of its prefixes for such servers."""
import asyncio
import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it would fetch its price list
import litellm  # pylint: disable=wrong-import-position

from check import (COUNT_TOOL, KEY, URL, case, equal, image_part, main, raises, satisfies_call, truth,  # noqa: E402
                   user, video_part)

litellm.suppress_debug_info = True
SHAPES = user(image_part("shapes.png"), "你看到了什么？")


def ask(prefix, messages, function=litellm.completion, **fields):
    return function(model=f"{prefix}/demo", api_base=f"{URL}/v1", api_key=KEY, messages=messages, num_retries=0,
                    **{"temperature": 0, "max_tokens": 128, **fields})


for prefix in ("openai", "hosted_vllm"):
    @case(f"{prefix}/: completion")
    def _(prefix=prefix):
        answer = ask(prefix, SHAPES)
        equal((answer.choices[0].message.content, answer.choices[0].finish_reason),
              (truth("shapes.png", "你看到了什么？"), "stop"))
        assert answer.usage.prompt_tokens > 0

    @case(f"{prefix}/: stream")
    def _(prefix=prefix):
        chunks = list(ask(prefix, SHAPES, stream=True, stream_options={"include_usage": True}))
        equal("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), truth("shapes.png", "你看到了什么？"))
        equal(len([c for c in chunks if getattr(c, "usage", None)]), 1)
        assert litellm.stream_chunk_builder(chunks).choices[0].message.content

    @case(f"{prefix}/: video, async")
    def _(prefix=prefix):
        question = "When does the orange cross appear?"
        answer = asyncio.run(ask(prefix, user(video_part("clip-2.mp4"), question), litellm.acompletion))
        equal(answer.choices[0].message.content, truth("clip-2.mp4", question))

    @case(f"{prefix}/: tools and schema")
    def _(prefix=prefix):
        answer = ask(prefix, SHAPES, tools=[COUNT_TOOL], tool_choice="required", parallel_tool_calls=False)
        satisfies_call(answer.choices[0].message.tool_calls[0], "count_shapes")
        schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
        answer = ask(prefix, SHAPES, response_format={"type": "json_schema", "json_schema": {
            "name": "x", "strict": True, "schema": schema}})
        assert json.loads(answer.choices[0].message.content)["ok"] in (True, False)

    @case(f"{prefix}/: errors")
    def _(prefix=prefix):
        raises(litellm.BadRequestError, ask, prefix, [{"role": "king", "content": "x"}])
        raises(litellm.ContextWindowExceededError, ask, prefix, user("one two " * 20000))
        raises(litellm.AuthenticationError, litellm.completion, model=f"{prefix}/demo", api_base=f"{URL}/v1", api_key="wrong",
               messages=SHAPES, num_retries=0)


if __name__ == "__main__":
    main("litellm (Python)")
