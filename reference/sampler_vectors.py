"""Writes tests/unit/engine/sampler_vectors.h: what transformers' logits processors make of random logits.

usage: python sampler_vectors.py > ../tests/unit/engine/sampler_vectors.h

Each case: logits, prompt and output ids, settings, and the probabilities after repetition penalty, presence and
frequency penalty (which transformers lacks: vLLM's formula), temperature, top-k, top-p, min-p, softmax.
"""

import itertools

import torch
import transformers
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

N_VOCAB, N_PROMPT, N_OUTPUT = 48, 6, 5
TEMPERATURES = (0.0, 0.7, 1.0)
CUTS = ((0, 1.0, 0.0), (20, 0.8, 0.0), (5, 1.0, 0.0), (0, 0.9, 0.0), (0, 1.0, 0.1), (12, 0.95, 0.05), (3, 0.1, 0.0))
PENALTIES = ((1.0, 0.0, 0.0), (1.3, 0.0, 0.0), (1.0, 1.5, 0.0), (1.1, 0.5, 0.25))


def expected(logits, prompt, output, temperature, cut, penalty):
    """Probabilities, or with temperature 0 all mass on the best id."""
    top_k, top_p, min_p = cut
    repetition, presence, frequency = penalty
    ids = torch.tensor([prompt + output])
    x = logits.clone().unsqueeze(0)
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


def main():
    torch.manual_seed(20261122)
    print("/* Made by reference/sampler_vectors.py with transformers %s, torch %s. */" % (
        transformers.__version__, torch.__version__.split("+")[0]))
    print("static const struct sampler_case sampler_cases[] = {")
    for i, (temperature, cut, penalty) in enumerate(itertools.product(TEMPERATURES, CUTS, PENALTIES)):
        if temperature == 0.0 and cut != CUTS[0]:
            continue
        logits = torch.randn(N_VOCAB) * 2.5
        if i % 3 == 0 and cut[1] == 1.0:  # ties; not where top-p would cut between them, in any order
            logits = (logits * 2).round() / 2
        prompt = torch.randint(0, N_VOCAB, (N_PROMPT,)).tolist()
        output = torch.randint(0, 12, (N_OUTPUT,)).tolist()
        p = expected(logits, prompt, output, temperature, cut, penalty)
        print("    {{%.9g, %d, %.9g, %.9g, %.9g, %.9g, %.9g, 0}," % (temperature, *cut, *penalty))
        print("     {%s}," % numbers(prompt, "%d"))
        print("     {%s}," % numbers(output, "%d"))
        print("     {%s}," % numbers(logits.tolist(), "%.9g"))
        print("     {%s}}," % numbers(p.tolist(), "%.8g"))
    print("};")


if __name__ == "__main__":
    main()
