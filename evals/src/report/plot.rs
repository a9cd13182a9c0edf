//! Curves in a frame of two axes: a model's score against tries or tokens, what a training run told against its steps.

use super::html::marker;
use crate::Role;
use crate::statistics::Interval;
use crate::wording::count;
use maud::{Markup, html};
use std::fmt;

/// Of the drawing, in units of its own; it is scaled to the page.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 230.0;
/// Left of, above, below and right of the axes.
const LEFT: f64 = 38.0;
const ABOVE: f64 = 8.0;
const BELOW: f64 = 22.0;
const RIGHT: f64 = 10.0;

/// What a curve is of: a model by its role, or a training run by its place among those named.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    Model(Role),
    Run(usize, &'a str),
}

/// Colours there are for runs; those beyond begin with the first again.
const COLOURS: usize = 6;

impl Subject<'_> {
    /// The style sheet's name for its colour.
    pub(super) fn class(self) -> String {
        match self {
            Self::Model(role) => role.to_string(),
            Self::Run(at, _) => format!("run-{}", at % COLOURS),
        }
    }

    fn marker(self) -> Markup {
        match self {
            Self::Model(role) => marker(role),
            Self::Run(..) => marker(Role::Student),
        }
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(role) => role.fmt(f),
            Self::Run(_, name) => f.write_str(name),
        }
    }
}

/// Each subject's mark before its name.
pub(super) fn legend<'a>(subjects: impl Iterator<Item = Subject<'a>>) -> Markup {
    html! {
        ul.legend {
            @for subject in subjects {
                li {
                    svg class={ "key " (subject.class()) } aria-hidden="true" { svg x="7" y="6" { (subject.marker()) } }
                    (subject)
                }
            }
        }
    }
}

/// A point of a curve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
    pub ci95: Option<Interval>,
}

/// One direction of the frame.
pub(super) struct Axis {
    least: f64,
    most: f64,
    ticks: Vec<f64>,
    doubles: bool,
    /// A tick's label.
    label: fn(f64) -> String,
    /// A value where the plot is read out.
    said: fn(f64) -> String,
}

impl Axis {
    /// Values above 0; every step doubles them.
    pub(super) fn doubling(values: impl Iterator<Item = f64>, said: fn(f64) -> String) -> Self {
        let (least, most) = bounds(values);
        let (first, last) = (least.log2().ceil() as i32, most.log2().floor() as i32);
        // No more of them than there is room for.
        let step = (last - first) / 7 + 1;
        let ticks = (first..=last).step_by(step.unsigned_abs() as usize).map(|power| 2f64.powi(power)).collect();
        Self { least, most: most.max(2.0 * least), ticks, doubles: true, label: whole, said }
    }

    /// From 0, or the least value below it, to a round number that no value lies above; ticks are multiples of `finest`,
    /// the least that labels tell apart.
    pub(super) fn even(
        values: impl Iterator<Item = f64>,
        finest: f64,
        label: fn(f64) -> String,
        said: fn(f64) -> String,
    ) -> Self {
        let (least, most) = bounds(values.chain([0.0]));
        let rough = (most - least).max(f64::MIN_POSITIVE) / 4.0;
        let power = 10f64.powf(rough.log10().floor());
        let told = |step: f64| step / finest > 0.5 && (step / finest - (step / finest).round()).abs() < 1e-6;
        let mut steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|digit| digit * power).into_iter();
        let step = steps.find(|step| *step >= rough && told(*step)).unwrap_or(finest);
        let (first, last) = ((least / step).floor() as i64, (most / step).ceil().max(1.0) as i64);
        let ticks: Vec<f64> = (first..=last).map(|at| at as f64 * step).collect();
        Self { least: first as f64 * step, most: last as f64 * step, ticks, doubles: false, label, said }
    }

    /// Shares of a whole.
    pub(super) fn shares(said: fn(f64) -> String) -> Self {
        let ticks = vec![0.0, 0.25, 0.5, 0.75, 1.0];
        Self { least: 0.0, most: 1.0, ticks, doubles: false, label: whole_percent, said }
    }

    /// Where a value lies between the ends, 0 to 1.
    fn place(&self, value: f64) -> f64 {
        match self.doubles {
            true => (value / self.least).log2() / (self.most / self.least).log2(),
            false => (value - self.least) / (self.most - self.least),
        }
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)))
}

/// A whole number as a label.
pub(super) fn whole(value: f64) -> String {
    count(value.round() as u64)
}

/// A share as a label.
pub(super) fn whole_percent(share: f64) -> String {
    format!("{:.0}%", 100.0 * share)
}

/// The curves, one colour each.
pub(super) fn plot(title: &str, curves: &[(Subject, Vec<Point>)], across: &Axis, up: &Axis) -> Markup {
    let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * across.place(value);
    let y = |value: f64| ABOVE + (HEIGHT - BELOW - ABOVE) * (1.0 - up.place(value));
    let place = |at: f64, value: f64| format!("{:.1},{:.1}", x(at), y(value));
    let line = |points: &[Point]| joined(points.iter().map(|point| place(point.x, point.y)));
    let band = |points: &[Point]| {
        let ends = |end: fn(Interval) -> f64| points.iter().filter_map(move |point| Some((point.x, end(point.ci95?))));
        joined(ends(|ci| ci.lo).chain(ends(|ci| ci.hi).rev()).map(|(at, value)| place(at, value)))
    };
    let read = |points: &[Point]| {
        let read = points.iter().map(|point| format!("{} at {}", (up.said)(point.y), (across.said)(point.x)));
        read.collect::<Vec<_>>().join(", ")
    };
    let described: Vec<String> =
        curves.iter().map(|(subject, points)| format!("{subject}: {}", read(points))).collect();
    // A mark for each point of a close curve would hide it.
    let marked = curves.iter().all(|(_, points)| points.len() <= MARKED);
    html! {
        figure {
            h3 { (title) }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width="100%" role="img" aria-label=(described.join("; ")) {
                @for &tick in &up.ticks {
                    line.gridline x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y(tick)) y2=(y(tick)) {}
                    text x=(LEFT - 6.0) y=(y(tick) + 4.0) text-anchor="end" { ((up.label)(tick)) }
                }
                @for &tick in &across.ticks {
                    text x=(format!("{:.1}", x(tick))) y=(HEIGHT - 6.0) text-anchor="middle" { ((across.label)(tick)) }
                }
                @for (subject, points) in curves {
                    g class=(subject.class()) { polygon.band points=(band(points)) {} }
                }
                @for (subject, points) in curves {
                    g class=(subject.class()) {
                        polyline.whisker fill="none" points=(line(points)) {}
                        @for point in if marked { points } else { &points[points.len().saturating_sub(1)..] } {
                            g transform={ "translate(" (place(point.x, point.y)) ")" } { (subject.marker()) }
                        }
                    }
                }
            }
        }
    }
}

/// The most points of a curve that are marked one by one.
const MARKED: usize = 9;

fn joined(places: impl Iterator<Item = String>) -> String {
    places.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_axis_ends_in_round_numbers_and_holds_every_value() {
        for (values, finest, ticks) in [
            (vec![3.0, 118.0], 1.0, vec![0.0, 50.0, 100.0, 150.0]),
            (vec![0.07, 0.31], 0.001, vec![0.0, 0.1, 0.2, 0.30000000000000004, 0.4]),
            (vec![-0.2, 0.7], 0.001, vec![-0.25, 0.0, 0.25, 0.5, 0.75]),
            // Labels in whole numbers, and in whole percent.
            (vec![10.0], 1.0, vec![0.0, 5.0, 10.0]),
            (vec![1.0], 1.0, vec![0.0, 1.0]),
            (vec![0.08], 0.01, vec![0.0, 0.02, 0.04, 0.06, 0.08]),
            (vec![0.0], 0.01, vec![0.0, 0.01]),
        ] {
            let axis = Axis::even(values.iter().copied(), finest, whole, whole);
            assert_eq!(axis.ticks, ticks);
            assert!(values.iter().all(|value| (0.0..=1.0).contains(&axis.place(*value))));
        }
        let flat = Axis::even([0.0].into_iter(), 1.0, whole, whole);
        assert!(flat.place(0.0) == 0.0 && flat.ticks.len() == 2);
    }
}
