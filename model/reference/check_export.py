"""Compares the logits of an exported folder, a model's or an adapter's, with those of `transformers` and PEFT from it.

    retort model logits DIR --tokens 1,2,3 --out DIR/logits.safetensors
    python check_export.py DIR --tokens 1,2,3 [--logits FILE] [--tolerance 1e-3] [--base MODEL]

The logits file holds `logits` f32 [t, v].
Exits with 1 when the largest difference exceeds the tolerance.
"""

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="exported model folder")
    parser.add_argument("--tokens", required=True, help="the token ids that the logits belong to")
    parser.add_argument("--logits", type=Path, help="default: FOLDER/logits.safetensors")
    parser.add_argument("--base", help="the folder is an adapter (needs peft) for the model in this one")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="largest accepted absolute difference")
    arguments = parser.parse_args()
    ours = load_file(arguments.logits or arguments.folder / "logits.safetensors")
    logits = ours["logits"].float().squeeze(0)
    tokens = torch.tensor([int(token) for token in arguments.tokens.split(",")])

    # Computing in f32 whatever the weights are stored in keeps rounding of activations out of the comparison.
    model, info = AutoModelForCausalLM.from_pretrained(
        arguments.base or arguments.folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[kind]:
            print(f"{kind}: {sorted(info[kind])}")
    if arguments.base:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, arguments.folder)
    with torch.no_grad():
        theirs = model.eval()(tokens[None], use_cache=False).logits[0]
    if logits.shape != theirs.shape:
        sys.exit(f"shapes differ: exported {tuple(logits.shape)}, transformers {tuple(theirs.shape)}")
    largest = (logits - theirs).abs().max().item()
    agreement = (logits.argmax(-1) == theirs.argmax(-1)).float().mean().item()
    print(f"{type(model).__name__}, {len(tokens)} tokens, logits std {theirs.std().item():.3f}")
    print(f"max abs difference {largest:.3e}, same argmax at {agreement:.1%} of positions")
    # `not <=` rather than `>`, so that NaN fails too.
    sys.exit(0 if largest <= arguments.tolerance and not info["missing_keys"] else 1)


if __name__ == "__main__":
    main()
