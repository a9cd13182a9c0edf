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


# Qwen3: no biases, a norm over each query and key head, `head_dim` apart from width / heads.
QWEN3 = {key: value for key, value in QWEN2.items()} | {
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "head_dim": 16, "max_window_layers": 3,
    "hidden_size": 40, "intermediate_size": 72, "model_type": "qwen3", "sliding_window": None,
    "tie_word_embeddings": False, "vocab_size": 104,
}  # fmt: skip

# Llama 3.1 and later: frequencies kept, blended and stretched, all three within a head of 16; and every bias there is.
LLAMA3 = LLAMA | {
    "attention_bias": True, "mlp_bias": True, "rms_norm_eps": 1e-5, "rope_theta": 100.0,
    "rope_scaling": {
        "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 32,
        "rope_type": "llama3",
    },
}  # fmt: skip

# SmolLM2: three query heads to a key head, a tied head, and the keys that its publisher added.
SMOLLM2 = {key: value for key, value in LLAMA.items() if key != "head_dim"} | {
    "hidden_size": 48, "intermediate_size": 64, "is_llama_config": True, "num_attention_heads": 3,
    "num_key_value_heads": 1, "pad_token_id": 2, "rope_interleaved": False, "rope_theta": 100000,
    "tie_word_embeddings": True, "transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}},
}  # fmt: skip


def mlp_shapes(prefix, width, ffn, bias=False):
    """Names and shapes of one gated MLP."""
    rows = {"gate_proj": (ffn, width), "up_proj": (ffn, width), "down_proj": (width, ffn)}
    shapes = {f"{prefix}.{name}.weight": shape for name, shape in rows.items()}
    return shapes | ({f"{prefix}.{name}.bias": shape[:1] for name, shape in rows.items()} if bias else {})


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
    """Names and shapes of decoder layer `layer` of a Qwen2 (with query, key and value biases), Qwen3 or Llama model."""
    c, prefix, attention = config, f"model.layers.{layer}", f"model.layers.{layer}.self_attn"
    width, heads, groups = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
    head_width = c.get("head_dim", width // heads)
    rows = {"q_proj": heads * head_width, "k_proj": groups * head_width, "v_proj": groups * head_width}
    shapes = {f"{prefix}.input_layernorm.weight": (width,), f"{prefix}.post_attention_layernorm.weight": (width,)}
    shapes |= {f"{attention}.{name}.weight": (count, width) for name, count in rows.items()}
    if c["model_type"] == "qwen2" or c.get("attention_bias"):
        shapes |= {f"{attention}.{name}.bias": (count,) for name, count in rows.items()}
    if c.get("attention_bias"):
        shapes[f"{attention}.o_proj.bias"] = (width,)
    if c["model_type"] == "qwen3":
        shapes |= {f"{attention}.{name}.weight": (head_width,) for name in ("q_norm", "k_norm")}
    shapes[f"{attention}.o_proj.weight"] = (width, heads * head_width)
    return shapes | mlp_shapes(f"{prefix}.mlp", width, c["intermediate_size"], c.get("mlp_bias"))


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


def random_tensors(config, seed, router_bias=(-0.5, 0.5), router_gain=1.5):
    """Seeded weights: matrices scale their input's spread by a gain, norms in 0.5..1.5."""
    gains = {
        "q_proj": 1.5,
        "q_b_proj": 1.5,
        "k_proj": 1.5,
        "kv_b_proj": 1.5,
        "gate": router_gain,
        "lm_head": 2.0,
        "down_proj": 1.5,
    }
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for name, shape in sorted(model_shapes(config).items()):
        module = name.split(".")[-2]
        if "norm" in module:
            # Heads that are normalised get their spread from the norm's weight.
            tensor = (torch.rand(shape, generator=generator) + 0.5) * (1.5 if module in ("q_norm", "k_norm") else 1.0)
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
