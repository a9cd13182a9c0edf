//! How the dataset came about: its run, or the datasets that it was made from, back to theirs.

use crate::store::{Derived, Origin, Parent, RunHeader, TraceReader};
use maud::{Markup, html};

pub(super) fn section(reader: &TraceReader) -> Markup {
    let manifest = reader.manifest();
    html! {
        section {
            h2 { "Where it comes from" }
            @match &manifest.origin {
                Origin::Run { header, .. } => (run(header)),
                Origin::Derived(made) => (derived(made)),
            }
            footer { "Dataset " code { (manifest.run_id) } ", manifest " code { (manifest.blake3()) } "." }
        }
    }
}

fn run(header: &RunHeader) -> Markup {
    let facts = [
        ("Written by", header.generator.name.clone()),
        ("Fingerprint", header.generator.fingerprint.clone()),
        ("Samples", format!("{} for each of {} problems, seed {}", header.n, header.problem_set.problems, header.seed)),
        ("Sampling", serde_json::to_string(&header.sampling).unwrap_or_default()),
        ("Appended to problems", header.prompt_suffix.clone()),
        ("Problem set", header.problem_set.fingerprint.clone()),
    ];
    html! {
        dl { @for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) { dt { (name) } dd { (value) } } }
    }
}

fn derived(made: &Derived) -> Markup {
    html! {
        dl {
            dt { "Made by" } dd { (made.verb) }
            dt { "Settings" } dd { pre.settings tabindex="0" { (format!("{:#}", made.settings)) } }
        }
        @for parent in &made.parents { (ancestor(parent)) }
    }
}

fn ancestor(parent: &Parent) -> Markup {
    html! {
        details {
            summary { "From " code { (parent.path) } }
            div.ancestor {
                dl {
                    @if let Some(run_id) = &parent.run_id { dt { "Dataset" } dd { (run_id) } }
                    dt { "blake3" } dd { (parent.blake3) }
                }
                @if let Some(header) = &parent.run { (run(header)) }
                @if let Some(made) = &parent.derived { (derived(made)) }
            }
        }
    }
}
