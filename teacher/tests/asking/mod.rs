//! A queue of questions for a scripted server, and what comes back.

#![allow(dead_code, reason = "not every test needs everything")]

use crate::faults::{Asked, Server, Step, answer, stream};
use retort_model::generate::{Completion, Generate, GenerateError, JobError, Jobs, Message, Request};
use retort_model::observe::Observer;
use retort_model::sampling::{NoiseKey, Sampling};
use retort_teacher::endpoint::{ApiKey, Endpoint, Error, Settings};
use std::collections::BTreeMap;
use std::sync::Mutex;

pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const KEY: &str = "sk-canary-7f3a91";

/// A queue of `count` equal requests, and what came back.
pub(crate) struct Questions {
    count: u64,
    next: u64,
    pub(crate) answers: BTreeMap<u64, Completion>,
}

impl Questions {
    pub(crate) fn new(count: u64) -> Self {
        Self { count, next: 0, answers: BTreeMap::new() }
    }
}

impl Jobs for Questions {
    fn next(&mut self) -> Option<Request> {
        let id = self.next;
        self.next += 1;
        (id < self.count).then(|| Request {
            id,
            messages: vec![Message::user(format!("What is {id} plus 1?"))],
            sampling: Sampling { max_tokens: 50, ..Sampling::default() },
            noise: NoiseKey::new(1, "p", id as u32),
            capture: None,
        })
    }
    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError> {
        assert!(self.answers.insert(id, completion).is_none(), "request {id} was answered twice");
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Remarks(pub(crate) Mutex<Vec<String>>);

impl Observer for Remarks {
    fn remark(&self, line: &str) {
        self.0.lock().expect("remarks").push(line.into());
    }
}

/// Waits short enough for a test, and no stop for many failures.
pub(crate) fn quick() -> Settings {
    Settings { max_wait_seconds: 0.01, max_pause_seconds: 0.01, max_failures: 1.0, ..Settings::default() }
}

pub(crate) fn models(owner: &str) -> Vec<Step> {
    answer("200 OK", "", &format!(r#"{{"data": [{{"id": "wise", "owned_by": "{owner}"}}]}}"#))
}

/// Serves a list of models; everything else is up to `script`.
pub(crate) fn serve(owner: &'static str, script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Server {
    Server::start(move |asked| if asked.path == "/v1/models" { models(owner) } else { script(asked) })
}

/// The answers to `count` questions, or why there is an end of them.
pub(crate) fn ask(
    server: &Server,
    settings: Settings,
    count: u64,
) -> (Questions, Result<(), GenerateError>, Vec<String>) {
    let remarks = Remarks::default();
    let endpoint = Endpoint::open(&server.url(), "wise", ApiKey::new(KEY, "the test"), settings, None, &remarks)
        .expect("an endpoint");
    let mut questions = Questions::new(count);
    let result = endpoint.generate(&mut questions);
    drop(endpoint);
    (questions, result, remarks.0.into_inner().expect("remarks"))
}

pub(crate) fn events(deltas: &[&str], finish: &str) -> String {
    let piece = |delta: &str, finish: &str| {
        format!(
            r#"data: {{"model":"wise","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#
        ) + "\n\n"
    };
    let mut text = String::from(": keep-alive\n\n");
    deltas.iter().for_each(|delta| text += &piece(delta, "null"));
    text += &piece("{}", finish);
    text += "data: {\"model\":\"wise\",\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":7,\"prompt_tokens_details\":null}}\n\n";
    text + "data: [DONE]\n\n"
}

pub(crate) fn golden() -> String {
    events(
        &[
            r#"{"role":"assistant","content":""}"#,
            r#"{"reasoning_content":"add 漢 one"}"#,
            r#"{"content":"\\boxed{7}"}"#,
        ],
        r#""stop""#,
    )
}

pub(crate) fn whole() -> Vec<Step> {
    vec![Step::Send(stream(&golden())), Step::KeepOpen]
}

/// The error of an endpoint that cannot go on.
pub(crate) fn cause(result: Result<(), GenerateError>) -> Error {
    match result {
        Err(GenerateError::Remote(error)) => *error.downcast::<Error>().expect("an endpoint's error"),
        other => panic!("{other:?}"),
    }
}
