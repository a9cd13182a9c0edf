//! The result of a comparison: `report.json` for machines and one self-contained `report.html` for people.
//!
//! The page is rendered from the report alone, so a stored `report.json` can be shown again.

mod curves;
mod families;
mod html;
mod learning;
mod models;
mod plot;
mod record;
mod traces;

use crate::Error;
use crate::Role;
use crate::benchmark::BenchmarkCard;
use crate::budget::BudgetRun;
use crate::learning::Learning;
use crate::score::Scored;
use crate::statistics::{Bootstrap, Difference, Estimate};
use crate::transitions::Transitions;
use retort_model::durable;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Teacher, student and, where run, base and control on the same problems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`Report::FORMAT`] of the version that wrote it.
    pub format: String,
    pub teacher: Scored,
    pub base: Option<Scored>,
    pub control: Option<Scored>,
    pub student: Scored,
    /// (student - base) / (teacher - base).
    pub gap_recovered: Estimate,
    pub student_minus_control: Option<Difference>,
    pub student_minus_teacher: Difference,
    pub student_minus_base: Option<Difference>,
    pub teacher_minus_base: Option<Difference>,
    pub student_share_of_teacher: Estimate,
    /// Whether the interval of that share lies above 95%; `None` where the share is undefined.
    pub keeps_95_percent: Option<bool>,
    pub student_minus_teacher_by_family: Vec<FamilyDifference>,
    pub transitions: Transitions,
    /// The runs of a sweep over budgets, these ones included, by model and tokens; empty where there was none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetRun>,
    /// Training runs whose learning curves are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learning: Vec<Learning>,
    /// What a reader should know before trusting the figures.
    pub cautions: Vec<String>,
    pub seconds: Seconds,
    pub reproducibility: Reproducibility,
}

/// The paired difference on one family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FamilyDifference {
    pub family: String,
    pub student_minus_teacher: Difference,
    /// The p-value of the sign-flip test, corrected for all families (Holm).
    pub holm_p: f64,
}

/// What is needed to get the same figures again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reproducibility {
    /// Version of the program.
    pub retort: String,
    pub benchmark: Option<BenchmarkCard>,
    /// blake3 over the sorted uuids of the problems, in hexadecimal.
    pub problem_set: String,
    pub bootstrap: Bootstrap,
    pub commands: Vec<String>,
    pub facts: Vec<Fact>,
}

/// A named fact, such as a fingerprint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    pub name: String,
    pub value: String,
}

/// Wall-clock seconds by stage, in the order of the stages; a JSON object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>", into = "serde_json::Map<String, serde_json::Value>")]
pub struct Seconds(pub Vec<(String, f64)>);

impl From<Seconds> for serde_json::Map<String, serde_json::Value> {
    fn from(seconds: Seconds) -> Self {
        seconds.0.into_iter().map(|(stage, seconds)| (stage, seconds.into())).collect()
    }
}

impl TryFrom<serde_json::Map<String, serde_json::Value>> for Seconds {
    type Error = String;

    fn try_from(map: serde_json::Map<String, serde_json::Value>) -> Result<Self, String> {
        let stage = |(stage, value): (String, serde_json::Value)| match value.as_f64() {
            Some(seconds) => Ok((stage, seconds)),
            None => Err(format!("stage `{stage}` took `{value}`, expected seconds")),
        };
        map.into_iter().map(stage).collect::<Result<_, _>>().map(Self)
    }
}

impl Report {
    /// The format that this version writes.
    pub const FORMAT: &'static str = "retort report 2";

    /// The models that were run, teacher first.
    pub fn models(&self) -> Vec<(Role, &Scored)> {
        Role::ALL.into_iter().filter_map(|role| Some((role, self.model(role)?))).collect()
    }

    /// The score of the model in this role, where it was run.
    pub fn model(&self, role: Role) -> Option<&Scored> {
        match role {
            Role::Teacher => Some(&self.teacher),
            Role::Base => self.base.as_ref(),
            Role::Control => self.control.as_ref(),
            Role::Student => Some(&self.student),
        }
    }

    /// The report as JSON, with a final newline.
    pub fn to_json(&self) -> Result<String, Error> {
        let json = serde_json::to_string_pretty(self).map_err(Error::Unserialisable)?;
        Ok(json + "\n")
    }

    /// The report as one HTML page that needs nothing else: no script, no font, no request.
    pub fn to_html(&self) -> String {
        html::page(self).into_string()
    }

    /// Writes `report.html`, then `report.json`, each whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(folder).map_err(|source| Error::Io { action: "made", path: folder.into(), source })?;
        for (name, text) in [("report.html", self.to_html()), ("report.json", self.to_json()?)] {
            let path = folder.join(name);
            durable::replace(&path, text.as_bytes()).map_err(|source| Error::Io { action: "written", path, source })?;
        }
        Ok(())
    }

    /// Reads a `report.json`; its figures come back to within a unit in the last place.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let json = std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
        let report: Self =
            serde_json::from_slice(&json).map_err(|source| Error::BadReport { path: path.into(), source })?;
        if report.format != Self::FORMAT {
            return Err(Error::OtherFormat { path: path.into(), expected: Self::FORMAT, found: report.format });
        }
        Ok(report)
    }
}
