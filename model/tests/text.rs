//! Tokenizers and chat templates against `tiktoken` and `transformers`; `model/reference/README.md` says how the fixtures
//! were made.

use retort_model::chat::{ChatTemplate, opens_thinking};
use retort_model::folder::FolderFiles;
use retort_model::generate::Message;
use retort_model::text_stream::TextStream;
use retort_model::tokenizer::Tokenizer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn cases<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let text = std::fs::read_to_string(fixtures(name).join("cases.json")).expect("cases");
    serde_json::from_str(&text).expect("JSON")
}

/// A model folder with Kimi's kind of tokenizer files.
fn kimi() -> (tempfile::TempDir, FolderFiles) {
    let folder = tempfile::tempdir().expect("folder");
    for file in ["tiktoken.model", "tokenizer_config.json"] {
        std::fs::copy(fixtures("tiktoken").join(file), folder.path().join(file)).expect("copied");
    }
    std::fs::write(folder.path().join("config.json"), "{}").expect("written");
    let files = FolderFiles::open(folder.path()).expect("opened");
    (folder, files)
}

#[derive(Deserialize)]
struct Encoded {
    text: String,
    ids: Vec<u32>,
}

#[test]
fn ids_are_those_of_tiktoken() {
    let tokenizer = kimi().1.tokenizer().expect("a tokenizer");
    let cases: Vec<Encoded> = cases("tiktoken");
    assert!(cases.len() > 200);
    for Encoded { text, ids } in cases {
        assert_eq!(tokenizer.encode(&text).expect("encoded"), ids, "{text:?}");
        assert_eq!(tokenizer.decode(&ids).expect("decoded"), text);
        let mut stream = TextStream::new(&tokenizer);
        let pieces: String = (1..=ids.len()).map(|end| stream.advance(&ids[..end]).expect("decoded")).collect();
        assert_eq!(pieces + &stream.rest(&ids).expect("decoded"), text);
    }
}

#[test]
fn a_folder_with_tiktoken_files_is_written_as_it_was_read() {
    let (folder, files) = kimi();
    let tokenizer = files.tokenizer().expect("a tokenizer");
    let eos = files.eos(&tokenizer, &files.template().expect("a template")).expect("ids");
    assert_eq!(eos, [tokenizer.id("[EOS]").expect("special")]);
    let copy = tempfile::tempdir().expect("folder");
    files.write(copy.path(), &[], |_| retort_model::checkpoint::Stored::F32).expect("written");
    for file in ["tiktoken.model", "tokenizer_config.json"] {
        let read = |folder: &Path| std::fs::read(folder.join(file)).expect(file);
        assert_eq!(read(folder.path()), read(copy.path()), "{file}");
    }
}

#[derive(Deserialize)]
struct Rendered {
    template: String,
    chat: String,
    tokens: serde_json::Value,
    messages: Vec<Message>,
    prompt: Option<String>,
    error: Option<String>,
}

#[test]
fn prompts_are_those_of_transformers() {
    let cases: Vec<Rendered> = cases("templates");
    assert!(cases.len() >= 30);
    for case in cases {
        let label = format!("{}, {}", case.template, case.chat);
        let jinja = std::fs::read_to_string(fixtures("templates").join(&case.template)).expect("template");
        let config = serde_json::from_value(case.tokens).expect("tokens");
        let template = ChatTemplate::new(&config, Some(&jinja), &label).expect("compiles");
        match (case.prompt, template.prompt(&case.messages)) {
            (Some(expected), found) => assert_eq!(found.expect(&label), expected, "{label}"),
            (None, found) => {
                let (found, expected) = (found.expect_err(&label).to_string(), case.error.expect("an error"));
                assert!(found.contains(&expected), "{label}: {found}");
            }
        }
    }
}

#[test]
fn a_bos_stands_once_even_where_the_tokenizer_would_add_one() {
    let jinja = std::fs::read_to_string(fixtures("templates").join("deepseek-r1.jinja")).expect("template");
    let [bos, user, assistant] = ["<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"];
    let config = serde_json::json!({"bos_token": bos, "eos_token": "</s>", "add_bos_token": true});
    let template =
        ChatTemplate::new(&serde_json::from_value(config).expect("config"), Some(&jinja), "test").expect("compiles");
    let plain = Tokenizer::train(&["a b c".to_string()], 300, &[bos, user, assistant]).expect("trained");
    let mut json: serde_json::Value = serde_json::from_str(&plain.to_json().expect("JSON")).expect("JSON");
    let special = serde_json::json!({"SpecialToken": {"id": bos, "type_id": 0}});
    json["post_processor"] = serde_json::json!({
        "type": "TemplateProcessing",
        "single": [special, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [special, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {bos: {"id": bos, "ids": [0], "tokens": [bos]}},
    });
    let tokenizer = Tokenizer::parse(json.to_string().as_bytes(), Path::new("tokenizer.json")).expect("parsed");
    let prompt = template.prompt(&[Message::user("a b")]).expect("rendered");
    assert!(opens_thinking(&prompt));
    let ids = tokenizer.encode(&prompt).expect("encoded");
    assert_eq!(ids.iter().filter(|&&id| id == 0).count(), 1, "{ids:?}");
    assert_eq!(ids[0], 0);
}
