//! `retort serve` as its clients meet it, and as the teacher of `datagen run`.

mod http;

use http::{KEY, Served};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

fn question() -> Value {
    json!([{ "role": "user", "content": "Find 38+95." }])
}

#[test]
fn whole_and_streamed_answers_are_the_same() {
    let served = Served::start();
    let (status, models) = served.ask("GET", "/v1/models", "");
    assert!(status == 200 && models.contains(r#""id":"embedded""#) && models.contains(r#""owned_by":"retort""#));

    let mut body =
        json!({ "model": "embedded", "messages": question(), "temperature": 0.0, "n": 2, "max_tokens": 200 });
    body["return_token_ids"] = true.into();
    let whole = served.json(CHAT, &body);
    let message = &whole["choices"][1]["message"];
    assert!(message["content"].as_str().expect("text").contains("133"), "{whole}");
    assert!(!message["reasoning_content"].as_str().expect("thinking").is_empty());
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    let usage = &whole["usage"];
    let ids = |value: &Value| value.as_array().expect("ids").len() as u64;
    let counted: u64 = (0..2).map(|at| ids(&whole["choices"][at]["token_ids"])).sum();
    assert_eq!(usage["completion_tokens"], counted);
    assert_eq!(usage["prompt_tokens"], ids(&whole["choices"][0]["prompt_token_ids"]));

    body["stream"] = true.into();
    body["stream_options"] = json!({ "include_usage": true });
    let events = served.events(CHAT, &body);
    assert_eq!(events.last().expect("usage")["usage"], whole["usage"]);
    for at in 0..2 {
        let pieces =
            || events.iter().flat_map(|e| e["choices"].as_array().expect("choices")).filter(|c| c["index"] == at);
        let joined = |field: &str| pieces().filter_map(|piece| piece["delta"][field].as_str()).collect::<String>();
        assert_eq!(joined("content"), message["content"].as_str().expect("text"));
        assert_eq!(joined("reasoning_content"), message["reasoning_content"].as_str().expect("text"));
        let ends: Vec<&Value> = pieces().map(|piece| &piece["finish_reason"]).filter(|end| !end.is_null()).collect();
        assert_eq!(ends, ["stop"]);
        let tokens: Vec<Value> =
            pieces().flat_map(|piece| piece["token_ids"].as_array().cloned().unwrap_or_default()).collect();
        assert_eq!(Value::from(tokens), whole["choices"][at as usize]["token_ids"]);
    }
}

#[test]
fn completions_take_text_and_tokens_echo_them_and_stop_where_they_are_told() {
    let served = Served::start();
    let greedy = |prompt: Value| json!({ "prompt": prompt, "temperature": 0, "max_tokens": 12 });
    let mut body = greedy("<｜User｜>Find 38+95.<｜Assistant｜><think>\n".into());
    body["return_token_ids"] = true.into();
    let one = served.json(TEXT, &body);
    let text = one["choices"][0]["text"].as_str().expect("text").to_string();
    let tokens = one["choices"][0]["prompt_token_ids"].clone();
    assert_eq!((one["choices"][0]["finish_reason"].as_str(), text.is_empty()), (Some("length"), false));
    let both = served.json(TEXT, &greedy(json!([tokens, tokens])));
    assert!((0..2).all(|at| both["choices"][at]["text"] == *text), "{both}");

    let mut echoed = greedy(tokens.clone());
    echoed["echo"] = true.into();
    assert_eq!(
        served.json(TEXT, &echoed)["choices"][0]["text"],
        format!("{}{text}", body["prompt"].as_str().expect("text"))
    );
    echoed["max_tokens"] = 0.into();
    assert_eq!(served.json(TEXT, &echoed)["choices"][0]["text"], body["prompt"]);

    let middle = text.chars().skip(text.chars().count() / 2).take(3).collect::<String>();
    let mut stopped = greedy(tokens);
    stopped["stop"] = json!([middle]);
    let stopped = served.json(TEXT, &stopped);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    assert_eq!(stopped["choices"][0]["text"], text.split(middle.as_str()).next().expect("text before it"));
}

#[test]
fn log_probabilities_are_told_for_what_was_given_and_for_what_was_drawn() {
    let served = Served::start();
    let ask = |body: Value| served.json(TEXT, &body)["choices"][0]["logprobs"].clone();
    let prompt = "<｜User｜>Find 38+95.<｜Assistant｜><think>\n";
    let drawn = ask(json!({ "prompt": prompt, "max_tokens": 6, "temperature": 0, "logprobs": 3 }));
    let numbers = |logprobs: &Value| logprobs["token_logprobs"].as_array().expect("numbers").clone();
    assert_eq!(numbers(&drawn).len(), 6);
    for (told, top) in numbers(&drawn).iter().zip(drawn["top_logprobs"].as_array().expect("tops")) {
        let top: Vec<f64> =
            top.as_object().expect("a top").values().map(|value| value.as_f64().expect("number")).collect();
        // The likeliest token was drawn.
        assert_eq!(told.as_f64(), top.iter().copied().reduce(f64::max));
        assert!(top.len() == 3 && top.iter().map(|logprob| logprob.exp()).sum::<f64>() <= 1.0 + 1e-6);
    }
    let echoed = ask(json!({ "prompt": prompt, "max_tokens": 6, "temperature": 0, "logprobs": 3, "echo": true }));
    let given = ask(json!({ "prompt": prompt, "max_tokens": 0, "logprobs": 0, "echo": true }));
    let (all, given) = (numbers(&echoed), numbers(&given));
    assert!(given[0].is_null() && given[1..].iter().all(Value::is_number));
    assert_eq!(all.len(), given.len() + 6);
    // Cached and uncached, alone and behind a prompt: the same to the accuracy of f32.
    let close = |a: &Value, b: &Value| (a.as_f64().expect("number") - b.as_f64().expect("number")).abs() < 1e-3;
    assert!(
        all[1..].iter().zip(given[1..].iter().chain(&numbers(&drawn))).all(|(a, b)| close(a, b)),
        "{all:?} {given:?}"
    );

    let mut body =
        json!({ "messages": question(), "temperature": 0, "max_tokens": 5, "logprobs": true, "top_logprobs": 2 });
    let whole = served.json(CHAT, &body)["choices"][0]["logprobs"]["content"].clone();
    assert_eq!(whole.as_array().expect("tokens").len(), 5);
    assert_eq!(whole[0]["logprob"], whole[0]["top_logprobs"][0]["logprob"]);
    body["stream"] = true.into();
    let events = served.events(CHAT, &body);
    let told = |event: &Value| event["choices"][0]["logprobs"]["content"].as_array().cloned().unwrap_or_default();
    assert_eq!(Value::Array(events.iter().flat_map(told).collect()), whole);
    // Each comes with the text that it is.
    let text = |event: &Value| event["choices"][0]["delta"]["reasoning_content"].as_str().map(String::from);
    let pieces = events.iter().filter_map(|event| Some((text(event)?, told(event))));
    assert!(pieces.filter(|(text, told)| text.starts_with(told[0]["token"].as_str().expect("text"))).count() > 2);
    for (field, value) in [("logprobs", json!(21)), ("logprobs", json!(true)), ("top_logprobs", json!(2))] {
        let mut body = json!({ "prompt": "a", "max_tokens": 1 });
        body[field] = value;
        assert_eq!(served.ask("POST", TEXT, &body.to_string()).0, 400, "{body}");
    }
}

#[test]
fn the_same_seed_gives_the_same_answer_beside_any_others() {
    let served = Served::start();
    let body =
        |seed: u64| json!({ "messages": question(), "seed": seed, "temperature": 1.5, "max_tokens": 40 }).to_string();
    let text = |seed| {
        let answer: Value = serde_json::from_str(&served.ask("POST", CHAT, &body(seed)).1).expect("JSON");
        format!(
            "{}{}",
            answer["choices"][0]["message"]["reasoning_content"], answer["choices"][0]["message"]["content"]
        )
    };
    let alone = text(7);
    assert_ne!(alone, text(8));
    std::thread::scope(|scope| {
        let beside: Vec<_> =
            (0..12).map(|at| (at, scope.spawn(move || text(if at % 3 == 0 { 7 } else { at })))).collect();
        for (at, thread) in beside {
            let found = thread.join().expect("no panic");
            assert!(at % 3 != 0 || found == alone, "{found} {alone}");
        }
    });
}

#[test]
fn what_is_not_allowed_is_refused_with_a_reason() {
    let served = Served::start();
    for (headers, expected) in
        [("", 401), ("Authorization: Bearer sk-canary\r\n", 401), ("Authorization: Basic x\r\n", 401)]
    {
        for path in ["/v1/models", "/metrics", "/health", "/nowhere"] {
            assert_eq!(served.ask_with("GET", path, headers, "").0, expected, "{path} {headers}");
        }
    }
    let with = |field: &str, value: Value| {
        let mut body = json!({ "messages": question(), "max_tokens": 3 });
        body[field] = value;
        served.ask("POST", CHAT, &body.to_string())
    };
    assert_eq!(with("frequency_penalty", 0.0.into()).0, 200);
    for (field, value, expected, word) in [
        ("model", "other".into(), 404, "embedded"),
        ("messages", json!([]), 400, "messages"),
        ("messages", json!([{ "role": "tool", "content": "x" }]), 400, "role"),
        ("messages", json!([{ "role": "user", "content": "word ".repeat(20_000) }]), 400, "context"),
        ("n", 0.into(), 400, "`n`"),
        ("n", 1_000_000_000.into(), 400, "`n`"),
        ("temperature", (-1).into(), 400, "temperature"),
        ("top_p", 2.into(), 400, "top_p"),
        ("max_tokens", 0.into(), 400, "max_tokens"),
        ("stop", json!(vec!["x"; 1000]), 400, "stop"),
        ("frequency_penalty", 1.into(), 400, "frequency_penalty"),
        ("tools", json!([{ "type": "function" }]), 400, "tools"),
        ("chat_template", "{{ x }}".into(), 400, "chat_template"),
        ("logit_bias", json!({ "99999999": 100 }), 400, "logit_bias"),
        ("top_k", json!("some"), 400, "body"),
        ("min_p", 2.into(), 400, "min_p"),
        ("repetition_penalty", 0.into(), 400, "repetition_penalty"),
    ] {
        let (status, text) = with(field, value);
        assert!(status == expected && text.contains(word), "{field}: {status} {text}");
    }
    assert_eq!(served.ask("POST", TEXT, r#"{"prompt": [4294967295]}"#).0, 400);
    assert_eq!(served.ask("POST", TEXT, r#"{"prompt": "#).0, 400);
    assert_eq!(served.ask("POST", TEXT, &"[".repeat(100_000)).0, 400);
    assert_eq!(served.ask("POST", TEXT, &" ".repeat(3 << 20)).0, 413);
    assert_eq!(served.ask("GET", CHAT, "").0, 405);
    assert_eq!(served.ask("GET", "/v1/engines", "").0, 404);
    assert!(served.ask("GET", "/v1/models/%65mbedded", "").1.contains("max_model_len"));
    assert_eq!(served.ask("GET", "/v1/models/other", "").0, 404);
    let long = format!("Authorization: Bearer {KEY}\r\nX-Long: {}\r\n", "x".repeat(1 << 20));
    assert_ne!(served.ask_with("GET", "/v1/models", &long, "").0, 200);
    assert_eq!(served.ask("GET", "/health", "").0, 200, "and it lives");
}

#[test]
fn a_client_that_leaves_gives_its_slot_back() {
    let served = Served::start();
    let key = format!("Authorization: Bearer {KEY}\r\n");
    for stream in [false, true] {
        let before = served.metric("retort_abandoned_completions_total");
        // Nothing but the context's end ends these: token 1, which would, is forbidden.
        let body = json!({ "prompt": "a", "max_tokens": 9999, "logit_bias": { "1": -100 }, "stream": stream });
        let left: Vec<_> = (0..3).map(|_| served.send("POST", TEXT, &key, &body.to_string())).collect();
        while served.metric("retort_running_completions") < 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(left);
        while served.metric("retort_running_completions") > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(served.metric("retort_abandoned_completions_total"), before + 3, "stream: {stream}");
    }
}

fn retort(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    command.args(arguments).current_dir(folder).env("RETORT_API_KEY", KEY).output().expect("the program starts")
}

/// Everything that a run said and wrote.
fn traces_of(output: &Output, folder: &Path) -> Vec<u8> {
    let mut all = [output.stdout.clone(), output.stderr.clone()].concat();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.extend(std::fs::read(path).expect("a file"));
            }
        }
    }
    all
}

#[test]
fn datagen_asks_a_served_model_within_its_budget_and_keeps_the_key_to_itself() {
    let served = Served::start();
    let here = tempfile::tempdir().expect("folder");
    std::fs::write(
        here.path().join("prices.toml"),
        "currency = 'USD'\n[[price]]\nmodel = 'embedded'\ninput = 1\noutput = 10\n",
    )
    .expect("writable");
    let url = served.url();
    let run = |cost: &str, out: &str, tokenizer: &[&str]| {
        let mut arguments = vec![
            "datagen",
            "run",
            "--teacher",
            &url,
            "--teacher-model",
            "embedded",
            "--problems",
            "gym:arithmetic@1",
            "--limit",
            "20",
            "-n",
            "2",
            "--prices",
            "prices.toml",
            "--max-cost",
            cost,
            "--out",
            out,
            "--set",
            "sampling.max_tokens=128",
        ];
        arguments.extend(tokenizer);
        retort(&arguments, here.path())
    };
    // The worst case of one request is above a tenth of a cent: so many fit at first, and fewer than all.
    let output = run("0.006", "chat", &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("the money is used up") && said.contains("--max-cost"), "{said}");
    let spent = |out: &str| -> (usize, f64) {
        let ledger = std::fs::read_to_string(here.path().join(out).join("attempts.jsonl")).expect("a ledger");
        let entries: Vec<Value> = ledger.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let costs = entries.iter().filter_map(|entry| entry["entry"]["settled"]["cost"].as_u64());
        (costs.clone().count(), costs.sum::<u64>() as f64 / 1e12)
    };
    let (some, cost) = spent("chat");
    assert!(some > 0 && some < 40 && cost <= 0.006, "{some} {cost}");

    let output = run("1", "chat", &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("USD for 40 attempts, "));
    let (all, _) = spent("chat");
    assert_eq!(all, 40, "nothing is paid twice");

    // The same samples through `/completions`, with prompts rendered here.
    let output = run("1", "text", &["--teacher-tokenizer", "embedded"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = |out: &str| -> Vec<String> {
        let text =
            String::from_utf8(retort(&["datagen", "show", out, "--limit", "40"], here.path()).stdout).expect("text");
        // The two routes are two generators.
        text.lines().filter(|line| !line.starts_with("by ")).map(String::from).collect()
    };
    assert_eq!(shown("chat"), shown("text"));

    let wrong = retort(
        &[
            "datagen",
            "run",
            "--teacher",
            &url,
            "--teacher-model",
            "embedded",
            "--problems",
            "gym",
            "--out",
            "denied",
            "--key-file",
            "prices.toml",
        ],
        here.path(),
    );
    assert_eq!(wrong.status.code(), Some(2), "a key has no spaces");
    let everything = [traces_of(&output, here.path()), traces_of(&wrong, here.path())].concat();
    for secret in [KEY, "c2stY2FuYXJ5LTViMmU3Nw"] {
        assert!(!everything.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} got out");
    }
}

#[test]
fn a_served_model_scores_as_one_that_runs_here() {
    let (served, folder) = (Served::start(), tempfile::tempdir().expect("folder"));
    let folder = folder.path();
    let rows = |name: &str, row: fn(usize) -> Value| {
        let text: String = (0..12).map(|at| format!("{}\n", row(at))).collect();
        std::fs::write(folder.join(name), text).expect("written");
    };
    rows("choices.jsonl", |at| {
        let texts = [format!("{}", 2 * at), format!("it is {}", 2 * at + 1), "none".into()];
        json!({ "id": at.to_string(), "question": format!("What is {at}+{at}?"), "answerKey": "A",
                "choices": { "text": texts, "label": ["A", "B", "C"] } })
    });
    rows("sums.jsonl", |at| json!({ "question": format!("Find {at}+38."), "answer": (at + 38).to_string() }));
    let definition = "name = 'raw'\nversion = 1\nabout = 'sums'\n[question]\n\
                      text = \"<｜User｜>{{ question }}<｜Assistant｜><think>\\n\"\ngold = '{{ answer }}'\n\
                      [generation]\nprompt = 'raw'\nsamples = 1\nverify = 'math'\n\
                      [generation.sampling]\ntemperature = 0.0\nmax_tokens = 60\n";
    std::fs::write(folder.join("raw.toml"), definition).expect("written");
    let run = |benchmark: &str, data: &str, out: &str, further: &[&str]| {
        let common = ["evals", "run", "--benchmark", benchmark, "--data", data, "--bos", "--out", out];
        let output = retort(&[&common[..], further].concat(), folder);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let url = served.url();
    let there = ["--model", &url, "--teacher-model", "embedded", "--teacher-tokenizer", "embedded"];
    let here = ["--model", "embedded"];
    let likelihoods = |out: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(folder.join(out).join("likelihoods.jsonl")).expect("read");
        text.lines().skip(1).map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    assert_eq!(run("arc-easy", "choices.jsonl", "a", &here), run("arc-easy", "choices.jsonl", "b", &there));
    for (a, b) in likelihoods("a").iter().zip(likelihoods("b")) {
        assert_eq!((&a["greedy"], &a["choice_tokens"]), (&b["greedy"], &b["choice_tokens"]));
        let figures =
            |row: &Value| serde_json::from_value::<Vec<f64>>(row["log_likelihoods"].clone()).expect("numbers");
        assert!(figures(a).iter().zip(figures(&b)).all(|(a, b)| (a - b).abs() < 1e-4), "{a} {b}");
    }
    assert_eq!(run("raw.toml", "sums.jsonl", "c", &here), run("raw.toml", "sums.jsonl", "d", &there));
    let texts = |out: &str| -> Vec<(String, Value)> {
        retort(&["datagen", "export", out, "--format", "jsonl", "--all", "--out", "x.jsonl"], folder);
        let text = std::fs::read_to_string(folder.join("x.jsonl")).expect("read");
        let row = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
        text.lines().map(row).map(|row| (row["response"].to_string(), row["prompt_token_ids"].clone())).collect()
    };
    assert_eq!(texts("c"), texts("d"));
    assert!(texts("c").iter().any(|(text, _)| text.contains("</think>")), "a raw prompt's text stays whole");
}

#[test]
fn a_public_address_needs_a_key() {
    let output = Command::new(env!("CARGO_BIN_EXE_retort"))
        .args(["serve", "--model", "embedded", "--addr", "0.0.0.0:0"])
        .env_remove("RETORT_API_KEY")
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("no API key") && said.contains("hint:"), "{said}");
}
