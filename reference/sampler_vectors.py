"""Writes tests/unit/engine/sampler_vectors.h: what transformers' logits processors make of random logits.

usage: python sampler_vectors.py [--check]   (--check compares with the committed file and writes nothing)

Each case: logits, prompt and output ids, biases, settings, and the probabilities after logit bias, repetition penalty,
presence and frequency penalty (which transformers lacks: vLLM's formula), temperature, top-k, top-p, min-p, softmax.
"""

import itertools
import os
import re
import sys

import torch
import transformers
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/unit/engine/sampler_vectors.h")
N_VOCAB, N_PROMPT, N_OUTPUT, N_BIAS = 48, 6, 5, 3
NO_BIAS = [(i, 0.0) for i in range(N_BIAS)]
TEMPERATURES = (0.0, 0.7, 1.0)
CUTS = ((0, 1.0, 0.0), (20, 0.8, 0.0), (5, 1.0, 0.0), (0, 0.9, 0.0), (0, 1.0, 0.1), (12, 0.95, 0.05), (3, 0.1, 0.0))
PENALTIES = ((1.0, 0.0, 0.0), (1.3, 0.0, 0.0), (1.0, 1.5, 0.0), (1.1, 0.5, 0.25))


def expected(logits, prompt, output, bias, temperature, cut, penalty):
    """Probabilities, or with temperature 0 all mass on the best id."""
    top_k, top_p, min_p = cut
    repetition, presence, frequency = penalty
    ids = torch.tensor([prompt + output])
    x = logits.clone().unsqueeze(0)
    if bias != NO_BIAS:
        x = SequenceBiasLogitsProcessor([[[token], value] for token, value in bias])(ids, x)
    if repetition != 1.0:
        x = RepetitionPenaltyLogitsProcessor(repetition)(ids, x)
    for token in set(output):
        x[0, token] -= presence + frequency * output.count(token)
    if temperature == 0.0:
        p = torch.zeros_like(x[0])
        p[x[0].argmax()] = 1.0
        return p
    if temperature != 1.0:
        x = TemperatureLogitsWarper(temperature)(ids, x)
    if top_k:
        x = TopKLogitsWarper(top_k)(ids, x)
    if top_p < 1.0:
        x = TopPLogitsWarper(top_p)(ids, x)
    if min_p > 0.0:
        x = MinPLogitsWarper(min_p)(ids, x)
    return x[0].double().softmax(-1)


def numbers(values, form):
    return ", ".join(form % v for v in values)


def row(logits, prompt, output, bias, temperature, cut, penalty):
    p = expected(logits, prompt, output, bias, temperature, cut, penalty)
    return ["    {{%.9g, %d, %.9g, %.9g, %.9g, %.9g, %.9g, 0}," % (temperature, *cut, *penalty),
            "     {%s}," % numbers(prompt, "%d"), "     {%s}," % numbers(output, "%d"),
            "     {%s}," % numbers(bias, "{%d, %.9g}"),
            "     {%s}," % numbers(logits.tolist(), "%.9g"), "     {%s}}," % numbers(p.tolist(), "%.8g")]


def make():
    torch.manual_seed(20261122)
    lines = ["/* Made by reference/sampler_vectors.py with transformers %s, torch %s. */" % (
        transformers.__version__, torch.__version__.split("+")[0]),
        "static const struct sampler_case sampler_cases[] = {"]
    for i, (temperature, cut, penalty) in enumerate(itertools.product(TEMPERATURES, CUTS, PENALTIES)):
        if temperature == 0.0 and cut != CUTS[0]:
            continue
        logits = torch.randn(N_VOCAB) * 2.5
        if i % 3 == 0 and cut[1] == 1.0:  # ties; not where top-p would cut between them, in any order
            logits = (logits * 2).round() / 2
        prompt = torch.randint(0, N_VOCAB, (N_PROMPT,)).tolist()
        output = torch.randint(0, 12, (N_OUTPUT,)).tolist()
        lines += row(logits, prompt, output, NO_BIAS, temperature, cut, penalty)
    for temperature, cut, penalty in itertools.product(TEMPERATURES, CUTS[:3], PENALTIES):
        logits = torch.randn(N_VOCAB) * 2.5
        prompt = torch.randint(0, N_VOCAB, (N_PROMPT,)).tolist()
        output = torch.randint(0, 12, (N_OUTPUT,)).tolist()
        forbidden = logits.argmax().item()
        bias = [(forbidden, -100.0), ((forbidden + 1) % N_VOCAB, 2.5), (output[0] if output[0] != forbidden and
                output[0] != (forbidden + 1) % N_VOCAB else (forbidden + 2) % N_VOCAB, 1.75)]
        lines += row(logits, prompt, output, bias, temperature, cut, penalty)
    return "\n".join(lines + ["};", ""])


def is_same(a, b):
    """The same text but for roundings of another processor in the last digits."""
    number = re.compile(r"-?[0-9.]+(?:e-?[0-9]+)?")
    x, y = ([float(v) for v in number.findall(t.split("\n", 1)[1])] for t in (a, b))
    return number.sub("#", a.split("\n", 1)[1]) == number.sub("#", b.split("\n", 1)[1]) and all(
        abs(v - w) <= 1e-6 * max(1.0, abs(v)) for v, w in zip(x, y))


def main():
    text = make()
    if "--check" in sys.argv:
        with open(PATH) as f:
            same = is_same(text, f.read())
        print("%s sampler vectors" % ("ok" if same else "not ok"))
        sys.exit(0 if same else 1)
    with open(PATH, "w") as f:
        f.write(text)


if __name__ == "__main__":
    main()
