"""What transformers (float32, greedy) says with demo/model to the questions of demo/questions.txt: the golden answers of
tests/e2e/test_demo.sh, which qvl must give whether they are true or not.

usage: demo_answers.py [--check]     writes (or compares) tests/golden/demo_answers.txt: files TAB question TAB answer
"""
import sys

import score_demo
from score_demo import ROOT

OUT = ROOT / "tests" / "golden" / "demo_answers.txt"


def main():
    lines = [line.split("\t")[:2] for line in (ROOT / "demo/questions.txt").read_text().splitlines()]
    samples = [{"row": names, "question": question, "files": [str(ROOT / "demo" / name) for name in names.split()]}
               for names, question in lines]
    answers, _ = score_demo.Transformers(str(ROOT / "demo/model")).ask_all(samples, "float32")
    text = "".join(f"{names}\t{question}\t{answer}\n" for (names, question), answer in zip(lines, answers))
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if OUT.read_text() == text else f"{OUT} differs; now it would be:\n{text}")
    OUT.write_text(text)


if __name__ == "__main__":
    main()
