//! What a server tells beside its answer, and what becomes of it: a key that it repeats is shown and stored nowhere, and a
//! usage that can be none is neither believed nor taken for silence.

mod asking;
mod faults;

use asking::{CHAT, KEY, Questions, Remarks, ask, events, golden, quick, serve, whole};
use faults::{Asked, STREAM, Server, Step, answer, stream};
use retort_model::attempts::{Admission, AttemptId, Attempts, Charge, Estimate, Settlement};
use retort_model::generate::{Completion, Generate, GenerateError, JobError, Jobs, Request};
use retort_model::observe::Silent;
use retort_teacher::endpoint::{ApiKey, Endpoint, Error, Settings};
use std::cell::Cell;

/// Questions with a purse that remembers what it was told.
struct Paid {
    questions: Questions,
    purse: Purse,
    /// Has had enough once so many requests are on their way.
    enough: Option<u64>,
    /// How often it was asked since.
    asked: Cell<u32>,
}

impl Paid {
    fn new(count: u64) -> Self {
        Self { questions: Questions::new(count), purse: Purse::default(), enough: None, asked: Cell::new(0) }
    }
}

#[derive(Default)]
struct Purse {
    admitted: u64,
    settled: Vec<(Charge, String)>,
}

impl Jobs for Paid {
    fn next(&mut self) -> Option<Request> {
        self.questions.next()
    }
    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError> {
        self.questions.done(id, completion)
    }
    fn cancelled(&self) -> bool {
        let enough = self.enough.is_some_and(|enough| self.purse.admitted >= enough);
        self.asked.set(self.asked.get() + u32::from(enough));
        enough
    }
    fn attempts(&mut self) -> Option<&mut dyn Attempts> {
        Some(&mut self.purse)
    }
}

impl Attempts for Purse {
    fn admit(&mut self, _: &Estimate) -> Result<Admission, JobError> {
        self.admitted += 1;
        Ok(Admission::Granted(AttemptId(self.admitted)))
    }
    fn commit(&mut self) -> Result<(), JobError> {
        Ok(())
    }
    fn settle(&mut self, _: AttemptId, settlement: &Settlement) -> Result<(), JobError> {
        self.settled.push((settlement.charge, settlement.detail.clone()));
        Ok(())
    }
}

/// Asks `count` questions, one at a time.
fn paid(server: &Server, count: u64) -> (Paid, Result<(), GenerateError>, Vec<String>) {
    let (remarks, settings) = (Remarks::default(), Settings { max_in_flight: 1, ..quick() });
    let endpoint = Endpoint::open(&server.url(), "wise", ApiKey::new(KEY, "the test"), settings, None, &remarks)
        .expect("an endpoint");
    let mut paid = Paid::new(count);
    let result = endpoint.generate(&mut paid);
    drop(endpoint);
    (paid, result, remarks.0.into_inner().expect("remarks"))
}

fn streamed(text: &str) -> Vec<Step> {
    vec![Step::Send(stream(text)), Step::KeepOpen]
}

#[test]
fn a_server_that_repeats_the_key_is_not_repeated() {
    let echo = |asked: &Asked| asked.headers["authorization"].clone();
    for status in ["400 No", "401 No", "402 Pay", "404 None", "429 Busy", "500 Oops", "502 Away"] {
        let server = serve("vllm", move |asked| match asked.number {
            0..3 => answer(status, "", &format!(r#"{{"error": {{"message": "bad key {}"}}}}"#, echo(asked))),
            _ => whole(),
        });
        let (questions, result, remarks) = ask(&server, quick(), 4);
        let said = format!("{:?} {result:?} {remarks:?}", questions.answers);
        assert!(!said.contains("canary"), "{status}: {said}");
        if let Err(GenerateError::Remote(error)) = result {
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
    let server = Server::start(move |asked| answer("401 No", "", &echo(asked)));
    let opened = Endpoint::open(&server.url(), "wise", ApiKey::new(KEY, "the test"), quick(), None, &Silent);
    let error = opened.err().expect("no access");
    assert!(matches!(error, Error::Access { .. }) && !format!("{error} {error:?}").contains("canary"));
}

#[test]
fn an_answer_that_repeats_the_key_is_stored_without_it() {
    // The key in one piece, over two pieces, and in JSON's own words for it; token ids say it too.
    let (begin, end) = KEY.split_at(6);
    let pieces = [
        format!(r#"{{"reasoning_content":"they sent {begin}"}}"#),
        format!(r#"{{"reasoning_content":"{end}, so"}}"#),
        format!(r#"{{"content":"Bearer {KEY} or \u0073{}"}}"#, &KEY[1..]),
    ];
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let text = events(&pieces, r#""stop""#).replace(r#""index":0,"#, r#""index":0,"token_ids":[7,8],"#);
    let server = serve("vllm", move |asked| {
        let fingerprint = format!(r#""system_fingerprint":"{}{KEY}","model""#, asked.number);
        streamed(&text.replace(r#""model""#, &fingerprint))
    });
    let (paid, result, remarks) = paid(&server, 2);
    result.expect("answers");
    for completion in paid.questions.answers.values() {
        let texts = (completion.reasoning.as_str(), completion.response.as_str());
        assert_eq!(texts, ("they sent [key], so", "Bearer [key] or [key]"));
        assert!(completion.token_ids.is_empty(), "{completion:?}");
    }
    assert!(remarks.iter().any(|line| line.contains("changed from `0[key]` to `1[key]`")), "{remarks:?}");
}

/// The canary as addresses and as base64 have it, alone and behind `Bearer `.
const PERCENT: &str = "%73%6B%2dcanary%2D7f3a91";
const IN_BASE64: [&str; 2] = ["c2stY2FuYXJ5LTdmM2E5MQ==", "QmVhcmVyIHNrLWNhbmFyeS03ZjNhOTE="];

#[test]
fn an_answer_that_repeats_the_key_in_other_letters_is_stored_without_it() {
    let [alone, behind] = IN_BASE64;
    let said = format!("{} {PERCENT} {alone} {behind} Sk-CaNaRy-7F3a91", KEY.to_uppercase());
    let text = events(&[&format!(r#"{{"content":"{said}"}}"#)], r#""stop""#);
    let server = serve("vllm", move |_| streamed(&text));
    let (paid, result, _) = paid(&server, 1);
    result.expect("an answer");
    assert_eq!(paid.questions.answers[&0].response, "[key] [key] [key] [key] [key]");
}

#[test]
fn no_field_of_an_answer_tells_the_key() {
    let long = format!(r#"{{"error": {{"message": "{}{KEY}"}}}}"#, "x".repeat(275));
    let faults = [
        answer("500 Oops", "", &format!("{} {} {}", KEY.to_uppercase(), PERCENT, IN_BASE64[0])),
        streamed(&events(&[r#"{"content":"7"}"#], &format!("\"{KEY}\""))),
        streamed(&golden().replace(r#""prompt_tokens":9"#, &format!(r#""prompt_tokens":"{KEY}""#))),
        streamed(&format!("data: {KEY} is no JSON\n\n")),
        answer("200 OK", "", &format!(r#"{{"error": {{"message": "{KEY}"}}}}"#)),
        // What is shown of it would end within the key.
        answer("500 Oops", "", &long),
        answer("400 No", "", &long),
        // The last: another model ends the run.
        streamed(&golden().replace("wise", KEY)),
    ];
    let count = faults.len();
    let server = serve("vllm", move |asked| faults.get(asked.number).cloned().unwrap_or_else(whole));
    let (paid, result, remarks) = paid(&server, 20);
    let Err(GenerateError::Remote(error)) = result else { panic!("{result:?}") };
    let said = format!("{error} {error:?} {:?} {:?} {remarks:?}", paid.questions.answers, paid.purse.settled);
    assert!(said.contains("answered as `[key]`") && said.contains("[key] [key] [key]"), "{said}");
    assert!(!said.to_lowercase().contains(&KEY[..8]) && !said.contains(&IN_BASE64[0][..8]), "{said}");
    assert!(server.asked(CHAT).len() >= count);

    let server = Server::start(|_| answer("200 OK", "", &format!(r#"{{"data": [{{"id": "{KEY}"}}]}}"#)));
    let opened = Endpoint::open(&server.url(), "wise", ApiKey::new(KEY, "the test"), quick(), None, &Silent);
    let error = opened.err().expect("no such model").to_string();
    assert!(error.contains("it offers `[key]`"), "{error}");
}

#[test]
fn a_usage_that_can_be_none_is_named_and_charged_as_the_most() {
    // The last: more than twice as many as were asked for.
    for stated in ["1000000000000", "-7", "7.5", "\"many\"", "109"] {
        let text = golden().replace(r#""completion_tokens":7"#, &format!(r#""completion_tokens":{stated}"#));
        let server = serve("vllm", move |_| streamed(&text));
        let (paid, result, remarks) = paid(&server, 3);
        result.expect("answers");
        assert_eq!((paid.questions.answers.len(), server.asked(CHAT).len()), (3, 3), "none is asked for again");
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        for part in
            [format!("9 prompt and {stated} completion tokens"), "implausible".into(), "and 50, the most".into()]
        {
            assert!(remarks[0].contains(&part), "{part}: {remarks:?}");
        }
        assert!(paid.purse.settled.iter().all(|settled| *settled == (Charge::Unknown, remarks[0].clone())));
    }
}

#[test]
fn what_is_in_flight_when_the_caller_has_had_enough_is_dropped_at_once_and_stays_charged() {
    let first = golden().split_inclusive("\n\n").take(2).collect::<String>();
    // A stream that begins and falls silent.
    let server = serve("vllm", move |_| vec![Step::Send((STREAM.to_string() + &first).into()), Step::Hang]);
    let endpoint = Endpoint::open(&server.url(), "wise", ApiKey::new(KEY, "the test"), quick(), None, &Silent)
        .expect("an endpoint");
    let mut paid = Paid { enough: Some(3), ..Paid::new(3) };
    endpoint.generate(&mut paid).expect("no error");
    let [a, b, c] = &paid.purse.settled[..] else { panic!("{:?}", paid.purse.settled) };
    assert!([a, b, c].iter().all(|(charge, _)| *charge == Charge::Unknown));
    assert!(paid.asked.get() <= 2, "it was asked {} times", paid.asked.get());
    assert!(paid.questions.answers.is_empty());
}
