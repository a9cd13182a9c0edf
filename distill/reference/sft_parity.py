"""Fine-tuning beside PyTorch: the same checkpoint, traces, order and settings, the losses of the first steps.

    python distill/reference/sft_parity.py --retort target/release/retort

Needs torch and transformers. Both sides train the embedded base student and a fresh one of a preset's shape on traces of
the embedded teacher. PyTorch: f32, one document at a time, torch.optim.AdamW, clip_grad_norm_; its order of examples is
the rule of `distill/src/data.rs`, written again here, and every step must have as many tokens as `metrics.jsonl` says.
Prints each step's loss on both sides, and how far products in bf16 take each of them from there.
"""

import argparse
import itertools
import json
import math
import subprocess
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

SEED, PER_STEP, STEPS, RATE, WARMUP, DECAY, CLIP, BETAS = 7, 8, 20, 3e-4, 0.25, 0.1, 1.0, (0.9, 0.95)
LIMIT = 1e-3
M32, M64 = 2**32 - 1, 2**64 - 1


def chacha8(seed: int, stream: int):
    """The u64s of rand_chacha's `ChaCha8Rng::seed_from_u64(seed)` on stream `stream`."""
    key = []
    for _ in range(8):  # rand_core widens a small seed by PCG32
        seed = (seed * 6364136223846793005 + 11634580027462260723) & M64
        mixed, turn = (((seed >> 18) ^ seed) >> 27) & M32, seed >> 59
        key.append((mixed >> turn | mixed << (32 - turn)) & M32)
    for block in itertools.count():
        start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *key, block & M32, block >> 32, stream & M32, stream >> 32]
        x = start.copy()
        for _ in range(4):
            for a, b, c, d in [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                               (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]:
                for left, right, other, turn in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
                    x[left] = (x[left] + x[right]) & M32
                    x[other] ^= x[left]
                    x[other] = (x[other] << turn | x[other] >> (32 - turn)) & M32
        words = [(a + b) & M32 for a, b in zip(x, start)]
        yield from (low | high << 32 for low, high in zip(words[::2], words[1::2]))


def order(count: int, epoch: int) -> list[int]:
    """Fisher-Yates from the last place down."""
    numbers, places = chacha8(SEED, epoch), list(range(count))
    for last in range(count - 1, 0, -1):
        other = next(numbers) * (last + 1) >> 64
        places[last], places[other] = places[other], places[last]
    return places


def rate(step: int, warmup: int) -> float:
    if step < warmup:
        return RATE * (step + 1) / warmup
    return RATE * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup)))


def example(tokenizer, row: dict) -> tuple[list[int], int]:
    """The tokens of a trace in the student's template, and where the completion begins."""
    question = [{"role": "user", "content": row["problem"]}]
    prompt = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    opener = "" if prompt.rstrip().endswith("<think>") else "<think>\n"
    completion = f"{opener}{row['reasoning']}\n</think>\n\n{row['response']}"
    given, wanted = (tokenizer.encode(text, add_special_tokens=False) for text in (prompt, completion))
    return given + wanted + [tokenizer.eos_token_id], len(given)


def in_torch(folder: Path, examples: list[tuple[list[int], int]], rounds: bool) -> list[tuple[float, int]]:
    """Loss and tokens of each step; an example is its tokens and where the completion begins."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    parameters = list(model.parameters())
    groups = [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": DECAY},
              {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, eps=1e-8)
    epochs = itertools.chain.from_iterable(order(len(examples), epoch) for epoch in itertools.count())
    losses = []
    for step in range(STEPS):
        chosen = [examples[place] for place in itertools.islice(epochs, PER_STEP)]
        targets, total = sum(len(tokens) - begin for tokens, begin in chosen), 0.0
        for tokens, begin in chosen:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=rounds):
                logits = model(input_ids=torch.tensor([tokens])).logits[0, begin - 1:-1].float()
            wanted = torch.tensor(tokens[begin:])
            loss = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum") / targets
            loss.backward()
            total += loss.item()
        for group in optimiser.param_groups:
            group["lr"] = rate(step, int(STEPS * WARMUP))
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimiser.step()
        optimiser.zero_grad()
        losses.append((total, sum(len(tokens) for tokens, _ in chosen)))
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retort", default="target/release/retort")
    parser.add_argument("--preset", default="10m")
    arguments = parser.parse_args()
    here = Path(tempfile.mkdtemp())

    def retort(*words: object) -> None:
        subprocess.run([arguments.retort, *map(str, words)], check=True, capture_output=True)

    traces, rows = here / "traces", here / "traces.jsonl"
    retort("datagen", "run", "--teacher", "embedded", "--problems", "gym", "--limit", 110, "--out", traces)
    retort("datagen", "export", traces, "--format", "jsonl", "--out", rows)
    documents = [json.loads(line) for line in rows.read_text().splitlines()]
    assert PER_STEP * STEPS > len(documents), "the steps go beyond the first epoch"
    retort("model", "convert", "embedded-student", "--to", "f32", "--out", here / "embedded")
    retort("student", "init", "--preset", arguments.preset, "--vocabulary", "embedded", "--out", here / arguments.preset)

    def in_retort(name: str, precision: str) -> list[tuple[float, int]]:
        settings = {
            "seed": SEED, "per_step": PER_STEP, "epochs": STEPS * PER_STEP / len(documents), "learning_rate": RATE,
            "warmup_share": WARMUP, "decay": "cosine", "validation_share": 0, "precision": precision, "report_every": 1,
            "optimiser": f"{{ beta1 = {BETAS[0]}, beta2 = {BETAS[1]}, weight_decay = {DECAY}, max_grad_norm = {CLIP} }}",
        }
        out = here / f"{name}-{precision}"
        changes = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        retort("distill", "run", "--student", here / name, "--traces", traces, "--out", out, "--no-eval", *changes)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        read = [0] + [line["tokens"] for line in lines]
        return [(line["loss"], after - before) for line, before, after in zip(lines, read, read[1:])]

    for name in ("embedded", arguments.preset):
        tokenizer = AutoTokenizer.from_pretrained(here / name)
        examples = [example(tokenizer, row) for row in documents]
        ours, reference = in_retort(name, "f32"), in_torch(here / name, examples, False)
        rounded, autocast = in_retort(name, "bf16"), in_torch(here / name, examples, True)
        assert [tokens for _, tokens in ours] == [tokens for _, tokens in reference], "other examples"
        print(f"{name}: {len(examples)} traces, torch {torch.__version__}; beside torch in f32:")
        print("step tokens   retort    torch     difference  in bf16  torch's autocast")
        columns = zip(ours, reference, rounded, autocast, strict=True)
        for step, ((a, tokens), (b, _), (c, _), (d, _)) in enumerate(columns, 1):
            print(f"{step:4} {tokens:6} {a:9.6f} {b:9.6f} {abs(a - b):12.1e} {abs(c - b):9.1e} {abs(d - b):9.1e}")
        far = [max(abs(a - b) for (a, _), (b, _) in zip(side, reference)) for side in (ours, rounded, autocast)]
        print(f"{name}: at most {far[0]:.1e} apart in f32, {far[1]:.1e} in bf16, torch's autocast {far[2]:.1e}", flush=True)
        assert far[0] < LIMIT, f"more than {LIMIT} apart"


if __name__ == "__main__":
    main()
