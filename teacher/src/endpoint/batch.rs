//! Requests and results as files, in OpenAI's batch format: one JSON object a line, `custom_id` to tell them apart. What
//! `vllm run-batch` and the batch APIs read and write.

use super::answer::{Answer, Expected};
use super::failure::{Class, Failure};
use super::prompt::{Form, opened, prepare, unsupported};
use super::settings::{Api, Settings};
use super::{Error, Profile};
use retort_model::generate::{Completion, Generate, GenerateError, Jobs, Request};
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What an answer of a hundred thousand tokens takes, with its log-probabilities, many times over.
const MAX_LINE: u64 = 256 << 20;

/// A model that is asked by files.
pub struct Batch {
    model: String,
    profile: Profile,
    settings: Settings,
    fingerprint: String,
}

impl Batch {
    pub fn new(model: &str, settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let profile = Profile::find(settings.profile.as_deref().unwrap_or("openai"))?;
        let extra = Value::Object(settings.extra.clone()).to_string();
        let mut hasher = blake3::Hasher::new_derive_key("retort batch v1");
        for part in [model, &profile.name, &extra] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        let fingerprint = hasher.finalize().to_hex()[..16].into();
        // A file of results holds whole answers.
        Ok(Self { model: model.into(), profile, settings: Settings { stream: false, ..settings }, fingerprint })
    }

    /// The line that asks for `request`.
    pub fn line(&self, custom_id: &str, request: &Request) -> Result<Value, GenerateError> {
        let model = || self.model.clone();
        if let Some((setting, found, expected)) = unsupported(request, Api::Chat, &self.profile) {
            return Err(GenerateError::Setting { model: model(), setting, found, expected });
        }
        let prepared = prepare(request, &self.model, Api::Chat, &self.settings, &self.profile, None);
        let prepared = prepared.map_err(|error| GenerateError::Remote(error.into()))?;
        let mut body: Value = serde_json::from_slice(&prepared.body).unwrap_or_default();
        body.as_object_mut().map(|body| body.shift_remove("stream"));
        Ok(json!({ "custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body }))
    }

    /// The results in the file at `path`; `keys` are the `custom_id`s of all requests, by the requests' numbers.
    pub fn results(self, path: &Path, keys: Vec<String>) -> Result<Results, Error> {
        let failed = |source| Error::ResultsFile { path: path.into(), source };
        let mut reader = BufReader::new(File::open(path).map_err(failed)?);
        let known: HashSet<&str> = keys.iter().map(String::as_str).collect();
        let (mut places, mut report) = (HashMap::<String, Vec<(u64, u64)>>::new(), Report::default());
        let (mut at, mut number, mut line) = (0, 0, Vec::new());
        loop {
            line.clear();
            number += 1;
            let read = (&mut reader).take(MAX_LINE + 1).read_until(b'\n', &mut line).map_err(failed)? as u64;
            if read == 0 {
                break;
            }
            if !line.trim_ascii().is_empty() {
                let malformed = |reason: String| Error::ResultsLine { path: path.into(), line: number, reason };
                if read > MAX_LINE {
                    return Err(malformed(format!("it is longer than {MAX_LINE} bytes")));
                }
                let Named { custom_id } =
                    serde_json::from_slice(&line).map_err(|error| malformed(error.to_string()))?;
                match places.get_mut(&custom_id) {
                    Some(others) => {
                        others.push((at, read));
                        report.repeated.push(custom_id);
                    }
                    None if !known.contains(custom_id.as_str()) => report.unknown.push(custom_id),
                    None => _ = places.insert(custom_id, vec![(at, read)]),
                }
            }
            at += read;
        }
        let file = RefCell::new(reader.into_inner());
        Ok(Results { batch: self, path: path.into(), file, places, keys, report: RefCell::new(report) })
    }
}

#[derive(Deserialize)]
struct Named {
    custom_id: String,
}

/// What was found of requests and results that do not make samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Results of no request of this run.
    pub unknown: Vec<String>,
    /// Further results of the same request, each named once more; the first whole one counts.
    pub repeated: Vec<String>,
    /// Requests whose result states a usage that can be none: their tokens are counted by their ids, where it has them.
    pub implausible: Vec<(String, String)>,
    /// Requests whose result makes no sample, and why.
    pub failed: Vec<(String, String)>,
    /// Requests without a result.
    pub missing: u64,
}

/// A file of results as a generator, which answers what the file has an answer to. Where the answers stand is held, the
/// answers are not.
pub struct Results {
    batch: Batch,
    path: PathBuf,
    file: RefCell<File>,
    places: HashMap<String, Vec<(u64, u64)>>,
    keys: Vec<String>,
    report: RefCell<Report>,
}

impl Results {
    pub fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    /// The completion in a line, and what is implausible about it.
    fn completion(&self, (at, length): (u64, u64), request: &Request) -> Result<(Completion, Option<String>), String> {
        let mut line = Vec::new();
        let mut file = self.file.borrow_mut();
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| (&mut *file).take(length).read_to_end(&mut line));
        read.map_err(|error| format!("`{}` could not be read: {error}", self.path.display()))?;
        let Line { response, error } = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
        let said = |value: &Value| shortened(&value.to_string());
        let Some(Response { status_code, body }) = response else {
            return Err(error.map_or("no response".into(), |error| said(&error)));
        };
        let Some(body) = body else { return Err(format!("status {status_code} without a body")) };
        if status_code != 200 {
            return Err(format!("status {status_code}: {}", said(&body)));
        }
        let Batch { model, profile, settings, .. } = &self.batch;
        let prefilled = opened(request);
        let (answers_as, captured) = (&settings.answers_as, request.capture.is_some());
        let (form, most) = (Form::Turn { prefilled }, request.sampling.max_tokens as u64);
        let expected = Expected { profile, model, answers_as, form, prompt: &[], captured, most };
        let mut answer = Answer::default();
        let reply = answer.body(body.to_string().as_bytes(), profile).and_then(|()| answer.finish(expected));
        reply.map(|reply| (reply.completion, reply.implausible)).map_err(|failure| {
            let Failure { class, detail, .. } = failure.shown(None);
            match class {
                Class::OtherModel => format!(
                    "`{detail}` answered where `{model}` was asked: give that name as `--teacher-model`, or allow it with \
                     `--set endpoint.answers_as='[\"{detail}\"]'`"
                ),
                _ => detail,
            }
        })
    }
}

/// A line of results. OpenAI writes `null` for what is not there.
#[derive(Deserialize)]
struct Line {
    response: Option<Response>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    status_code: u16,
    body: Option<Value>,
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 200;
    text.char_indices().nth(SHOWN).map_or(text.to_owned(), |(cut, _)| format!("{}...", &text[..cut]))
}

impl Generate for Results {
    fn name(&self) -> &str {
        &self.batch.model
    }

    fn fingerprint(&self) -> &str {
        &self.batch.fingerprint
    }

    fn is_reproducible(&self) -> bool {
        false
    }

    fn is_recorded(&self) -> bool {
        true
    }

    fn generate(&self, jobs: &mut dyn Jobs) -> Result<(), GenerateError> {
        while !jobs.cancelled() {
            let Some(request) = jobs.next() else { break };
            let key = usize::try_from(request.id).ok().and_then(|id| self.keys.get(id));
            let Some((key, places)) = key.and_then(|key| Some((key, self.places.get(key)?))) else {
                self.report.borrow_mut().missing += 1;
                continue;
            };
            let mut reason = String::new();
            let found = places.iter().find_map(|&place| match self.completion(place, &request) {
                Ok(found) => Some(found),
                Err(why) => {
                    reason = why;
                    None
                }
            });
            match found {
                Some((completion, implausible)) => {
                    self.report.borrow_mut().implausible.extend(implausible.map(|stated| (key.clone(), stated)));
                    jobs.done(request.id, completion).map_err(GenerateError::Job)?;
                }
                None => self.report.borrow_mut().failed.push((key.clone(), reason)),
            }
        }
        Ok(())
    }
}
