//! How a server speaks: what its fields are called, how its answers end, what it cannot do.
//!
//! Servers differ in data, not in code: a profile is a TOML file, laid over `profiles/openai.toml`.

use super::Error;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The profiles inside the program, by name.
const PROFILES: [(&str, &str); 5] = [
    ("openai", include_str!("profiles/openai.toml")),
    ("vllm", include_str!("profiles/vllm.toml")),
    ("sglang", include_str!("profiles/sglang.toml")),
    ("deepseek", include_str!("profiles/deepseek.toml")),
    ("retort", include_str!("profiles/retort.toml")),
];

/// What an answer that ends for a given reason is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    Stop,
    Length,
    /// The server withheld the answer.
    Refused,
    /// Something went wrong there; the same request may succeed.
    Retry,
}

/// The dialect of a server; `profiles/openai.toml` explains the fields.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    pub owned_by: Option<String>,
    pub reasoning: Vec<String>,
    pub max_tokens: String,
    /// Empty for a server that takes no seed.
    pub seed: String,
    pub usage: bool,
    pub token_id_prompts: bool,
    /// The least `max_tokens` with which it echoes a prompt.
    pub echo_tokens: usize,
    pub ignores: Vec<String>,
    pub cached_tokens: Vec<String>,
    /// Where a choice holds the ids of its tokens.
    pub token_ids: Option<String>,
    /// Where a choice or the answer holds the ids of the prompt.
    pub prompt_token_ids: Option<String>,
    /// What stands before the id where log-probabilities name tokens by their ids; without it none are captured.
    pub token_id_prefix: Option<String>,
    /// Sent where the last message is the beginning of the answer; empty for a server that cannot continue one.
    #[serde(default)]
    pub continuing: Map<String, Value>,
    /// Sent with every request.
    #[serde(default)]
    pub extra: Map<String, Value>,
    /// Sent with requests for log-probabilities.
    #[serde(default)]
    pub with_logprobs: Map<String, Value>,
    pub finish: BTreeMap<String, Finish>,
}

impl Profile {
    /// The profile called `name`, or the one in the file of that name where it ends in `.toml`.
    pub fn find(name: &str) -> Result<Self, Error> {
        if let Some((_, text)) = PROFILES.iter().find(|(known, _)| *known == name) {
            return Self::parse(name, text);
        }
        if !name.ends_with(".toml") {
            let known = PROFILES.map(|(name, _)| name).join(", ");
            return Err(Error::UnknownProfile { name: name.into(), known });
        }
        let path = Path::new(name);
        let text = std::fs::read_to_string(path).map_err(|source| Error::ProfileFile { path: path.into(), source })?;
        Self::parse(name, &text)
    }

    /// The profile of servers whose models belong to `owner`; the common one where no other claims it.
    pub fn of_owner(owner: &str) -> Result<Self, Error> {
        for (name, text) in PROFILES {
            let profile = Self::parse(name, text)?;
            if profile.owned_by.as_deref() == Some(owner) {
                return Ok(profile);
            }
        }
        Self::find("openai")
    }

    fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let failed = |source| Error::Profile { name: name.into(), source };
        let mut table: toml::Table = PROFILES[0].1.parse().map_err(failed)?;
        table.extend(text.parse::<toml::Table>().map_err(failed)?);
        Self::deserialize(table).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_found_by_its_name_and_its_owner() -> Result<(), Error> {
        for (name, _) in PROFILES {
            let profile = Profile::find(name)?;
            assert_eq!(profile.name, name);
            assert_eq!(profile.finish.get("stop"), Some(&Finish::Stop), "{name}");
            let owner = profile.owned_by.clone().unwrap_or_else(|| "somebody".into());
            assert_eq!(Profile::of_owner(&owner)?, profile);
        }
        assert!(matches!(Profile::find("vlm"), Err(Error::UnknownProfile { .. })));
        assert!(Profile::parse("mine", "name = 'mine'\nreasonning = []").is_err());
        Ok(())
    }
}
