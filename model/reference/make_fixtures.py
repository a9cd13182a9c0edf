"""Makes the parity fixtures: tiny random models with the values that `transformers` and `torch` compute for them.

    python make_fixtures.py [--out DIR]          (needs torch, transformers >= 5, safetensors)

Each model folder holds

    config.json             the published spelling (`rope_theta`, `rope_scaling.type`, `torch_dtype`)
    config.v5.json          the same configuration as transformers 5 writes it
    model.safetensors       f32 weights under the published tensor names (one tensor per expert and projection)
    expected.safetensors    input_ids i64 [2, t], logits f32 [2, t, v], greedy i64 [64] (continues row 0's first 8 ids)
    fixture.json            what was measured: standard deviations, routing margins, noise between attention kernels

Random weights are scaled so that logits and pre-softmax attention scores spread by at least 1, and norm weights differ
from 1: with near-zero scores a wrong scale, rotation or mask would go unseen. Seeds are chosen so that no routing
decision and no greedy step is a near tie.
"""

import argparse
import json
import platform
from pathlib import Path
from unittest import mock

import safetensors
import safetensors.torch
import tokenizers
import torch
import transformers
from transformers.cache_utils import MtpCache
from transformers.modeling_layers import MtpModel
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as deepseek_v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek
from transformers.models.llama import modeling_llama as llama
from transformers.models.qwen2 import modeling_qwen2 as qwen2
from transformers.models.qwen3 import modeling_qwen3 as qwen3

from measure import (
    GREEDY_IDS,
    check_save_pretrained,
    greedy_continuation,
    load,
    recorded_attention_scores,
    recorded_routing,
    routing_report,
)
from tiny_checkpoints import DEEPSEEK_V2, DEEPSEEK_V3, LLAMA, LLAMA3, QWEN2, QWEN3, SMOLLM2, random_tensors

PROMPT_IDS = 8
V2_YARN = {
    "beta_fast": 4, "beta_slow": 1, "factor": 8, "mscale": 0.707, "mscale_all_dim": 0.707,
    "original_max_position_embeddings": 32, "type": "yarn",
}  # fmt: skip
FIRST_SEED, ADAMW_SEED = 100, 61


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def save_tensors(path, tensors):
    safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})


def make_model_fixture(folder, config, modeling, seed, length, **router):
    """Writes one model folder and returns the loaded model, its tensors, expected values and measurements."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = random_tensors(config, seed, **router)
    save_tensors(folder / "model.safetensors", tensors)
    write_json(folder / "config.json", config)
    check_save_pretrained(folder, tensors)
    model = load(folder)

    ids = torch.randint(2, config["vocab_size"], (2, length), generator=torch.Generator().manual_seed(seed + 1))
    with recorded_attention_scores(modeling) as score_stds, recorded_routing(model) as routing:
        logits = model(ids, use_cache=False).logits
    with recorded_routing(model) as greedy_routing:
        greedy, greedy_margin = greedy_continuation(model, ids[0, :PROMPT_IDS])
    facts = {
        "seed": seed,
        "greedy_distinct_ids": len(greedy.unique()),
        "logits_std": round(logits.std().item(), 4),
        "attn_score_std": score_stds,
        "greedy_smallest_margin": greedy_margin,
        "max_abs_difference_eager_sdpa": (load(folder, "sdpa")(ids).logits - logits).abs().max().item(),
    }
    if routing:
        facts["routing"] = routing_report(routing)
        facts["greedy_routing"] = routing_report(greedy_routing)
    return model, tensors, {"input_ids": ids, "logits": logits, "greedy": greedy}, facts


def with_first_good_seed(make, folder):
    """The first seed for which `make` holds all its promises: nothing near a tie, everything well spread."""
    for seed in range(FIRST_SEED, FIRST_SEED + 1000):
        try:
            return make(folder, seed)
        except AssertionError as reason:
            print(f"{folder.name}: not seed {seed}: {str(reason)[:100]}")
    raise SystemExit(f"{folder}: no seed will do")


def finish(folder, expected, facts):
    """Checks the promises made at the top, that the folder reloads to equal logits, and writes the last two files."""
    assert facts["logits_std"] >= 1 and min(facts["attn_score_std"]) >= 1, facts
    assert facts["greedy_smallest_margin"] > 1.5e-2, facts
    assert facts["greedy_distinct_ids"] >= 8, facts
    for routing in [value for name, value in facts.items() if name.endswith("routing")]:
        assert routing["changed_without_bias"] > 0 or "v2" in folder.name, facts
        assert min(routing["smallest_expert_margin"], routing["smallest_group_margin"] or 1.0) > 3e-4, facts
    assert torch.equal(load(folder)(expected["input_ids"], use_cache=False).logits, expected["logits"])
    save_tensors(folder / "expected.safetensors", expected)
    write_json(folder / "fixture.json", facts)
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert size < 300_000, f"{folder}: {size} bytes"
    print(f"{folder}: {size} bytes\n{json.dumps(facts, indent=2)}")


def make_v3(folder, seed):
    """Low-rank queries, one of two expert groups; every biased score is negative, so masking with 0 picks wrongly."""
    model, _, expected, facts = make_model_fixture(folder, DEEPSEEK_V3, deepseek, seed, 32, router_bias=(-1.8, -1.05))
    assert facts["routing"]["largest_biased_score"] < 0 and facts["routing"]["changed_by_mask_zero"] > 0
    finish(folder, expected, facts)


def make_v3_yarn(folder, seed):
    """YaRN past the original length with unequal mscales and a ramp that starts above 0; no low-rank queries."""
    yarn = {
        "beta_fast": 2, "beta_slow": 1, "factor": 8, "mscale": 0.707, "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 32, "type": "yarn",
    }  # fmt: skip
    config = DEEPSEEK_V3 | {
        "n_group": 4, "topk_group": 2, "n_shared_experts": 2, "q_lora_rank": None, "qk_rope_head_dim": 16,
        "rope_scaling": yarn, "rope_theta": 50, "routed_scaling_factor": 1.75,
    }  # fmt: skip
    model, _, expected, facts = make_model_fixture(folder, config, deepseek, seed, 40)
    rotary = model.model.rotary_emb
    facts["yarn"] = {
        "inv_freq": rotary.inv_freq.tolist(),
        "cos_sin_factor": rotary.attention_scaling,
        "softmax_scale": model.model.layers[0].self_attn.scaling,
    }
    finish(folder, expected, facts)


def make_v3_mtp(folder, seed):
    """One MTP module, run by transformers' own `MtpModel`, and once more assembled by hand from a decoder layer.

    Row i of `mtp_logits` [2, t-1, v] joins h_i, the main model's hidden state after its final norm (what transformers
    feeds), with the embedding of t_{i+1}, and predicts t_{i+2}; `mtp_logits_pre_norm` takes h_i before the final norm.
    """
    config = DEEPSEEK_V3 | {
        "hidden_size": 28, "n_group": 1, "num_attention_heads": 3, "num_experts_per_tok": 2, "num_hidden_layers": 2,
        "num_key_value_heads": 3, "num_nextn_predict_layers": 1, "topk_group": 1,
    }  # fmt: skip
    model, tensors, expected, facts = make_model_fixture(folder, config, deepseek, seed, 24)
    ids, last = expected["input_ids"], config["num_hidden_layers"]
    captured = {}
    hook = model.model.norm.register_forward_hook(lambda _, args, output: captured.update(before=args[0], after=output))
    model(ids, use_cache=False)
    hook.remove()

    # transformers looks for layer 61; the same class attribute tells it where a smaller model keeps the module.
    model._keys_to_ignore_on_load_unexpected = [rf"model\.layers\.{last}\..*"]
    mtp = MtpModel.from_pretrained(model).eval()
    mtp.set_experts_implementation("eager")

    def mtp_logits(hidden):
        # Row i stands at the position of t_{i+1}, as in transformers' generate().
        positions = torch.arange(1, ids.shape[1])[None]
        cache = MtpCache(config=model.config.get_mtp_config())
        return mtp._project_to_logits(mtp.forward_layer(0, hidden[:, :-1], positions, cache, input_ids=ids[:, 1:]))

    with recorded_attention_scores(deepseek) as score_stds, recorded_routing(mtp) as routing:
        expected["mtp_logits"] = mtp_logits(captured["after"])
        expected["mtp_logits_pre_norm"] = mtp_logits(captured["before"])
    facts["attn_score_std"] += score_stds[:1]
    facts["mtp_logits_std"] = round(expected["mtp_logits"].std().item(), 4)
    facts["mtp_routing"] = routing_report(routing)
    by_hand = mtp_by_hand(model, tensors, ids, captured["after"])
    facts["mtp_max_abs_difference_by_hand_positions_from_0"] = (by_hand - expected["mtp_logits"]).abs().max().item()
    facts["mtp_std_of_pre_norm_difference"] = (expected["mtp_logits_pre_norm"] - expected["mtp_logits"]).std().item()
    assert facts["mtp_max_abs_difference_by_hand_positions_from_0"] < 1e-3, facts
    check_mtp_inputs_of_generate(model, expected)
    finish(folder, expected, facts)


def mtp_by_hand(model, tensors, ids, hidden):
    """head(shared_head.norm(layer(eh_proj([enorm(embed(t_{i+1})), hnorm(h_i)])))), positions from 0 instead of 1."""
    last = model.config.num_hidden_layers
    own = {
        name.removeprefix(f"model.layers.{last}."): t
        for name, t in tensors.items()
        if name.startswith(f"model.layers.{last}.")
    }
    layer = deepseek.DeepseekV3DecoderLayer(model.config, last).eval()
    state = {name: tensor for name, tensor in own.items() if name in layer.state_dict()}
    experts = [
        [own[f"mlp.experts.{e}.{p}_proj.weight"] for p in ("gate", "up", "down")]
        for e in range(model.config.n_routed_experts)
    ]
    state["mlp.experts.gate_up_proj"] = torch.stack([torch.cat([gate, up]) for gate, up, _ in experts])
    state["mlp.experts.down_proj"] = torch.stack([down for _, _, down in experts])
    layer.load_state_dict(state)

    def norm(name, x):
        return own[name] * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + model.config.rms_norm_eps)

    embedded = own["embed_tokens.weight"][ids[:, 1:]]
    joined = torch.cat([norm("enorm.weight", embedded), norm("hnorm.weight", hidden[:, :-1])], dim=-1)
    x, count = joined @ own["eh_proj.weight"].T, ids.shape[1] - 1
    mask = torch.full((count, count), float("-inf")).triu(1)[None, None]
    x = layer(x, attention_mask=mask, position_embeddings=model.model.rotary_emb(x, torch.arange(count)[None]))
    return norm("shared_head.norm.weight", x) @ own["shared_head.head.weight"].T


def check_mtp_inputs_of_generate(model, expected):
    """`generate(use_mtp=True)` feeds the MTP layer what `make_v3_mtp` feeds it, and greedy ids stay the same."""
    first, original = {}, MtpModel.forward_layer

    def record(self, layer, hidden, positions, cache, input_ids=None, **kwargs):
        output = original(self, layer, hidden, positions, cache, input_ids=input_ids, **kwargs)
        first.setdefault("call", (hidden, positions, input_ids, self._project_to_logits(output)))
        return output

    prompt = expected["input_ids"][:1, :PROMPT_IDS]
    with mock.patch.object(MtpModel, "forward_layer", record):
        options = {"max_new_tokens": GREEDY_IDS, "do_sample": False, "eos_token_id": None}
        continued = model.generate(prompt, use_mtp=True, **options)[0, PROMPT_IDS:]
    assert torch.equal(continued, expected["greedy"])
    hidden, positions, input_ids, logits = first["call"]
    post_norm = model.model(prompt, use_cache=False).last_hidden_state
    assert torch.allclose(hidden, post_norm, atol=1e-5), "generate() feeds another hidden state"
    assert positions.tolist() == [list(range(1, PROMPT_IDS + 1))]
    assert torch.equal(input_ids[0], torch.cat([prompt[0, 1:], expected["greedy"][:1]]))
    assert torch.allclose(logits[0, :-1], expected["mtp_logits"][0, : PROMPT_IDS - 1], atol=1e-4)


def make_v2(folder, seed):
    """Softmax scores, groups ranked by their best expert, weights scaled and not normalised, YaRN with equal mscales."""
    config = DEEPSEEK_V2 | {"rope_scaling": V2_YARN, "rope_theta": 50}
    _, _, expected, facts = make_model_fixture(folder, config, deepseek_v2, seed, 40)
    assert facts["routing"]["changed_without_groups"] > 0
    finish(folder, expected, facts)


def make_v2_lite(folder, seed):
    """No query LoRA, greedy choice; YaRN as published with 0.707 for both mscales."""
    config = DEEPSEEK_V2 | {
        "n_group": 1, "q_lora_rank": None, "rope_scaling": V2_YARN, "rope_theta": 50, "routed_scaling_factor": 1.0,
        "topk_group": 1, "topk_method": "greedy",
    }  # fmt: skip
    _, _, expected, facts = make_model_fixture(folder, config, deepseek_v2, seed, 40)
    finish(folder, expected, facts)


def make_moonlight(folder, seed):
    """No query LoRA, no groups, no YaRN, another rope base; an eps outside the latent norms so large that it shows.

    Biases of 8 to 16 choose experts whose scores are far below what f32 or bf16 can tell from nothing beside them.
    """
    config = DEEPSEEK_V3 | {
        "n_group": 1, "n_shared_experts": 2, "num_experts_per_tok": 2, "num_nextn_predict_layers": 0,
        "q_lora_rank": None, "rms_norm_eps": 0.03, "rope_theta": 50000.0, "routed_scaling_factor": 2.446,
        "topk_group": 1,
    }  # fmt: skip
    router = {"router_bias": (8.0, 16.0), "router_gain": 12.0}
    _, _, expected, facts = make_model_fixture(folder, config, deepseek, seed, 32, **router)
    assert facts["routing"]["changed_by_bf16_bias"] > 0 and facts["routing"]["smallest_chosen_scores"] < 1e-5, facts
    finish(folder, expected, facts)


def make_k2(folder, seed):
    """Kimi-K2: query LoRA, no groups, YaRN with both betas 1; `kimi_k2` in our config, `deepseek_v3` for transformers."""
    yarn = V2_YARN | {"beta_fast": 1, "beta_slow": 1, "factor": 16, "mscale": 1.0, "mscale_all_dim": 1.0}
    config = DEEPSEEK_V3 | {
        "n_group": 1, "num_nextn_predict_layers": 0, "rope_scaling": yarn, "rope_theta": 50,
        "routed_scaling_factor": 2.827, "topk_group": 1,
    }  # fmt: skip
    _, _, expected, facts = make_model_fixture(folder, config, deepseek, seed, 40)
    finish(folder, expected, facts)
    write_json(folder / "config.json", config | {"model_type": "kimi_k2"})


def make_qwen2(folder, seed):
    """Grouped-query attention with biases, tied embeddings."""
    _, _, expected, facts = make_model_fixture(folder, QWEN2, qwen2, seed, 32)
    finish(folder, expected, facts)


def make_llama(folder, seed):
    """Grouped-query attention whose head width is not hidden_size / heads, untied head."""
    _, _, expected, facts = make_model_fixture(folder, LLAMA, llama, seed, 32)
    finish(folder, expected, facts)


def make_qwen3(folder, seed):
    """Norms over query and key heads, a head width that is not hidden_size / heads."""
    _, _, expected, facts = make_model_fixture(folder, QWEN3, qwen3, seed, 32)
    finish(folder, expected, facts)


def make_llama3(folder, seed):
    """Llama 3's rope scaling past the original length; biases in attention and feed-forward."""
    _, _, expected, facts = make_model_fixture(folder, LLAMA3, llama, seed, 40)
    finish(folder, expected, facts)


def make_smollm2(folder, seed):
    """Tied embeddings, three query heads to one key head."""
    _, _, expected, facts = make_model_fixture(folder, SMOLLM2, llama, seed, 32)
    finish(folder, expected, facts)


def make_adamw(path):
    """Five AdamW steps on one vector, in f32 and in f64 from the same f32 start and gradients."""
    settings = {"lr": 1e-2, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1}
    generator = torch.Generator().manual_seed(ADAMW_SEED)
    start = torch.randn(6, generator=generator)
    # Magnitudes from 1e-4 to 10 and one exact zero, so that eps, bias correction and decoupled decay each show.
    gradients = torch.randn(5, 6, generator=generator) * torch.tensor([1.0, 10.0, 0.1, 1e-2, 1e-4, 0.0])
    document = {"settings": settings, "start": start.tolist(), "gradients": gradients.tolist()}
    for name, dtype in (("f32", torch.float32), ("f64", torch.float64)):
        parameter = torch.nn.Parameter(start.to(dtype, copy=True))
        optimiser = torch.optim.AdamW([parameter], foreach=False, **settings)
        steps = []
        for gradient in gradients:
            parameter.grad = gradient.to(dtype)
            optimiser.step()
            steps.append(parameter.detach().tolist())
        document[f"after_step_{name}"] = steps
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, document)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.set_verbosity_error()
    versions = {module.__name__: module.__version__ for module in (torch, transformers, safetensors, tokenizers)}
    versions["python"] = platform.python_version()
    print(json.dumps(versions))
    with torch.no_grad():
        with_first_good_seed(make_v3, out / "teacher/v3")
        with_first_good_seed(make_v3_yarn, out / "teacher/v3-yarn")
        with_first_good_seed(make_v3_mtp, out / "teacher/v3-mtp")
        with_first_good_seed(make_v2, out / "teacher/v2")
        with_first_good_seed(make_v2_lite, out / "teacher/v2-lite")
        with_first_good_seed(make_moonlight, out / "teacher/moonlight")
        with_first_good_seed(make_k2, out / "teacher/k2")
        with_first_good_seed(make_qwen2, out / "student/qwen2")
        with_first_good_seed(make_llama, out / "student/llama")
        with_first_good_seed(make_qwen3, out / "student/qwen3")
        with_first_good_seed(make_llama3, out / "student/llama3")
        with_first_good_seed(make_smollm2, out / "student/smollm2")
    make_adamw(out / "distill/adamw.json")
    write_json(out / "versions.json", versions)


if __name__ == "__main__":
    main()
