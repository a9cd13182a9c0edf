//! Folders as the hub's tools leave them, and which part of them is meant.

use super::*;

/// A folder with these files; each holds one problem that names the file.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("{{\"problem\": \"{file}\", \"answer\": \"1\"}}\n")).unwrap();
    }
    dir
}

fn chosen(dir: &Path, config: &str, split: &str) -> Result<Vec<String>, Error> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let selection = Selection { config: some(config), split: some(split) };
    let problems = super::super::read(dir, &Reading { selection, ..Reading::default() }, None)?;
    Ok(problems.into_iter().map(|problem| problem.problem).collect())
}

#[test]
fn a_card_tells_configs_and_splits() {
    let dir = folder(&["main/train-0.jsonl", "main/test-0.jsonl", "socratic/train-0.jsonl", "extra.jsonl"]);
    let card = "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: main/train-*\n  - split: test\n    \
                path: main/test-*\n- config_name: socratic\n  data_files:\n  - split: train\n    path: socratic/train-*\n---\n";
    std::fs::write(dir.path().join("README.md"), card).unwrap();
    assert_eq!(chosen(dir.path(), "main", "test").unwrap(), ["main/test-0.jsonl"]);
    assert_eq!(chosen(dir.path(), "socratic", "").unwrap(), ["socratic/train-0.jsonl"]);
    let error = chosen(dir.path(), "", "").unwrap_err();
    assert!(error.to_string().ends_with("several configs: `main` (`train`, `test`), `socratic` (`train`)"), "{error}");
    assert!(error.hint().unwrap().contains("--config"));
    let error = chosen(dir.path(), "main", "").unwrap_err();
    assert!(error.to_string().ends_with("several splits: `train`, `test`"), "{error}");
    let error = chosen(dir.path(), "main", "dev").unwrap_err();
    assert!(error.to_string().contains("no split `dev`; it has `train`, `test`"), "{error}");
    std::fs::write(dir.path().join("README.md"), "---\nconfigs:\n- {config_name: x}\n---\n").unwrap();
    assert!(matches!(chosen(dir.path(), "main", ""), Err(Error::DatasetFolder { .. })));
}

#[test]
fn names_tell_configs_and_splits_where_no_card_does() {
    let dir = folder(&[
        "data/train-00000-of-00002.jsonl",
        "data/train-00001-of-00002.jsonl",
        "data/test-00000-of-00001.jsonl",
    ]);
    assert_eq!(
        chosen(dir.path(), "", "train").unwrap(),
        ["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl"]
    );
    std::fs::remove_file(dir.path().join("data/train-00000-of-00002.jsonl")).unwrap();
    let error = chosen(dir.path(), "", "train").unwrap_err();
    assert!(error.to_string().contains("`data/train-00000-of-00002` is missing"), "{error}");

    let dir = folder(&["main/train-00000-of-00001.jsonl", "socratic/train.jsonl", ".cache/x.jsonl", "cache-1.arrow"]);
    assert_eq!(chosen(dir.path(), "main", "").unwrap(), ["main/train-00000-of-00001.jsonl"]);
    let dir = folder(&["gsm8k_test.jsonl", "valid/a.jsonl", "more.jsonl"]);
    assert_eq!(chosen(dir.path(), "", "test").unwrap(), ["gsm8k_test.jsonl"]);
    assert_eq!(chosen(dir.path(), "", "validation").unwrap(), ["valid/a.jsonl"]);
    assert_eq!(chosen(dir.path(), "", "more").unwrap(), ["more.jsonl"]);
    for split in ["dev", "validation"] {
        let dir = folder(&["all/dev.jsonl", "all/test.jsonl"]);
        assert_eq!(chosen(dir.path(), "all", split).unwrap(), ["all/dev.jsonl"]);
        let dir = folder(&["all/dev-0.jsonl", "all/val-0.jsonl", "all/test.jsonl"]);
        let own = if split == "dev" { "all/dev-0.jsonl" } else { "all/val-0.jsonl" };
        assert_eq!(chosen(dir.path(), "all", split).unwrap(), [own]);
    }
    let dir = folder(&["one.jsonl", "two.jsonl"]);
    assert_eq!(chosen(dir.path(), "", "").unwrap(), ["one.jsonl", "two.jsonl"]);
    let dir = folder(&["one.jsonl", "one.csv"]);
    assert!(chosen(dir.path(), "", "").unwrap_err().to_string().contains("several formats"));
    let dir = folder(&["notes.txt"]);
    assert!(matches!(chosen(dir.path(), "", ""), Err(Error::DatasetFolder { .. })));
}

#[test]
fn what_was_saved_to_disk_is_read_in_its_own_order() {
    let dir = folder(&["train/b.jsonl", "train/a.jsonl", "test/a.jsonl"]);
    let state = |files: &str| format!("{{\"_data_files\": [{files}], \"_split\": null}}");
    std::fs::write(dir.path().join("dataset_dict.json"), "{\"splits\": [\"train\", \"test\"]}").unwrap();
    let both = "{\"filename\": \"b.jsonl\"}, {\"filename\": \"a.jsonl\"}";
    std::fs::write(dir.path().join("train/state.json"), state(both)).unwrap();
    std::fs::write(dir.path().join("test/state.json"), state("{\"filename\": \"a.jsonl\"}")).unwrap();
    assert_eq!(chosen(dir.path(), "", "train").unwrap(), ["train/b.jsonl", "train/a.jsonl"]);
    assert_eq!(chosen(&dir.path().join("test"), "", "").unwrap(), ["test/a.jsonl"]);
    assert!(matches!(chosen(dir.path(), "", ""), Err(Error::Ambiguous { .. })));
    std::fs::write(dir.path().join("test/state.json"), state("{\"filename\": \"../train/a.jsonl\"}")).unwrap();
    assert!(matches!(chosen(dir.path(), "", "test"), Err(Error::DatasetFolder { .. })));
}

#[test]
fn a_choice_within_a_file_is_refused() {
    let dir = folder(&["a.jsonl"]);
    let error = chosen(&dir.path().join("a.jsonl"), "", "train").unwrap_err();
    assert!(error.to_string().contains("it is a single file"), "{error}");
}
