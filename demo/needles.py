#!/usr/bin/env python3
"""Does a model still find what was hidden in a long text?  Seven-digit numbers among the sentences of a novel.

    demo/needles.py make TEXT... -o DIR --bytes 125000     writes DIR/facts.json and for each number asked for DIR/PLACE.txt,
                                                           the text with one question
    demo/needles.py check DIR/facts.json PLACE ANSWER...   which answers hold that number? exit 1 if one does not

Prompts are in ChatML, the format of the Qwen models; `vattn-demo -g` answers them, and one state file (-s) serves all
questions about a text (docs/llama.cpp.md).
"""

import argparse
import json
import random
import re
import sys
from pathlib import Path

PLACES = ["lighthouse", "library", "harbour", "orchard", "market", "brewery", "caravan", "goldmine"]
QUESTION = "What is the special magic number of the {} in the text? Answer with the number."
ANSWER = "The special magic number of the {} is"  # begun: small models tend to go on with the novel


def numbers_of(places: list[str], rng: random.Random) -> dict[str, str]:
    """Seven digits each, the first one different: small models copy digit by digit, and slip to a number that begins alike."""
    first = rng.sample("123456789", len(places))
    return {place: digit + f"{rng.randrange(10**6):06}" for place, digit in zip(places, first)}


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
    numbers = numbers_of(PLACES[:args.hidden], rng)
    facts = [f"The special magic number of the {place} is {number}. " for place, number in numbers.items()]
    rng.shuffle(facts)
    asked = rng.sample(list(numbers), 4)
    body = "".join(hide(sentences, facts, rng)).strip()
    out = Path(args.output)
    out.mkdir(parents=True, exist_ok=True)
    for place in asked:
        (out / f"{place}.txt").write_text(
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
            "Some special magic numbers are hidden in the following text. Remember them; there will be a question about them.\n\n"
            f"{body}\n\n{QUESTION.format(place)}<|im_end|>\n<|im_start|>assistant\n{ANSWER.format(place)}", encoding="utf-8")
    (out / "facts.json").write_text(json.dumps({"asked": {place: numbers[place] for place in asked}, "all": numbers}, indent=1))
    print(f"{out}: {', '.join(asked)}")
    return 0


def check(args: argparse.Namespace) -> int:
    asked = json.loads(Path(args.facts).read_text())["asked"]
    if args.place not in asked:
        print(f"needles: {args.facts} asks for {', '.join(asked)}, not {args.place}", file=sys.stderr)
        return 2
    missing = 0
    for path in args.answers:
        answer = Path(path).read_text(encoding="utf-8", errors="replace")
        found = asked[args.place] in answer
        missing += not found
        print(f"{path}: " + ("found" if found else f"not found; it says {answer!r}"))
    return 1 if missing else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    p = verbs.add_parser("make", help="write the prompts")
    p.add_argument("texts", nargs="+", help="plain text files")
    p.add_argument("-o", "--output", required=True, metavar="DIR")
    p.add_argument("--bytes", type=int, default=125000, help="length of the text (default 125000, about 30,000 tokens)")
    p.add_argument("--hidden", type=int, default=4, choices=range(4, len(PLACES) + 1), help="numbers in the text, the four asked for included (default 4)")
    p.add_argument("--seed", type=int, default=1)
    p = verbs.add_parser("check", help="do the answers hold the number?")
    p.add_argument("facts", help="facts.json")
    p.add_argument("place", help="what was asked for")
    p.add_argument("answers", nargs="+")
    args = parser.parse_args()
    try:
        return make(args) if args.verb == "make" else check(args)
    except OSError as error:
        print(f"needles: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
