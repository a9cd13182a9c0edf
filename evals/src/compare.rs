//! Pairs the runs of teacher, base, control and student question by question into a report.

use crate::benchmark::BenchmarkCard;
use crate::report::{Fact, FamilyDifference, Report, Reproducibility, Seconds};
use crate::score::{Questions, Scored, clusters, questions};
use crate::statistics::{
    Bootstrap, Clusters, Difference, Estimate, gap_recovered, holm, mcnemar_exact, paired_difference, share_of,
};
use crate::stems::Stems;
use crate::transitions::Transitions;
use crate::wording::{percent, problem_count};
use crate::{Error, Role};
use retort_datagen::sample::{Sample, Verdict};
use retort_datagen::store::RunHeader;

/// The runs to compare, all over the same problems.
#[derive(Debug, Clone, Copy)]
pub struct Runs<'a> {
    pub teacher: &'a [Sample],
    pub student: &'a [Sample],
    /// The student before distillation.
    pub base: Option<&'a [Sample]>,
    /// The same start, trained on final answers without the reasoning.
    pub control: Option<&'a [Sample]>,
    /// Which of the problems belong together.
    pub stems: &'a Stems,
}

/// Refuses two runs that were asked in different ways: their difference would not be one of the models.
pub(crate) fn same_settings((left, a): (Role, &RunHeader), (right, b): (Role, &RunHeader)) -> Result<(), Error> {
    let values = |run: &RunHeader| {
        [
            ("n", run.n.to_string()),
            ("temperature", run.sampling.temperature.to_string()),
            ("top_p", run.sampling.top_p.to_string()),
            ("max_tokens", run.sampling.max_tokens.to_string()),
            ("prompt_suffix", run.prompt_suffix.clone()),
            ("prompt", format!("{:?}", run.prompt)),
            ("stop", format!("{:?}", run.sampling.stop)),
            ("verify", format!("{:?}", run.verify)),
            ("verifier", run.verifier.to_string()),
            ("sampling", serde_json::to_string(&run.sampling).unwrap_or_default()),
        ]
    };
    match values(a).into_iter().zip(values(b)).find(|(a, b)| a != b) {
        Some(((setting, left_value), (_, right_value))) => {
            Err(Error::SettingsDiffer { left, right, setting, left_value, right_value })
        }
        None => Ok(()),
    }
}

/// What a report states beside the scores, and how it resamples.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The benchmark's name, problems and fingerprint, where known.
    pub benchmark: Option<BenchmarkCard>,
    /// Wall-clock seconds by stage, in the order of the stages.
    pub seconds: Vec<(String, f64)>,
    /// Commands that repeat the result, in order.
    pub commands: Vec<String>,
    /// Further facts: fingerprints of models, tokenizers and recipes, versions, the machine.
    pub facts: Vec<Fact>,
    pub bootstrap: Bootstrap,
}

/// How many examples a report shows of each transition.
const EXAMPLES_EACH: usize = 3;

struct Run<'a> {
    role: Role,
    questions: Questions<'a>,
    scored: Scored,
}

impl<'a> Run<'a> {
    fn new(role: Role, samples: &'a [Sample], stems: &'a Stems) -> Result<Self, Error> {
        let questions = questions(role.as_str(), samples, stems)?;
        let scored = Scored::from_questions(role.as_str(), &questions)?;
        Ok(Self { role, questions, scored })
    }

    /// The scores of both on every problem, `self` first.
    fn pairs(&self, other: &Run<'_>) -> Vec<(f64, f64)> {
        self.questions
            .values()
            .zip(other.questions.values())
            .map(|(first, second)| (first.question.score(), second.question.score()))
            .collect()
    }

    /// The paired difference self - other.
    fn minus(&self, other: &Run<'_>, flips: &Bootstrap) -> Result<Difference, Error> {
        self.minus_where(other, flips, |_| true)
    }

    /// The same over the problems of the families that `wanted` names.
    fn minus_where(
        &self,
        other: &Run<'_>,
        flips: &Bootstrap,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Difference, Error> {
        let (mut pairs, mut stems, mut single, mut gained, mut lost) = (Vec::new(), Vec::new(), true, 0, 0);
        for (first, second) in self.questions.values().zip(other.questions.values()) {
            if !wanted(first.family) {
                continue;
            }
            stems.push(first.stem);
            let (first, second) = (first.question, second.question);
            pairs.push((first.score(), second.score()));
            single &= first.samples == 1 && second.samples == 1;
            gained += u64::from(first.right > second.right);
            lost += u64::from(first.right < second.right);
        }
        let difference = paired_difference(&pairs, &Clusters::named(stems), flips)
            .ok_or_else(|| Error::EmptyRun { run: self.role.to_string() })?;
        let single = single && difference.clusters.is_none();
        Ok(Difference { mcnemar_p: single.then(|| mcnemar_exact(gained, lost)), ..difference })
    }
}

/// Scores and pairs the runs; refuses an empty run and runs over different problems.
pub fn compare(runs: &Runs<'_>, context: Context) -> Result<Report, Error> {
    let teacher = Run::new(Role::Teacher, runs.teacher, runs.stems)?;
    let student = Run::new(Role::Student, runs.student, runs.stems)?;
    let base = runs.base.map(|samples| Run::new(Role::Base, samples, runs.stems)).transpose()?;
    let control = runs.control.map(|samples| Run::new(Role::Control, samples, runs.stems)).transpose()?;
    for other in [Some(&student), base.as_ref(), control.as_ref()].into_iter().flatten() {
        same_problems(&teacher, other)?;
    }
    let flips = &context.bootstrap;
    let clusters = clusters(&teacher.questions);
    let minus = |other: &Option<Run<'_>>| other.as_ref().map(|other| student.minus(other, flips)).transpose();
    let teacher_minus_base = base.as_ref().map(|base| teacher.minus(base, flips)).transpose()?;
    let gap_recovered = match (&base, &teacher_minus_base) {
        (Some(base), Some(gap)) => {
            let of_base = base.questions.values();
            let triples: Vec<_> = student
                .pairs(&teacher)
                .into_iter()
                .zip(of_base)
                .map(|((student, teacher), base)| (teacher, base.question.score(), student))
                .collect();
            gap_recovered(&triples, &clusters, gap.ci95, &context.bootstrap)
        }
        _ => Estimate::undefined("there is no run of the base student"),
    };
    let whole = ("the teacher's score", teacher.scored.score.ci95);
    let share = share_of(&student.pairs(&teacher), &clusters, whole, &context.bootstrap);
    let families: Result<Vec<(String, Difference)>, Error> = teacher
        .scored
        .families
        .iter()
        .map(|scored| {
            let difference = student.minus_where(&teacher, flips, |family| family == scored.family)?;
            Ok((scored.family.clone(), difference))
        })
        .collect();
    let families = corrected(families?);
    let present: Vec<&Run<'_>> =
        [Some(&teacher), base.as_ref(), control.as_ref(), Some(&student)].into_iter().flatten().collect();
    Ok(Report {
        format: Report::FORMAT.into(),
        cautions: cautions(&present),
        gap_recovered,
        keeps_95_percent: share.defined().map(|(_, interval)| interval.lo > NON_INFERIOR),
        student_minus_teacher: student.minus(&teacher, flips)?,
        student_minus_base: minus(&base)?,
        student_minus_control: minus(&control)?,
        teacher_minus_base,
        student_share_of_teacher: share,
        student_minus_teacher_by_family: families,
        budgets: vec![],
        learning: vec![],
        transitions: Transitions::between(&teacher.questions, &student.questions, EXAMPLES_EACH),
        seconds: Seconds(context.seconds),
        reproducibility: Reproducibility {
            retort: env!("CARGO_PKG_VERSION").into(),
            benchmark: context.benchmark,
            problem_set: problem_set(&teacher.questions),
            bootstrap: context.bootstrap,
            commands: context.commands,
            facts: context.facts,
        },
        teacher: teacher.scored,
        base: base.map(|run| run.scored),
        control: control.map(|run| run.scored),
        student: student.scored,
    })
}

/// The student keeps the teacher's score where it certainly keeps more than this share of it.
const NON_INFERIOR: f64 = 0.95;

/// The differences by family, with p-values for all of them at once.
fn corrected(differences: Vec<(String, Difference)>) -> Vec<FamilyDifference> {
    let p: Vec<f64> = differences.iter().map(|(_, difference)| difference.sign_flip_p).collect();
    let of = |((family, student_minus_teacher), holm_p)| FamilyDifference { family, student_minus_teacher, holm_p };
    differences.into_iter().zip(holm(&p)).map(of).collect()
}

/// Refuses two runs unless they hold the same problems under the same labels.
fn same_problems(left: &Run<'_>, right: &Run<'_>) -> Result<(), Error> {
    let only = |of: &Run<'_>, not: &Run<'_>| -> Vec<String> {
        of.questions.keys().filter(|uuid| !not.questions.contains_key(*uuid)).map(|uuid| (*uuid).into()).collect()
    };
    let (only_left, only_right) = (only(left, right), only(right, left));
    if let Some(example) = only_left.first().or(only_right.first()) {
        return Err(Error::ProblemSetsDiffer {
            left: left.role,
            right: right.role,
            left_problems: left.questions.len(),
            right_problems: right.questions.len(),
            only_left: only_left.len(),
            only_right: only_right.len(),
            example: example.clone(),
        });
    }
    for ((uuid, first), second) in left.questions.iter().zip(right.questions.values()) {
        if (first.family, first.level) != (second.family, second.level) {
            return Err(Error::LabelsDiffer {
                uuid: (*uuid).into(),
                left: left.role,
                left_label: format!("{}/{}", first.family, first.level),
                right: right.role,
                right_label: format!("{}/{}", second.family, second.level),
            });
        }
    }
    Ok(())
}

/// blake3 over the sorted uuids, in hexadecimal: equal for every run that can be paired with this one.
fn problem_set(questions: &Questions<'_>) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("retort problem set v1");
    for uuid in questions.keys() {
        hasher.update(&(uuid.len() as u64).to_le_bytes()).update(uuid.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// What a reader should know before trusting the figures.
fn cautions(runs: &[&Run<'_>]) -> Vec<String> {
    let mut cautions = Vec::new();
    for run in runs {
        let [fewest, most] = run.scored.samples_per_problem;
        if fewest != most {
            let role = run.role;
            cautions.push(format!(
                "The {role} run is uneven: {fewest} to {most} samples per problem. It may be incomplete."
            ));
        }
    }
    let problems = runs.iter().map(|run| run.scored.score.problems).min().unwrap_or(0);
    if problems < 100 {
        cautions.push(format!(
            "With {} the intervals are wide: small differences cannot be seen.",
            problem_count(problems)
        ));
    }
    let listed = |above: f64, verdicts: &[Verdict]| -> Option<String> {
        let share = |run: &Run<'_>| verdicts.iter().map(|&verdict| run.scored.share(verdict)).sum::<f64>();
        let shares = runs.iter().map(|run| (run.role, share(run))).filter(|(_, share)| *share > above);
        let shares: Vec<String> = shares.map(|(role, share)| format!("{role} {}", percent(share))).collect();
        (!shares.is_empty()).then(|| shares.join(", "))
    };
    if let Some(shares) = listed(0.0, &[Verdict::Undecided]) {
        cautions.push(format!("Answers that the verifier could not decide count as not right: {shares}."));
    }
    if let Some(shares) = listed(0.05, &[Verdict::Truncated, Verdict::Unterminated]) {
        cautions.push(format!("The token limit cut answers short, and a higher one may raise these scores: {shares}."));
    }
    cautions
}
