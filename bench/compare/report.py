"""The samples of run.py as a table in Markdown and as JSON: medians, and medians and quartiles of the pairs' ratios."""
import json
import statistics

QUIET = 0.1  # processors that others may take before a run counts as disturbed

# What a run may bring, and its name in the table.
FIGURES = {
    "prefill_ms": "prefill",
    "decode_ms": "generation",
    "vision_ms": "vision",
    "first_token_ms": "first token",
    "peak_bytes": "resident memory",
}

NOTES = """\
- A ratio is the other program's time over qvl's, of two runs one after the other; the table has the median of the pairs
  and their quartiles. Nothing is discarded. Above 1, qvl is faster (of memory: uses less).
- Same weights (random; formats under "Files": vision is bf16 in transformers, bf16 or f16 in llama.cpp, and has 8-bit
  weights in OpenVINO), same picture files, same questions, same number of threads. A new picture and a new question in
  each pair.
- Prefill and generation: random tokens; `qvl bench` beside `llama-bench` (both in a new process and warm), generation as
  the median time of single tokens at that context. Keys and values: f16 in llama.cpp, bf16 in transformers, in qvl as its
  options say (bf16 where they say nothing).
- Pictures: `qvl run` beside `llama-mtmd-cli`, both in a new process, the model loaded; the first token counts from the
  picture's file on. llama.cpp has read its weights before its clock starts; qvl touches them for the first time in that
  run. Transformers and OpenVINO stay loaded, and are stopped while the other side runs.
- Programs cut pictures differently: where the numbers of tokens differ, so does the work. OpenVINO's vision includes
  cutting the picture up.
- Resident memory counts mapped weights; of programs that stay loaded it is the greatest since their start.
- Bits a weight: size of all files over the weights of the model (a tied head counts once).
"""


def row_name(row):
    kind, size = row
    if kind == "picture":
        return f"picture {size[0]}×{size[1]}"
    return f"prefill {size:,}" if kind == "prefill" else f"generation after {size:,}"


def figure_name(figure, row):
    kind, size = row
    if kind == "picture":
        return f"{FIGURES[figure]}, {size[0]}×{size[1]}"
    of = f"{size:,} tokens" if kind == "prefill" else f"after {size:,} positions"
    return f"{FIGURES[figure]}, {of}"


def as_text(figure, row, value):
    if figure == "prefill_ms":
        return f"{row[1] * 1e3 / value:.1f} tok/s"
    if figure == "decode_ms":
        return f"{1e3 / value:.2f} tok/s"
    if figure == "peak_bytes":
        return f"{value / 2**20:,.0f} MiB"
    return f"{value / 1e3:.2f} s"


def quartiles(values):
    if len(values) < 2:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def tokens(pairs, side):
    """Numbers of tokens of the picture and of the whole prompt; of all runs, should they differ."""
    def of(key):
        return "–".join(str(n) for n in sorted({p[side].get(key) for p in pairs} - {None}))
    return {"picture": of("picture_tokens"), "prompt": of("prompt_tokens")}


def summarise(samples):
    """One entry for each figure of each row of each couple of programs."""
    groups = {}
    for s in samples:
        if "pair" in s:
            groups.setdefault((s["ours"], s["peer"], json.dumps(s["row"])), []).append(s)
    entries = []
    for (ours, peer, row), pairs in groups.items():
        row = json.loads(row)
        for figure in FIGURES if row[0] == "picture" else [f"{row[0]}_ms"]:
            both = [(p["qvl"][figure], p["other"][figure]) for p in pairs
                    if p["qvl"].get(figure) and p["other"].get(figure)]
            if not both:
                continue
            low, middle, high = quartiles([b / a for a, b in both])
            entries.append({"ours": ours, "peer": peer, "row": row, "figure": figure, "pairs": len(both),
                            "qvl": statistics.median(a for a, _ in both),
                            "other": statistics.median(b for _, b in both),
                            "ratio": middle, "ratio_quartiles": [low, high],
                            "qvl_tokens": tokens(pairs, "qvl"), "other_tokens": tokens(pairs, "other")})
    return entries


def count_disturbed(samples):
    runs = [p[side] for p in samples if "pair" in p for side in ("qvl", "other")]
    return sum(r["others"] + r["steal"] > QUIET for r in runs), len(runs)


def machine_text(machine, samples):
    peaks = [s["peaks"] for s in samples if "pair" in s]
    lines = [f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads used, "
             f"{machine['memory']}; {machine['system']}; {machine['compiler']}; tree at commit {machine['commit']}.", ""]
    if peaks:
        unit = {"read": "GB/s"}
        parts = []
        for name in ("f32", "bf16", "int8", "amx_bf16", "amx_int8", "read"):
            values = [p[name] for p in peaks if name in p]
            if values:
                low, middle, high = quartiles(values)
                parts.append(f"{name} {middle:.0f} {unit.get(name, 'GMAC/s')} ({low:.0f} to {high:.0f})")
        lines += [f"Limits of the machine, measured before each pair (quartiles): {', '.join(parts)}.", ""]
    n_disturbed, n = count_disturbed(samples)
    took = f"other programs, or the host, took more than {QUIET:g} of a processor"
    if n_disturbed > n // 10:
        return lines + [f"**In {n_disturbed} of {n} runs {took}: these figures are of a busy machine and not for "
                        "SPEED.md.**", ""]
    return lines + [f"In {n_disturbed} of {n} runs {took}.", ""]


def token_text(entry):
    if entry["row"][0] != "picture":
        return ""
    a, b = entry["qvl_tokens"], entry["other_tokens"]
    return f"{a['picture']} of {a['prompt']} / {b['picture'] or '?'} of {b['prompt']}"


def comparison_text(ours, peer, machine, entries, failures):
    version = machine.get("peers", {}).get(peer, {}).get("version", "")
    lines = [f"### qvl {ours} beside {peer}", "", version, "",
             f"| | qvl {ours} | {peer} | ratio (quartiles) | pairs | picture tokens of prompt tokens |",
             "|---|---:|---:|---:|---:|---|"]
    for e in entries:
        low, high = e["ratio_quartiles"]
        lines.append(f"| {figure_name(e['figure'], e['row'])} | {as_text(e['figure'], e['row'], e['qvl'])} | "
                     f"{as_text(e['figure'], e['row'], e['other'])} | **{e['ratio']:.2f}** ({low:.2f}–{high:.2f}) | "
                     f"{e['pairs']} | {token_text(e)} |")
    lines += [f"| {row_name(f['row'])} | failed: {f['failure'].splitlines()[0]} | | | | |" for f in failures]
    return lines + [""]


def files_text(machine):
    variants, peers = machine.get("variants", {}), machine.get("peers", {})
    n_parameter = max((v["parameters"] for v in variants.values()), default=0)
    lines = ["### Files", "", "| | bytes | bits a weight | |", "|---|---:|---:|---|"]
    for name, v in [(f"qvl {n}", v) for n, v in variants.items()] + list(peers.items()):
        lines.append(f"| {name} | {v['bytes']:,} | {8 * v['bytes'] / n_parameter:.2f} | {v['version']} |")
    return lines + [""]


def write(folder, machine, samples):
    """OUT/report.md and OUT/report.json; returns the text."""
    entries = summarise(samples)
    lines = ["## qvl beside other programs", ""] + machine_text(machine, samples)
    done = {(s["ours"], s["peer"], json.dumps(s["row"])) for s in samples if "pair" in s}
    failed = {(s["ours"], s["peer"], json.dumps(s["row"])): s for s in samples if "failure" in s}
    failures = [s for key, s in failed.items() if key not in done]
    for ours, peer in dict.fromkeys((s["ours"], s["peer"]) for s in samples):
        lines += comparison_text(ours, peer, machine, [e for e in entries if (e["ours"], e["peer"]) == (ours, peer)],
                                 [f for f in failures if (f["ours"], f["peer"]) == (ours, peer)])
    lines += files_text(machine) + [NOTES]
    text = "\n".join(lines)
    (folder / "report.md").write_text(text)
    (folder / "report.json").write_text(json.dumps({"machine": machine, "results": entries, "failures": failures},
                                                   indent=1) + "\n")
    return text
