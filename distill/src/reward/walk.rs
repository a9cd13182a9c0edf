//! Which problems a batch asks, and with which numbers among their completions: two walks through all of them, epoch by
//! epoch and each epoch in an order of its own, one for the groups that every batch draws and one for those that it draws in
//! place of others. A batch's groups follow from its number, so that a resumed run asks what an uninterrupted one would.

use super::settings::RewardSettings;
use crate::Error;
use crate::data::order;
use retort_datagen::problem::Problem;
use std::ops::Range;

/// The problems of a run, in the order in which it comes to them.
pub(super) struct Walk {
    /// In the order of the first epoch.
    problems: Vec<Problem>,
    seed: u64,
    group_size: u32,
    /// Groups of a batch.
    groups: u64,
    /// Groups that a batch may draw in place of others.
    spare: u64,
    /// How often each walk comes to a problem, at most.
    visits: [u32; 2],
}

/// A group to be drawn.
pub(super) struct Asked<'p> {
    pub problem: &'p Problem,
    /// The numbers of its completions among those of the problem.
    pub samples: Range<u32>,
}

/// Orders of the spare groups' epochs are taken from here on, so that they are other ones.
const SPARE: u64 = 1 << 63;

impl Walk {
    /// For so many batches of `groups` groups each.
    pub(super) fn new(
        problems: &[Problem],
        seed: u64,
        settings: &RewardSettings,
        groups: usize,
        batches: u64,
    ) -> Result<Self, Error> {
        let problems: Vec<Problem> =
            order(problems.len(), seed, 0).into_iter().map(|at| problems[at].clone()).collect();
        if problems.is_empty() {
            return Err(Error::EmptyStep { step: 0 });
        }
        let (groups, spare) = (groups as u64, groups as u64 * settings.redraws);
        let visits = [groups, spare].map(|each| batches.saturating_mul(each).div_ceil(problems.len() as u64));
        let completions = visits.iter().sum::<u64>().saturating_mul(settings.group_size as u64);
        if u32::try_from(completions).is_err() {
            let allowed = "fewer: no problem is answered 4 billion times";
            return Err(Error::Setting { field: "epochs", value: completions.to_string(), allowed });
        }
        // Each of them is at most their sum.
        let visits = visits.map(|visits| visits as u32);
        Ok(Self { problems, seed, group_size: settings.group_size as u32, groups, spare, visits })
    }

    /// Completions of one problem in the whole run, at most.
    pub(super) fn completions(&self) -> u32 {
        self.visits.iter().sum::<u32>().max(1) * self.group_size
    }

    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The groups of a batch.
    pub(super) fn groups(&self, batch: u64) -> Vec<Asked<'_>> {
        self.along(batch * self.groups..(batch + 1) * self.groups, 0, 0)
    }

    /// Those that may take the place of others.
    pub(super) fn spare(&self, batch: u64) -> Vec<Asked<'_>> {
        self.along(batch * self.spare..(batch + 1) * self.spare, SPARE, self.visits[0])
    }

    /// Some places of a walk whose epochs have orders from `first_order` on, when `before` visits came to every problem.
    fn along(&self, places: Range<u64>, first_order: u64, before: u32) -> Vec<Asked<'_>> {
        let count = self.problems.len();
        let in_epoch = |epoch: u64| match first_order + epoch {
            0 => (0..count).collect(),
            order => self::order(count, self.seed, order),
        };
        let mut known = None;
        places
            .map(|at| {
                let (epoch, place) = (at / count as u64, (at % count as u64) as usize);
                let (_, order) = match known.take().filter(|(of, _)| *of == epoch) {
                    Some(order) => known.insert(order),
                    None => known.insert((epoch, in_epoch(epoch))),
                };
                // Below `completions`, which is a u32.
                let first = (before + epoch as u32) * self.group_size;
                Asked { problem: &self.problems[order[place]], samples: first..first + self.group_size }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_completion_is_asked_for_twice_and_none_beyond_those_announced() -> Result<(), Error> {
        let problem = |n: usize| Problem::new(format!("{n}?"), n.to_string(), "test", "arithmetic", "");
        let problems: Vec<Problem> = (0..5).map(problem).collect();
        let settings: RewardSettings = serde_json::from_str(r#"{"group_size":3,"redraws":2}"#).expect("settings");
        let walk = Walk::new(&problems, 9, &settings, 4, 6)?;
        let mut seen = HashSet::new();
        for batch in 0..6 {
            let (groups, spare) = (walk.groups(batch), walk.spare(batch));
            assert_eq!((groups.len(), spare.len()), (4, 8));
            for Asked { problem, samples } in groups.into_iter().chain(spare) {
                assert_eq!(samples.len(), 3);
                for sample in samples {
                    assert!(sample < walk.completions() && seen.insert((problem.uuid.clone(), sample)));
                }
            }
        }
        // 24 groups come to five problems five times, 48 ten times.
        assert_eq!((seen.len(), walk.completions()), (6 * 12 * 3, 3 * 15));
        // Every epoch comes to every problem once.
        let first: HashSet<&str> =
            (0..2).flat_map(|batch| walk.groups(batch)).take(5).map(|group| &*group.problem.uuid).collect();
        assert_eq!(first.len(), 5);
        Ok(())
    }
}
