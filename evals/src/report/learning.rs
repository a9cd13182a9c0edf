//! Learning curves of training runs: of those by reward what their rollouts were like, of the others the loss.

use super::Report;
use super::plot::{Axis, Point, Subject, legend, plot, whole, whole_percent};
use crate::learning::{Learning, LearningPoint, RolloutMeans};
use crate::wording::{count, percent};
use maud::{Markup, html};

/// Left out where no training run was named.
pub(super) fn section(report: &Report) -> Markup {
    let runs: Vec<(Subject, &Learning)> =
        report.learning.iter().enumerate().map(|(at, run)| (Subject::Run(at, &run.name), run)).collect();
    let (by_reward, others): (Vec<_>, Vec<_>) = runs.iter().copied().partition(|(_, run)| run.is_by_reward());
    html! {
        @if !runs.is_empty() {
            section {
                h2 { "Learning curves" }
                p.note {
                    "Against optimiser steps, each point the mean of a few of them."
                    @if !by_reward.is_empty() {
                        " Pass@1, tokens and form are of the completions that a model learnt from, drawn at temperature 1."
                    }
                }
                (legend(runs.iter().map(|(subject, _)| *subject)))
                div.heats {
                    @if !by_reward.is_empty() {
                        (curves("Pass@1 of rollouts", &by_reward, told(|means| means.pass_at_1), SHARE))
                        (curves("Tokens per completion", &by_reward, told(|means| means.completion_tokens), TOKENS))
                        (curves("Well-formed turns", &by_reward, told(|means| means.well_formed), SHARE))
                    }
                    @if !others.is_empty() { (curves("Loss", &others, |point| Some(point.loss), LOSS)) }
                }
            }
        }
    }
}

/// What labels beside the axis tell apart, how they are written, and a value where the plot is read out.
type Said = (f64, fn(f64) -> String, fn(f64) -> String);

const SHARE: Said = (0.01, whole_percent, percent);
const TOKENS: Said = (1.0, whole, |tokens| format!("{tokens:.0} tokens"));
const LOSS: Said = (0.001, |loss| ((1e3 * loss).round() / 1e3).to_string(), |loss| format!("{loss:.4}"));

/// A part of what rollouts told.
fn told(of: impl Fn(&RolloutMeans) -> f64) -> impl Fn(&LearningPoint) -> Option<f64> {
    move |point| point.rollouts.as_ref().map(&of)
}

fn curves(
    title: &str,
    runs: &[(Subject, &Learning)],
    of: impl Fn(&LearningPoint) -> Option<f64>,
    (finest, label, said): Said,
) -> Markup {
    let point = |point: &LearningPoint| Some(Point { x: point.step, y: of(point)?, ci95: None });
    let curve = |run: &Learning| run.points.iter().filter_map(point).collect();
    let curves: Vec<(Subject, Vec<Point>)> = runs.iter().map(|(subject, run)| (*subject, curve(run))).collect();
    let points = || curves.iter().flat_map(|(_, points)| points);
    let across =
        Axis::even(points().map(|point| point.x), 1.0, whole, |step| format!("step {}", count(step.round() as u64)));
    let up = Axis::even(points().map(|point| point.y), finest, label, said);
    plot(title, &curves, &across, &up)
}
