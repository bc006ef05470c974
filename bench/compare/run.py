#!/usr/bin/env python3
"""qvl beside llama.cpp, transformers and OpenVINO GenAI: the same random weights, pictures and questions on the same
threads, in turn A B A B; medians of the ratios of each pair. bench/compare/README.md says how to use it.

usage: run.py PEERS [--qvl PROGRAM] [--ours NAME=OPTIONS]... [--peers A,B] [--rows A,B] [--pairs N] [--threads N]
              [--out DIR]

PEERS is what prepare.sh made. Every pair is written to OUT/samples.jsonl as it ends, so that the same command goes on
where it was cut off; OUT/report.md and OUT/report.json are made of it.
"""
import argparse
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import tempfile
import time

import programs
import report

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = ["prefill:128", "prefill:512", "decode:0", "decode:2048", "picture:512x512", "picture:1024x1024",
        "picture:1920x1080"]


def parse_row(text):
    kind, _, size = text.partition(":")
    try:
        if kind == "picture":
            width, height = map(int, size.split("x"))
            return kind, [width, height]
        if kind in ("prefill", "decode"):
            return kind, int(size)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text}: rows are prefill:TOKENS, decode:CONTEXT, picture:WIDTHxHEIGHT")


def parse_ours(text):
    name, equals, options = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f'{text}: expected NAME=OPTIONS, as in q4="-m DIR"')
    return name, shlex.split(options)


def parse_list(one):
    return lambda text: [one(part) for part in text.split(",")]


def parse_peer(text):
    if text not in programs.PEERS:
        raise argparse.ArgumentTypeError(f"{text}: peers are {', '.join(programs.PEERS)}")
    return text


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("folder", type=pathlib.Path, metavar="PEERS", help="what prepare.sh made")
    p.add_argument("--qvl", type=pathlib.Path, default=ROOT / "build/qvl", help="the program (build/qvl)")
    p.add_argument("--ours", type=parse_ours, action="append", metavar="NAME=OPTIONS",
                   help="a variant of qvl, repeatable: bf16, q8 or q4, perhaps with -MORE, and its options "
                        "(bf16='-m PEERS/model')")
    p.add_argument("--peers", type=parse_list(parse_peer), help="who meets each variant (those with as many bits)")
    p.add_argument("--rows", type=parse_list(parse_row), default=[parse_row(r) for r in ROWS], help=",".join(ROWS))
    p.add_argument("--pairs", type=int, default=9, help="pairs of runs a row (9)")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)),
                   help="of each program (the processors there are)")
    p.add_argument("--out", type=pathlib.Path, default=ROOT / "build/compare-out", help="folder (build/compare-out)")
    a = p.parse_args()
    a.folder = a.folder.resolve()
    a.ours = a.ours or [("bf16", ["-m", str(a.folder / "model")])]
    for name, _ in a.ours:
        if not a.peers and name.split("-")[0] not in programs.USUAL:
            p.error(f"--ours {name}: the name begins with {', '.join(programs.USUAL)}, or --peers says who meets it")
    if not a.folder.is_dir():
        p.error(f"{a.folder} is not there; bench/compare/prepare.sh makes it")
    return a


# ---- the machine ---------------------------------------------------------------------------------

def said_by(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def from_file(path, key):
    for line in pathlib.Path(path).read_text().splitlines():
        if line.split(":")[0].strip() == key:
            return line.partition(":")[2].strip()
    return ""


def describe(a):
    dirty = " and changes" if said_by(["git", "status", "--porcelain", "--untracked-files=no"]) else ""
    return {
        "commit": (said_by(["git", "log", "-1", "--format=%h %cs"]) or "unknown") + dirty,
        "processor": from_file("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": os.cpu_count(), "threads": a.threads, "memory": from_file("/proc/meminfo", "MemTotal"),
        "compiler": said_by(["cc", "--version"]).partition("\n")[0], "system": platform.platform(),
        "qvl": str(a.qvl), "qvl_time": int(a.qvl.stat().st_mtime),
    }


def processor_seconds():
    """Of all programs, and what the machine beneath took away (steal)."""
    ticks = os.sysconf("SC_CLK_TCK")
    n = [int(x) / ticks for x in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return n[0] + n[1] + n[2] + n[5] + n[6], n[7]


# ---- measuring -----------------------------------------------------------------------------------

class Samples:
    """OUT/samples.jsonl: a line that describes the machine, then a line a pair. The tree may move on (the commit), the
    program may not."""

    def __init__(self, folder, machine):
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.machine = folder / "samples.jsonl", machine
        lines = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
        differ = [k for k in machine if lines and k != "commit" and lines[0]["machine"].get(k) != machine[k]]
        if differ:
            raise programs.Failure(f"{self.path} holds runs with another {', '.join(differ)}; name another --out")
        self.list = lines[1:]
        self.file = self.path.open("a")
        if not lines:
            self.write({"machine": machine})

    def write(self, line):
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def add(self, sample):
        self.list.append(sample)
        self.write(sample)

    def n_pair(self, ours, peer, row):
        return len([s for s in self.list if (s["ours"], s["peer"], s["row"]) == (ours, peer, row) and "pair" in s])


def measure(program, row, seed, picture):
    """A run, and how many processors others had meanwhile."""
    others, steal = processor_seconds()
    start = time.monotonic()
    figures = program.measure(*row, seed, picture)
    wall_s = time.monotonic() - start
    after, steal_after = processor_seconds()
    return figures | {"others": max(0.0, (after - others - figures["cpu_s"]) / wall_s),
                      "steal": (steal_after - steal) / wall_s}


def measure_pair(qvl, peer, row, seed):
    with tempfile.TemporaryDirectory() as folder:
        picture = None
        if row[0] == "picture":
            picture = pathlib.Path(folder) / "picture.png"
            programs.write_picture(picture, *row[1], seed)
        peaks = qvl.peaks()
        return {"peaks": peaks, "qvl": measure(qvl, row, seed, picture), "other": measure(peer, row, seed, picture)}


def measure_row(qvl, peer, sample, n_pair, samples):
    """The pairs of a row that are still missing. A run that fails ends the row."""
    what = f"{sample['ours']} beside {sample['peer']}, {report.row_name(sample['row'])}"
    for i in range(samples.n_pair(sample["ours"], sample["peer"], sample["row"]), n_pair):
        print(f"{what}: pair {i + 1} of {n_pair}", file=sys.stderr, flush=True)
        try:
            pair = measure_pair(qvl, peer, sample["row"], int(time.time() * 1000) % (1 << 31))
        except programs.Failure as e:
            print(f"run.py: {what}: {e}", file=sys.stderr)
            samples.add(sample | {"failure": str(e)})
            return
        samples.add(sample | {"pair": i} | pair)


def compare(a, samples):
    for name, options in a.ours:
        qvl = programs.Qvl(a.qvl, options, a.threads)
        samples.machine.setdefault("variants", {})[name] = {
            "version": qvl.version, "options": shlex.join(options), "bytes": qvl.n_byte, "parameters": qvl.n_parameter}
        for peer_name in a.peers or programs.USUAL[name.split("-")[0]]:
            needs, open_peer = programs.PEERS[peer_name]
            if not (a.folder / needs).exists():
                print(f"run.py: {peer_name} is left out: {a.folder / needs} is not there", file=sys.stderr)
                continue
            try:
                peer = open_peer(a.folder, a.threads)
            except programs.Failure as e:
                print(f"run.py: {peer_name} is left out: {e}", file=sys.stderr)
                continue
            samples.machine.setdefault("peers", {})[peer_name] = {"version": peer.version, "bytes": peer.n_byte}
            try:
                for row in a.rows:
                    measure_row(qvl, peer, {"ours": name, "peer": peer_name, "row": list(row)}, a.pairs, samples)
            finally:
                peer.close()


def main():
    a = parse_arguments()
    samples = None
    try:
        if not os.access(a.qvl, os.X_OK):
            raise programs.Failure(f"{a.qvl} is no program; `make` builds it")
        machine = describe(a)
        samples = Samples(a.out, machine)
        samples.machine = dict(machine)
        compare(a, samples)
    except programs.Failure as e:
        sys.exit(f"run.py: {e}")
    except KeyboardInterrupt:
        sys.exit("run.py: stopped; the same command goes on from here")
    finally:
        if samples and samples.list:
            text = report.write(a.out, samples.machine, samples.list)
            print(text)


if __name__ == "__main__":
    main()
