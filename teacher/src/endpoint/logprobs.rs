//! What a server tells of its distribution: log-probabilities of tokens that are named by their ids.
//!
//! They are normalised over the whole vocabulary, so the logsumexp of what stands here is 0.

use super::failure::Failure;
use super::profile::Profile;
use retort_model::capture::Targets;
use serde_json::Value;

/// What was told so far, token by token.
#[derive(Debug, Default)]
pub(super) struct Told {
    ids: Vec<u32>,
    targets: Targets,
    /// Whether nothing was told of the first token, which then follows from nothing.
    begins: bool,
}

impl Told {
    /// The `logprobs` of a choice, in the form of either route.
    pub(super) fn add(&mut self, logprobs: &Value, profile: &Profile) -> Result<(), Failure> {
        let Some(prefix) = profile.token_id_prefix.as_deref().filter(|_| !logprobs.is_null()) else { return Ok(()) };
        let list = |key: &str| logprobs[key].as_array().map_or(&[][..], Vec::as_slice);
        for entry in list("content") {
            let top = entry["top_logprobs"].as_array().map_or(&[][..], Vec::as_slice);
            let top = top.iter().map(|entry| likely(&entry["token"], &entry["logprob"], prefix));
            self.push(likely(&entry["token"], &entry["logprob"], prefix)?, top.collect::<Result<_, _>>()?);
        }
        for (at, token) in list("tokens").iter().enumerate() {
            if self.ids.is_empty() && logprobs["token_logprobs"][at].is_null() {
                self.begins = true;
                self.push(likely(token, &Value::from(0.0), prefix)?, vec![]);
                continue;
            }
            let top = logprobs["top_logprobs"][at].as_object().into_iter().flatten();
            let top = top.map(|(token, logprob)| likely(&Value::from(token.as_str()), logprob, prefix));
            self.push(likely(token, &logprobs["token_logprobs"][at], prefix)?, top.collect::<Result<_, _>>()?);
        }
        Ok(())
    }

    fn push(&mut self, (id, logprob): (u32, f32), mut top: Vec<(u32, f32)>) {
        top.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        self.ids.push(id);
        self.targets.token_logprobs.push(logprob);
        self.targets.logsumexp.push(0.0);
        self.targets.widths.push(top.len() as u32);
        self.targets.ids.extend(top.iter().map(|(id, _)| id));
        self.targets.logprobs.extend(top.iter().map(|(_, logprob)| logprob));
    }

    /// What was captured of a completion of these tokens, where that was asked for.
    pub(super) fn targets(self, asked: bool, token_ids: &[u32]) -> Result<Option<Targets>, Failure> {
        if asked && (self.begins || self.ids != token_ids) {
            let (told, written) = (self.ids.len(), token_ids.len());
            return Err(Failure::garbage(format!(
                "log-probabilities of {told} tokens that are not the {written} of the completion"
            )));
        }
        Ok(asked.then_some(self.targets))
    }

    /// What was told of an echoed prompt and of whatever came behind it; the first row, which follows from nothing, is empty.
    pub(super) fn echoed(self, prompt: &[u32]) -> Result<Targets, Failure> {
        if !self.begins || !self.ids.starts_with(prompt) {
            return Err(Failure::garbage("the echo is not the prompt that was sent"));
        }
        Ok(self.targets)
    }
}

/// A token's id and log-probability.
fn likely(token: &Value, logprob: &Value, prefix: &str) -> Result<(u32, f32), Failure> {
    let id = token.as_str().and_then(|token| token.strip_prefix(prefix)?.parse().ok());
    match (id, logprob.as_f64()) {
        (Some(id), Some(logprob)) if logprob <= 1e-3 => Ok((id, logprob.min(0.0) as f32)),
        _ => Err(Failure::garbage(format!("no log-probability of a token: {token} {logprob}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Error;
    use super::*;
    use serde_json::json;

    #[test]
    fn both_routes_tell_the_same() -> Result<(), Error> {
        let profile = Profile::find("vllm")?;
        let chat = json!({ "content": [
            { "token": "token_id:7", "logprob": -0.5, "top_logprobs": [
                { "token": "token_id:9", "logprob": -2.0 }, { "token": "token_id:7", "logprob": -0.5 }
            ] },
            { "token": "token_id:2", "logprob": -0.1, "top_logprobs": [{ "token": "token_id:2", "logprob": -0.1 }] },
        ] });
        let text = json!({
            "tokens": ["token_id:7", "token_id:2"], "token_logprobs": [-0.5, -0.1],
            "top_logprobs": [{ "token_id:9": -2.0, "token_id:7": -0.5 }, { "token_id:2": -0.1 }],
        });
        let told = |logprobs: &Value, ids: &[u32]| {
            let mut told = Told::default();
            told.add(logprobs, &profile)?;
            told.targets(true, ids)
        };
        let expected = Targets {
            token_logprobs: vec![-0.5, -0.1],
            logsumexp: vec![0.0, 0.0],
            widths: vec![2, 1],
            ids: vec![7, 9, 2],
            logprobs: vec![-0.5, -2.0, -0.1],
            counts: vec![],
        };
        for logprobs in [chat, text] {
            assert_eq!(told(&logprobs, &[7, 2]).expect("told"), Some(expected.clone()));
            assert!(told(&logprobs, &[7, 3]).is_err(), "of other tokens");
            assert!(told(&logprobs, &[7]).is_err(), "of more tokens");
        }
        assert!(told(&Value::Null, &[7]).is_err(), "of none");
        assert!(told(&json!({ "content": [{ "token": " the", "logprob": -0.5 }] }), &[7]).is_err());
        Ok(())
    }

    #[test]
    fn an_echo_begins_with_a_token_of_which_nothing_is_told() -> Result<(), Error> {
        let profile = Profile::find("vllm")?;
        let told = |first: Value| {
            let mut told = Told::default();
            told.add(
                &json!({
                    "tokens": ["token_id:7", "token_id:2", "token_id:5"], "token_logprobs": [first, -0.1, -3.0],
                    "top_logprobs": [null, { "token_id:2": -0.1 }, { "token_id:5": -3.0, "token_id:4": -0.2 }],
                }),
                &profile,
            )?;
            Ok::<_, Failure>(told)
        };
        let echoed = |prompt: &[u32]| told(Value::Null)?.echoed(prompt);
        let targets = echoed(&[7, 2]).expect("an echo");
        assert_eq!((targets.token_logprobs[1..].to_vec(), targets.widths), (vec![-0.1, -3.0], vec![0, 1, 2]));
        assert!(echoed(&[7, 3]).is_err(), "of another prompt");
        assert!(told(json!(-1.0)).and_then(|told| told.echoed(&[7, 2])).is_err(), "something stood before it");
        assert!(told(Value::Null).and_then(|told| told.targets(true, &[7, 2, 5])).is_err(), "no completion begins so");
        Ok(())
    }
}
