"""Writes tests/unit/text/data/chat.jsonl: conversations, and what transformers makes of them.

    QVL_TEMPLATES=FOLDER python reference/chat_vectors.py [--check]

FOLDER holds instruct.jinja and thinking.jinja, the chat templates of the published checkpoints (Instruct: 5292 bytes,
SHA-256 3636d0f0…), which this repository does not contain. QVL_DATA (default ../shared/data) holds tokenizer/.
--check compares instead of writing; without the templates it compares only the ids of the committed texts.
Each line: {"thinking", "vision_ids", "tools_json", "messages", "text", "ids"}; a message is {"role", "content" (a
string, or a list of {"text"} {"image"} {"video"}), "reasoning", "tool_calls": [{"name", "arguments_json"}]}. "ids" is
null where content looks like an added token, which qvl takes as text and the reference does not. "open": the last
message goes on (continue_final_message).
"""
import hashlib
import json
import os
import pathlib
import random
import sys

import transformers
from transformers import AutoTokenizer

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/unit/text/data/chat.jsonl"
INSTRUCT_SHA256 = "3636d0f0bd6bef02654cdffdc447b79cb2cef8ab02cc75267345946291a489e4"
N_RANDOM = 110
IMAGE, VIDEO = {"image": True}, {"video": True}

TOOLS = r"""[{"type": "function", "function": {"name": "look",
 "description": "Looks <closely> & reports 'all' é 中 \u2028\u007f", "parameters": {"type":"object","properties":{
 "x":{"type":"integer","minimum":-0,"maximum":123456789012345678901234567890},"y":{"type":"number","default":1.0,
 "enum":[1e-7,1E22,1e16,1e15,123456.789,0.0001,0.00001,-0.0,5e-324,1.7976931348623157e308,0.1,100.0,2.5e-5,1e-4,
 12345678901234567.0,9007199254740993.0,0.30000000000000004]}},"required":["x"],"n":null,"t":true,"f":false}}},
 {"b":"\ud83d\ude00\n\t\u0000\u001f\/\"\\","a":[],"c":{},"d":[[],[1,[2,{"z":{}}]]]}]"""


def text(s):
    return {"text": s}


def call(name, arguments):
    return {"name": name, "arguments_json": arguments}


def by_hand():
    """(messages, tools_json, vision_ids)"""
    user = {"role": "user", "content": "Hello"}
    cat = {"role": "user", "content": [IMAGE, text("Describe this image.")]}
    yield [user], None, False
    yield [cat], None, False
    yield [cat], None, True
    yield [{"role": "system", "content": "Be brief."}, user], None, False
    yield [{"role": "system", "content": [text("Be "), text("brief.")]}, user], None, False
    yield [{"role": "system", "content": ""}, user], None, False
    yield [{"role": "user", "content": ""}], None, False
    yield [{"role": "user", "content": []}], None, False
    yield [{"role": "user", "content": "  \n\n leading and trailing \n "}], None, False
    yield [{"role": "user", "content": [text("a"), IMAGE, text("b\n"), IMAGE, IMAGE, text("\nc")]}], None, True
    yield [{"role": "user", "content": [VIDEO, text("What happens?")]}], None, False
    yield [{"role": "user", "content": [text("clip? "), VIDEO, IMAGE, VIDEO, text("!")]}], None, True
    yield [user, {"role": "assistant", "content": "Hi."}, cat,
           {"role": "assistant", "content": [text("A "), text("cat.")]},
           {"role": "user", "content": [IMAGE, text("And this?")]}], None, True
    yield [user, {"role": "system", "content": "Later."}, user], None, False
    yield [user], TOOLS, False
    yield [{"role": "system", "content": "You see."}, cat], TOOLS, True
    yield [user], "[]", False
    look = {"role": "assistant", "content": "", "tool_calls": [call("look", '{"x": 1, "y": 2.50}')]}
    yield [user, look, {"role": "tool", "content": "a dog"}], TOOLS, False
    yield [user, look, {"role": "tool", "content": [text("see "), IMAGE]}, {"role": "tool", "content": [VIDEO]},
           {"role": "assistant", "content": "Done."}, cat], TOOLS, True
    two = [call("look", "{}"), call("say \"it\"", '{"k":[1,2,{"é":"\\u00e9"}]}')]
    yield [user, {"role": "assistant", "content": "Let me look.", "tool_calls": two},
           {"role": "tool", "content": ""}, user], None, False
    yield [user, {"role": "assistant", "content": [text(""), text("")], "tool_calls": two}], None, False
    yield [{"role": "tool", "content": "alone"}], None, False
    yield [{"role": "assistant", "content": "first"}], None, False
    for content, reasoning in [
            ("<think>\nwhy\n</think>\n\nSo.", None), ("So.", "why"), ("So.", ""), ("So.", "\nwhy\n\n"),
            ("\n\nSo.\n", "\n"), ("why</think>So.", None), ("<think>a</think>b<think>c</think>\n\nd", None),
            ("<think>a</think>b", "given"), ("x<think>y\n", None), ("</think>", None), ("", None)]:
        answer = {"role": "assistant", "content": content}
        if reasoning is not None:
            answer["reasoning"] = reasoning
        yield [user, answer, cat], None, False
        yield [user, answer], None, False
        answer = {**answer, "tool_calls": two}
        yield [user, answer, {"role": "tool", "content": "r"}], None, False
        result = {"role": "tool", "content": "r"}
        yield [user, answer, result, answer, {"role": "user", "content": "go on"}], None, False
        result = {"role": "user", "content": "<tool_response>\nr\n</tool_response>"}
        yield [user, answer, result, answer], None, False


def thinking_only():
    """Pictures where the Instruct template drops them."""
    user = {"role": "user", "content": [IMAGE, text("this?")]}
    system = {"role": "system", "content": [IMAGE, text("An example: "), IMAGE, VIDEO]}
    seen = {"role": "assistant", "content": [text("<think>"), IMAGE, text("hm</think>"), IMAGE, text("ok")]}
    for vision_ids in False, True:
        yield [system, user], None, vision_ids
        yield [system, user], TOOLS, vision_ids
        yield [user, seen, user], None, vision_ids
        yield [user, seen, system, seen], None, vision_ids


def to_go_on():
    """Conversations whose last message goes on."""
    user = {"role": "user", "content": [IMAGE, text("Hello")]}
    for content in ("The answer is", "", "Two  \n", "  \n\nspace ", "\n", [text("a"), text("b ")], [text("a\n"), text("")],
                    "<think>\nwhy\n</think>\n\nSo", "So</think>", "<think>\nI am", "{\"a\": [1, "):
        answer = {"role": "assistant", "content": content}
        yield [user, answer], None, False
        yield [user, {"role": "assistant", "content": "Hi."}, user, answer], TOOLS, True
        yield [user, {**answer, "reasoning": "\nwhy\n"}], None, False
        yield [{"role": "system", "content": "Be brief."}, user, {**answer, "reasoning": ""}], None, False
        yield [user, {"role": "assistant", "content": "", "tool_calls": [call("look", "{}")]},
               {"role": "tool", "content": "a dog"}, answer], None, False
    yield [{"role": "assistant", "content": "first"}], None, False


FRAGMENTS = ["", "a", " ", "\n", "\n\n", "Hello, world! ", "中文，测试。", "e\u0301", "12345", "'s", "<think>", "</think>",
             "<tool_response>", "</tool_response>", "</thi", "nk>", "<|im_end|>", "<|image_pad|>",
             "if (x < 3)\n\treturn;\n", "🙂", "{\"k\": 1}"]


HARMLESS = [f for f in FRAGMENTS if not f.startswith(("<", "nk"))]


def some_text(rnd, fragments):
    return "".join(rnd.choice(fragments) for _ in range(rnd.randint(0, 5)))


def at_random(rnd, is_thinking):
    messages, fragments = [], rnd.choice([FRAGMENTS, HARMLESS])
    for i in range(rnd.randint(1, 6)):
        role = rnd.choice(["system", "user", "user", "assistant", "assistant", "tool"])
        media = [IMAGE, VIDEO] if is_thinking or role in ("user", "tool") else []
        content = some_text(rnd, fragments) if rnd.random() < 0.4 else [
            rnd.choice(media) if media and rnd.random() < 0.4 else text(some_text(rnd, fragments))
            for _ in range(rnd.randint(0, 4))]
        if isinstance(content, list) and len(content) == 1 and "text" in content[0]:
            content = content[0]["text"]  # qvl has one form for the two
        message = {"role": role, "content": content}
        if role == "assistant" and rnd.random() < 0.3:
            message["reasoning"] = some_text(rnd, fragments)
        if role == "assistant" and rnd.random() < 0.4:
            message["tool_calls"] = [
                call(rnd.choice(["look", "f"]), json.dumps({"q": some_text(rnd, fragments), "n": rnd.random()}))
                for _ in range(rnd.randint(1, 2))]
        messages.append(message)
    return messages, TOOLS if rnd.random() < 0.06 else None, rnd.random() < 0.4


def for_reference(message):
    out = {"role": message["role"], "content": message["content"]}
    if isinstance(out["content"], list):
        out["content"] = [{"type": "text", **p} if "text" in p else {"type": "image" if "image" in p else "video"}
                          for p in out["content"]]
    if "reasoning" in message:
        out["reasoning_content"] = message["reasoning"]
    if "tool_calls" in message:
        out["tool_calls"] = [
            {"type": "function", "function": {"name": c["name"], "arguments": json.loads(c["arguments_json"])}}
            for c in message["tool_calls"]]
    return out


def texts_of(message):
    content = message["content"]
    yield content if isinstance(content, str) else "".join(p.get("text", "\0") for p in content)
    yield message.get("reasoning", "")
    for c in message.get("tool_calls", []):
        yield from (c["name"], json.dumps(json.loads(c["arguments_json"]), ensure_ascii=False))


def make(templates, tokenizer):
    added = list(tokenizer.get_added_vocab())
    rnd = random.Random(3)
    for is_thinking in False, True:
        chats = [*by_hand(), *(thinking_only() if is_thinking else ()),
                 *(at_random(rnd, is_thinking) for _ in range(N_RANDOM))]
        for messages, tools_json, vision_ids in chats:
            rendered = tokenizer.apply_chat_template(
                [for_reference(m) for m in messages], chat_template=templates[is_thinking], tokenize=False,
                tools=json.loads(tools_json) if tools_json else None, add_generation_prompt=True,
                add_vision_id=vision_ids)
            is_harmless = not any(a in t for a in added for m in messages for t in texts_of(m))
            yield {"thinking": is_thinking, "vision_ids": vision_ids, "tools_json": tools_json, "messages": messages,
                   "text": rendered, "ids": ids_of(tokenizer, rendered) if is_harmless else None}
    yield from make_open(templates, tokenizer, added)


def make_open(templates, tokenizer, added):
    """The reference refuses where the template changes the last message's text (all of it must be found again in what is
    rendered); qvl renders what the template says."""
    rnd = random.Random(5)
    for is_thinking in False, True:
        chats = [*to_go_on(), *(at_random(rnd, is_thinking) for _ in range(N_RANDOM))]
        for messages, tools_json, vision_ids in chats:
            last = messages[-1]
            if last["role"] != "assistant" or "tool_calls" in last or not last["content"] and last["content"] != "" or (
                    isinstance(last["content"], list) and "text" not in last["content"][-1]):
                continue
            try:
                rendered = tokenizer.apply_chat_template(
                    [for_reference(m) for m in messages], chat_template=templates[is_thinking], tokenize=False,
                    tools=json.loads(tools_json) if tools_json else None, continue_final_message=True,
                    add_vision_id=vision_ids)
            except ValueError:
                continue
            is_harmless = not any(a in t for a in added for m in messages for t in texts_of(m))
            yield {"thinking": is_thinking, "open": True, "vision_ids": vision_ids, "tools_json": tools_json,
                   "messages": messages, "text": rendered,
                   "ids": ids_of(tokenizer, rendered) if is_harmless else None}


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def main():
    is_check = "--check" in sys.argv
    data = pathlib.Path(os.environ.get("QVL_DATA", "../shared/data")) / "tokenizer"
    folder = os.environ.get("QVL_TEMPLATES")
    if not data.exists():
        return print(f"skipped: no {data}")
    tokenizer = AutoTokenizer.from_pretrained(data)
    if folder:
        templates = [(pathlib.Path(folder) / f"{name}.jinja").read_text() for name in ("instruct", "thinking")]
        assert hashlib.sha256(templates[0].encode()).hexdigest() == INSTRUCT_SHA256
        lines = list(make(templates, tokenizer))
        text = "".join(json.dumps(x, ensure_ascii=False, separators=(",", ":")) + "\n" for x in lines)
        print(f"{len(lines)} conversations, {sum(x['ids'] is not None for x in lines)} with ids, transformers "
              f"{transformers.__version__}, {len(text.encode())} bytes")
        if not is_check:
            OUT.write_text(text)
            return 0
        is_equal = OUT.read_text() == text
    elif is_check:
        print("QVL_TEMPLATES is not set: only ids are compared")
        lines = [json.loads(line) for line in OUT.read_text().split("\n") if line]
        is_equal = all(x["ids"] is None or ids_of(tokenizer, x["text"]) == x["ids"] for x in lines)
    else:
        sys.exit("QVL_TEMPLATES is not set")
    print("ok chat vectors equal" if is_equal else "not ok chat vectors differ")
    return not is_equal


if __name__ == "__main__":
    sys.exit(main())
