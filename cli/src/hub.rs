//! The hub as the environment describes it, by the variables that Hugging Face's own tools read.

use retort_model::hub::Hub;
use std::env::var;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `HF_ENDPOINT`, `HF_HOME` or `HF_HUB_CACHE`, `HF_TOKEN` or the token file, `HF_HUB_OFFLINE`, and a proxy.
pub fn from_environment() -> Hub {
    let home = home();
    let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
    let token_file = text("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
    let proxies = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    Hub {
        cache: text("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
        token: text("HF_TOKEN").or_else(|| trimmed(std::fs::read_to_string(token_file).ok()?)),
        proxy: proxies.into_iter().find_map(text).filter(|_| endpoint.starts_with("https:")),
        offline: text("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())),
        endpoint: endpoint.trim_end_matches('/').into(),
        retry_wait: Duration::from_secs(1),
    }
}

fn home() -> PathBuf {
    let cache = || match text("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => text("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from).join(".cache"),
    };
    text("HF_HOME").map_or_else(|| cache().join(Path::new("huggingface")), PathBuf::from)
}

/// A variable that is set to something.
fn text(name: &str) -> Option<String> {
    trimmed(var(name).ok()?)
}

fn trimmed(text: String) -> Option<String> {
    Some(text.trim().to_string()).filter(|text| !text.is_empty())
}
