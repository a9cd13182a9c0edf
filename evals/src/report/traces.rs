//! Gained, lost, both, neither: the counts, and a few problems with both models' traces side by side.

use super::Report;
use crate::transitions::{Attempt, Example, Transition};
use maud::{Markup, html};
use retort_datagen::page::opening;
use retort_datagen::verify::extract_answer;

pub(super) fn section(report: &Report) -> Markup {
    let transitions = &report.transitions;
    let single = [&report.teacher, &report.student].iter().all(|scored| scored.samples_per_problem == [1, 1]);
    let linked = |transition: Transition| {
        let any = transitions.examples.iter().any(|example| example.transition == transition);
        any.then(|| format!("#{}", transition.as_str()))
    };
    let cell = |transition: Transition, meaning: &str| {
        let problems = transitions.problems(transition);
        html! {
            a class={ "cell " (transition.as_str()) } href=[linked(transition)] {
                b { @if single { (format!("{problems:.0}")) } @else { (format!("{problems:.1}")) } }
                (transition.as_str()) span.muted { ": " (meaning) }
            }
        }
    };
    html! {
        section {
            h2 { "Gained and lost" }
            p.note {
                "Problems by who gets them right."
                @if !single { " With several samples per problem these are the counts that one sample of each would give on average." }
            }
            div.transitions {
                span {} span.top { "student right" } span.top { "student wrong" }
                span.side { "teacher" br; "right" }
                (cell(Transition::Both, "kept")) (cell(Transition::Lost, "the teacher alone"))
                span.side { "teacher" br; "wrong" }
                (cell(Transition::Gained, "the student alone")) (cell(Transition::Neither, "still open"))
            }
            @for (place, example) in transitions.examples.iter().enumerate() {
                @let first = place == 0 || transitions.examples[place - 1].transition != example.transition;
                (comparison(example, first))
            }
        }
    }
}

/// The first example of a transition has its name as id.
fn comparison(example: &Example, first: bool) -> Markup {
    html! {
        details {
            summary {
                span class={ "tag " (example.transition.as_str()) } { (example.transition.as_str()) }
                span."muted small" {
                    (example.family) @if !example.level.is_empty() { " · level " (example.level) } " · "
                }
                (opening(&example.question))
            }
            // A link to what stands inside opens it.
            div.question id=[first.then(|| example.transition.as_str())] { (example.question) }
            p.small { span.muted { "Gold answer: " } code { (example.gold) } }
            div.sides { (attempt("Teacher", &example.teacher)) (attempt("Student", &example.student)) }
        }
    }
}

/// A response with the answer marked that was taken from it.
fn marked(response: &str) -> Markup {
    let found = extract_answer(response).filter(|answer| !answer.is_empty());
    // The answer is a part of the response; where it begins is how far it is from its beginning.
    let start = found.and_then(|answer| (answer.as_ptr() as usize).checked_sub(response.as_ptr() as usize));
    let parts = found
        .zip(start)
        .and_then(|(answer, start)| Some((response.get(..start)?, answer, response.get(start + answer.len()..)?)));
    match parts {
        Some((before, answer, after)) => html! { (before) mark { (answer) } (after) },
        None => html! { (response) },
    }
}

fn attempt(name: &str, attempt: &Attempt) -> Markup {
    let right = attempt.verdict == retort_datagen::sample::Verdict::Right;
    html! {
        div {
            h4 {
                (name) " · "
                span class=(if right { "good" } else { "bad" }) { (attempt.verdict.as_str().replace('_', " ")) }
                span."muted small" { " · sample " (attempt.sample) " · " (attempt.completion_tokens) " tokens" }
            }
            @if !attempt.verdict_reason.is_empty() { p."small muted" style="margin: 0 0 .5rem" { (attempt.verdict_reason) } }
            @if !attempt.reasoning.is_empty() { pre.thinking tabindex="0" { (attempt.reasoning) } }
            pre tabindex="0" { (marked(&attempt.response)) }
        }
    }
}
