//! Models by name: fetched from a server on this machine that behaves, cuts connections, ignores ranges, lies and refuses.

mod server;

use retort_model::Error;
use retort_model::hub::{Hub, HubError, HubName, Want};
use retort_model::observe::{Observer, Silent};
use server::{Answer, Server};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const SECRET: &str = "hf_secret";

fn hub(server: &Server, cache: &Path) -> Hub {
    Hub {
        endpoint: server.address(),
        cache: cache.into(),
        token: Some(SECRET.into()),
        proxy: None,
        offline: false,
        retry_wait: Duration::from_millis(1),
    }
}

fn name() -> HubName {
    HubName::parse("org/tiny@v1").expect("a name")
}

/// A model of two shards, and files that nobody should ask for.
fn model(server: &Server) {
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    server.file("config.json", b"{}", false);
    server.file("tokenizer.json", b"{\"t\": 1}", false);
    server.file("model.safetensors.index.json", index.as_bytes(), false);
    server.file("model-1.safetensors", &[1; 1000], true);
    server.file("model-2.safetensors", &[2; 700_000], true);
    for unwanted in ["pytorch_model.bin", "consolidated.safetensors", "README.md", "modeling.py", "../evil.json"] {
        server.file(unwanted, b"x", false);
    }
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).expect(name)
}

fn fault(result: Result<std::path::PathBuf, Error>) -> HubError {
    match result.expect_err("refused") {
        Error::Hub(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_model_is_fetched_once_in_the_shared_layout() {
    let (server, cache) = (Server::start(COMMIT), tempfile::tempdir().expect("folder"));
    model(&server);
    let hub = hub(&server, cache.path());
    let small = hub.folder(&name(), Want::SmallFiles, &Silent).expect("small files");
    assert!(!small.join("model.safetensors.index.json").exists());
    let folder = hub.folder(&name(), Want::Everything, &Silent).expect("fetched");
    assert_eq!(folder, cache.path().join("models--org--tiny/snapshots").join(COMMIT));
    assert_eq!(read(&folder, "model-2.safetensors"), [2; 700_000]);
    assert_eq!(read(&cache.path().join("models--org--tiny/refs"), "v1"), COMMIT.as_bytes());
    let requests = server.requests();
    for unwanted in ["pytorch", "consolidated", "README", "modeling", "evil"] {
        assert!(!requests.iter().any(|request| request.path.contains(unwanted)), "{unwanted} was asked for");
    }
    assert!(requests.iter().all(|request| request.header("authorization") == Some(&format!("Bearer {SECRET}"))));
    // Again: the list is asked for, no file is.
    let before = requests.len();
    hub.folder(&name(), Want::Everything, &Silent).expect("there already");
    assert_eq!(server.requests().len(), before + 1);
    // A commit that changes one file brings that file alone.
    server.file("config.json", b"{ }", false);
    server.commit(&COMMIT.replace('0', "f"));
    let next = hub.folder(&name(), Want::Everything, &Silent).expect("fetched");
    assert_eq!((read(&next, "config.json"), read(&folder, "config.json")), (b"{ }".to_vec(), b"{}".to_vec()));
    assert_eq!(read(&next, "model-2.safetensors"), [2; 700_000]);
    assert_eq!(server.requests().len(), before + 3);
    let folder = next;
    // Without the server the cache is enough, but not for another model.
    drop(server);
    assert_eq!(hub.folder(&name(), Want::Everything, &Silent).expect("from the cache"), folder);
    let other = HubName::parse("org/other").expect("a name");
    let error = fault(hub.folder(&other, Want::Everything, &Silent));
    assert!(matches!(error, HubError::NoAnswer { .. }), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("HF_ENDPOINT")));
    let offline = Hub { offline: true, ..hub };
    assert_eq!(offline.folder(&name(), Want::Everything, &Silent).expect("from the cache"), folder);
    assert!(matches!(fault(offline.folder(&other, Want::Everything, &Silent)), HubError::NotCached { .. }));
}

#[test]
fn a_cut_download_continues_where_it_stopped() {
    let (server, cache) = (Server::start(COMMIT), tempfile::tempdir().expect("folder"));
    model(&server);
    server.answer("model-2.safetensors", [Answer::CutAfter(300_000), Answer::Status(503), Answer::CutAfter(100_000)]);
    let folder = hub(&server, cache.path()).folder(&name(), Want::Everything, &Silent).expect("fetched");
    assert_eq!(read(&folder, "model-2.safetensors"), [2; 700_000]);
    let starts: Vec<String> = server.requests().iter().filter_map(|request| request.header("range").cloned()).collect();
    assert_eq!(starts, ["bytes=300000-", "bytes=300000-", "bytes=400000-"]);
}

#[test]
fn what_another_run_left_is_continued_and_a_server_without_ranges_starts_over() {
    for ranges in [true, false] {
        let (server, cache) = (Server::start(COMMIT), tempfile::tempdir().expect("folder"));
        model(&server);
        server.answer("model-2.safetensors", vec![Answer::CutAfter(300_000); 1]);
        let interrupted = Interrupt(AtomicUsize::new(2));
        let error = fault(hub(&server, cache.path()).folder(&name(), Want::Everything, &interrupted));
        assert!(matches!(error, HubError::Interrupted), "{error}");
        if !ranges {
            server.answer("model-2.safetensors", [Answer::IgnoreRange]);
        }
        let folder = hub(&server, cache.path()).folder(&name(), Want::Everything, &Silent).expect("fetched");
        assert_eq!(read(&folder, "model-2.safetensors"), [2; 700_000]);
        assert!(server.requests().iter().any(|request| request.header("range").is_some()));
    }
}

/// Asks to stop once the large file has been heard of so many times.
struct Interrupt(AtomicUsize);

impl Observer for Interrupt {
    fn advanced(&self, _: u64, note: &str) {
        if note == "model-2.safetensors" {
            let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        }
    }
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

#[test]
fn damage_and_refusals_are_told_apart() {
    let (server, cache) = (Server::start(COMMIT), tempfile::tempdir().expect("folder"));
    model(&server);
    let hub = hub(&server, cache.path());
    for damaged in ["tokenizer.json", "model-1.safetensors"] {
        server.answer(damaged, [Answer::Damaged]);
        let error = fault(hub.folder(&name(), Want::Everything, &Silent));
        assert!(matches!(&error, HubError::Damaged { file, .. } if file == damaged), "{error}");
    }
    // What was damaged is gone, so the next run fetches it anew.
    hub.folder(&name(), Want::Everything, &Silent).expect("fetched");

    for (status, expected) in [(401, "refused"), (403, "refused"), (404, "knows no"), (418, "status 418")] {
        server.answer("list", [Answer::Status(status)]);
        let error = fault(hub.folder(&name(), Want::Everything, &Silent));
        let text = format!("{error} {:?} {error:?}", error.hint());
        assert!(text.contains(expected), "{status}: {text}");
        assert!(!text.contains(SECRET), "{text}");
    }
    for list in ["", "[]", "{\"sha\": \"../../..\", \"siblings\": []}", "{\"sha\": 1}"] {
        server.answer("list", [Answer::Body(list.into())]);
        let error = fault(hub.folder(&name(), Want::Everything, &Silent));
        assert!(matches!(error, HubError::Answer { .. }), "{list}: {error}");
    }
    server.answer("list", [Answer::Body(format!("{{\"sha\": \"{COMMIT}\", \"siblings\": []}}"))]);
    assert!(matches!(fault(hub.folder(&name(), Want::Everything, &Silent)), HubError::NoModel { .. }));
}

#[test]
fn the_token_goes_to_no_other_host() {
    let (server, other) = (Server::start(COMMIT), Server::start(COMMIT));
    let cache = tempfile::tempdir().expect("folder");
    model(&server);
    model(&other);
    let elsewhere = other.address().replace("127.0.0.1", "localhost");
    server.answer("config.json", [Answer::Redirect(format!("{elsewhere}/org/tiny/resolve/{COMMIT}/config.json"))]);
    let folder = hub(&server, cache.path()).folder(&name(), Want::Everything, &Silent).expect("fetched");
    assert_eq!(read(&folder, "config.json"), b"{}");
    let requests = other.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("authorization"), None);
}

#[test]
fn of_a_data_set_the_card_and_the_wanted_files_are_fetched() {
    let (server, cache) = (Server::start(COMMIT), tempfile::tempdir().expect("folder"));
    for (file, text) in
        [("README.md", "card"), ("main/test.jsonl", "{}"), ("socratic/test.jsonl", "no"), ("a.py", "no")]
    {
        server.file(file, text.as_bytes(), false);
    }
    let (hub, name) = (hub(&server, cache.path()), HubName::dataset("org/data").expect("a name"));
    let wanted = |all: &[&str], file: &str| all.contains(&"a.py") && file.starts_with("main/");
    let folder = hub.dataset(&name, &wanted, &Silent).expect("fetched");
    assert_eq!(folder, cache.path().join("datasets--org--data/snapshots").join(COMMIT));
    assert_eq!((read(&folder, "README.md"), read(&folder, "main/test.jsonl")), (b"card".to_vec(), b"{}".to_vec()));
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[0], "/api/datasets/org/data/revision/main?blobs=true");
    assert_eq!(paths[2], format!("/datasets/org/data/resolve/{COMMIT}/main/test.jsonl"));
    assert_eq!(paths.len(), 3);
    let offline = Hub { offline: true, ..hub };
    assert_eq!(offline.dataset(&name, &wanted, &Silent).expect("from the cache"), folder);
    let other = HubName::dataset("org/other").expect("a name");
    assert!(matches!(fault(offline.dataset(&other, &wanted, &Silent)), HubError::NotCached { .. }));
}
