"""Makes the LoRA fixture: an adapter that PEFT wrote for the `qwen3` fixture, and what the two compute together.

    python make_adapter.py                       (needs torch, transformers, peft; after make_fixtures.py)

`student/tests/fixtures/lora` holds PEFT's own `adapter_config.json` and `adapter_model.safetensors`, and

    expected.safetensors    logits f32 [2, t, v] of the adapted model for the qwen3 fixture's input_ids, the mean
                            next-token loss [1], and its gradients with respect to A and B under their names in the file
"""

import json
import shutil
from pathlib import Path

import peft
import safetensors.torch
import torch
from measure import load

FIXTURES = Path(__file__).resolve().parents[2] / "student/tests/fixtures"
SEED = 7


def main():
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    out = FIXTURES / "lora"
    shutil.rmtree(out, ignore_errors=True)
    settings = peft.LoraConfig(
        r=4, lora_alpha=12, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM"
    )
    model = peft.get_peft_model(load(FIXTURES / "qwen3"), settings)
    # A fresh B is zero and the adapter would do nothing.
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.peft_config["default"].base_model_name_or_path = "qwen3"
    model.save_pretrained(out)
    (out / "README.md").unlink()

    ids = safetensors.torch.load_file(FIXTURES / "qwen3/expected.safetensors")["input_ids"]
    output = model(ids, labels=ids, use_cache=False)
    output.loss.backward()
    expected = {"logits": output.logits.detach(), "loss": output.loss.detach()[None]}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            expected[name.replace(".default", "")] = parameter.grad
    safetensors.torch.save_file({k: v.contiguous() for k, v in expected.items()}, out / "expected.safetensors")
    versions = {module.__name__: module.__version__ for module in (torch, peft)}
    (out / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
