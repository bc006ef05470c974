"""Every example of the READMEs and of the pages below docs/ that is marked as sh, python or js, as it is written there, except for
the server's address: QVL_OPEN_URL, a server without a key."""
import os
import pathlib
import re
import subprocess
import sys

from check import ROOT, case, main

LIBRARIES = pathlib.Path(os.environ["QVL_CLIENTS"])  # node finds libraries from where a program is


def run(language, text):
    text = text.replace("http://127.0.0.1:8080", os.environ["QVL_OPEN_URL"])
    if language == "sh":
        command = ["bash", "-ec", text]
    elif language == "python":
        command = [sys.executable, "-c", text]
    else:
        program = LIBRARIES / "readme_example.mjs"
        program.write_text(text, encoding="utf-8")
        command = ["node", str(program)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and done.stdout.strip(), f"exit code {done.returncode}: {done.stdout} {done.stderr}"
    assert not re.search(r'"error": ?[{"]', done.stdout), done.stdout


for name in ("README.md", "README.zh-CN.md", "docs/server.md", "docs/computer-use.md"):
    page = (ROOT / name).read_text(encoding="utf-8")
    for found in re.finditer(r"^```(sh|python|js)\n(.*?)^```$", page, re.M | re.S):
        line = page.count("\n", 0, found.start()) + 1
        case(f"{name}, line {line} ({found[1]})")(lambda found=found: run(found[1], found[2]))

if __name__ == "__main__":
    main("examples")
