//! Things of known size of which those used last are kept, up to a number of bytes.

use lru::LruCache;
use std::hash::Hash;

#[derive(Debug)]
pub struct Recent<K: Hash + Eq, V> {
    limit: usize,
    bytes: usize,
    /// What is kept with its size, in the order of use.
    kept: LruCache<K, (usize, V)>,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, kept: LruCache::unbounded() }
    }

    /// What is kept under `key`, which counts as used now.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        self.kept.get(key).map(|(_, value)| value)
    }

    /// Lets go of what was used longest ago until `bytes` more are within the limit, or nothing is left; something larger
    /// than that is kept all the same, alone.
    pub fn make_room(&mut self, bytes: usize) -> Vec<(K, V)> {
        let mut left = Vec::new();
        while self.bytes.saturating_add(bytes) > self.limit
            && let Some((key, (size, value))) = self.kept.pop_lru()
        {
            self.bytes -= size;
            left.push((key, value));
        }
        left
    }

    /// Keeps `value`, for which there is room.
    pub fn put(&mut self, key: K, bytes: usize, value: V) {
        self.bytes += bytes;
        if let Some((replaced, _)) = self.kept.put(key, (bytes, value)) {
            self.bytes -= replaced;
        }
    }

    /// Bytes of all that is kept.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_leaves_first() {
        let mut recent = Recent::new(50);
        let mut need = |key: usize, bytes| {
            if recent.get(&key).is_some() {
                return (Vec::new(), recent.bytes());
            }
            let left: Vec<usize> = recent.make_room(bytes).into_iter().map(|(key, ())| key).collect();
            recent.put(key, bytes, ());
            (left, recent.bytes())
        };
        assert_eq!([need(0, 20), need(1, 20), need(0, 20)], [(vec![], 20), (vec![], 40), (vec![], 40)]);
        assert_eq!(need(2, 20), (vec![1], 40));
        assert_eq!(need(1, 20), (vec![0], 40));
        // Something larger than the limit is kept alone.
        assert_eq!(need(3, 90), (vec![2, 1], 90));
        assert_eq!(need(3, 90), (vec![], 90));
        assert_eq!(need(4, 10), (vec![3], 10));
    }
}
