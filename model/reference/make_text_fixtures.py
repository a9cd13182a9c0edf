"""Makes the fixtures for tokenizers and chat templates, with `tiktoken` and `transformers`.

    python make_text_fixtures.py          (needs tiktoken, transformers >= 5, jinja2, regex)

Writes into model/tests/fixtures

    tiktoken/tiktoken.model           a small vocabulary in the format of Moonlight and Kimi-K2: base64 token, rank
    tiktoken/tokenizer_config.json    its special tokens
    tiktoken/cases.json               texts and the ids that `tiktoken` gives them under Kimi's pattern
    templates/cases.json              what `apply_chat_template` makes of the templates beside it
"""

import base64
import json
import platform
import random
from pathlib import Path

import jinja2
import tiktoken
import tokenizers
import transformers
from tiktoken._educational import bpe_train

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"

# tokenization_kimi.py / tokenization_moonshot.py, `pat_str`.
PATTERN = "|".join(
    [
        r"[\p{Han}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)

# The vocabulary is learnt with a simpler pattern: `regex`, which trains, has no intersection of classes.
TRAINING_PATTERN = r"\p{Han}+| ?[^\s\d]+|\d{1,3}|\s+"

TEXTS = [
    "Hello, world! Hello again; the world's a stage, isn't it? We'll see, they'd say: I'M HERE, he's not.",
    "def add(a, b):\n    return a + b\n\n\nfor i in range(100):\n        print(add(i, i ** 2))\n",
    "The teacher explains the answer: 12 + 345 = 357, and 1000000 / 7 is about 142857.14.",
    "你好，世界！我们学习数学。漢字とかな、カタカナ。한국어도 있어요. Привет, мир! Γειά σου Κόσμε.",
    "naïve café — “quotes” … 🙂🙃 e\u0301 n\u0303 \t\ttabs\r\nand lines\r\n\r\n   spaces   ",
    "aaaaaaaaaaaaaaaa bbbbbbbb abababababab          ================ --------",
]

SPECIAL = ["[BOS]", "[EOS]", "<|im_end|>", "<|im_user|>", "<|im_assistant|>", "<|im_system|>", "<|im_middle|>"]


def tiktoken_fixture(folder):
    folder.mkdir(parents=True, exist_ok=True)
    ranks = bpe_train(data="\n".join(TEXTS * 3), vocab_size=520, pat_str=TRAINING_PATTERN, visualise=None)
    lines = [f"{base64.b64encode(token).decode()} {rank}" for token, rank in ranks.items()]
    (folder / "tiktoken.model").write_text("\n".join(lines) + "\n")
    base = len(ranks)
    # As published: a few of the 256 reserved ids have names, the rest are called after their number.
    named = {base + 2 * place: text for place, text in enumerate(SPECIAL)}
    config = {
        "added_tokens_decoder": {str(i): {"content": text, "special": True} for i, text in named.items()},
        "bos_token": "[BOS]",
        "eos_token": "[EOS]",
        "chat_template": "{{ messages[0].content }}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    special = {named.get(i, f"<|reserved_token_{i}|>"): i for i in range(base, base + 256)}
    encoding = tiktoken.Encoding("kimi", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)

    draw = random.Random(7)
    texts = [*TEXTS, "", "a" * 300, " " * 77, "ab" * 120 + "a", "\n" * 9 + "x", "日本語" * 20, "'S 'LL DON'T don't"]
    texts += ["[BOS]<|im_user|>user<|im_middle|>2+2?<|im_end|><|im_assistant|>", "<|reserved_token_%d|>x" % (base + 1)]
    texts += ["[BOS[BOS]]", "<|im_end|", "x<|im_end|>y<|im_end|><|im_end|>"]
    letters = "aAbB 's''\n\t.,09é漢字かКЯ🙂e\u0301\u200d_-=\u00a0\u3000"
    for _ in range(150):
        texts.append("".join(draw.choice(letters) for _ in range(draw.randrange(1, 40))))
    for _ in range(50):
        codes = (draw.randrange(0x20, 0x2FFFF) for _ in range(20))
        texts.append("".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000))
    cases = [{"text": text, "ids": encoding.encode(text, allowed_special="all")} for text in texts]
    for case in cases:
        assert encoding.decode(case["ids"]) == case["text"]
    (folder / "cases.json").write_text(json.dumps(cases, ensure_ascii=False) + "\n")


def turn(role, content):
    return {"role": role, "content": content}


CHATS = {
    "question": [turn("user", "What is 2+3?")],
    "system": [turn("system", " Be brief. "), turn("user", "Hi 漢字 & <b>\n")],
    "history": [
        turn("user", "2+2?"),
        turn("assistant", "<think>\neasy\n</think>\n\n4"),
        turn("user", "and 'one' more?"),
    ],
    "answered": [turn("user", "a"), turn("assistant", "b"), turn("user", "c"), turn("assistant", "d\n")],
    "two users": [turn("user", "a"), turn("user", "b")],
    "none": [],
}

TOKENS = {
    "deepseek": {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"},
    "qwen": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "llama": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "python": {"bos_token": "<s>", "unk_token": "<unk>"},
}


def template_fixture(folder):
    cases = []
    for path in sorted(folder.glob("*.jinja")):
        tokens = next(tokens for name, tokens in TOKENS.items() if path.stem.startswith(name))
        model = tokenizers.Tokenizer(tokenizers.models.WordLevel({"x": 0}, unk_token="x"))
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=model, **tokens)
        tokenizer.chat_template = path.read_text()
        for name, messages in CHATS.items():
            case = {"template": path.name, "chat": name, "tokens": tokens, "messages": messages}
            try:
                options = {"tokenize": False, "add_generation_prompt": True}
                case["prompt"] = tokenizer.apply_chat_template(messages, **options) if messages else None
            except jinja2.exceptions.TemplateError as error:
                case["error"] = str(error)
            if messages:
                cases.append(case)
    (folder / "cases.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")


def main():
    tiktoken_fixture(FIXTURES / "tiktoken")
    template_fixture(FIXTURES / "templates")
    versions = {
        "jinja2": jinja2.__version__,
        "python": platform.python_version(),
        "tiktoken": tiktoken.__version__,
        "tokenizers": tokenizers.__version__,
        "transformers": transformers.__version__,
    }
    (Path(__file__).parent / "text_versions.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
