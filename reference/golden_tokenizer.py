"""The golden models' small BPE: tests/golden/tokenizer.json.

256 byte tokens, 300 merges trained on the text below, and the 26 added tokens of the family with the flags and in the
form of the published tokenizer.json. Merges are written as two-element arrays, as newer tokenizers write them.

usage: golden_tokenizer.py OUT.json
"""
import json
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

N_MERGE = 300

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")

ADDED = [("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True), ("<|object_ref_start|>", True),
         ("<|object_ref_end|>", True), ("<|box_start|>", True), ("<|box_end|>", True), ("<|quad_start|>", True),
         ("<|quad_end|>", True), ("<|vision_start|>", True), ("<|vision_end|>", True), ("<|vision_pad|>", True),
         ("<|image_pad|>", True), ("<|video_pad|>", True), ("<tool_call>", False), ("</tool_call>", False),
         ("<|fim_prefix|>", False), ("<|fim_middle|>", False), ("<|fim_suffix|>", False), ("<|fim_pad|>", False),
         ("<|repo_name|>", False), ("<|file_sep|>", False), ("<tool_response>", False), ("</tool_response>", False),
         ("<think>", False), ("</think>", False)]

TEXT = """
system user assistant user assistant user assistant seconds seconds seconds
You are a helpful assistant that looks at pictures and says what is in them.
Describe this picture. What is in this picture? What is the difference between the first picture and the second one?
The picture shows a red square on the left, a blue circle in the middle and a green triangle on the right.
There is a table with three columns; the first column holds the names, the second one the prices, the third the dates.
The sign above the door says "open" and the clock on the wall says that it is ten past four in the afternoon.
Read the text in the picture and write it down line by line, without adding anything that is not there.
In the background there are mountains under a cloudy sky, and in front of them a small house with a garden.
Two people are walking with a dog along the river while a third person sits on a bench and reads a newspaper.
How many birds are there? I can see several birds on the water, but some of them are partly hidden by the plants.
The numbers on the screen are difficult to read, because the photograph was taken at an angle and the light is poor.
First look at the whole, then at the parts, and then at the whole again: that is how one reads a drawing.
It would have been better to take the photograph from further away; as it is, the edges of the building are missing.
""".strip()


def make():
    tokenizer = Tokenizer(models.BPE(fuse_unk=False, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(TEXT.split("\n"), trainers.BpeTrainer(
        vocab_size=len(alphabet) + N_MERGE, min_frequency=1, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=s) for t, s in ADDED])
    tree = json.loads(tokenizer.to_str())
    # The library leaves these three out of what it writes after training; the published file has them.
    tree["decoder"].update(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tree["model"].update(continuing_subword_prefix="", end_of_word_suffix="")
    assert len(tree["model"]["vocab"]) == 256 + N_MERGE and len(tree["model"]["merges"]) == N_MERGE
    return tree


def to_bytes(tree):
    """One line for each key of the file and of its model, so that a difference can be read."""
    model = tree["model"]
    dump = lambda x: json.dumps(x, ensure_ascii=False)
    lines = [f" {dump(k)}: {dump(v)}," for k, v in tree.items() if k != "model"]
    inner = [f"  {dump(k)}: {dump(v)}" for k, v in model.items()]
    return ("{\n" + "\n".join(lines) + '\n "model": {\n' + ",\n".join(inner) + "\n }\n}\n").encode()


if __name__ == "__main__":
    with open(sys.argv[1], "wb") as f:
        f.write(to_bytes(make()))
