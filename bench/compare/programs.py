"""The programs that are compared: each does one task once and says how long it took.

A task is ("prefill", tokens), ("decode", positions of context) or ("picture", [width, height]). What comes back is a
dict of figures, not all of them from every program:

    prefill_ms             n prompt tokens, weights and buffers warm
    decode_ms              one token after so many positions: median of DECODE_TOKENS
    vision_ms              the vision tower on a picture
    first_token_ms         from the picture's file to the first token: vision, prompt, head
    prompt_tokens, picture_tokens
    peak_bytes             greatest resident memory of the process so far, mapped weights included
    cpu_s                  processor seconds it took, start and end included

qvl and llama.cpp are started anew each time, so nothing of an earlier run is known to them. transformers and OpenVINO
take long to load; they stay, and sleep (SIGSTOP) while the other side runs. Prompts and pictures differ in each run.
"""
import ctypes
import json
import os
import pathlib
import random
import re
import shlex
import signal
import statistics
import struct
import subprocess
import tempfile
import threading
import zlib

DECODE_TOKENS = 32
LIMIT_S = 1800  # of one run; a loaded machine takes minutes for the largest picture
HERE = pathlib.Path(__file__).resolve().parent
QUESTION = "What is shown in picture {}? Answer in a few words."


class Failure(Exception):
    """A sentence for the user."""


def write_picture(path, width, height, seed):
    """Random squares with fine noise, as a PNG: no two are alike, and nothing about them matters to the speed."""
    draw = random.Random(seed)
    rows = bytearray()
    block = 16
    for y in range(height):
        if y % block == 0:
            coarse = [draw.randbytes(3) for _ in range((width + block - 1) // block)]
            line = b"".join(colour * block for colour in coarse)[: 3 * width]
        noise = draw.randbytes(width)
        row = bytearray(line)
        row[::3] = bytes(a ^ (b & 7) for a, b in zip(row[::3], noise))
        rows += b"\0" + row

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(bytes(rows), 1)) + chunk(b"IEND", b""))


def question(seed):
    return QUESTION.format(10000 + seed % 90000)  # as many tokens each time: digits are tokens of their own


def run(command):
    """stdout and stderr of a command, the processor seconds it took, its greatest resident memory."""
    command = [str(part) for part in command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        timer = threading.Timer(LIMIT_S, child.kill)
        timer.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            raise
        finally:
            timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        text = []
        for file in (out, err):
            file.seek(0)
            text.append(file.read().decode(errors="replace"))
    if child.returncode != 0:
        tail = "\n    ".join((text[1] or text[0]).strip().splitlines()[-8:])
        raise Failure(f"{os.path.basename(command[0])} ended with {child.returncode}\n    {shlex.join(command)}"
                      f"\n    {tail}")
    return *text, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def found(pattern, text, what):
    """All numbers that the pattern's group has found in a program's log."""
    numbers = [float(n) for n in re.findall(pattern, text)]
    if not numbers:
        raise Failure(f"{what}: its output has no line like /{pattern}/")
    return numbers


class Qvl:
    """`qvl bench` for tokens, `qvl run` for pictures; options name the model, as in ["-m", "DIR"]."""

    def __init__(self, program, options, n_thread):
        self.command, self.options = [program], [*options, "-t", str(n_thread)]
        about = self.bench("peaks", 1)[0]
        self.version = f"qvl {about['version']}, level {about['isa']}, weights {about['weight_format']}"
        self.n_parameter, self.n_byte = about["parameters"], about["weight_bytes"]

    def bench(self, test, n_run):
        out, _, cpu_s, _ = run([*self.command, "bench", *self.options, "--tests", test, "--runs", str(n_run), "--json",
                                "-q"])
        return json.loads(out), cpu_s

    def peaks(self):
        """GMAC/s of each unit, GB/s of reading; how many threads of other programs wanted to run."""
        report, _ = self.bench("peaks", 3)
        return {r["test"]: r["gmac_per_s"] or r["gb_per_s"] for r in report["results"] if "left_out" not in r} | {
            "busy": report["busy_elsewhere"]}

    def measure(self, kind, size, seed, picture):
        if kind == "picture":
            return self.ask(picture, seed)
        report, cpu_s = self.bench(f"{kind}:{size}", DECODE_TOKENS if kind == "decode" else 1)
        result = report["results"][-1]
        if "left_out" in result:
            raise Failure(f"qvl bench: {result['left_out']}")
        return {f"{kind}_ms": result["median_ms"], "peak_bytes": result["peak_memory_bytes"], "cpu_s": cpu_s,
                "prompt_tokens": size if kind == "prefill" else None}

    def ask(self, picture, seed):
        out, _, cpu_s, peak = run([*self.command, "run", *self.options, "--json", "-q", "-n", "1", "--temp", "0",
                                   "--ignore-eos", "--image", picture, "-p", question(seed)])
        answer = json.loads(out)
        times, usage = answer["timings"], answer["usage"]
        return {"vision_ms": times["vision_ms"], "first_token_ms": times["first_token_ms"], "peak_bytes": peak,
                "prompt_tokens": usage["prompt_tokens"], "cpu_s": cpu_s,
                "picture_tokens": usage["prompt_tokens_details"]["image_tokens"]}

    def close(self):
        pass


def log_ms(log, pattern):
    """When llama.cpp wrote a line: minutes.seconds.milliseconds.microseconds stand before it."""
    stamps = re.findall(r"(\d+)\.(\d+)\.(\d+)\.(\d+) \w +" + f"(?:{pattern})", log)
    if not stamps:
        raise Failure(f"llama-mtmd-cli: its log has no line like /{pattern}/")
    minutes, seconds, milliseconds, microseconds = map(int, stamps[0])
    return minutes * 6e4 + seconds * 1e3 + milliseconds + microseconds / 1e3


class Llama:
    """llama-bench for tokens, llama-mtmd-cli for pictures, both with flash attention and their own warm-up.

    The first token of a picture is taken from the time stamps of the log: from the line before the picture is read to
    the line after the answer of one token. (Its "prompt eval time" contains the vision's, as it has begun to decode.)
    """

    def __init__(self, peers, text, vision, n_thread):
        source = peers / "llama.cpp"
        self.bin, self.options = source / "build" / "bin", ["-t", str(n_thread)]
        self.text, self.vision = peers / "gguf" / text, peers / "gguf" / vision
        commit = run(["git", "-C", source, "rev-parse", "--short", "HEAD"])[0].strip()
        self.version = f"llama.cpp {commit}, {text} and {vision}"
        self.n_byte = self.text.stat().st_size + self.vision.stat().st_size

    def measure(self, kind, size, seed, picture):
        if kind == "picture":
            return self.ask(picture, seed)
        # One token a run: the same statistic as qvl bench's.
        what = ["-p", str(size), "-n", "0", "-r", "1"] if kind == "prefill" else \
            ["-p", "0", "-n", "1", "-d", str(size), "-r", str(DECODE_TOKENS)]
        out, _, cpu_s, peak = run([self.bin / "llama-bench", "-m", self.text, *what, *self.options, "-fa", "1",
                                   "-o", "json"])
        return {f"{kind}_ms": statistics.median(json.loads(out)[0]["samples_ns"]) / 1e6, "peak_bytes": peak,
                "prompt_tokens": size if kind == "prefill" else None, "cpu_s": cpu_s}

    def ask(self, picture, seed):
        # Without -c it reserves keys and values for the whole context of 256k; the random checkpoint has no template.
        out, err, cpu_s, peak = run([self.bin / "llama-mtmd-cli", "-m", self.text, "--mmproj", self.vision, "--image",
                                     picture, "-p", question(seed), "-n", "1", "--temp", "0", "-c", "4096",
                                     "--chat-template", "chatml", *self.options, "-fa", "on", "-lv", "4",
                                     "--log-timestamps"])
        log = out + err
        first_token_ms = log_ms(log, r"llama_perf_context_print: +load time") - log_ms(log, "For normal use cases")
        return {"vision_ms": sum(found(r"batch encoding done in (\d+) ms", log, "llama-mtmd-cli")),
                "first_token_ms": first_token_ms, "peak_bytes": peak, "cpu_s": cpu_s,
                "prompt_tokens": int(found(r"prompt eval time = .*/ +(\d+) tokens", log, "llama-mtmd-cli")[-1]),
                "picture_tokens": int(sum(found(r"n_tokens_batch = (\d+)", log, "llama-mtmd-cli")))}

    def close(self):
        pass


def die_with_parent():
    """A stopped process would not notice that the one who started it was killed."""
    PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Worker:
    """A Python program that stays loaded: one JSON object a line in, one out; stopped while it has nothing to do."""

    def __init__(self, command, folder, what):
        self.what = what
        self.n_byte = sum(f.stat().st_size for f in folder.iterdir()
                          if f.suffix in (".bin", ".safetensors") and "tokenizer" not in f.name)
        self.child = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True, errors="replace", start_new_session=True, preexec_fn=die_with_parent)
        self.version = self.answer()["version"]
        self.child.send_signal(signal.SIGSTOP)

    def answer(self):
        line = self.child.stdout.readline()
        if not line:
            raise Failure(f"{self.what} ended with {self.child.wait()}; why stands above")
        answer = json.loads(line)
        if "error" in answer:
            raise Failure(f"{self.what}: {answer['error']}")
        return answer

    def measure(self, kind, size, seed, picture):
        task = {"kind": kind, "size": size, "seed": seed, "picture": str(picture), "question": question(seed)}
        self.child.send_signal(signal.SIGCONT)
        timer = threading.Timer(LIMIT_S, self.child.kill)
        timer.start()
        try:
            self.child.stdin.write(json.dumps(task) + "\n")
            self.child.stdin.flush()
            return self.answer()
        except BrokenPipeError:
            raise Failure(f"{self.what} has ended; why stands above") from None
        finally:
            timer.cancel()
            self.child.send_signal(signal.SIGSTOP)

    def close(self):
        self.child.kill()
        self.child.wait()


def transformers(peers, n_thread):
    return Worker([peers / "venv/bin/python", HERE / "transformers_worker.py", peers / "model", n_thread],
                  peers / "model", "transformers")


def openvino(peers, export, n_thread):
    folder = peers / "openvino" / export
    return Worker([peers / "openvino/venv/bin/python", HERE / "openvino_worker.py", folder, n_thread], folder,
                  "OpenVINO GenAI")


# name: (file or folder in PEERS without which it is not there, how to open it). The vision part beside quantised text
# is the one in f16, as published GGUF folders have it.
PEERS = {
    "llama-bf16": ("gguf/text-bf16.gguf", lambda p, n: Llama(p, "text-bf16.gguf", "mmproj-bf16.gguf", n)),
    "llama-f16": ("gguf/text-f16.gguf", lambda p, n: Llama(p, "text-f16.gguf", "mmproj-f16.gguf", n)),
    "llama-q8_0": ("gguf/text-q8_0.gguf", lambda p, n: Llama(p, "text-q8_0.gguf", "mmproj-f16.gguf", n)),
    "llama-q4_0": ("gguf/text-q4_0.gguf", lambda p, n: Llama(p, "text-q4_0.gguf", "mmproj-f16.gguf", n)),
    "llama-q4_k_m": ("gguf/text-q4_k_m.gguf", lambda p, n: Llama(p, "text-q4_k_m.gguf", "mmproj-f16.gguf", n)),
    "transformers": ("venv/bin/python", transformers),
    "openvino-int8": ("openvino/int8", lambda p, n: openvino(p, "int8", n)),
    "openvino-int4": ("openvino/int4", lambda p, n: openvino(p, "int4", n)),
}

# Which of them a variant of qvl meets where nothing is said: those with as many bits.
USUAL = {
    "bf16": ["llama-bf16", "llama-f16", "transformers"],
    "q8": ["llama-q8_0", "openvino-int8"],
    "q4": ["llama-q4_0", "llama-q4_k_m", "openvino-int4", "transformers"],
}
