"""transformers in bf16, for bench/compare/run.py (programs.Worker).

usage: transformers_worker.py MODEL THREADS
"""
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "reference"))
import hf  # noqa: E402,F401  (before transformers)
import torch  # noqa: E402
import transformers  # noqa: E402
from PIL import Image  # noqa: E402

from programs import DECODE_TOKENS  # noqa: E402
from worker import serve, timed  # noqa: E402


class Bench:
    def __init__(self, folder):
        self.model = transformers.Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.cache = {}  # positions: a cache filled so far
        self.prefill(32, 0)

    def ids(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 150000, (1, n), generator=generator)

    def prefill(self, n, seed):
        ids = self.ids(n, seed)
        out, ms = timed(lambda: self.model(input_ids=ids, logits_to_keep=1, use_cache=True))
        return {"prefill_ms": ms, "prompt_tokens": n}, out.past_key_values

    def decode(self, n, seed):
        """Tokens after n positions. The cache is filled once, and each token is cut off again."""
        if n not in self.cache:
            self.cache[n] = self.prefill(n, 1)[1] if n > 0 else transformers.DynamicCache(config=self.model.config)
        cache, times = self.cache[n], []
        for token in self.ids(DECODE_TOKENS, seed)[0]:
            at = torch.tensor([[n]])
            times.append(timed(lambda: self.model(input_ids=token.view(1, 1), past_key_values=cache, use_cache=True,
                                                  position_ids=at.expand(3, 1, 1), logits_to_keep=1))[1])
            if n > 0:
                cache.crop(-1)
            else:
                cache = transformers.DynamicCache(config=self.model.config)
        return {"decode_ms": statistics.median(times)}

    def picture(self, path, question):
        """The tower by itself, then the whole from the file to the first token."""
        def prepare():
            with Image.open(path) as picture:
                seen = self.processor(images=[picture.convert("RGB")], return_tensors="pt")
            n = int(seen["image_grid_thw"].prod()) // self.processor.merge_size ** 2
            text = ("<|im_start|>user\n<|vision_start|>" + "<|image_pad|>" * n + "<|vision_end|>" + question
                    + "<|im_end|>\n<|im_start|>assistant\n")
            ids = self.tokenizer(text, return_tensors="pt").input_ids
            return ids, seen["pixel_values"].to(torch.bfloat16), seen["image_grid_thw"], n

        def answer():
            ids, pixels, grid, _ = prepare()
            kinds = (ids == self.model.config.image_token_id).to(torch.int32)
            return self.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels,
                                       image_grid_thw=grid, mm_token_type_ids=kinds, max_new_tokens=1, do_sample=False)

        ids, pixels, grid, n = prepare()
        _, vision_ms = timed(lambda: self.model.model.visual(pixels, grid_thw=grid))
        _, first_token_ms = timed(answer)
        return {"vision_ms": vision_ms, "first_token_ms": first_token_ms, "prompt_tokens": ids.shape[1],
                "picture_tokens": n}

    def do(self, task):
        if task["kind"] == "prefill":
            return self.prefill(task["size"], task["seed"])[0]
        if task["kind"] == "decode":
            return self.decode(task["size"], task["seed"])
        return self.picture(task["picture"], task["question"])


def open_bench():
    torch.set_num_threads(int(sys.argv[2]))
    bench = Bench(sys.argv[1])
    return f"transformers {transformers.__version__}, PyTorch {torch.__version__}", bench.do


if __name__ == "__main__":
    serve(open_bench)
