#!/usr/bin/env python3
"""Does a model still find what was hidden in a long text?  Numbers among the sentences of a novel, four of them asked for.

    demo/needles.py make TEXT... -o PROMPT --bytes 125000     writes PROMPT and PROMPT.json (what was hidden, what is asked)
    demo/needles.py check PROMPT.json ANSWER...               prints which numbers each answer holds; exit 1 if one is missing

The prompt is in ChatML, the format of the Qwen models; `vattn-demo -g` answers it (docs/llama.cpp.md).
"""

import argparse
import json
import random
import re
import sys
from pathlib import Path

FACTS = [  # what is counted, and the sentence that hides it
    ("stones in the lighthouse of Lisbon", "The lighthouse of Lisbon was built of {} stones. "),
    ("books in the library of Nairobi", "The library of Nairobi holds {} books. "),
    ("ships in the harbour of Oslo", "The harbour of Oslo has seen {} ships. "),
    ("oranges in the orchards of Quito", "The orchards of Quito bear {} oranges. "),
    ("scarves in the market of Hanoi", "The market of Hanoi sold {} scarves of silk. "),
    ("barrels in the brewery of Dublin", "The brewery of Dublin filled {} barrels. "),
    ("sacks in the caravan of Tunis", "The caravan of Tunis carried {} sacks of salt. "),
    ("ounces from the mine of Perth", "The mine of Perth gave {} ounces of gold. "),
]


def hide(sentences: list[str], facts: list[str], rng: random.Random) -> list[str]:
    """One fact in each of len(facts) equal parts of the text, at a random sentence."""
    out, part = list(sentences), len(sentences) / len(facts)
    for i in reversed(range(len(facts))):
        out.insert(int(part * (i + 0.1 + 0.8 * rng.random())), facts[i])
    return out


def make(args: argparse.Namespace) -> int:
    rng = random.Random(args.seed)
    text = " ".join(" ".join(Path(p).read_text(encoding="utf-8", errors="replace").split()) for p in args.texts)
    if len(text) < args.bytes:
        print(f"needles: the texts hold {len(text)} characters, --bytes asks for {args.bytes}; name more texts", file=sys.stderr)
        return 2
    sentences = re.findall(r"[^.!?]+[.!?]+[\"”’]*\s*", text[: args.bytes])
    numbers = {thing: str(rng.randrange(10**6, 10**7)) for thing, _ in FACTS[:args.hidden]}
    facts = [sentence.format(numbers[thing]) for thing, sentence in FACTS[:args.hidden]]
    rng.shuffle(facts)
    asked = rng.sample(list(numbers), 4)
    body = "".join(hide(sentences, facts, rng)).strip()
    # The answer has begun as a list: a sentence like those in the text tempts small models to go on with the novel.
    question = f"By this text, how many are there: {'; '.join(asked)}? One line for each, with its number."
    Path(args.output).write_text(
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        "Some facts with numbers are hidden in the following text. Remember them; there will be a question.\n\n"
        f"{body}\n\n{question}<|im_end|>\n<|im_start|>assistant\n"
        f"By the text:\n- {asked[0]}:", encoding="utf-8")
    Path(args.output + ".json").write_text(json.dumps({"asked": {thing: numbers[thing] for thing in asked}, "all": numbers}, indent=1))
    return 0


def check(args: argparse.Namespace) -> int:
    asked = json.loads(Path(args.facts).read_text())["asked"]
    missing = 0
    for path in args.answers:
        answer = Path(path).read_text(encoding="utf-8", errors="replace")
        found = [thing for thing, number in asked.items() if number in answer]
        missing += len(asked) - len(found)
        print(f"{path}: {len(found)} of {len(asked)} numbers" + ("" if len(found) == len(asked) else f"; it says: {answer!r}"))
    return 1 if missing else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    p = verbs.add_parser("make", help="write a prompt")
    p.add_argument("texts", nargs="+", help="plain text files")
    p.add_argument("-o", "--output", required=True)
    p.add_argument("--bytes", type=int, default=125000, help="length of the text (default 125000, about 30,000 tokens)")
    p.add_argument("--hidden", type=int, default=4, choices=range(4, len(FACTS) + 1), help="numbers in the text, the four asked for included (default 4)")
    p.add_argument("--seed", type=int, default=1)
    p = verbs.add_parser("check", help="which numbers are in the answers?")
    p.add_argument("facts", help="PROMPT.json")
    p.add_argument("answers", nargs="+")
    args = parser.parse_args()
    try:
        return make(args) if args.verb == "make" else check(args)
    except OSError as error:
        print(f"needles: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
