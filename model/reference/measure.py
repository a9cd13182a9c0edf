"""Loads a model folder with `transformers` and measures what makes a fixture trustworthy: score spreads, near ties."""

import contextlib
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import safetensors.torch
import torch
from transformers import AutoModelForCausalLM
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2TopkRouter
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter

GREEDY_IDS = 64


def load(folder, attention="eager"):
    """The folder as transformers loads it, refusing missing tensors and unexpected ones outside the MTP module."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention, output_loading_info=True
    )
    mtp_prefix = f"model.layers.{model.config.num_hidden_layers}."
    unexpected = [name for name in info["unexpected_keys"] if not name.startswith(mtp_prefix)]
    assert not info["missing_keys"] and not info["mismatched_keys"] and not unexpected, info
    if model.config.model_type in ("deepseek_v2", "deepseek_v3"):
        model.set_experts_implementation("eager")
    return model.eval()


def check_save_pretrained(folder, tensors):
    """`save_pretrained` writes the main model's tensors under the fixture's names and values; its config is kept."""
    model = load(folder)
    mtp_prefix = f"model.layers.{model.config.num_hidden_layers}."
    with tempfile.TemporaryDirectory() as copy:
        model.save_pretrained(copy)
        written = safetensors.torch.load_file(Path(copy) / "model.safetensors")
        shutil.copyfile(Path(copy) / "config.json", folder / "config.v5.json")
    wanted = {name: tensor for name, tensor in tensors.items() if not name.startswith(mtp_prefix)}
    assert written.keys() == wanted.keys(), written.keys() ^ wanted.keys()
    assert all(torch.equal(written[name], wanted[name]) for name in wanted)


@contextlib.contextmanager
def recorded_attention_scores(modeling):
    """Collects the standard deviation of the scaled, causally visible pre-softmax scores of every attention call."""
    deviations, eager = [], modeling.eager_attention_forward

    def measure(module, query, key, value, mask, scaling, **kwargs):
        keys = modeling.repeat_kv(key, module.num_key_value_groups)
        scores = (query @ keys.transpose(2, 3)) * scaling
        visible = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(scores.shape[-1] - scores.shape[-2])
        deviations.append(round(scores[..., visible].std().item(), 4))
        return eager(module, query, key, value, mask, scaling=scaling, **kwargs)

    with mock.patch.object(modeling, "eager_attention_forward", measure):
        yield deviations


@contextlib.contextmanager
def recorded_routing(model):
    """Collects (router module, router logits, chosen experts) of every MoE call."""
    calls, hooks = [], []
    for module in model.modules():
        if isinstance(module, (DeepseekV2TopkRouter, DeepseekV3TopkRouter)):
            record = lambda router, _, output: calls.append((router, output[0], output[2]))  # noqa: E731
            hooks.append(module.register_forward_hook(record))
    yield calls
    for hook in hooks:
        hook.remove()


def choose_experts(router, scores, masked=float("-inf"), use_groups=True):
    """The published selection over `scores` [n, e]: masked scores, sorted choice [n, k], smallest group lead."""
    count, kept = router.num_group, router.topk_group
    group_margin = None
    if use_groups and getattr(router, "topk_method", "") != "greedy" and kept < count:
        # V3 ranks a group by its two best biased scores together, V2 by its best score.
        best = 2 if isinstance(router, DeepseekV3TopkRouter) else 1
        group_scores = scores.view(-1, count, scores.shape[-1] // count).topk(best, dim=-1)[0].sum(-1)
        ranked, order = group_scores.sort(dim=-1, descending=True)
        group_margin = (ranked[:, kept - 1] - ranked[:, kept]).min().item()
        dropped = torch.ones_like(group_scores).scatter(1, order[:, :kept], 0.0)
        scores = scores.masked_fill(dropped.repeat_interleave(scores.shape[-1] // count, 1) == 1, masked)
    return scores, scores.topk(router.top_k, dim=-1)[1].sort(dim=-1)[0], group_margin


def routing_report(calls):
    """How far routing is from a tie, and how many decisions each of four known mistakes would change."""
    counts = {
        "decisions": 0, "changed_without_bias": 0, "changed_without_groups": 0, "changed_by_mask_zero": 0,
        "changed_by_bf16_bias": 0,
    }  # fmt: skip
    expert_margins, group_margins, biased_maximum, chosen_scores = [], [], float("-inf"), float("inf")
    for router, logits, chosen in calls:
        v3 = isinstance(router, DeepseekV3TopkRouter)
        chosen, plain = chosen.sort(dim=-1)[0], logits.sigmoid() if v3 else logits.softmax(dim=-1)
        biased = plain + router.e_score_correction_bias if v3 else plain
        eligible, expected, group_margin = choose_experts(router, biased)
        assert torch.equal(expected, chosen)
        ranked = eligible.sort(dim=-1, descending=True)[0]
        expert_margins.append((ranked[:, router.top_k - 1] - ranked[:, router.top_k]).min().item())
        if group_margin is not None:
            group_margins.append(group_margin)
        biased_maximum = max(biased_maximum, biased.max().item())
        chosen_scores = min(chosen_scores, plain.gather(1, chosen).sum(-1).min().item())
        rounded = plain + router.e_score_correction_bias.bfloat16() if v3 else plain
        wrong = {
            "changed_without_bias": choose_experts(router, plain),
            "changed_without_groups": choose_experts(router, biased, use_groups=False),
            "changed_by_mask_zero": choose_experts(router, biased, masked=0.0),
            "changed_by_bf16_bias": choose_experts(router, rounded),
        }
        counts["decisions"] += len(chosen)
        for name, (_, other, _) in wrong.items():
            counts[name] += (other != chosen).any(-1).sum().item()
    return counts | {
        "smallest_expert_margin": min(expert_margins),
        "smallest_group_margin": min(group_margins, default=None),
        "largest_biased_score": biased_maximum,
        "smallest_chosen_scores": chosen_scores,
    }


def greedy_continuation(model, prompt):
    """`GREEDY_IDS` argmax ids after `prompt`, each from a full forward pass, and the smallest lead over a runner-up."""
    ids, margins = prompt, []
    for _ in range(GREEDY_IDS):
        best = model(ids[None], use_cache=False).logits[0, -1].topk(2)
        margins.append((best.values[0] - best.values[1]).item())
        ids = torch.cat([ids, best.indices[:1]])
    cached = model.generate(
        prompt[None], max_new_tokens=GREEDY_IDS, min_new_tokens=GREEDY_IDS, do_sample=False, eos_token_id=None
    )
    assert torch.equal(cached[0], ids), "decoding with transformers' cache disagrees with full forward passes"
    return ids[len(prompt) :], min(margins)
