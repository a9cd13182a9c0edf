//! The chat format of the models made here: DeepSeek-R1's special tokens and prompt, thinking prefilled.

use crate::Error;
use crate::folder::{FolderFiles, Vocabulary};
use crate::tokenizer::Tokenizer;
use serde_json::json;

/// Begin of text, end of turn, the two speakers, and the thinking tags: one token each.
pub const SPECIAL_TOKENS: [&str; 6] =
    ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"];

/// Earlier assistant turns lose their thinking, as DeepSeek's own template has it.
const CHAT_TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}\
{% if message['role'] == 'system' %}{{ message['content'] }}\
{% elif message['role'] == 'user' %}<｜User｜>{{ message['content'] }}\
{% elif message['role'] == 'assistant' %}<｜Assistant｜>{{ message['content'].split('</think>')[-1] }}{{ eos_token }}\
{% endif %}{% endfor %}";

/// How the prompt for an answer ends.
const THINKING: &str = "{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}";
const ANSWERING: &str = "{% if add_generation_prompt %}<｜Assistant｜>{% endif %}";

/// The files of a fresh model folder. `thinks`: prompts open a thinking block.
pub fn folder(config: String, tokenizer: &Tokenizer, thinks: bool) -> Result<FolderFiles, Error> {
    let [bos, eos, ..] = SPECIAL_TOKENS;
    let template = format!("{CHAT_TEMPLATE}{}", if thinks { THINKING } else { ANSWERING });
    let tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": bos,
        "eos_token": eos,
        "add_bos_token": false,
        "chat_template": template,
    });
    let generation_config = json!({
        "bos_token_id": tokenizer.id(bos),
        "eos_token_id": tokenizer.id(eos),
        "do_sample": true,
        "temperature": 0.6,
        "top_p": 0.95,
    });
    Ok(FolderFiles {
        config,
        vocabulary: Some(Vocabulary::Json(tokenizer.to_json()?)),
        tokenizer_config: format!("{tokenizer_config:#}"),
        chat_template: None,
        generation_config: format!("{generation_config:#}"),
        origin: "fresh model".into(),
    })
}
