//! What every page of this program is made of: the document, its style, figures in words.

use crate::sample::Verdict;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Nothing may be loaded or run, whatever a model wrote: the browser enforces what escaping promises.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = include_str!("style.css");

/// A document that needs nothing else, in light and dark, for wide and narrow screens and for paper; `style` comes after
/// the style that all pages have.
pub fn document(title: &str, style: &str, main: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(style)) }
            }
            body { main { (main) } }
        }
    }
}

/// A figure with what it is above and what qualifies it below.
pub fn tile(label: &str, figure: Markup, below: Markup) -> Markup {
    html! { div.tile { div.label { (label) } div.figure { (figure) } div."small muted" { (below) } } }
}

/// What a verdict means, in a word or two.
pub fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Right => "right",
        Verdict::Wrong => "wrong",
        Verdict::NoAnswer => "no answer found",
        Verdict::Truncated => "cut by the token limit",
        Verdict::Unterminated => "never stopped thinking",
        Verdict::Loop => "repeats itself",
        Verdict::Undecided => "verifier undecided",
    }
}

/// 0.7454 as `74.5%`.
pub fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// A count with a comma between thousands.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The beginning of a text, on one line.
pub fn opening(text: &str) -> String {
    const LENGTH: usize = 76;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LENGTH { line } else { line.chars().take(LENGTH - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(percent(0.99996), "100.0%");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
        assert_eq!(opening(" a\n b "), "a b");
        assert_eq!(opening(&"é".repeat(99)).chars().count(), 76);
    }
}
