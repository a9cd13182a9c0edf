//! Checkpoints in several files: the index is held against the shards, and every disagreement is named.

use candle_core::{Device, Tensor};
use retort_model::Error;
use retort_model::checkpoint::{Checkpoint, Stored, write_tensors};
use serde_json::json;
use std::path::Path;

/// Tensors `a` and `b`, each in a shard of its own, and an index that says so.
fn sharded() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for name in ["a", "b"] {
        let tensor = Tensor::new(&[1f32, 2.0], &Device::Cpu).expect("tensor");
        let path = folder.path().join(format!("{name}.safetensors"));
        write_tensors(&path, &[(name.into(), tensor)], |_| Stored::F32).expect("written");
    }
    index(folder.path(), json!({"a": "a.safetensors", "b": "b.safetensors"}));
    folder
}

fn index(folder: &Path, weight_map: serde_json::Value) {
    let json = json!({"metadata": {}, "weight_map": weight_map}).to_string();
    std::fs::write(folder.join("model.safetensors.index.json"), json).expect("written");
}

#[test]
fn shards_are_read_as_one() -> Result<(), Error> {
    let folder = sharded();
    let checkpoint = Checkpoint::open(folder.path())?;
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(checkpoint.read("b", &Device::Cpu)?.to_vec1::<f32>()?, [1.0, 2.0]);
    Ok(())
}

#[test]
fn an_index_that_lies_is_refused_by_the_tensor_it_lies_about() {
    for (weight_map, expected) in [
        (json!({"a": "a.safetensors", "b": "c.safetensors"}), ["`b`", "`c.safetensors`", "not there"]),
        (json!({"a": "b.safetensors", "b": "b.safetensors"}), ["`a`", "`b.safetensors`", "does not hold it"]),
        (json!({"a": "b.safetensors", "b": "a.safetensors"}), ["`a`", "`b.safetensors`", "a.safetensors"]),
        (json!({"a": "a.safetensors", "b": "b.safetensors", "c": "a.safetensors"}), ["`c`", "a.safetensors", "hold"]),
        (json!({"a": "../a.safetensors"}), ["`a`", "`../a.safetensors`", "beside it"]),
        (json!({"a": "/etc/passwd"}), ["`a`", "`/etc/passwd`", "beside it"]),
        (json!({"x": "a.safetensors", "b": "b.safetensors"}), ["`x`", "a.safetensors", "hold"]),
        (json!({}), ["`", "index", "lists no"]),
    ] {
        let folder = sharded();
        index(folder.path(), weight_map.clone());
        let error = Checkpoint::open(folder.path()).map(drop).expect_err("refused");
        let text = error.to_string();
        assert!(expected.iter().all(|part| text.contains(part)), "{weight_map}: {text}");
        assert!(text.contains("index.json") && error.hint().is_some(), "{text}");
    }
}

#[test]
fn a_shard_that_the_index_leaves_out_in_part_is_refused() {
    let folder = sharded();
    let two = ["b", "c"].map(|name| (name.to_string(), Tensor::new(&[1f32], &Device::Cpu).expect("tensor")));
    write_tensors(&folder.path().join("b.safetensors"), &two, |_| Stored::F32).expect("written");
    let error = Checkpoint::open(folder.path()).map(drop).expect_err("refused").to_string();
    assert!(error.contains("`c`") && error.contains("b.safetensors"), "{error}");
}

#[test]
fn pickled_weights_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("folder");
    let open = || Checkpoint::open(folder.path()).map(drop).expect_err("refused");
    assert!(matches!(open(), Error::NoWeights { .. }));
    std::fs::write(folder.path().join("pytorch_model-00001-of-00002.bin"), "").expect("written");
    let error = open();
    assert!(error.to_string().contains("pytorch_model-00001-of-00002.bin"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("runs code")));
}
