//! The largest few of many numbers, without sorting the rest.

use std::cmp::Ordering;

/// Numbers looked at together: most blocks hold nothing that is large enough, which one pass without a branch tells.
const BLOCK: usize = 64;

/// Places of the `k` largest of `values`, the largest first; equal numbers in the order of their places.
///
/// A place is kept while its number is above the k-th largest found so far. Numbers must not be NaN.
pub fn top_k(values: &[f32], k: usize) -> Vec<u32> {
    let k = k.min(values.len());
    if k == 0 {
        return Vec::new();
    }
    let order = |&a: &u32, &b: &u32| {
        let (a_value, b_value) = (values[a as usize], values[b as usize]);
        b_value.partial_cmp(&a_value).unwrap_or(Ordering::Equal).then(a.cmp(&b))
    };
    let mut kept: Vec<u32> = Vec::with_capacity(2 * k + 2 * BLOCK);
    // Later numbers no larger than this are beaten by k earlier ones.
    let mut floor = None;
    for (index, block) in values.chunks(BLOCK).enumerate() {
        let places = (index * BLOCK) as u32..;
        match floor {
            None => kept.extend(places.take(block.len())),
            Some(floor) if block.iter().fold(false, |any, &value| any | (value > floor)) => {
                kept.extend(places.zip(block).filter(|&(_, &value)| value > floor).map(|(place, _)| place));
            }
            Some(_) => continue,
        }
        if kept.len() >= 2 * k + BLOCK {
            kept.select_nth_unstable_by(k - 1, order);
            kept.truncate(k);
            floor = Some(values[kept[k - 1] as usize]);
        }
    }
    if kept.len() > k {
        kept.select_nth_unstable_by(k - 1, order);
        kept.truncate(k);
    }
    kept.sort_unstable_by(order);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_sorting_everything() {
        let waves = |step: f32| (0..3000).map(|at| ((at as f32 * step).sin() * 40.0).round()).collect::<Vec<f32>>();
        let rising: Vec<f32> = (0..3000).map(|at| at as f32).collect();
        let falling: Vec<f32> = rising.iter().map(|value| -value).collect();
        for values in [waves(0.37), waves(0.0), rising, falling] {
            let mut sorted: Vec<u32> = (0..3000).collect();
            // Not `total_cmp`: 0 and -0 are equal.
            let falling = |a: &u32, b: &u32| values[*b as usize].partial_cmp(&values[*a as usize]).expect("numbers");
            sorted.sort_by(falling);
            for k in [0, 1, 2, 63, 64, 700, 2999, 3000, 5000] {
                assert_eq!(top_k(&values, k), sorted[..k.min(3000)], "{k} of {:?}...", &values[..3]);
            }
        }
        assert!(top_k(&[], 3).is_empty());
    }
}
