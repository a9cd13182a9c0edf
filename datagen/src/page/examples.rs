//! Traces to read: some of every verdict, and some for every cause for which a curation left traces out.

use super::shell::{count, meaning, opening};
use crate::Error;
use crate::sample::{Sample, Verdict};
use crate::store::TraceReader;
use crate::verify;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// What is shown of a text at most, in characters.
const SHOWN: usize = 12_000;

/// By verdict, or by the cause of a curation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Verdict(Verdict),
    Cause(String),
}

/// Traces of every kind, in the order of the numbers that decide which are shown.
pub(super) struct Examples(BTreeMap<Kind, BTreeMap<[u8; 8], Sample>>);

impl Examples {
    /// At most `most` of every kind: those with the lowest hashes of their keys, which is as good as a random choice and
    /// the same every time.
    pub(super) fn of(reader: &TraceReader, most: usize) -> Result<Self, Error> {
        let mut kinds: BTreeMap<Kind, BTreeMap<[u8; 8], Sample>> = BTreeMap::new();
        for sample in reader.samples() {
            let sample = sample?;
            let rejected = sample.kept || sample.drop_reason == sample.verdict_reason;
            let kind = match rejected {
                true => Kind::Verdict(sample.verdict),
                false => Kind::Cause(verify::cause(&sample.drop_reason).to_owned()),
            };
            let chosen = kinds.entry(kind).or_default();
            chosen.insert(number(&sample), sample);
            if chosen.len() > most {
                chosen.pop_last();
            }
        }
        Ok(Self(kinds))
    }

    pub(super) fn section(&self) -> Markup {
        html! {
            section {
                h2 { "Traces" }
                p.note { "Chosen at random, the same ones every time; the thinking stands in the dashed box." }
                @for (kind, samples) in self.0.iter().filter(|(_, samples)| !samples.is_empty()) {
                    h3 {
                        @match kind {
                            Kind::Verdict(verdict) => {
                                span.swatch style={ "background: var(--" (verdict.as_str()) ")" } {}
                                (meaning(*verdict))
                            }
                            Kind::Cause(cause) => { "Left out: " (cause) }
                        }
                    }
                    @for sample in samples.values() { (trace(sample)) }
                }
            }
        }
    }
}

/// Decides whether a trace is among the examples.
fn number(sample: &Sample) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_derive_key("retort page example v1");
    hasher.update(sample.run_id.as_bytes()).update(sample.uuid.as_bytes()).update(&sample.sample.to_le_bytes());
    let mut number = [0; 8];
    number.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    number
}

fn trace(sample: &Sample) -> Markup {
    let Sample { uuid, domain, difficulty, completion_tokens, .. } = sample;
    html! {
        details {
            summary {
                span."muted small" {
                    (domain) @if !difficulty.is_empty() { " · level " (difficulty) }
                    " · " (count((*completion_tokens).into())) " tokens · "
                }
                (opening(&sample.problem))
            }
            div.question { (shortened(&sample.problem)) }
            p.small {
                span.muted { "Gold answer: " } code { (sample.answer) }
                br;
                span class=(if sample.verdict == Verdict::Right { "good" } else { "bad" }) { (meaning(sample.verdict)) }
                @if !sample.verdict_reason.is_empty() { span.muted { ": " (sample.verdict_reason) } }
                @if !sample.kept && sample.drop_reason != sample.verdict_reason {
                    br; span.muted { "Not kept: " (sample.drop_reason) }
                }
                br; span.muted { "Sample " (sample.sample) " of " code { (uuid) } " by " (sample.generator) }
            }
            div.sides { div {
                @if !sample.reasoning.trim().is_empty() { pre.thinking tabindex="0" { (shortened(sample.reasoning.trim())) } }
                pre tabindex="0" { (shortened(sample.response.trim())) }
            } }
        }
    }
}

/// The beginning of a long text, and how much of it is missing.
fn shortened(text: &str) -> Markup {
    let cut = text.char_indices().nth(SHOWN).map(|(cut, _)| cut);
    let missing = cut.map_or(0, |cut| text[cut..].chars().count());
    html! {
        (&text[..cut.unwrap_or(text.len())])
        @if missing > 0 { "\n… " span.muted { (count(missing as u64)) " more characters are in the dataset" } }
    }
}
