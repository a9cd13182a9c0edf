//! Python's `random.Random(seed).sample`, so that examples are those that lm-evaluation-harness draws.
//!
//! The generator is MT19937 (Matsumoto and Nishimura 1998), seeded by an array as CPython seeds it from an integer; numbers
//! below n come from its highest bits, those that are too large being drawn again (`Lib/random.py`).

const WORDS: usize = 624;
const SHIFT: usize = 397;

/// The generator with its state.
pub(crate) struct PythonRandom {
    state: [u32; WORDS],
    next: usize,
}

impl PythonRandom {
    /// `random.Random(seed)`
    pub(crate) fn new(seed: u32) -> Self {
        let mut state = [0u32; WORDS];
        state[0] = 19_650_218;
        for i in 1..WORDS {
            let last = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        // An array of one number: its index is always 0.
        let mut i = 1;
        let mut mix = |state: &mut [u32; WORDS], factor: u32, add: &dyn Fn(usize) -> u32| {
            let last = state[i - 1];
            state[i] = (state[i] ^ (last ^ (last >> 30)).wrapping_mul(factor)).wrapping_add(add(i));
            i += 1;
            if i == WORDS {
                state[0] = state[WORDS - 1];
                i = 1;
            }
        };
        for _ in 0..WORDS {
            mix(&mut state, 1_664_525, &|_| seed);
        }
        for _ in 1..WORDS {
            mix(&mut state, 1_566_083_941, &|i| (i as u32).wrapping_neg());
        }
        state[0] = 1 << 31;
        Self { state, next: WORDS }
    }

    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            for i in 0..WORDS {
                let joined = (self.state[i] & 1 << 31) | (self.state[(i + 1) % WORDS] & (u32::MAX >> 1));
                let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + SHIFT) % WORDS] ^ (joined >> 1) ^ odd;
            }
            self.next = 0;
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A number below `n`, which is from 1 to 2^32 - 1.
    fn below(&mut self, n: usize) -> usize {
        let bits = usize::BITS - n.leading_zeros();
        loop {
            let drawn = (self.word() >> (32 - bits)) as usize;
            if drawn < n {
                return drawn;
            }
        }
    }

    /// `sample(range(n), count)`: the places of `count` of `n` things, or of all where there are fewer.
    pub(crate) fn sample(&mut self, n: usize, count: usize) -> Vec<usize> {
        let count = count.min(n);
        // Python takes a set where that is smaller than a list of all.
        let mut set_size = 21;
        if count > 5 {
            let mut power = 1;
            while power < 3 * count {
                power *= 4;
            }
            set_size += power;
        }
        if n <= set_size {
            let mut pool: Vec<usize> = (0..n).collect();
            return (0..count)
                .map(|taken| {
                    let at = self.below(n - taken);
                    let drawn = pool[at];
                    pool[at] = pool[n - taken - 1];
                    drawn
                })
                .collect();
        }
        let mut drawn = Vec::with_capacity(count);
        while drawn.len() < count {
            let at = self.below(n);
            if !drawn.contains(&at) {
                drawn.push(at);
            }
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What CPython 3.11 prints for `r = random.Random(1234)` and these calls of `r.sample`, one after the other.
    #[test]
    fn draws_what_python_draws() {
        let mut random = PythonRandom::new(1234);
        let expected: [(usize, &[usize]); 8] = [
            (7473, &[6374, 3610, 957, 61, 742]),
            (7473, &[7462, 6610, 4769, 286, 5501]),
            (7473, &[5677, 687, 806, 6279, 2905]),
            (10, &[3, 0, 8]),
            (21, &[0, 11, 15, 14, 4]),
            (22, &[2, 5, 3, 0, 16]),
            (300, &[249, 127, 33, 277, 238, 35]),
            (100, &[76, 86, 11, 65, 74, 5, 34, 71, 8, 82, 38, 61, 45, 31, 83, 25, 58, 67, 85, 2]),
        ];
        for (n, drawn) in expected {
            assert_eq!(random.sample(n, drawn.len()), drawn, "of {n}");
        }
    }

    #[test]
    fn no_more_are_drawn_than_there_are() {
        let mut all = PythonRandom::new(0).sample(3, 9);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    }
}
