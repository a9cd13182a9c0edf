//! Texts that go round in circles.

/// A loop repeats at least this many tokens ...
const MIN_PERIOD: usize = 8;
/// ... and at most this many.
const MAX_PERIOD: usize = 1024;

/// The shortest loop that `token_ids` end in: the same 8 to 1024 tokens, `repeats` times or more, back to back. A loop of
/// fewer tokens counts by its multiple, so 32 equal tokens are one of 8 that comes four times.
pub fn loop_period(token_ids: &[u32], repeats: usize) -> Option<usize> {
    let repeats = repeats.max(2);
    let longest = (token_ids.len() / repeats).min(MAX_PERIOD);
    (MIN_PERIOD..=longest).find(|&period| {
        let tail = &token_ids[token_ids.len() - repeats * period..];
        // From the end: what differs differs there first.
        tail[period..]
            .iter()
            .rev()
            .zip(tail[..tail.len() - period].iter().rev())
            .all(|(later, earlier)| later == earlier)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_needs_eight_tokens_and_its_repeats_at_the_end() {
        let block = |length: u32, times: usize| (0..length).collect::<Vec<_>>().repeat(times);
        let after = |mut start: Vec<u32>, end: Vec<u32>| {
            start.extend(end);
            start
        };
        assert_eq!(loop_period(&after(vec![90, 91], block(8, 4)), 4), Some(8));
        assert_eq!(loop_period(&after(vec![90, 91], block(8, 3)), 4), None);
        assert_eq!(loop_period(&after(vec![90, 91], block(8, 3)), 3), Some(8));
        assert_eq!(loop_period(&after(block(8, 4), vec![99]), 4), None);
        assert_eq!(loop_period(&block(100, 5), 4), Some(100));
        assert_eq!(loop_period(&[7; 31], 4), None);
        assert_eq!(loop_period(&[7; 32], 4), Some(8));
        // A period of 3 shows as 9, the first multiple that is long enough.
        assert_eq!(loop_period(&block(3, 12), 4), Some(9));
        assert_eq!(loop_period(&block(1024, 4), 4), Some(1024));
        assert_eq!(loop_period(&block(1025, 4), 4), None);
        assert_eq!(loop_period(&[], 4), None);
    }
}
