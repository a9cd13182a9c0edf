//! Lengths as quantiles and as bars.

/// Of a length in tokens; quantiles are values that occur (nearest rank).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quantiles {
    pub mean: f64,
    pub min: f64,
    pub p10: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
}

impl Quantiles {
    /// Of values in order; zeros where there are none.
    pub(super) fn of(sorted: &[u32]) -> Self {
        let Some(last) = sorted.len().checked_sub(1) else { return Self::default() };
        let at = |share: f64| f64::from(sorted[(share * last as f64).round() as usize]);
        let sum: f64 = sorted.iter().map(|&value| f64::from(value)).sum();
        Self {
            mean: sum / sorted.len() as f64,
            min: at(0.0),
            p10: at(0.1),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// How many values fall into each of some classes of equal width; the last class is open, so that a few outliers do not
/// press all others into one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    /// Class `i` holds the values from `first + i * width`.
    pub first: u32,
    /// 1, 2 or 5 times a power of ten; 0 where there are no values.
    pub width: u32,
    pub counts: Vec<u64>,
}

/// Classes that a histogram aims at, and never exceeds by more than two.
const CLASSES: u32 = 12;

impl Histogram {
    /// Of values in order.
    pub(super) fn of(sorted: &[u32]) -> Self {
        let (Some(&low), Some(&high)) = (sorted.first(), sorted.last()) else { return Self::default() };
        // What lies above the 99th percentile has the open class.
        let high = sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(high);
        let width = width((high - low) / CLASSES + 1);
        let first = low / width * width;
        let classes = ((high - first) / width + 1) as usize;
        let mut counts = vec![0; classes];
        for value in sorted {
            let class = ((value - first) / width) as usize;
            counts[class.min(classes - 1)] += 1;
        }
        Self { first, width, counts }
    }

    /// (the least value of the class, its least value above it, where it is not open; how many), in order.
    pub fn classes(&self) -> impl Iterator<Item = (u32, Option<u32>, u64)> + '_ {
        let last = self.counts.len().saturating_sub(1);
        self.counts.iter().enumerate().map(move |(place, &count)| {
            let from = self.first.saturating_add((place as u32).saturating_mul(self.width));
            (from, (place < last).then(|| from.saturating_add(self.width)), count)
        })
    }
}

/// The least of 1, 2, 5, 10, 20, ... that is no smaller than `least`.
fn width(least: u32) -> u32 {
    let mut power = 1u32;
    loop {
        for step in [1, 2, 5] {
            let width = power.saturating_mul(step);
            if width >= least {
                return width;
            }
        }
        power = power.saturating_mul(10);
    }
}
