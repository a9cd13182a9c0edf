#!/usr/bin/env bash
# Which objective wins, at equal compute: the embedded base student learns from the embedded teacher, or from reward, in
# seven ways, three seeds each, of about 8 TFLOP each (its own way forward and back, what it writes, what the teacher is
# asked).
#   distill/recipes/which-objective.sh OUT          run it again to continue; RETORT names another binary
set -euo pipefail
out=${1:?"name a folder"}
recipes=$(dirname "$0")
retort=${RETORT:-retort}
problems=gym:arithmetic,modular@1-2
offline=3.16 first=2.1 then=0.71 on_policy=1.15 # epochs that take 8 TFLOP, the second and third together
reward=6000 then_reward=544                      # problems that take it by reward, the second after `first`

# The same 3,000 traces, once with the likeliest tokens of each place and once with draws.
traces() {
    "$retort" datagen run --teacher embedded --problems $problems --limit 3000 --set "$1" --out "$out/traces/$2"
}
# train RUN STUDENT TRACES RECIPE SETTING...: a finished run has its weights.
train() {
    local sets=("${@:5}")
    [ -f "$out/$1/model.safetensors" ] || "$retort" distill run --student "$2" --traces "$out/traces/$3" --no-eval \
        --recipe "$recipes/$4.toml" --out "$out/$1" "${sets[@]/#/--set=}" ${teacher:+--teacher "$teacher"}
}
# learn RUN STUDENT PROBLEMS SETTING...: the same by reward.
learn() {
    local sets=("${@:4}")
    [ -f "$out/$1/model.safetensors" ] || "$retort" distill run --student "$2" --problems $problems --limit "$3" --no-eval \
        --recipe "$recipes/reward.toml" --out "$out/$1" "${sets[@]/#/--set=}"
}
score() {
    "$retort" evals run --model "$2" --benchmark $problems --limit 500 --seed 1 --set sampling.max_tokens=256 \
        --out "$out/scores/$1"
}

traces capture.top_k=16 top-k
traces capture.draws=50 draws
score teacher embedded-teacher
score base embedded-student
for rate in 1e-4 3e-4 1e-3; do
    train control/$rate embedded top-k sft epochs=$offline target=answer learning_rate=$rate patience=2 \
        checkpoint_every=0
done
control=$(python3 "$recipes/../reference/tables.py" control "$out")
score control "$out/control/$control"
for seed in ${SEEDS:-0 1 2}; do
    train sft/$seed embedded top-k sft seed=$seed epochs=$offline
    train top-k/$seed embedded top-k top-k seed=$seed epochs=$offline
    train sampled/$seed embedded draws sampled seed=$seed epochs=$offline
    short=on_policy.sampling.max_tokens=80
    teacher=embedded train on-policy/$seed embedded top-k on-policy seed=$seed epochs=$on_policy $short
    train sft-first/$seed embedded top-k sft seed=$seed epochs=$first
    teacher=embedded train sft-then-on-policy/$seed "$out/sft-first/$seed" top-k on-policy seed=$seed epochs=$then $short
    short=asking.sampling.max_tokens=80
    learn reward/$seed embedded $reward seed=$seed $short
    learn sft-then-reward/$seed "$out/sft-first/$seed" $then_reward seed=$seed $short
    for objective in sft top-k sampled on-policy sft-then-on-policy reward sft-then-reward; do
        run=$objective/$seed
        score $run "$out/$run"
        "$retort" evals compare --teacher "$out/scores/teacher" --base "$out/scores/base" \
            --control "$out/scores/control" --student "$out/scores/$run" --curves "$out/$run" \
            --out "$out/reports/$run" > /dev/null
    done
done
python3 "$recipes/../reference/tables.py" objectives "$out"
