//! Prompts by a model's own Jinja template, rendered as `transformers` renders it.
//!
//! As there (`transformers.utils.chat_template_utils`): blocks are trimmed, `break` and `continue` exist, `tojson` is
//! Python's `json.dumps`, `raise_exception` and `strftime_now` are defined, strings have Python's methods, and
//! `{% generation %}` marks what the assistant wrote without changing it. One difference: `strftime_now` tells UTC.

use super::tokenizer_config::TokenizerConfig;
use super::{THINK, Thought, opens_thinking, python, split_thinking};
use crate::Error;
use crate::generate::Message;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;

/// A compiled chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    tokens: BTreeMap<&'static str, String>,
    model: String,
    /// Whether it passes texts through: what comes back is then text too, and no turn.
    raw: bool,
}

/// Templates are input from strangers: two million steps render any honest one, and stop a hostile one. A step that
/// makes a string costs one more for every 64 bytes of it. What no limit here sees is a list of shared parts, 2^40 long on
/// paper, inside one step of the library: compared with another, joined by `~`, or as a key.
const FUEL: u64 = 2_000_000;

/// Bytes that a prompt may have; the longest published context fills about a megabyte.
pub(super) const LONGEST: usize = 16 << 20;

impl ChatTemplate {
    /// Compiles the template: `jinja`, the text of `chat_template.jinja`, where there is one, else that of `config`.
    /// `model` names it in errors.
    pub fn new(config: &TokenizerConfig, jinja: Option<&str>, model: &str) -> Result<Self, Error> {
        let failed = |reason: String| Error::Template { model: model.into(), reason };
        let source = match (jinja, config.template().map_err(|reason| failed(reason.into()))?) {
            (Some(source), _) | (None, Some(source)) => source.to_string(),
            (None, None) => return Err(Error::NoTemplate { model: model.into() }),
        };
        Self::compile(source, config.named_tokens(), model)
    }

    /// Passes the text of the last message through as it is, behind the model's BOS token where `bos` asks for it.
    pub fn raw(config: &TokenizerConfig, bos: bool, model: &str) -> Result<Self, Error> {
        if bos && !config.has_bos() {
            let reason = "its tokenizer names no BOS token to put before a prompt".into();
            return Err(Error::Template { model: model.into(), reason });
        }
        let source = if bos { "{{ bos_token }}{{ messages[-1].content }}" } else { "{{ messages[-1].content }}" };
        Ok(Self { raw: true, ..Self::compile(source.into(), config.named_tokens(), model)? })
    }

    fn compile(source: String, tokens: BTreeMap<&'static str, String>, model: &str) -> Result<Self, Error> {
        let failed = |e: minijinja::Error| Error::Template { model: model.into(), reason: python::describe(&e) };
        let environment = environment().and_then(|empty| compiled(empty, without_generation_marks(&source)));
        Ok(Self { environment: environment.map_err(failed)?, source, tokens, model: model.into(), raw: false })
    }

    /// The prompt that asks for the assistant's next turn. It contains the BOS token; encode it without adding one.
    ///
    /// Where the last message is [`Message::opened_thinking`], the prompt ends with the opening tag, whether the template
    /// opens the block itself or not.
    pub fn prompt(&self, messages: &[Message]) -> Result<String, Error> {
        let Some((_, before)) = messages.split_last().filter(|(last, _)| last.opens_thinking()) else {
            return self.rendered(messages);
        };
        let prompt = self.rendered(before)?;
        Ok(if opens_thinking(&prompt) { prompt } else { format!("{prompt}{}\n", THINK.0) })
    }

    fn rendered(&self, messages: &[Message]) -> Result<String, Error> {
        let failed = |e: minijinja::Error| Error::Template { model: self.model.clone(), reason: python::describe(&e) };
        let context = context! {
            messages => Value::from(Serde(messages)),
            tools => (),
            documents => (),
            add_generation_prompt => true,
            ..Value::from(Serde(&self.tokens))
        };
        render(&self.environment, context).map_err(failed)
    }

    /// What a model wrote behind a prompt of this template, taken apart: a turn into thinking and answer, where `prefilled`
    /// says that the prompt ended inside a thinking block; the text behind a raw prompt stays whole.
    pub fn thought(&self, text: &str, prefilled: bool) -> Thought {
        match self.raw {
            true => Thought { response: text.into(), ..Thought::default() },
            false => split_thinking(text, prefilled),
        }
    }

    /// Whether it passes texts through as they are.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<&str> {
        self.tokens.get("bos_token").map(String::as_str)
    }

    /// The token that ends a turn.
    pub fn eos(&self) -> Option<&str> {
        self.tokens.get("eos_token").map(String::as_str)
    }

    /// The template's source, for fingerprints.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// Under which an environment holds its one template.
const NAME: &str = "chat";

/// Jinja as `transformers` sets it up, within the limits above and without a template.
fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(64);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.set_formatter(python::print);
    environment.add_filter("tojson", |value: Value, options: Kwargs| python::dumps(&value, &options));
    environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| python::strftime_now(&format));
    Ok(environment)
}

/// The environment with its template.
fn compiled(mut environment: Environment<'static>, source: String) -> Result<Environment<'static>, minijinja::Error> {
    if source.len() > LONGEST_SOURCE {
        let reason = format!("the template has {} bytes, more than the {LONGEST_SOURCE} that are read", source.len());
        return Err(minijinja::Error::new(ErrorKind::SyntaxError, reason));
    }
    with_room(|| environment.add_template_owned(NAME, source).map(|()| environment))?
}

/// What the environment's template makes of `context`.
fn render(environment: &Environment, context: Value) -> Result<String, minijinja::Error> {
    let prompt = with_room(|| {
        let mut prompt = Prompt(Vec::new());
        environment.get_template(NAME)?.render_captured_to(context, &mut prompt)?;
        Ok::<_, minijinja::Error>(prompt.0)
    })??;
    String::from_utf8(prompt).map_err(|e| minijinja::Error::new(ErrorKind::InvalidOperation, e.to_string()))
}

/// Some twenty times the longest published template.
const LONGEST_SOURCE: usize = 256 << 10;

/// Room for whatever a template of that length, and values that the fuel allows, can nest. Only what is used is taken.
const STACK: usize = 512 << 20;

/// Does the work on a stack of its own: Jinja follows nested templates and values by recursion, as deep as they go.
fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, minijinja::Error> {
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let worker = worker.map_err(|e| {
            minijinja::Error::new(ErrorKind::InvalidOperation, format!("there is no thread for it: {e}"))
        })?;
        Ok(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// A template for what the user says, over the columns of a row of data. A column that is not there is an error.
pub struct QuestionTemplate(Environment<'static>);

impl QuestionTemplate {
    /// # Errors
    /// Says what is wrong with the template.
    pub fn new(source: &str) -> Result<Self, String> {
        let compiled = environment().and_then(|mut environment| {
            // As Jinja is by itself: people write these templates, and see the line breaks that they write.
            environment.set_syntax(SyntaxConfig::default());
            environment.set_undefined_behavior(UndefinedBehavior::Strict);
            compiled(environment, source.to_string())
        });
        compiled.map(Self).map_err(|e| python::describe(&e))
    }

    /// The template with the fields of `row` in it.
    ///
    /// # Errors
    /// Says what could not be rendered.
    pub fn render(&self, row: &impl Serialize) -> Result<String, String> {
        render(&self.0, Value::from(Serde(row))).map_err(|e| python::describe(&e))
    }
}

/// A prompt while it grows, up to its limit.
struct Prompt(Vec<u8>);

impl Write for Prompt {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST {
            return Err(std::io::Error::other(format!("the prompt grows beyond {LONGEST} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// `{% generation %}` ... `{% endgeneration %}` become a condition that always holds.
fn without_generation_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{%") {
        let Some((tag, after)) = after.split_once("%}") else { break };
        let word = tag.trim_matches(|sign: char| sign.is_whitespace() || sign == '-' || sign == '+');
        let tag = match word {
            "generation" => tag.replace(word, "if true"),
            "endgeneration" => tag.replace(word, "endif"),
            _ => tag.to_string(),
        };
        out.extend([before, "{%", &tag, "%}"]);
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(source: serde_json::Value, jinja: Option<&str>) -> Result<ChatTemplate, Error> {
        let config = serde_json::json!({"chat_template": source, "bos_token": {"content": "<s>"}, "eos_token": "</s>"});
        ChatTemplate::new(&serde_json::from_value(config).expect("valid"), jinja, "test")
    }

    /// Each would overflow a stack of the usual size where the library follows it.
    #[test]
    fn what_nests_deeply_ends() {
        let ways = [
            format!("{{{{ 1{} }}}}", "+1".repeat(60_000)),
            format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(15_000)),
            format!("{{{{ {} 1 }}}}", "not ".repeat(60_000)),
            format!("{{{{ a{} }}}}", ".b".repeat(100_000)),
            format!("{{{{ 'a'{} }}}}", "|upper".repeat(40_000)),
            "{% set ns = namespace(a=[], b=[]) %}{% for i in range(60000) %}{% set ns.a = [ns.a] %}\
             {% set ns.b = [ns.b] %}{% endfor %}{{ ns.a == ns.b }}"
                .to_string(),
        ];
        for source in ways {
            // Whether it is a text or an error does not matter.
            let _ = rendered(&source);
        }
        assert!(rendered(&"x".repeat(300 << 10)).is_err_and(|error| error.to_string().contains("bytes")));
    }

    /// Forty lists that hold the one before twice would be 2^40 numbers on paper.
    #[test]
    fn a_value_of_shared_parts_is_not_written_for_ever() {
        for shown in ["{{ ns.a }}", "{{ ns.a|tojson }}"] {
            let source =
                "{% set ns = namespace(a=[1]) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}";
            let error = rendered(&format!("{source}{shown}")).expect_err("far too long").to_string();
            assert!(error.contains("too long"), "{error}");
        }
    }

    fn rendered(source: &str) -> Result<String, Error> {
        template(source.into(), None)?.prompt(&[Message::user("2+2?")])
    }

    #[test]
    fn renders_messages_with_one_bos() -> Result<(), Error> {
        let template = template(
            "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m.content }}{% endfor %}\
             {% if add_generation_prompt %}[assistant]<think>\n{% endif %}"
                .into(),
            None,
        )?;
        let prompt = template.prompt(&[Message::user("2+2?")])?;
        assert_eq!(prompt, "<s>[user] 2+2?[assistant]<think>\n");
        assert!(crate::chat::opens_thinking(&prompt));
        assert_eq!(template.eos(), Some("</s>"));
        Ok(())
    }

    #[test]
    fn the_template_is_found_wherever_it_may_stand() -> Result<(), Error> {
        let named = serde_json::json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
        assert_eq!(template(named.clone(), None)?.prompt(&[])?, "d");
        assert_eq!(template(named, Some("j"))?.prompt(&[])?, "j");
        let without = template(serde_json::json!([{"name": "rag", "template": "r"}]), None);
        assert!(without.is_err_and(|error| error.to_string().contains("`default`")));
        let none = ChatTemplate::new(&TokenizerConfig::default(), None, "test");
        assert!(none.is_err_and(|error| error.hint().is_some_and(|hint| hint.contains("--raw"))));
        let raw = ChatTemplate::raw(&TokenizerConfig::default(), false, "test")?;
        assert_eq!(raw.prompt(&[Message::user("{{ 1 }}\n")])?, "{{ 1 }}\n");
        assert_eq!(raw.thought(" 2+2</think> 4\n", true).response, " 2+2</think> 4\n");
        let config: TokenizerConfig = serde_json::from_str(r#"{"bos_token": "<s>"}"#).expect("valid");
        let begun = ChatTemplate::raw(&config, true, "test")?;
        assert_eq!((begun.prompt(&[Message::user("{{ 1 }}")])?.as_str(), begun.bos()), ("<s>{{ 1 }}", Some("<s>")));
        assert!(ChatTemplate::raw(&TokenizerConfig::default(), true, "test").is_err());
        Ok(())
    }

    #[test]
    fn thinking_is_opened_once_where_that_is_asked_for() -> Result<(), Error> {
        let asked = [Message::user("q"), Message::opened_thinking()];
        for (tail, expected) in [("A:", "qA:<think>\n"), ("A:<think>", "qA:<think>")] {
            let source = format!("{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}{tail}");
            assert_eq!(template(source.into(), None)?.prompt(&asked)?, expected);
        }
        Ok(())
    }

    #[test]
    fn a_question_is_made_from_columns_that_are_there() -> Result<(), String> {
        let row = serde_json::json!({"question": "1+1?", "options": ["2", "3"], "meta": {"unit": "cm"}});
        let template =
            QuestionTemplate::new("{{ question }}{% for o in options %} ({{ o }}){% endfor %} in {{ meta.unit }}")?;
        assert_eq!(template.render(&row)?, "1+1? (2) (3) in cm");
        assert!(QuestionTemplate::new("{{ answer }}")?.render(&row).is_err_and(|e| e.contains("undefined")));
        assert!(QuestionTemplate::new("{% for %}").is_err());
        Ok(())
    }

    #[test]
    fn a_hostile_template_is_stopped() {
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        let doubling = "{% set n = namespace(x='x') %}{% for a in range(64) %}{% set n.x = n.x ~ n.x %}{% endfor %}";
        let long = "{% for a in range(300) %}{{ 'xxxxxxxxxx' * 10000 }}{% endfor %}";
        let deep = "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}";
        for source in [endless, doubling, long, deep, "{{ 'x' * 1000000000000 }}", "{{ 'x'.rjust(99999999999) }}"] {
            assert!(rendered(source).is_err(), "{source}");
        }
    }

    #[test]
    fn what_a_template_refuses_is_said() {
        let error = rendered("{{ raise_exception('roles must alternate') }}").expect_err("raises");
        assert!(error.to_string().contains("roles must alternate"), "{error}");
    }

    #[test]
    fn generation_marks_change_nothing() -> Result<(), Error> {
        assert_eq!(rendered("a{% generation %}b{%- endgeneration %}\nc")?, rendered("a{% if true %}b{%- endif %}\nc")?);
        Ok(())
    }
}
