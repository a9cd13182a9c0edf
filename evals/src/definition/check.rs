//! What a definition may not say, beyond what its fields can hold.

use super::{ChoiceMetric, Definition, Generation, OptionsPart, Order, PromptKind, QuestionPart, Shots};
use regex::Regex;
use retort_model::chat::QuestionTemplate;

/// A field and what is wrong with it.
type Fault = (String, String);

fn fault(field: &str, reason: impl Into<String>) -> Option<Fault> {
    Some((field.into(), reason.into()))
}

impl Definition {
    /// The first thing that is wrong.
    pub(super) fn fault(&self) -> Option<Fault> {
        let plain = |sign: char| sign.is_ascii_alphanumeric() || "-_.".contains(sign);
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return fault("name", "it becomes part of files' names: letters, digits, `-`, `_` and `.`");
        }
        let options = self.options.as_ref();
        self.question
            .fault()
            .or_else(|| options.and_then(OptionsPart::fault))
            .or_else(|| self.clean_fault())
            .or_else(|| self.shots.as_ref().and_then(Shots::fault))
            .or_else(|| match (&self.generation, &self.log_likelihood) {
                (Some(generation), None) => generation.fault(),
                (None, Some(scored)) if options.is_none() => {
                    fault("log_likelihood", format!("{:?} are asked about, and there is no `[options]`", scored.of))
                }
                (None, Some(scored)) => metrics_fault(&scored.metrics),
                (None, None) => fault("generation", "it is missing: a definition has it or `log_likelihood`"),
                (Some(_), Some(_)) => {
                    fault("log_likelihood", "there is `generation` too, and a definition has one kind")
                }
            })
    }

    fn clean_fault(&self) -> Option<Fault> {
        let patterns = self.clean.iter().flat_map(|clean| &clean.replace).enumerate();
        patterns.into_iter().find_map(|(at, (pattern, _))| {
            let error = Regex::new(pattern).err()?;
            fault(&format!("clean.replace[{at}]"), error.to_string())
        })
    }
}

impl QuestionPart {
    fn fault(&self) -> Option<Fault> {
        let texts = [("question.preface", &self.preface), ("question.text", &self.text), ("question.gold", &self.gold)];
        texts.into_iter().find_map(|(field, text)| fault(field, QuestionTemplate::new(text).err()?))
    }
}

impl OptionsPart {
    fn fault(&self) -> Option<Fault> {
        match (&self.column, self.columns.len()) {
            (Some(_), 0) | (None, 2..) => None,
            (None, 1) => fault("options.columns", "a choice has two options at least"),
            (None, _) => fault("options", "`column` or `columns` must say where the options are"),
            (Some(_), _) => fault("options.columns", "there is `column` too, and options are in one place"),
        }
        .or_else(|| match &self.labels {
            Some(_) if self.column.is_none() => fault("options.labels", "labels go with `column`, a list"),
            _ => None,
        })
    }
}

impl Shots {
    fn fault(&self) -> Option<Fault> {
        match (self.order, self.seed) {
            _ if self.count == 0 => fault("shots.count", "no examples: leave `[shots]` out"),
            (Order::Drawn, None) => fault("shots.seed", "it is missing, and examples are drawn"),
            (Order::First, Some(_)) => fault("shots.seed", "nothing is drawn: the first examples are taken"),
            _ => None,
        }
    }
}

impl Generation {
    fn fault(&self) -> Option<Fault> {
        let Self { prompt, suffix, samples, sampling, verify, filters } = self;
        if *samples == Some(0) {
            return fault("generation.samples", "it is 0, and it must be at least 1");
        }
        if *prompt == PromptKind::Raw && !suffix.is_empty() {
            return fault("generation.suffix", "a raw prompt ends as `question.text` does");
        }
        if let Some((setting, found, expected)) = sampling.fault() {
            return fault(
                &format!("generation.sampling.{setting}"),
                format!("it is {found}, and it must be {expected}"),
            );
        }
        if verify.is_some() != filters.is_empty() {
            return fault("generation.verify", "a definition has it or `filters`, and not both");
        }
        let rule = verify.iter().find_map(|rule| fault("generation.verify", told(&rule.verifier().err()?)));
        rule.or_else(|| {
            filters.iter().enumerate().find_map(|(at, filter)| {
                let twice = filters[..at].iter().any(|other| other.name == filter.name);
                let twice = || twice.then(|| "another filter has its name".to_owned());
                let broken = filter.filtered().compile().err().map(|error| told(&error));
                fault(&format!("generation.filters[{at}]"), broken.or_else(twice)?)
            })
        })
    }
}

/// An error with its cause.
fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn metrics_fault(metrics: &[ChoiceMetric]) -> Option<Fault> {
    match metrics {
        [] => fault("log_likelihood.metrics", "it is empty: `acc` or `acc_norm` is needed"),
        [first, rest @ ..] if rest.contains(first) => fault("log_likelihood.metrics", "a metric is there twice"),
        _ => None,
    }
}
