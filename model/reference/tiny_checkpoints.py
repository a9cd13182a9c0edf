"""Published configurations, tensor names and shapes of the tiny fixture models, and seeded random weights for them."""

import torch

# Published DeepSeek-V3 configuration keys; each fixture overrides what it is about.
DEEPSEEK_V3 = {
    "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 0,
    "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 32,
    "initializer_range": 0.02, "intermediate_size": 48, "kv_lora_rank": 16, "max_position_embeddings": 256,
    "model_type": "deepseek_v3", "moe_intermediate_size": 12, "moe_layer_freq": 1, "n_group": 2, "n_routed_experts": 8,
    "n_shared_experts": 1, "norm_topk_prob": True, "num_attention_heads": 4, "num_experts_per_tok": 3,
    "num_hidden_layers": 3, "num_key_value_heads": 4, "num_nextn_predict_layers": 0, "q_lora_rank": 24,
    "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "rms_norm_eps": 1e-6, "rope_scaling": None, "rope_theta": 10000,
    "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "tie_word_embeddings": False, "topk_group": 1,
    "topk_method": "noaux_tc", "torch_dtype": "float32", "use_cache": True, "v_head_dim": 12, "vocab_size": 96,
}  # fmt: skip

# DeepSeek-V2's published keys; V2-Lite has no query LoRA and no groups.
DEEPSEEK_V2 = {key: value for key, value in DEEPSEEK_V3.items() if key != "num_nextn_predict_layers"} | {
    "architectures": ["DeepseekV2ForCausalLM"], "aux_loss_alpha": 0.001, "model_type": "deepseek_v2", "n_group": 4,
    "n_shared_experts": 2, "norm_topk_prob": False, "routed_scaling_factor": 4.0, "scoring_func": "softmax",
    "seq_aux": True, "topk_group": 2, "topk_method": "group_limited_greedy",
}  # fmt: skip

QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 1,
    "hidden_act": "silu", "hidden_size": 48, "initializer_range": 0.02, "intermediate_size": 80,
    "max_position_embeddings": 256, "max_window_layers": 3, "model_type": "qwen2", "num_attention_heads": 4,
    "num_hidden_layers": 3, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
    "sliding_window": 256, "tie_word_embeddings": True, "torch_dtype": "float32", "use_cache": True,
    "use_sliding_window": False, "vocab_size": 112,
}  # fmt: skip

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 0,
    "eos_token_id": 1, "head_dim": 16, "hidden_act": "silu", "hidden_size": 40, "initializer_range": 0.02,
    "intermediate_size": 72, "max_position_embeddings": 256, "mlp_bias": False, "model_type": "llama",
    "num_attention_heads": 4, "num_hidden_layers": 3, "num_key_value_heads": 2, "pretraining_tp": 1,
    "rms_norm_eps": 1e-5, "rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": False,
    "torch_dtype": "float32", "use_cache": True, "vocab_size": 104,
}  # fmt: skip


def mlp_shapes(prefix, width, ffn):
    """Names and shapes of one gated MLP."""
    return {
        f"{prefix}.gate_proj.weight": (ffn, width),
        f"{prefix}.up_proj.weight": (ffn, width),
        f"{prefix}.down_proj.weight": (width, ffn),
    }


def deepseek_layer_shapes(config, layer):
    """Names and shapes of decoder layer `layer`; layer `num_hidden_layers` is the MTP module, with six more."""
    c, prefix, attention = config, f"model.layers.{layer}", f"model.layers.{layer}.self_attn"
    width, heads = c["hidden_size"], c["num_attention_heads"]
    query_rows = heads * (c["qk_nope_head_dim"] + c["qk_rope_head_dim"])
    shapes = {
        f"{prefix}.input_layernorm.weight": (width,),
        f"{prefix}.post_attention_layernorm.weight": (width,),
        f"{attention}.kv_a_proj_with_mqa.weight": (c["kv_lora_rank"] + c["qk_rope_head_dim"], width),
        f"{attention}.kv_a_layernorm.weight": (c["kv_lora_rank"],),
        f"{attention}.kv_b_proj.weight": (heads * (c["qk_nope_head_dim"] + c["v_head_dim"]), c["kv_lora_rank"]),
        f"{attention}.o_proj.weight": (width, heads * c["v_head_dim"]),
    }
    if c["q_lora_rank"] is None:
        shapes[f"{attention}.q_proj.weight"] = (query_rows, width)
    else:
        shapes[f"{attention}.q_a_proj.weight"] = (c["q_lora_rank"], width)
        shapes[f"{attention}.q_a_layernorm.weight"] = (c["q_lora_rank"],)
        shapes[f"{attention}.q_b_proj.weight"] = (query_rows, c["q_lora_rank"])
    if layer < c["first_k_dense_replace"]:
        shapes |= mlp_shapes(f"{prefix}.mlp", width, c["intermediate_size"])
    else:
        ffn = c["moe_intermediate_size"]
        shapes[f"{prefix}.mlp.gate.weight"] = (c["n_routed_experts"], width)
        if c["topk_method"] == "noaux_tc":
            shapes[f"{prefix}.mlp.gate.e_score_correction_bias"] = (c["n_routed_experts"],)
        shapes |= mlp_shapes(f"{prefix}.mlp.shared_experts", width, ffn * c["n_shared_experts"])
        for expert in range(c["n_routed_experts"]):
            shapes |= mlp_shapes(f"{prefix}.mlp.experts.{expert}", width, ffn)
    if layer >= c["num_hidden_layers"]:
        shapes |= {
            f"{prefix}.embed_tokens.weight": (c["vocab_size"], width),
            f"{prefix}.enorm.weight": (width,),
            f"{prefix}.hnorm.weight": (width,),
            f"{prefix}.eh_proj.weight": (width, 2 * width),
            f"{prefix}.shared_head.norm.weight": (width,),
            f"{prefix}.shared_head.head.weight": (c["vocab_size"], width),
        }
    return shapes


def dense_layer_shapes(config, layer):
    """Names and shapes of decoder layer `layer` of a Qwen2 (with query, key and value biases) or Llama model."""
    c, prefix, attention = config, f"model.layers.{layer}", f"model.layers.{layer}.self_attn"
    width, heads, groups = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
    head_width = c.get("head_dim", width // heads)
    rows = {"q_proj": heads * head_width, "k_proj": groups * head_width, "v_proj": groups * head_width}
    shapes = {f"{prefix}.input_layernorm.weight": (width,), f"{prefix}.post_attention_layernorm.weight": (width,)}
    shapes |= {f"{attention}.{name}.weight": (count, width) for name, count in rows.items()}
    if c["model_type"] == "qwen2":
        shapes |= {f"{attention}.{name}.bias": (count,) for name, count in rows.items()}
    shapes[f"{attention}.o_proj.weight"] = (width, heads * head_width)
    return shapes | mlp_shapes(f"{prefix}.mlp", width, c["intermediate_size"])


def model_shapes(config):
    """Every tensor of the published checkpoint with its shape."""
    layer_shapes = deepseek_layer_shapes if "kv_lora_rank" in config else dense_layer_shapes
    embedding = (config["vocab_size"], config["hidden_size"])
    shapes = {"model.embed_tokens.weight": embedding, "model.norm.weight": embedding[1:]}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = embedding
    for layer in range(config["num_hidden_layers"] + config.get("num_nextn_predict_layers", 0)):
        shapes |= layer_shapes(config, layer)
    return shapes


def random_tensors(config, seed, router_bias=(-0.5, 0.5)):
    """Seeded weights: matrices scale their input's spread by a gain, norms in 0.5..1.5."""
    gains = {
        "q_proj": 1.5,
        "q_b_proj": 1.5,
        "k_proj": 1.5,
        "kv_b_proj": 1.5,
        "gate": 1.5,
        "lm_head": 2.0,
        "down_proj": 1.5,
    }
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for name, shape in sorted(model_shapes(config).items()):
        module = name.split(".")[-2]
        if "norm" in module:
            tensor = torch.rand(shape, generator=generator) + 0.5
        elif name.endswith("e_score_correction_bias"):
            low, high = router_bias
            tensor = low + (high - low) * torch.rand(shape, generator=generator)
        elif module == "embed_tokens":
            # A tied embedding is the head as well: std 1 would make its logits spread by sqrt(width).
            tensor = torch.randn(shape, generator=generator) * (0.5 if config["tie_word_embeddings"] else 1.0)
        elif name.endswith(".bias"):
            tensor = torch.randn(shape, generator=generator) * 0.5
        else:
            tensor = torch.randn(shape, generator=generator) * gains.get(module, 1.0) / shape[1] ** 0.5
        tensors[name] = tensor
    for layer in range(
        config["num_hidden_layers"], config["num_hidden_layers"] + config.get("num_nextn_predict_layers", 0)
    ):
        # The published checkpoint repeats the embedding and the head inside the MTP module.
        tensors[f"model.layers.{layer}.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
        tensors[f"model.layers.{layer}.shared_head.head.weight"] = tensors["lm_head.weight"].clone()
    return tensors
