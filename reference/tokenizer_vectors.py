"""Writes tests/unit/text/data/: strings and their ids by the tokenizers library.

    python reference/tokenizer_vectors.py [--check]

--check writes elsewhere and compares. QVL_DATA (default ../shared/data) holds tokenizer/tokenizer.json, the family's
own, which is not in the repository; without it ids.jsonl is left as it is.
ids.jsonl: [text, ids, special] with that tokenizer.
nfc.jsonl: [text, what the library's NFC makes of it].
small_tokenizer.json, small_ids.jsonl: the same with a small BPE, so that something runs where that is absent.
special 1: the added tokens are recognised in the text; 0: the library was given the file without them.
"""
import filecmp
import json
import os
import pathlib
import random
import sys
import tempfile
import unicodedata

import tokenizers
from tokenizers import Tokenizer, normalizers

import golden_tokenizer

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/unit/text/data"
MAX_BYTES = 480_000

PLAIN = """Hello, world! It's a test; isn't it? I'LL say: they'Re here, we'd go, you've won.
The quick brown fox jumps over the lazy dog. 12,345.67 + 89 = ?
视觉语言模型可以理解图片和视频。请描述这张图片中的内容，并用中文回答！
第１２３章　全角字符ＡＢＣ，以及“引号”、《书名号》——破折号……
画像の中に何が見えますか？カタカナ、ひらがな、漢字。ﾊﾝｶｸ
이 사진에 무엇이 보입니까? 한국어 문장입니다.
Это предложение на русском языке; ещё ёлка. Україна, България, Ћирилица.
Αυτή είναι μια πρόταση στα ελληνικά. Ὀδυσσεύς ἄνδρα μοι ἔννεπε
هذه جملة باللغة العربية، مع بعض الأرقام ١٢٣٤٥. اَلْعَرَبِيَّةُ
זוהי משפט בעברית. שָׁלוֹם עוֹלָם
यह हिन्दी में एक वाक्य है। क्या आप इसे पढ़ सकते हैं? १२३
এটি একটি বাংলা বাক্য। இது ஒரு தமிழ் வாக்கியம். ఇది తెలుగు. ಕನ್ನಡ മലയാളം
นี่คือประโยคภาษาไทย ๑๒๓ ລາວ မြန်မာ ភាសាខ្មែរ བོད་སྐད
Đây là một câu tiếng Việt có nhiều dấu: ễ ộ ữ ằ ẫ.
Ünïcödé Änderung größer Straße façade naïve œuvre Škoda žluťoučký kůň þing ðæt ıİğ
ქართული ენა հայերեն ትግርኛ አማርኛ ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ ᚠᚢᚦ ⵜⴰⵎⴰⵣⵉⵖⵜ 𐌰𐌱𐌲 𒀀𒁀 𓀀𓁀 𝒜𝓫𝔠 𞤀𞤁
👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇨🇳 1️⃣ ☺️ ❤️‍🔥 🧑🏿‍🚀 ©️ ™ ↔️
∑_{i=0}^{n} x_i² ≤ ∫₀^∞ e^{-t} dt ≈ ½·¾ ⅔ Ⅷ ⅷ ① ⑩ ㈠ ㊉ ㍿ ﷺ
for (int i = 0; i < n; i++) {\t\tx[i] += foo(bar, 1.5e-3); /* ok */ }
def f(x: list[int]) -> None:\n    return [y**2 for y in x if y != 0]  # comment
<div class="a b" id='x'>&nbsp;</div>\r\n\t<p>text</p>\r\n\r\n
SELECT * FROM t WHERE a='b' AND c IN (1,2,3) -- hm
https://example.org/path/to?x=1&y=%20%C3%A9#frag user@host.example
{"key": [1, 2.5e-7, null, true], "ключ": "значение"}
$ ls -la ~/dir | grep -v x > out.txt && echo "done"
clip? <0.3 seconds>
Watch:<0.3 seconds> <11.7 seconds><0.3 seconds>
| a | b |\n|---|:-:|\n| **1** | `x` |\n\n> quote\n\n- [ ] item
\\begin{equation} \\frac{a}{b} \\end{equation}
A\u0301 e\u0301 o\u0308\u0304 s\u0323\u0307 q\u0307\u0323 \u1112\u1161\u11ab\u1100\u116e\u11a8 \u212b \u2126 \u0344 \u0374 \u1fef \u2000\u2001 \u00bd
\u0958\u09dc\u0a33 \u0f43 \ufb1d \ufb2e \u2adc \U0001d15e \U0001d1bb \uf900\ufa0e\U0002f800 \u0929 \u0928\u093c \u1b06 \u1b05\u1b35
\ufeffbom \u200bzwsp \u00adshy a\u00a0b a\u3000b a\u2028b a\u2029b a\u0085b a\u180eb a\u1680b \ufffd \u0000 \u0001\u001f\u007f
'\u017f a'\u017fx 'S 'T 'RE 'Ve 'lL 'D 'M 'x ' s ''s '' 'ss 's1 's's it's'll \u2019s \u02bcs '\u212a '\ufb06""".split("\n")

# Assigned after Unicode 9: their combining classes are not those of a normaliser of today.
LATE_MARKS = [0x7FD, 0x898, 0x8CA, 0x9FE, 0xC3C, 0xD3B, 0xEBA, 0x1ABF, 0x1AC1, 0x1DF6, 0xA82C, 0x10D24, 0x11935,
              0x11930]
SCRIPTS = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE00),
           (0xE00, 0x1200), (0x1100, 0x1200), (0x1200, 0x2000), (0x2000, 0x2C00), (0x2C00, 0x3100), (0x3100, 0x3400),
           (0x4E00, 0x4F00), (0xA000, 0xAC00), (0xAC00, 0xAD00), (0xF900, 0x10000), (0x10000, 0x11000),
           (0x11000, 0x12000), (0x16000, 0x18D00), (0x1B000, 0x1D000), (0x1D000, 0x1E000), (0x1E000, 0x1F000),
           (0x1F000, 0x1FB00), (0x20000, 0x20100), (0x30000, 0x30100), (0xE0000, 0xE0200), (0x10FF00, 0x110000)]
SPACES = [" ", "  ", "\n", "\t", "\r\n", "\u3000", "\u0085", "\u00a0", "   ", "\n\n"]


def runs():
    for unit in ["a", "A", "_", " ", "\n", "\t", "\r\n", " \n", "\n ", "7", "-", "=", "中", "\u0301", "\u0316\u0301", "é",
                 "ab", "👍", "\u3000", "ſ", "'s", "!?", "١", "\u1112\u1161\u11ab", "<", "."]:
        for n in (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 47, 48, 49, 64, 100):
            yield unit * n
        yield "x" + unit * 9 + "y"
        yield unit * 6 + " end"
    for unit in "a", " ", "\n", "7", "中", "\u0301", "=":
        yield unit * 700


def pieces(rnd):
    while True:
        low, high = rnd.choice(SCRIPTS)
        draw = [c for c in (rnd.randrange(low, high) for _ in range(rnd.randint(1, 8))) if not 0xD800 <= c < 0xE000]
        text = "".join(map(chr, draw))
        kind = rnd.random()
        if kind < 0.2:
            text += chr(rnd.choice(LATE_MARKS)) + "\u0301\u0316"
        elif kind < 0.4:
            text = unicodedata.normalize("NFD", text)
        elif kind < 0.6:
            text = rnd.choice(SPACES) + text + rnd.choice(SPACES)
        yield text


def texts():
    rnd = random.Random(2)
    yield ""
    for line in PLAIN:
        yield from (line, " " + line, line + "\n", unicodedata.normalize("NFD", line), line.upper(),
                    line.swapcase() + "  ")
        words = line.split(" ")
        yield from words[:12]
        yield "\n".join(words)
        yield "  ".join(words[::-1])
    yield from runs()
    source = pieces(rnd)
    for _ in range(900):
        yield "".join(next(source) for _ in range(rnd.randint(1, 4)))


def special_texts(added):
    for t in added:
        yield from (t, f"a{t}b", f" {t} ", t * 3, t[:-1], t[1:], t.upper(), f"{t}\n{t}", f"e{t}\u0301", f"<{t}>",
                    f"中{t}\n\n")
    yield ("<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe.<|im_end|>\n"
           "<|im_start|>assistant\n")
    yield "<|<|im_end|>|> <think>\n</think>\n\n<tool_call>\n{}\n</tool_call>"


def write(path, tree, max_text):
    """Lines of [text, ids, special]; a text without an added token gives the same ids both ways."""
    full = Tokenizer.from_str(json.dumps(tree))
    plain = Tokenizer.from_str(json.dumps({**tree, "added_tokens": []}))
    added = [t["content"] for t in tree["added_tokens"]]
    lines, seen = [], set()
    for text in texts():
        if text not in seen and len(seen) < max_text:
            seen.add(text)
            lines.append([text, plain.encode(text).ids, 0])
            assert any(t in text for t in added) or full.encode(text).ids == lines[-1][1]
    for text in special_texts(added):
        lines.append([text, full.encode(text).ids, 1])
        lines.append([text, plain.encode(text).ids, 0])
    with open(path, "w") as f:
        f.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    assert path.stat().st_size < MAX_BYTES, path.stat().st_size
    print(f"{path.name}: {len(lines)} strings, {path.stat().st_size} bytes, tokenizers {tokenizers.__version__}")


def write_nfc(path):
    """Every code point that NFC changes, each pair that Unicode composes, marks in any order."""
    nfc = normalizers.NFC().normalize_str
    scalars = [cp for cp in range(0x110000) if not 0xD800 <= cp < 0xE000]
    rnd = random.Random(4)
    marks = [chr(cp) for cp in scalars if unicodedata.combining(chr(cp))]
    lines = [[chr(cp), nfc(chr(cp))] for cp in scalars if nfc(chr(cp)) != chr(cp)]
    for cp in scalars:
        pair = unicodedata.decomposition(chr(cp)).split()
        if len(pair) == 2 and "<" not in pair[0]:
            text = "".join(chr(int(h, 16)) for h in pair)
            lines.append([text, nfc(text)])
    # Each mark beside one of every other class: a wrong class changes the order.
    for start in range(0, len(marks), 3):
        text = "".join(f"a\u0345{m}\u0301\u0316\u0327\u0334" for m in marks[start:start + 3])
        lines.append([text, nfc(text)])
    for _ in range(400):
        base = rnd.choice(["", "a", "E", "\u0915", "\u1100", "\uac00", "中", "\u00c5", "\u1ea5"])
        text = "".join(rnd.choice(marks + ["\u1161", "\u11a8"]) for _ in range(rnd.randint(1, 9)))
        text = "x" + base + text + "y"
        lines.append([text, nfc(text)])
    with open(path, "w") as f:
        f.writelines(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    print(f"{path.name}: {len(lines)} strings, {path.stat().st_size} bytes")


def write_all(out):
    data = pathlib.Path(os.environ.get("QVL_DATA", "../shared/data")) / "tokenizer/tokenizer.json"
    small = golden_tokenizer.make()
    (out / "small_tokenizer.json").write_bytes(golden_tokenizer.to_bytes(small))
    write_nfc(out / "nfc.jsonl")
    write(out / "small_ids.jsonl", small, 250)
    if data.exists():
        write(out / "ids.jsonl", json.loads(data.read_text()), 5000)
    else:
        print(f"skipped: no {data}")


def main():
    if "--check" not in sys.argv:
        OUT.mkdir(parents=True, exist_ok=True)
        return write_all(OUT)
    with tempfile.TemporaryDirectory() as folder:
        write_all(pathlib.Path(folder))
        differ = [f for f in os.listdir(folder) if not filecmp.cmp(OUT / f, pathlib.Path(folder) / f, shallow=False)]
        print(f"not ok {differ} differ" if differ else "ok tokenizer vectors equal")
        return len(differ)


if __name__ == "__main__":
    sys.exit(main())
