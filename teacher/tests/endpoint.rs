//! Endpoints that fail in every way a socket can: what is not certainly a whole answer is never a sample, nothing is
//! asked more often than it helps, and the key goes nowhere else.

mod asking;
mod faults;

use asking::{CHAT, KEY, ask, cause, events, golden, quick, serve, whole};
use faults::{Asked, STREAM, Server, Step, answer, stream};
use retort_model::generate::FinishReason;
use retort_model::observe::{Observer, Silent};
use retort_model::score::{Given, Score, ScoreError, Want};
use retort_teacher::endpoint::{ApiKey, Endpoint, Error, Settings};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

#[test]
fn every_dialect_gives_the_same_sample() {
    let thinking = |field: &str| events(&[&format!(r#"{{"{field}":"add one"}}"#), r#"{"content":"7"}"#], r#""stop""#);
    let inline = |text: &str| {
        events(
            &[&format!(r#"{{"content":"{}"}}"#, &text[..6]), &format!(r#"{{"content":"{}"}}"#, &text[6..])],
            r#""stop""#,
        )
    };
    for (owner, events) in [
        ("vllm", thinking("reasoning")),
        ("vllm", thinking("reasoning_content")),
        ("sglang", thinking("reasoning_content")),
        ("deepseek", thinking("reasoning_content")),
        ("retort", thinking("reasoning_content")),
        ("somebody", inline("<think>add one</think>7")),
        ("somebody", inline("add one</think>\\n\\n7")),
    ] {
        let server = serve(owner, move |_| vec![Step::Send(stream(&events)), Step::KeepOpen]);
        let (questions, result, _) = ask(&server, quick(), 3);
        result.expect("answers");
        for completion in questions.answers.values() {
            assert_eq!((completion.reasoning.as_str(), completion.response.as_str()), ("add one", "7"), "{owner}");
            assert_eq!((completion.prompt_tokens, completion.completion_tokens), (9, 7));
            assert!(completion.finish_reason == FinishReason::Stop && !completion.unterminated);
        }
        assert_eq!(questions.answers.len(), 3);
        let asked = server.asked(CHAT);
        assert_eq!(asked[0].headers["authorization"], format!("Bearer {KEY}"));
        assert_eq!(asked[0].body["max_tokens"], 50);
        assert_eq!(asked[0].body["seed"].is_u64(), owner != "deepseek");
        assert_eq!(asked[0].body["return_token_ids"] == true, ["vllm", "retort"].contains(&owner));
    }
}

#[test]
fn a_body_in_one_piece_is_read_behind_its_heartbeats() {
    let body = "\n\n  \n".to_string()
        + r#"{"model":"wise","choices":[{"message":{"reasoning":"r","content":"7"},"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":50}}"#;
    let server = serve("vllm", move |_| answer("200 OK", "", &body));
    let (questions, result, _) = ask(&server, Settings { stream: false, ..quick() }, 1);
    result.expect("an answer");
    assert_eq!(questions.answers[&0].finish_reason, FinishReason::Length);
    assert_eq!(server.asked(CHAT)[0].body["stream"], false);
}

#[test]
fn a_stream_cut_at_any_byte_is_no_sample_and_is_asked_for_again() {
    let close = || [STREAM.as_bytes(), golden().as_bytes()].concat();
    for bytes in [stream(&golden()), close()] {
        // The answer is whole with its last event; HTTP's own end of it are seven bytes more.
        let cuts = bytes.len() as u64 - if bytes.ends_with(b"\r\n0\r\n\r\n") { 7 } else { 0 };
        let (script, seen) = (bytes.clone(), Mutex::new(BTreeSet::new()));
        let server = serve("vllm", move |asked: &Asked| {
            let question = asked.body["messages"][0]["content"].as_str().unwrap_or_default();
            let cut: usize = question.split(' ').nth(2).and_then(|id| id.parse().ok()).unwrap_or_default();
            let first = seen.lock().expect("no panic").insert(cut);
            if first { vec![Step::Send(script[..cut].to_vec())] } else { whole() }
        });
        let (questions, result, _) = ask(&server, quick(), cuts);
        result.expect("all are answered in the end");
        assert_eq!(questions.answers.len() as u64, cuts);
        for (id, completion) in &questions.answers {
            assert_eq!(
                (completion.reasoning.as_str(), completion.response.as_str()),
                ("add 漢 one", "\\boxed{7}"),
                "{id}"
            );
        }
        assert!(server.asked(CHAT).len() as u64 >= 2 * cuts, "each cut was asked for again");
    }
}

#[test]
fn what_is_no_answer_is_asked_for_again() {
    let json = |body: &str| answer("200 OK", "", body);
    let sse = |text: String| vec![Step::Send(stream(&text)), Step::KeepOpen];
    let faults: Vec<Vec<Step>> = vec![
        answer("500 Oops", "", "<html>"),
        answer("502 Bad Gateway", "", "<html>nginx</html>"),
        answer("503 Busy", "Retry-After: 0\r\n", ""),
        answer("529 Overloaded", "", "{}"),
        answer("429 Slow down", "Retry-After: soon\r\n", ""),
        answer("408 Timeout", "", ""),
        json("<html>200 for everything</html>"),
        json(r#"{"choices": ["#),
        json(r#"{"id": 1}"#),
        json(r#"{"model":"wise","choices":[],"usage":null,"object":"chat.completion"}"#),
        json(r#"{"error": {"message": "engine died", "code": 500}}"#),
        json(
            r#"{"model":"wise","choices":[{"message":{"content":"7"},"finish_reason":null}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
        ),
        sse(events(&[r#"{"content":"7"}"#], r#""abort""#)),
        sse(events(&[r#"{"content":"7"}"#], "null")),
        sse(events(&[r#"{"content":"7"}"#], r#""because""#)),
        sse(events(&[r#"{"content":"7"}"#], r#""stop""#).replace("data: [DONE]\n\n", "")),
        sse(events(&[r#"{"content":"7"}"#], r#""stop""#).replace("usage", "usedup")),
        sse(events(&[r#"{"thoughts":"a field that nobody knows"}"#], r#""stop""#).replace(":7", ":20")),
        sse("data: {\"model\":\"wise\",\"choices\":[{\"index\":1,\"delta\":{}}]}\n\n".into()),
        sse("data: {\"error\":{\"message\":\"out of memory\"}}\n\ndata: [DONE]\n\n".into()),
        sse("data: [DONE]\n\n".into()),
        sse(golden().replace("data: {\"model", "data: {\"finish\":1}{\"model")),
        vec![],
        vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}".to_vec())],
        vec![Step::Send(b"SSH-2.0-OpenSSH\r\n".to_vec())],
    ];
    let count = faults.len();
    let server = serve("vllm", move |asked| faults.get(asked.number).cloned().unwrap_or_else(whole));
    let settings = Settings { max_in_flight: 1, attempts: 40, ..quick() };
    let (questions, result, _) = ask(&server, settings, 2);
    result.expect("answers in the end");
    assert!(questions.answers.values().all(|completion| completion.response == "\\boxed{7}"));
    assert_eq!((questions.answers.len(), server.asked(CHAT).len()), (2, count + 2));
}

/// A model may write a second block: what that is worth is for a verifier to say. The same thinking twice is one.
#[test]
fn a_second_thinking_block_stays_in_the_answer() {
    let (thought, twice) = (r#"{"reasoning":"a"}"#, r#"{"content":"<think>a</think>b</think>7"}"#);
    for deltas in [&[thought, r#"{"content":"b</think>7"}"#][..], &[twice], &[thought, twice]] {
        let text = stream(&events(deltas, r#""stop""#));
        let server = serve("vllm", move |_| vec![Step::Send(text.clone()), Step::KeepOpen]);
        let (questions, result, _) = ask(&server, quick(), 1);
        result.expect("an answer");
        let answer = questions.answers.values().next().expect("one");
        assert_eq!((answer.reasoning.as_str(), answer.response.as_str()), ("a", "b</think>7"), "{deltas:?}");
    }
}

#[test]
fn a_storm_of_refusals_is_waited_out() {
    let server = serve("vllm", |asked| match asked.number {
        0..60 => answer("429 Slow down", "Retry-After: 0.001\r\n", r#"{"error": {"message": "busy"}}"#),
        _ => whole(),
    });
    let (questions, result, remarks) = ask(&server, quick(), 50);
    result.expect("answers after the storm");
    assert_eq!((questions.answers.len(), server.asked(CHAT).len()), (50, 110));
    assert!(remarks.iter().any(|line| line.contains("status 429: busy")), "{remarks:?}");
}

#[test]
fn slow_servers_run_into_their_deadlines() {
    let (head, tick) = (STREAM.as_bytes().to_vec(), Duration::from_millis(20));
    let first = golden().split_inclusive("\n\n").take(2).collect::<String>();
    let endless = golden().split_inclusive("\n\n").nth(3).map(String::from).expect("an event");
    let faults: Vec<Vec<Step>> = vec![
        // Nothing; headers that never end; a silent body; heartbeats alone; a start and silence; a start and heartbeats.
        vec![Step::Hang],
        vec![Step::Drip(b"HTTP/1.1 200 OK\r\nX: ".repeat(9), tick)],
        vec![Step::Send(head.clone()), Step::Hang],
        vec![Step::Send(head.clone()), Step::Forever(b": keep-alive\n\n".to_vec(), tick)],
        vec![Step::Send(head.clone()), Step::Send(first.clone().into()), Step::Hang],
        vec![Step::Send(head.clone()), Step::Send(first.into()), Step::Forever(b":\n".to_vec(), tick)],
        // A model that never stops, slowly and fast; one line that never ends.
        vec![Step::Send(head.clone()), Step::Forever(endless.clone().into(), tick)],
        vec![Step::Send(head.clone()), Step::Forever(endless.repeat(2000).into(), Duration::ZERO)],
        vec![Step::Send(head), Step::Forever(vec![b'x'; 1 << 20], Duration::ZERO)],
    ];
    let count = faults.len();
    let server = serve("vllm", move |asked| faults.get(asked.number).cloned().unwrap_or_else(whole));
    let settings = Settings {
        max_in_flight: 1,
        attempts: 20,
        first_byte_seconds: 0.2,
        idle_seconds: 0.2,
        total_seconds: 0.6,
        ..quick()
    };
    let (questions, result, _) = ask(&server, settings, 1);
    result.expect("an answer in the end");
    assert_eq!((questions.answers.len(), server.asked(CHAT).len()), (1, count + 1));
}

#[test]
fn what_will_not_get_better_stops_the_run_and_says_why() {
    type Is = fn(&Error) -> bool;
    let quota = r#"{"error": {"message": "You exceeded your current quota", "type": "insufficient_quota"}}"#;
    let cases: [(Vec<Step>, Is, bool); 5] = [
        (answer("401 No", "", "{}"), |e| matches!(e, Error::Access { .. }), true),
        (answer("402 Pay", "", r#"{"error": "Insufficient Balance"}"#), |e| matches!(e, Error::Quota { .. }), true),
        (answer("429 Quota", "", quota), |e| matches!(e, Error::Quota { .. }), true),
        (answer("404 None", "", "{}"), |e| matches!(e, Error::Unusable { .. }), false),
        (
            vec![Step::Send(stream(&golden().replace("wise", "other"))), Step::KeepOpen],
            |e| matches!(e, Error::OtherModel { found, .. } if found == "other"),
            false,
        ),
    ];
    for (fault, is, pause) in cases {
        let server = serve("vllm", move |asked| if asked.number == 4 { fault.clone() } else { whole() });
        let (questions, result, _) = ask(&server, Settings { max_in_flight: 2, ..quick() }, 100);
        let error = cause(result);
        assert!(is(&error) && error.is_pause() == pause, "{error}");
        assert!(error.hint().is_some() || matches!(error, Error::Unusable { .. }));
        // What was in flight is kept, and nothing more is asked.
        let asked = server.asked(CHAT).len();
        assert!(asked <= 6 && questions.answers.len() == asked - 1, "{asked} {}", questions.answers.len());
    }
}

#[test]
fn most_requests_failing_stops_the_run_and_one_failing_does_not() {
    let server = serve("vllm", |asked| match asked.number % 7 {
        3 => answer("400 No", "", r#"{"error": {"message": "this prompt is too long"}}"#),
        _ => whole(),
    });
    let (questions, result, _) = ask(&server, Settings { max_failures: 0.5, ..quick() }, 30);
    result.expect("the others go on");
    let refused: Vec<_> = questions.answers.values().filter(|c| c.finish_reason == FinishReason::Refused).collect();
    assert!(!refused.is_empty() && refused.iter().all(|c| c.response == "status 400: this prompt is too long"));
    assert_eq!(questions.answers.len(), 30);

    let server = serve("vllm", |_| answer("400 No", "", r#"{"message": "no such parameter"}"#));
    let (_, result, _) = ask(&server, Settings { max_failures: 0.5, ..quick() }, 5000);
    let error = cause(result);
    assert!(matches!(&error, Error::TooManyFailures { reason, .. } if reason.contains("no such parameter")), "{error}");
    assert!(server.asked(CHAT).len() < 100);
}

#[test]
fn what_a_server_refuses_before_it_answered_once_is_no_sample_until_it_does() {
    let no = || answer("400 No", "", r#"{"message": "no such parameter"}"#);
    let usual = || Settings { max_failures: 0.5, max_in_flight: 1, ..quick() };
    let server = serve("vllm", move |_| no());
    let (questions, result, _) = ask(&server, usual(), 3);
    let error = cause(result);
    assert!(matches!(&error, Error::AllRefused { refused: 3, reason, .. } if reason.contains("no such")), "{error}");
    assert!(questions.answers.is_empty() && !error.is_pause() && error.hint().is_some());

    let server = serve("vllm", move |asked| if asked.number < 2 { no() } else { whole() });
    let (questions, result, _) = ask(&server, usual(), 3);
    result.expect("it works");
    let refused = questions.answers.values().filter(|answer| answer.finish_reason == FinishReason::Refused);
    assert_eq!((questions.answers.len(), refused.count()), (3, 2));

    // The most of failures, and none stored; whoever takes any number of them takes these.
    let server = serve("vllm", move |_| no());
    let (questions, result, _) = ask(&server, usual(), 30);
    assert!(matches!(cause(result), Error::TooManyFailures { failed: 20, .. }) && questions.answers.is_empty());
    let (questions, result, _) = ask(&server, quick(), 3);
    result.expect("as asked for");
    assert_eq!(questions.answers.len(), 3);
}

#[test]
fn a_redirect_is_not_followed_and_the_key_stays_home() {
    let elsewhere = Server::start(|_| whole());
    let place = elsewhere.url();
    let server =
        serve("vllm", move |_| answer("307 Moved", &format!("Location: {place}/chat/completions?key=1\r\n"), ""));
    let (_, result, _) = ask(&server, quick(), 3);
    let error = cause(result);
    assert!(matches!(error, Error::Redirect { .. }) && !error.to_string().contains("key=1"), "{error}");
    assert!(elsewhere.asked(CHAT).is_empty());

    let place = elsewhere.url();
    let server = Server::start(move |_| answer("301 Moved", &format!("Location: {place}/models\r\n"), ""));
    let opened = Endpoint::open(&server.url(), "wise", ApiKey::new(KEY, "the test"), quick(), None, &Silent);
    assert!(matches!(opened.err(), Some(Error::Redirect { .. })));
    assert!(elsewhere.asked("/v1/models").is_empty());
}

#[test]
fn what_cannot_work_is_told_before_anything_is_asked() {
    let open = |url: &str, model: &str, settings| {
        Endpoint::open(url, model, None, settings, None, &Silent).err().expect("an error")
    };
    let server = serve("vllm", |_| whole());
    let error = open(&server.url(), "foolish", quick());
    assert!(error.to_string().contains("does not offer `foolish`; it offers `wise`"), "{error}");
    let error = open(&server.url(), "wise", Settings { profile: Some("vlm".into()), ..quick() });
    assert!(matches!(error, Error::UnknownProfile { .. }));
    let extra = serde_json::Map::from_iter([("max_tokens".to_string(), 9.into())]);
    let error = open(&server.url(), "wise", Settings { extra, ..quick() });
    assert!(matches!(error, Error::Setting { setting: "extra", .. }));
    let error = open(&server.url(), "wise", Settings { idle_seconds: -1.0, ..quick() });
    assert!(matches!(error, Error::Setting { setting: "idle_seconds", .. }));
    let gone = server.url();
    drop(server);
    let error = open(&gone, "wise", quick());
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

/// Somebody who has asked to stop.
struct Leaving;

impl Observer for Leaving {
    fn cancelled(&self) -> bool {
        true
    }
}

#[test]
fn who_asks_about_given_text_may_stop() {
    let server = serve("vllm", |_| answer("503 Busy", "", ""));
    let endpoint = Endpoint::open(&server.url(), "wise", ApiKey::new(KEY, "the test"), quick(), None, &Leaving)
        .expect("an endpoint");
    let given = [Given { prompt: &[1], text: &[2, 3] }];
    let stopped = endpoint.score(&given, Want::Sampled, &mut |_| Ok(())).expect_err("nothing was told");
    assert!(matches!(stopped, ScoreError::Model(retort_model::Error::Interrupted)), "{stopped:?}");
}
