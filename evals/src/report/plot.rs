//! A curve for each model over an axis whose values double with every step: shares against tries or tokens.

use super::html::marker;
use crate::Role;
use crate::statistics::Interval;
use crate::wording::{count, percent};
use maud::{Markup, html};

/// Of the drawing, in units of its own; it is scaled to the page.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 230.0;
/// Left of, below and right of the axes.
const LEFT: f64 = 38.0;
const BELOW: f64 = 22.0;
const RIGHT: f64 = 10.0;

/// A point of a curve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// Above 0.
    pub x: f64,
    pub share: f64,
    pub ci95: Option<Interval>,
}

/// The curves of the models; `said` names a value of the axis where the plot is read out.
pub(super) fn plot(title: &str, models: &[(Role, Vec<Point>)], said: fn(f64) -> String) -> Markup {
    let points = || models.iter().flat_map(|(_, points)| points);
    let least = points().map(|point| point.x).fold(f64::INFINITY, f64::min);
    let most = points().map(|point| point.x).fold(least, f64::max);
    let across = (most / least).log2().max(1.0);
    let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * (value / least).log2() / across;
    let y = |share: f64| 8.0 + (HEIGHT - BELOW - 8.0) * (1.0 - share);
    let place = |value: f64, share: f64| format!("{:.1},{:.1}", x(value), y(share));
    let line = |points: &[Point]| joined(points.iter().map(|point| place(point.x, point.share)));
    let band = |points: &[Point]| {
        let ends = |end: fn(Interval) -> f64| points.iter().filter_map(move |point| Some((point.x, end(point.ci95?))));
        joined(ends(|ci| ci.lo).chain(ends(|ci| ci.hi).rev()).map(|(value, share)| place(value, share)))
    };
    let read = |points: &[Point]| {
        points
            .iter()
            .map(|point| format!("{} at {}", percent(point.share), said(point.x)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let described: Vec<String> = models.iter().map(|(role, points)| format!("{role}: {}", read(points))).collect();
    // A mark for each point of a close curve would hide it.
    let marked = models.iter().all(|(_, points)| points.len() <= MARKED);
    html! {
        figure {
            h3 { (title) }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width="100%" role="img" aria-label=(described.join("; ")) {
                @for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
                    line.gridline x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y(share)) y2=(y(share)) {}
                    text x=(LEFT - 6.0) y=(y(share) + 4.0) text-anchor="end" { (format!("{:.0}%", 100.0 * share)) }
                }
                @for tick in ticks(least, most) {
                    text x=(format!("{:.1}", x(tick))) y=(HEIGHT - 6.0) text-anchor="middle" { (count(tick as u64)) }
                }
                @for (role, points) in models {
                    g class=(role) { polygon.band points=(band(points)) {} }
                }
                @for (role, points) in models {
                    g class=(role) {
                        polyline.whisker fill="none" points=(line(points)) {}
                        @for point in if marked { points } else { &points[points.len().saturating_sub(1)..] } {
                            g transform={ "translate(" (place(point.x, point.share)) ")" } { (marker(*role)) }
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

/// Powers of two, no more of them than there is room for.
fn ticks(least: f64, most: f64) -> Vec<f64> {
    let (first, last) = (least.log2().ceil() as i32, most.log2().floor() as i32);
    let step = (last - first) / 7 + 1;
    (first..=last).step_by(step.unsigned_abs() as usize).map(|power| 2f64.powi(power)).collect()
}
