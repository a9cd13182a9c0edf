"""Training speed and memory beside PyTorch, by turns in one call.

    python distill/reference/train_speed.py --retort target/release/retort --shapes tiny smollm2-135m --repeats 3

Needs torch and transformers. PyTorch: bf16 autocast, sdpa, fused AdamW, clipping, not compiled; the same shapes, random
tokens, and as many threads as this program uses. Prints a line for each run and the ratios of medians.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

# vocabulary, width, feed-forward width, layers, heads, key-value heads, sequences, tokens of each
SHAPES = {
    "tiny": (4096, 256, 704, 8, 8, 2, 8, 256),
    "smollm2-135m": (49152, 576, 1536, 30, 9, 3, 2, 512),
    "qwen2.5-0.5b": (151936, 896, 4864, 24, 14, 2, 1, 1024),
}


def torch_run(shape: str, steps: int, threads: int) -> None:
    import resource

    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    vocabulary, width, inner, layers, heads, kv_heads, batch, length = SHAPES[shape]
    config = Qwen2Config(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads, tie_word_embeddings=True, max_position_embeddings=2048,
    )
    model = Qwen2ForCausalLM(config).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    tokens = torch.randint(0, vocabulary, (batch, length))
    seconds = []
    for _ in range(steps + 1):
        begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({
        "tokens_per_second": batch * length / statistics.median(seconds[1:]), "peak_resident_bytes": peak,
        "torch": torch.__version__, "threads": threads,
    }))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retort", default="target/release/retort")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["tiny", "smollm2-135m"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--torch", metavar="SHAPE", help="run PyTorch's side of this shape alone")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.torch:
        return torch_run(arguments.torch, arguments.steps, arguments.threads)
    steps = ["--steps", str(arguments.steps)]
    for shape in arguments.shapes:
        sides = {
            "retort": [arguments.retort, "bench", "train", "--shape", shape, *steps],
            "torch": [sys.executable, __file__, "--torch", shape, "--threads", str(arguments.threads), *steps],
        }
        found = {side: [] for side in sides}
        for _ in range(arguments.repeats):
            for side, command in sides.items():
                line = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                found[side].append(line)
                print(f"{shape} {side}: {line['tokens_per_second']:.0f} tokens/s, "
                      f"{line['peak_resident_bytes'] / 1e9:.2f} GB", flush=True)
        median = {side: {key: statistics.median(line[key] for line in lines)
                         for key in ("tokens_per_second", "peak_resident_bytes")} for side, lines in found.items()}
        ratio = {key: median["retort"][key] / median["torch"][key] for key in median["retort"]}
        print(f"{shape}: {ratio['tokens_per_second']:.2f}x the tokens/s, "
              f"{ratio['peak_resident_bytes']:.2f}x the memory", flush=True)


if __name__ == "__main__":
    main()
