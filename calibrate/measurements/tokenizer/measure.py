"""Time of a Hugging Face tokenizer per prompt token, on one thread: the front end's part of TTFT that grows with the prompt.

    python3 -m venv venv && venv/bin/pip install tokenizers transformers tiktoken
    venv/bin/pip download llama-models==0.3.0 --no-deps && unzip llama_models-0.3.0-*.whl llama_models/llama3/tokenizer.model
    TOKENIZERS_PARALLELISM=false venv/bin/python measure.py llama_models/llama3/tokenizer.model README.md > results.json

The first argument is a vocabulary of ranks, the second a text whose prose is tokenised, repeated to the length. Other prompts are of
ids: consecutive ones, as `vllm bench serve` and InferenceX make them, and random ones.
"""

import json
import random
import statistics
import sys
import time

import tokenizers
from transformers.convert_slow_tokenizer import TikTokenConverter

# The pattern of Llama 3, from its published tokenizer.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
VOCABULARY = 128_000
LENGTHS = [128, 1_024, 4_096, 8_192, 32_768]
PROMPTS = 20


def main() -> None:
    tokenizer = TikTokenConverter(vocab_file=sys.argv[1], pattern=PATTERN).converted()
    prose = tokenizer.encode(open(sys.argv[2], encoding="utf-8").read()).ids
    draw = random.Random(1)
    kinds = {
        "prose": lambda n: (prose * (n // len(prose) + 1))[draw.randrange(max(1, len(prose) - n)) :][:n],
        "consecutive ids": lambda n: [(start + i) % VOCABULARY for start in [draw.randrange(VOCABULARY)] for i in range(n)],
        "random ids": lambda n: [draw.randrange(VOCABULARY) for _ in range(n)],
    }
    rows = []
    for kind, make in kinds.items():
        for length in LENGTHS:
            microseconds = []
            for _ in range(PROMPTS):
                text = tokenizer.decode(make(length))
                start = time.perf_counter()
                tokens = len(tokenizer.encode(text).ids)
                microseconds.append((time.perf_counter() - start) * 1e6 / tokens)
            cut = statistics.quantiles(microseconds, n=10)
            rows.append(
                {"prompt": kind, "tokens": length, "us_per_token": {"p10": round(cut[0], 2), "p50": round(statistics.median(microseconds), 2)}}
            )
    json.dump({"tokenizers": tokenizers.__version__, "prompts": PROMPTS, "rows": rows}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
