"""OpenVINO GenAI, for bench/compare/run.py (programs.Worker).

Prompts are digits drawn anew, each a token of its own, so that the count is exact and no prefix is known (the pipeline
caches prefixes). Its time for a picture includes cutting it into patches.

usage: openvino_worker.py EXPORT THREADS
"""
import random
import statistics
import sys

import numpy
import openvino
import openvino_genai
from PIL import Image

from programs import DECODE_TOKENS
from worker import serve

# The random checkpoint has no chat template, so the text is put into it here.
TEMPLATE = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
TEMPLATE_TOKENS = 8  # <|im_start|> user \n … <|im_end|> \n <|im_start|> assistant \n


class Bench:
    def __init__(self, folder, n_thread):
        self.pipe = openvino_genai.VLMPipeline(folder, "CPU", INFERENCE_NUM_THREADS=n_thread)
        self.generate("Hello", 2)

    def generate(self, prompt, n_token, images=()):
        config = openvino_genai.GenerationConfig(max_new_tokens=n_token, ignore_eos=True, do_sample=False,
                                                 apply_chat_template=False)
        return self.pipe.generate(TEMPLATE.format(prompt), images=list(images), generation_config=config).perf_metrics

    def digits(self, n, seed, n_token):
        draw = random.Random(seed)
        return self.generate("".join(draw.choices("0123456789", k=max(1, n - TEMPLATE_TOKENS))), n_token)

    def do(self, task):
        kind, size, seed = task["kind"], task["size"], task["seed"]
        if kind == "prefill":
            metrics = self.digits(size, seed, 1)
            return {"prefill_ms": metrics.get_ttft().mean, "prompt_tokens": metrics.get_num_input_tokens()}
        if kind == "decode":
            metrics = self.digits(size, seed, DECODE_TOKENS + 1)
            durations = list(metrics.raw_metrics.m_durations)[-DECODE_TOKENS:]  # microseconds a token
            return {"decode_ms": statistics.median(durations) / 1e3}
        with Image.open(task["picture"]) as picture:
            pixels = numpy.asarray(picture.convert("RGB"))
        metrics = self.generate("<ov_genai_image_0>" + task["question"], 1, [openvino.Tensor(pixels[None])])
        return {"vision_ms": metrics.get_prepare_embeddings_duration().mean,
                "first_token_ms": metrics.get_ttft().mean, "prompt_tokens": metrics.get_num_input_tokens()}


def open_bench():
    bench = Bench(sys.argv[1], int(sys.argv[2]))
    return f"OpenVINO GenAI {openvino_genai.get_version()}", bench.do


if __name__ == "__main__":
    serve(open_bench)
