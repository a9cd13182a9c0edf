//! Choosing from the gym by name: `gym`, `gym:arithmetic`, `gym:countdown,modular@2-3`.

use super::{Exercise, Family, Level, Split, exercise};
use crate::problem::Problem;
use std::collections::HashSet;
use thiserror::Error;

/// Why problems cannot be taken from the gym.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    #[error("`{spec}` does not name the gym")]
    NotTheGym { spec: String },
    #[error("the gym has no family `{found}`")]
    UnknownFamily { found: String },
    #[error("the gym has no level `{found}`")]
    UnknownLevel { found: String },
    #[error("`{family}` level {level} has only {found} distinct problems on this side of the hold-out, not {wanted}")]
    TooFew { family: &'static str, level: &'static str, found: usize, wanted: usize },
    #[error("{wanted} problems of each family and level are more than fit in memory")]
    TooMany { wanted: usize },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let families = || Family::ALL.map(Family::as_str).join(", ");
        Some(match self {
            Self::NotTheGym { .. } => "write `gym`, `gym:FAMILY,...` or `gym:FAMILY,...@LEVEL`".into(),
            Self::UnknownFamily { .. } => format!("families: {}; `all` or nothing takes every one", families()),
            Self::UnknownLevel { .. } => "levels are 1, 2 and 3, as in `@3`, `@1,3` or `@1-2`".into(),
            Self::TooMany { .. } => format!("ask for at most {MOST_PER_CELL}"),
            Self::TooFew { found, .. } => format!("ask for at most {found} problems of each family and level"),
        })
    }
}

/// The most exercises of a cell that one selection may hold.
const MOST_PER_CELL: usize = 1_000_000;

/// Which cells of the gym, on which side of the hold-out, under which seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    pub families: Vec<Family>,
    pub levels: Vec<Level>,
    pub split: Split,
    pub seed: u64,
}

impl Default for Selection {
    /// Everything, for training, seed 0.
    fn default() -> Self {
        Self { families: Family::ALL.to_vec(), levels: Level::ALL.to_vec(), split: Split::Train, seed: 0 }
    }
}

impl Selection {
    /// The same cells on the side of `split`, under `seed`.
    pub fn with(self, split: Split, seed: u64) -> Self {
        Self { split, seed, ..self }
    }
}

/// Reads `gym[:FAMILY,...][@LEVEL,...]`, a level being `2` or a range `1-2`; split and seed are the caller's to set.
pub fn parse_spec(spec: &str) -> Result<Selection, Error> {
    let (cells, levels) = spec.split_once('@').map_or((spec, None), |(cells, levels)| (cells, Some(levels)));
    let mut selection = Selection::default();
    match cells.split_once(':') {
        None if cells == "gym" => {}
        Some(("gym", "" | "all")) => {}
        Some(("gym", names)) => {
            selection.families.clear();
            for name in names.split(',') {
                let family = Family::parse(name).ok_or_else(|| Error::UnknownFamily { found: name.into() })?;
                if !selection.families.contains(&family) {
                    selection.families.push(family);
                }
            }
        }
        _ => return Err(Error::NotTheGym { spec: spec.into() }),
    }
    if let Some(levels) = levels {
        let unknown = |found: &str| Error::UnknownLevel { found: found.into() };
        selection.levels.clear();
        for part in levels.split(',') {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let low = Level::parse(low).ok_or_else(|| unknown(part))?;
            let high = Level::parse(high).filter(|high| *high >= low).ok_or_else(|| unknown(part))?;
            let wanted = Level::ALL.into_iter().filter(|level| (low..=high).contains(level));
            let new: Vec<Level> = wanted.filter(|level| !selection.levels.contains(level)).collect();
            selection.levels.extend(new);
        }
    }
    Ok(selection)
}

/// `count_per_cell` exercises of every family and level, no instance twice; families and levels take turns, so every
/// prefix is balanced.
pub fn exercises(selection: &Selection, count_per_cell: usize) -> Result<Vec<Exercise>, Error> {
    if count_per_cell > MOST_PER_CELL {
        return Err(Error::TooMany { wanted: count_per_cell });
    }
    let mut seen = HashSet::new();
    let mut next_index = vec![0u64; selection.families.len() * selection.levels.len()];
    let mut chosen = Vec::new();
    for found in 0..count_per_cell {
        for (cell, next) in next_index.iter_mut().enumerate() {
            // Families turn fastest.
            let family = selection.families[cell % selection.families.len()];
            let level = selection.levels[cell / selection.families.len()];
            // This many draws in a row that were all seen before: the cell has run dry.
            let patience = *next + 2000;
            loop {
                if *next == patience {
                    let (family, level) = (family.as_str(), level.as_str());
                    return Err(Error::TooFew { family, level, found, wanted: count_per_cell });
                }
                let candidate = exercise(family, level, selection.split, selection.seed, *next);
                *next += 1;
                if seen.insert(candidate.instance.clone()) {
                    chosen.push(candidate);
                    break;
                }
            }
        }
    }
    Ok(chosen)
}

/// The problems of [`exercises`].
pub fn problems(selection: &Selection, count_per_cell: usize) -> Result<Vec<Problem>, Error> {
    Ok(exercises(selection, count_per_cell)?.into_iter().map(|exercise| exercise.problem).collect())
}
