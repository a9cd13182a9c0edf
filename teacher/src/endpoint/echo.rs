//! Given text, scored by a server: it echoes a prompt with the log-probability of every token (`echo` and `logprobs` of
//! `/completions`), which is how lm-evaluation-harness's `local-completions` asks for log-likelihoods too.
//!
//! Only of servers that take prompts of token ids and name tokens by their ids: what is scored is then certainly what
//! was sent, whatever the server would have put before a text.

use super::Endpoint;
use super::prompt::{Form, Prepared};
use super::pump::Pump;
use retort_model::attempts::Estimate;
use retort_model::capture::{Capture, Targets};
use retort_model::generate::{Completion, FinishReason, Generate, JobError, Jobs, Request};
use retort_model::observe::Observer;
use retort_model::sampling::{NoiseKey, Sampling};
use retort_model::score::{Chunk, Given, Offer, Rows, Score, ScoreError, TopK, Want, check};
use serde_json::{Value, json};

/// The most of the likeliest tokens that servers of this protocol tell.
const MOST_TOLD: usize = 20;

/// A told token takes no more bytes than this, with everything around it.
const TOLD_BYTES: usize = 512;

/// Texts to be echoed, as jobs.
struct Echoes<'a> {
    observer: &'a dyn Observer,
    sequences: &'a [Given<'a>],
    /// How many of the likeliest tokens are told of each.
    k: usize,
    sampling: Sampling,
    next: usize,
    told: Vec<Option<Targets>>,
}

impl Jobs for Echoes<'_> {
    fn next(&mut self) -> Option<Request> {
        // Nothing is asked about a sequence without text.
        let place = (self.next..self.sequences.len()).find(|&place| !self.sequences[place].text.is_empty())?;
        self.next = place + 1;
        let capture = Some(if self.k == 0 { Capture::Sampled } else { Capture::TopK(self.k) });
        let (sampling, noise) = (self.sampling.clone(), NoiseKey::new(0, "", 0));
        Some(Request { id: place as u64, messages: vec![], sampling, noise, capture })
    }

    fn prompt(&mut self, id: u64) -> Option<Vec<u32>> {
        let Given { prompt, text } = self.sequences.get(usize::try_from(id).ok()?)?;
        Some([*prompt, *text].concat())
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }

    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError> {
        match (completion.finish_reason, completion.targets) {
            (FinishReason::Refused, _) => Err(completion.response.into()),
            (_, targets) => {
                self.told[id as usize] = targets;
                Ok(())
            }
        }
    }
}

/// The request that has the server echo `prompt`.
pub(super) fn prepare(endpoint: &Endpoint<'_>, request: &Request, prompt: Vec<u32>) -> Prepared {
    let (way, max_tokens) = (&endpoint.way, request.sampling.max_tokens);
    let k = if let Some(Capture::TopK(k)) = request.capture { k } else { 0 };
    let mut body = json!({
        "model": way.model, "prompt": prompt, "echo": true, "logprobs": k, "max_tokens": max_tokens, "temperature": 0,
        "stream": false,
    });
    let further = [&way.profile.extra, &way.profile.with_logprobs, &endpoint.settings.extra];
    for (name, value) in further.into_iter().flatten() {
        body[name.as_str()] = value.clone();
    }
    Prepared {
        body: body.to_string().into_bytes(),
        estimate: Estimate {
            request: request.id,
            prompt_tokens: prompt.len() as u64,
            completion_tokens: max_tokens as u64,
        },
        form: Form::Echo,
        captured: true,
        limit: (1 << 20) + (prompt.len() + max_tokens).saturating_mul((k + 2) * TOLD_BYTES),
        prompt,
        route: "/completions",
    }
}

impl Score for Endpoint<'_> {
    fn model(&self) -> String {
        format!("{}@{}", self.name(), self.fingerprint())
    }

    fn offer(&self) -> Offer {
        let profile = &self.way.profile;
        let sampled = profile.token_id_prompts && profile.token_id_prefix.is_some();
        Offer { sampled, top_k: if sampled { MOST_TOLD } else { 0 }, full: false, hidden: None }
    }

    fn vocabulary(&self) -> usize {
        // The server knows, and refuses other ids.
        u32::MAX as usize
    }

    fn context(&self) -> usize {
        self.context.map_or(usize::MAX, |context| context.saturating_sub(self.way.profile.echo_tokens))
    }

    fn score(
        &self,
        sequences: &[Given<'_>],
        want: Want,
        take: &mut dyn FnMut(Chunk) -> Result<(), JobError>,
    ) -> Result<(), ScoreError> {
        check(self, sequences, want)?;
        let k = if let Want::TopK(k) = want { k } else { 0 };
        let sampling = Sampling { max_tokens: self.way.profile.echo_tokens, temperature: 0.0, ..Sampling::default() };
        let observer = self.observer;
        let mut echoes = Echoes { observer, sequences, k, sampling, next: 0, told: vec![None; sequences.len()] };
        Pump::new(self, &mut echoes).run().map_err(|error| ScoreError::Remote(error.into()))?;
        if observer.cancelled() {
            return Err(retort_model::Error::Interrupted.into());
        }
        for (sequence, (given, told)) in sequences.iter().zip(echoes.told).enumerate() {
            let asked = given.prompt.len()..given.prompt.len() + given.text.len();
            if asked.is_empty() {
                continue;
            }
            let told = told.ok_or_else(|| ScoreError::Remote("a sequence was given up".into()))?;
            let rows = rows(&told, asked.start, asked.end, k).map_err(|reason| ScoreError::Remote(reason.into()))?;
            take(Chunk { sequence, first: 0, rows }).map_err(ScoreError::Taker)?;
        }
        Ok(())
    }
}

/// Rows `first..end` of what was told; with `k` the likeliest tokens too, of which servers tell one more where the token
/// that came is not among them.
fn rows(told: &Targets, first: usize, end: usize, k: usize) -> Result<Rows, String> {
    let sampled = told.token_logprobs[first..end].to_vec();
    if k == 0 {
        return Ok(Rows::Sampled(sampled));
    }
    let mut rows = TopK { k, sampled, logsumexp: told.logsumexp[first..end].to_vec(), ..TopK::default() };
    let mut start: usize = told.widths[..first].iter().map(|&width| width as usize).sum();
    for &width in &told.widths[first..end] {
        let width = width as usize;
        if width < k {
            return Err(format!("the server tells {width} of the likeliest tokens where {k} were asked for"));
        }
        rows.ids.extend(&told.ids[start..start + k]);
        rows.logprobs.extend(&told.logprobs[start..start + k]);
        start += width;
    }
    Ok(Rows::TopK(rows))
}

/// How long a context the server says that the model has, on its entry in the list of models.
pub(super) fn context(entry: &Value) -> Option<usize> {
    usize::try_from(entry["max_model_len"].as_u64()?).ok()
}
