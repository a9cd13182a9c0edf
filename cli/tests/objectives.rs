//! `retort distill run` with objectives beyond cross-entropy, and by reward: what runs, what is refused, what a dry run tells.

#[path = "http/served.rs"]
mod served;

use served::{KEY, Served};
use std::path::Path;
use std::process::{Command, Output};

fn distill(here: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    command.args(["distill", "run", "--student", "embedded", "--traces", "traces", "--no-eval"]);
    command.args(more).current_dir(here).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Twenty traces of the embedded teacher.
fn traces(here: &Path, more: &[&str]) {
    let arguments = ["datagen", "run", "--teacher", "embedded", "--problems", "gym:modular", "--limit", "20"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    let made = command
        .args(arguments)
        .args(["--out", "traces"])
        .args(more)
        .current_dir(here)
        .output()
        .expect("the program starts");
    assert!(made.status.success(), "{}", text(&made.stderr));
}

fn recipe(name: &str) -> String {
    format!("{}/../distill/recipes/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_live_teacher_is_asked_and_the_student_writes() {
    let here = tempfile::tempdir().expect("folder");
    traces(here.path(), &[]);
    let kl = recipe("kl");
    let run = ["--teacher", "embedded", "--recipe", &kl, "--set", "epochs=1", "--set", "average=0.9", "--out", "kl"];
    let done = distill(here.path(), &run);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let last = metrics(here.path(), "kl").pop().expect("a line");
    // The teacher's template opens the thinking block, and the student's does not.
    let terms = ["cross_entropy", "forward_kl", "opening"].map(|term| last["terms"][term].as_f64().expect("a number"));
    assert!((terms.iter().sum::<f64>() - last["loss"].as_f64().expect("a number")).abs() < 1e-9, "{last}");
    assert!(here.path().join("kl/tensorboard").is_dir() && here.path().join("kl/best/model.safetensors").is_file());

    let on_policy = recipe("on-policy");
    let settings = ["epochs=4", "per_step=4", "report_every=1", "on_policy.sampling.max_tokens=40"];
    let settings = settings.map(|setting| ["--set", setting]).concat();
    let run = [&["--teacher", "embedded", "--recipe", &on_policy, "--out", "own"][..], &settings].concat();
    let done = distill(here.path(), &run);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(here.path().join("own/model.safetensors").is_file());
    assert!(here.path().join("own/best").is_dir());

    let sampled = "objective.terms=[{ loss = \"sampled_reverse_kl\", weight = 1 }]";
    let run = ["--teacher", "embedded", "--recipe", &on_policy, "--out", "sampled", "--set", sampled];
    let done = distill(here.path(), &[&run[..], &settings].concat());
    assert!(text(&done.stderr).contains("no look at the validation problems"), "{}", text(&done.stderr));
    assert!(here.path().join("sampled/model.safetensors").is_file() && !here.path().join("sampled/best").exists());
    // Untouched by what the teacher would say of a turn that it never begins, the student learns to begin as it does.
    let opening: Vec<f64> =
        metrics(here.path(), "own").iter().map(|line| line["terms"]["opening"].as_f64().expect("a number")).collect();
    assert!(opening.len() > 1 && opening[opening.len() - 1] < 0.5 * opening[0], "{opening:?}");
}

#[test]
fn what_a_dataset_captured_is_learnt_without_its_teacher() {
    let here = tempfile::tempdir().expect("folder");
    for (capture, loss) in [
        ("capture.top_k=8", "{ loss = \"forward_kl\", weight = 1, rows = { top_k = 8 } }"),
        ("capture.draws=20", "{ loss = \"sampled\", weight = 1 }"),
    ] {
        let folder = here.path().join(loss.replace(|c: char| !c.is_alphanumeric(), ""));
        std::fs::create_dir(&folder).expect("created");
        traces(&folder, &["--set", capture]);
        let terms = format!("objective.terms=[{loss}]");
        let done = distill(&folder, &["--set", &terms, "--set", "epochs=1", "--out", "x"]);
        assert!(done.status.success(), "{loss}: {}", text(&done.stderr));
        assert!(folder.join("x/model.safetensors").is_file());
        let more = format!(
            "objective.terms=[{}]",
            loss.replace("sampled\"", "forward_kl\", rows = \"full\"").replace("= 8", "= 9")
        );
        let refused = distill(&folder, &["--set", &more, "--out", "y"]);
        assert!(text(&refused.stderr).contains("and the traces captured"), "{more}: {}", text(&refused.stderr));
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let here = tempfile::tempdir().expect("folder");
    traces(here.path(), &[]);
    let on_policy = recipe("on-policy");
    let (kl, terms) =
        (recipe("kl"), "objective.terms=[{ loss = \"jensen_shannon\", weight = 1, beta = 2, rows = \"full\" }]");
    for (arguments, says) in [
        (vec!["--recipe", &kl], "needs a teacher"),
        (vec!["--recipe", &on_policy], "no teacher is there to judge it"),
        (vec!["--teacher", "embedded"], "no term"),
        (vec!["--teacher", "embedded", "--set", terms], "`beta` 2"),
        (vec!["--set", "objective.terms=[{ loss = \"kl\", weight = 1 }]"], "unknown variant `kl`"),
        (vec!["--set", "objective.terms=[{ loss = \"cross_entropy\", weight = 1, beta = 2 }]"], "unknown field `beta`"),
        (vec!["--set", "optimiser.groups=[{ pattern = \"nowhere\" }]"], "nowhere"),
    ] {
        let refused = distill(here.path(), &[&arguments[..], &["--out", "x"]].concat());
        let message = text(&refused.stderr);
        assert!(refused.status.code() == Some(2) && message.contains(says), "{arguments:?}: {message}");
    }
    assert!(!here.path().join("x/model.safetensors").exists());
}

#[test]
fn a_dry_run_shows_an_example_and_what_a_run_would_take() {
    let here = tempfile::tempdir().expect("folder");
    traces(here.path(), &[]);
    let told = distill(here.path(), &["--dry-run", "--out", "x"]);
    let out = text(&told.stdout);
    assert!(told.status.success(), "{}", text(&told.stderr));
    for part in ["to learn from", "steps of 16 traces", "<think>", "tokens/s: about", "MiB of memory"] {
        assert!(out.contains(part), "`{part}` is not in\n{out}");
    }
    let fresh = ["distill", "run", "--student", "preset:1m", "--traces", "traces", "--dry-run", "--out", "x"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    let fresh = command.args(fresh).current_dir(here.path()).output().expect("the program starts");
    assert!(fresh.status.success(), "{}", text(&fresh.stderr));
    assert!(!here.path().join("x").exists());
}

/// The loss of every step of a run.
fn losses(folder: &Path) -> Vec<f64> {
    let metrics = std::fs::read_to_string(folder.join("metrics.jsonl")).expect("metrics");
    let loss = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["loss"].as_f64();
    metrics.lines().map(|line| loss(line).expect("a loss")).collect()
}

/// The embedded student, with a tokenizer that knows fewer words of the same alphabet.
fn student_with_other_tokens(folder: &Path) {
    let arguments = ["model", "convert", "embedded-student", "--to", "f32", "--out"];
    let made = Command::new(env!("CARGO_BIN_EXE_retort")).args(arguments).arg(folder).output().expect("starts");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let path = folder.join("tokenizer.json");
    let mut tokenizer: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("a tokenizer")).expect("JSON");
    tokenizer["model"]["merges"].as_array_mut().expect("merges").truncate(200);
    std::fs::write(&path, tokenizer.to_string()).expect("written");
}

#[test]
fn hidden_states_and_other_tokens_are_learnt_from() {
    let here = tempfile::tempdir().expect("folder");
    traces(here.path(), &[]);
    student_with_other_tokens(&here.path().join("other"));
    let run = |student: &str, terms: &str, out: &str| {
        let mut settings = vec!["--student", student, "--teacher", "embedded", "--out", out, "--set", terms];
        for set in ["epochs=8", "report_every=1", "validation_share=0", "retokenise=true"] {
            settings.extend(["--set", set]);
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
        command.args(["distill", "run", "--traces", "traces", "--no-eval"]).args(settings);
        command.current_dir(here.path()).output().expect("the program starts")
    };
    let hidden = "objective.terms=[{ loss = \"hidden\", weight = 1 }]";
    let sorted = "objective.terms=[{ loss = \"sorted\", weight = 1 }]";
    for (student, terms, out) in [("embedded", hidden, "hidden"), ("other", sorted, "sorted")] {
        let done = run(student, terms, out);
        assert!(done.status.success(), "{out}: {}", text(&done.stderr));
        let losses = losses(&here.path().join(out));
        assert!(losses[losses.len() - 1] < 0.8 * losses[0], "{out} does not learn: {losses:?}");
        assert!(here.path().join(out).join("model.safetensors").is_file());
    }
    for (student, terms, says) in [
        ("other", hidden, "different tokenizers, and the loss `hidden`"),
        (
            "other",
            "objective.terms=[{ loss = \"forward_kl\", weight = 1, rows = \"full\" }]",
            "`sorted` compares any two",
        ),
    ] {
        let refused = run(student, terms, "x");
        let message = text(&refused.stderr);
        assert!(refused.status.code() == Some(2) && message.contains(says), "{terms}: {message}");
    }
}

#[test]
fn a_teacher_behind_an_address_says_what_one_here_would() {
    let here = tempfile::tempdir().expect("folder");
    traces(here.path(), &[]);
    let served = Served::start();
    let url = served.url();
    let run = |teacher: &[&str], more: &[&str], out: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
        command.args(["distill", "run", "--student", "embedded", "--traces", "traces", "--no-eval", "--out", out]);
        for set in ["report_every=1", "per_step=4", "validation_share=0", "precision=f32"] {
            command.args(["--set", set]);
        }
        command.args(teacher).args(more).env("RETORT_API_KEY", KEY).current_dir(here.path());
        command.output().expect("the program starts")
    };
    let there = ["--teacher", &url, "--teacher-model", "embedded", "--teacher-tokenizer", "embedded"];
    let on_policy = recipe("on-policy");
    let own = "objective.terms=[{ loss = \"sampled_reverse_kl\", weight = 1 }]";
    let likeliest = "objective.terms=[{ loss = \"forward_kl\", weight = 1, rows = { top_k = 8 } }]";
    let writes =
        ["--recipe", &on_policy, "--set", own, "--set", "epochs=0.5", "--set", "on_policy.sampling.max_tokens=30"];
    for (name, more) in [("own", &writes[..]), ("likeliest", &["--set", likeliest, "--set", "epochs=1"])] {
        let folders = [format!("{name}-here"), format!("{name}-there")];
        for (teacher, out) in [&["--teacher", "embedded"][..], &there].into_iter().zip(&folders) {
            let done = run(teacher, more, out);
            assert!(done.status.success(), "{out}: {}", text(&done.stderr));
        }
        let [near, far] = folders.map(|folder| losses(&here.path().join(folder)));
        assert!(near.len() > 1 && near.len() == far.len());
        // What a server tells has been rounded; what the student writes may follow from that after a step.
        let steps = if name == "own" { 1 } else { near.len() };
        for (near, far) in near.iter().zip(&far).take(steps) {
            assert!((near - far).abs() < 1e-3 * (1.0 + near.abs()), "{name}: {near} and {far}");
        }
    }
    for (teacher, terms, says) in [
        (&there[..], "objective.terms=[{ loss = \"reverse_kl\", weight = 1, rows = \"full\" }]", "cannot give"),
        (&there[..4], likeliest, "`--teacher-tokenizer`"),
        (&[][..], "seed=1", "is for an endpoint"),
    ] {
        let extra = if teacher.is_empty() { &there[2..] } else { &[] };
        let refused = run(teacher, &[&["--set", terms][..], extra].concat(), "x");
        let message = text(&refused.stderr);
        assert!(refused.status.code() == Some(2) && message.contains(says), "{terms}: {message}");
    }
}

/// A run by reward of groups of 4, 4 of them a step.
fn rewarded(here: &Path, student: &str, limit: &str, more: &[&str]) -> Output {
    let recipe = recipe("reward");
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    command.args(["distill", "run", "--student", student, "--problems", "gym:modular@1", "--limit", limit]);
    command.args(["--recipe", &recipe, "--no-eval", "--out", "out"]);
    for set in ["per_step=16", "reward.group_size=4", "asking.sampling.max_tokens=24", "checkpoint_every=1"] {
        command.args(["--set", set]);
    }
    command.args(more).current_dir(here).output().expect("the program starts")
}

fn retort(here: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    let done = command.args(arguments).current_dir(here).output().expect("the program starts");
    assert!(done.status.success(), "{arguments:?}: {}", text(&done.stderr));
    text(&done.stdout)
}

fn metrics(here: &Path, out: &str) -> Vec<serde_json::Value> {
    let lines = std::fs::read_to_string(here.join(out).join("metrics.jsonl")).expect("metrics");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_student_learns_from_reward_and_its_rollouts_are_a_dataset() {
    let here = tempfile::tempdir().expect("folder");
    let here = here.path();
    let more = ["--set", "reward.iterations=2", "--set", "reward.kl_weight=0.01", "--set", "reward.weights.length=0.5"];
    let done = rewarded(here, "embedded", "12", &more);
    assert!(done.status.success(), "{}", text(&done.stderr));
    for part in ["3 batches, first quarter -> last", "right by the lenient reading alone", "% rollouts"] {
        assert!(text(&done.stderr).contains(part), "`{part}` is not in\n{}", text(&done.stderr));
    }
    let lines = metrics(here, "out");
    assert_eq!(lines.len(), 6, "a line for each update");
    for (at, line) in lines.iter().enumerate() {
        let term = |name: &str| line["terms"][name].as_f64().unwrap_or_else(|| panic!("`{name}` is not in {line}"));
        let shares =
            ["pass_at_1", "well_formed", "overlong", "unended", "skipped_groups", "learnt_groups", "clip_fraction"];
        assert!(shares.iter().all(|name| (0.0..=1.0).contains(&term(name))), "{line}");
        assert!((term("reward") - term("pass_at_1") + 0.5 * term("overlong")).abs() < 1e-6, "{line}");
        assert_eq!(term("staleness"), (at % 2) as f64);
        let times = ["seconds_rollout", "seconds_scoring", "seconds_update"];
        assert!(times.iter().all(|name| term(name) > 0.0), "{line}");
        if term("skipped_groups") < 1.0 {
            assert!(term("entropy") > 0.0 && term("kl") >= 0.0, "{line}");
            // The first update of a batch is by the policy that wrote it.
            assert!(at % 2 == 1 || term("clip_fraction") == 0.0 && term("rollout_kl") < 1e-3, "{line}");
        }
    }
    assert!(retort(here, &["datagen", "verify", "out/rollouts"]).contains("48"));
    assert!(retort(here, &["datagen", "stats", "out/rollouts"]).contains("modular"));
    let shown = retort(here, &["datagen", "show", "out/rollouts", "--limit", "2"]);
    assert!(shown.contains("advantage") && shown.contains("step 0, group 0"), "{shown}");
    let exported = ["datagen", "export", "out/rollouts", "--format", "jsonl", "--all", "--out", "rollouts.jsonl"];
    retort(here, &exported);
    let rows = std::fs::read_to_string(here.join("rollouts.jsonl")).expect("rows");
    assert_eq!(rows.lines().count(), 48);
    retort(here, &["model", "generate", "out", "--prompt", "Find 3+4.", "--max-tokens", "4"]);
}

#[test]
fn a_mixture_of_experts_learns_from_reward_and_from_traces_and_stays_balanced() {
    let here = tempfile::tempdir().expect("folder");
    let here = here.path();
    let sets = ["asking.sampling.max_tokens=64", "reward.overlong_buffer=50", "reward.weights.length=1", "epochs=2"];
    let done = rewarded(here, "embedded-teacher", "4", &sets.map(|set| ["--set", set]).concat());
    assert!(text(&done.stderr).contains("4 problems for 8 groups"), "{}", text(&done.stderr));
    traces(here, &[]);
    let run = ["distill", "run", "--student", "embedded-teacher", "--traces", "traces", "--no-eval", "--out", "taught"];
    retort(here, &[&run[..], &["--set", "epochs=1"]].concat());
    for out in ["out", "taught"] {
        let line = metrics(here, out).remove(0);
        assert!(line["terms"]["layer 1 max/mean load"].as_f64().expect("a load") >= 1.0, "{line}");
        let config = std::fs::read_to_string(here.join(out).join("config.json")).expect("a config");
        assert!(!config.contains("quantization_config"), "small steps would be rounded away");
        retort(here, &["model", "generate", out, "--prompt", "Find 3+4.", "--max-tokens", "4"]);
    }
}

#[test]
fn a_run_by_reward_refuses_what_it_would_not_heed() {
    let here = tempfile::tempdir().expect("folder");
    let terms = "objective.terms=[{ loss = \"policy_gradient\", weight = 1, clip_low = 0.2, clip_high = 0.2 }]";
    for (arguments, says) in [
        (vec!["--set", "per_step=10"], "multiple of `reward.group_size`"),
        (vec!["--set", "asking.sampling.temperature=0.6"], "asking.sampling"),
        (vec!["--set", "asking.n=4"], "`asking.n` says nothing"),
        (vec!["--set", "asking.sampling.max_tokens=99999"], "has a context of"),
        (vec!["--set", "validation_share=0.1"], "`validation_share` says nothing"),
        (vec!["--set", terms], "`[reward]` sets up by itself"),
        (vec!["--teacher", "embedded"], "asks no teacher anything"),
    ] {
        let refused = rewarded(here.path(), "embedded", "12", &arguments);
        let message = text(&refused.stderr);
        assert!(refused.status.code() == Some(2) && message.contains(says), "{arguments:?}: {message}");
    }
    let refused = distill(here.path(), &["--recipe", &recipe("reward"), "--out", "x"]);
    assert!(text(&refused.stderr).contains("name `--problems`"), "{}", text(&refused.stderr));
    assert!(!here.path().join("out").exists() && !here.path().join("x").exists());
}
