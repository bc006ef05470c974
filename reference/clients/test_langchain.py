"""LangChain's ChatOpenAI against the server."""
import asyncio
import json
from typing import Literal

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

from check import KEY, URL, case, data_uri, demo_base64, equal, image_part, main, truth

SHAPES = "How many circles are there?"


class Form(BaseModel):
    """The fields of a form."""
    no: str
    date: str
    time: str
    item: str
    total: str


class Count(BaseModel):
    """How many shapes of a kind there are. (Bounded: prompts with tools are strange to the demo model.)"""
    shape: Literal["circle", "square", "star"]
    number: int = Field(ge=0, le=9)


def model(**fields):
    return ChatOpenAI(model="demo", base_url=f"{URL}/v1", api_key=KEY, max_retries=0,
                      **{"temperature": 0, "max_tokens": 200, **fields})


def picture(name, question):
    return HumanMessage(content=[image_part(name), {"type": "text", "text": question}])


@case("invoke")
def _():
    answer = model().invoke([SystemMessage("Be short."), HumanMessage("hello")])
    assert isinstance(answer, AIMessage) and answer.response_metadata["finish_reason"] in ("stop", "length")
    assert answer.usage_metadata["input_tokens"] > 0 and answer.usage_metadata["output_tokens"] > 0


@case("pictures")
def _():
    equal(model().invoke([picture("shapes.png", SHAPES)]).content, "1")
    block = {"type": "image", "base64": demo_base64("shapes.png"), "mime_type": "image/png"}
    equal(model().invoke([HumanMessage(content=[block, {"type": "text", "text": SHAPES}])]).content, "1")


@case("stream")
def _():
    chunks = list(model().stream([picture("shapes.png", "你看到了什么？")]))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    equal(whole.content, truth("shapes.png", "你看到了什么？"))
    equal(whole.response_metadata["finish_reason"], "stop")
    chunks = list(model(stream_usage=True).stream([picture("shapes.png", SHAPES)]))
    equal(len([c for c in chunks if c.usage_metadata]), 1)


@case("with_structured_output: each method")
def _():
    form = json.loads(truth("receipt.png", "Return the fields as JSON."))
    question = [picture("receipt.png", "Return the fields as JSON.")]
    equal(model().with_structured_output(Form, method="json_schema").invoke(question).model_dump(), form)
    assert isinstance(model().with_structured_output(Count, method="function_calling").invoke(question), Count)
    equal(model().with_structured_output(Form, method="json_mode").invoke(question).model_dump(), form)
    equal(model().with_structured_output(Form.model_json_schema(), strict=True).invoke(question), form)


@case("bind_tools, and the result's way back")
def _():
    @tool(args_schema=Count)
    def count(shape: str, number: int) -> str:
        """Notes how many shapes of a kind there are."""
        return f"{number} {shape}"
    bound = model().bind_tools([count], tool_choice="required", parallel_tool_calls=False)
    question = picture("shapes.png", SHAPES)
    answer = bound.invoke([question])
    equal([c["name"] for c in answer.tool_calls], ["count"])
    assert not answer.invalid_tool_calls
    result = ToolMessage(count.invoke(answer.tool_calls[0]["args"]), tool_call_id=answer.tool_calls[0]["id"])
    assert model().bind_tools([count], tool_choice="none").invoke([question, answer, result]).tool_calls == []
    whole = None
    for chunk in bound.stream([question]):
        whole = chunk if whole is None else whole + chunk
    equal(whole.tool_calls[0]["args"], answer.tool_calls[0]["args"])


@case("batch and ainvoke")
def _():
    equal([a.content for a in model().batch([[picture("shapes.png", SHAPES)]] * 3)], ["1"] * 3)
    equal(asyncio.run(model().ainvoke([picture("shapes.png", SHAPES)])).content, "1")


@case("through the Responses API")
def _():
    answer = model(use_responses_api=True).invoke([HumanMessage(content=[
        {"type": "image_url", "image_url": {"url": data_uri("shapes.png")}}, {"type": "text", "text": SHAPES}])])
    equal(answer.text if isinstance(answer.text, str) else answer.text(), "1")


if __name__ == "__main__":
    main("langchain-openai (Python)")
