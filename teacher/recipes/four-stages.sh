#!/usr/bin/env bash
# A reasoner in the stages of DeepSeek-R1 (arXiv 2501.12948), small: a base model from the gym; reward alone; rejection
# sampling from what came of it; and the base again, fine-tuned on the traces that are right, well formed and shortest.
#   teacher/recipes/four-stages.sh OUT          run it again to continue; RETORT names another binary
set -euo pipefail
out=${1:?"name a folder"}
recipes=$(dirname "$0")
retort=${RETORT:-retort}
problems=gym:arithmetic,modular@1-2
rewarded=gym:arithmetic,modular@2

has() { [ -f "$out/$1/model.safetensors" ]; }
score() {
    "$retort" evals run --model "$2" --benchmark $problems --limit 500 --seed 1 --set sampling.max_tokens=128 \
        --out "$out/scores/$1"
}

has base || "$retort" teacher train --recipe "$recipes/base.toml" --out "$out/base"
has rewarded || "$retort" distill run --student "$out/base" --problems $rewarded --limit 4800 --no-eval \
    --recipe "$recipes/../../distill/recipes/reward.toml" --set reward.weights.format=0.3 \
    --set asking.sampling.max_tokens=128 --out "$out/rewarded"
"$retort" datagen run --teacher "$out/rewarded" --problems $problems --limit 3000 -n 4 --seed 1 \
    --set sampling.temperature=0.7 --set sampling.max_tokens=128 \
    --set 'verify.all=["by_domain", { format = { thinking = true } }]' --out "$out/sampled"
[ -f "$out/best/manifest.json" ] || "$retort" datagen select "$out/sampled" --set per_problem.at_most=1 \
    --set 'per_problem.by="shortest"' --out "$out/best"
has tuned || "$retort" distill run --student "$out/base" --traces "$out/best" --no-eval \
    --recipe "$recipes/../../distill/recipes/sft.toml" --set epochs=3 --set learning_rate=1e-3 --out "$out/tuned"
for stage in base rewarded tuned; do score $stage "$out/$stage"; done
