#!/usr/bin/env bash
# R1-Zero (arXiv 2501.12948) in miniature: a base model that has read solutions of mixed quality and seldom thinks learns
# from reward alone, 1 for a right answer and 0.3 for a closed thinking block, in three seeds. Pass@1, length and form
# against steps stand in OUT/reports/zero/0/report.html.
#   distill/recipes/zero.sh OUT          run it again to continue; RETORT names another binary
set -euo pipefail
out=${1:?"name a folder"}
recipes=$(dirname "$0")
retort=${RETORT:-retort}
problems=gym:arithmetic,modular@2
seeds=(${SEEDS:-0 1 2})

score() {
    "$retort" evals run --model "$2" --benchmark $problems --limit 500 --seed 1 --set sampling.max_tokens=128 \
        --out "$out/scores/$1"
}

[ -f "$out/base/model.safetensors" ] || "$retort" teacher train --recipe "$recipes/../../teacher/recipes/base.toml" \
    --out "$out/base"
for seed in "${seeds[@]}"; do
    [ -f "$out/zero/$seed/model.safetensors" ] || "$retort" distill run --student "$out/base" --problems $problems \
        --limit 4800 --no-eval --recipe "$recipes/reward.toml" --set seed=$seed --set reward.weights.format=0.3 \
        --set asking.sampling.max_tokens=128 --out "$out/zero/$seed"
done
score teacher embedded
score base "$out/base"
for seed in "${seeds[@]}"; do
    score zero/$seed "$out/zero/$seed"
    "$retort" evals compare --teacher "$out/scores/teacher" --base "$out/scores/base" --student "$out/scores/zero/$seed" \
        --curves "${seeds[@]/#/$out/zero/}" --out "$out/reports/zero/$seed" > /dev/null
done
python3 "$recipes/../reference/tables.py" zero "$out"
