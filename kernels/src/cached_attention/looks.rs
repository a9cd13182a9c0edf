//! Which rows look at which pages together.

use super::PAGE;
use std::collections::HashMap;
use std::sync::Arc;

/// Rows that look at a page together.
const TOGETHER: usize = 8;

/// Pages whose parts are put together before others: a sum over many pages is one over stretches of so many, whatever is
/// looked at together.
const STRETCH: usize = 4;

/// Rows whose parts are in memory at a time.
const BLOCK: usize = 64;

/// What a query row sees of a cache (its own entry included).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRow {
    /// Pages of its sequence, in order; more than it sees, perhaps.
    pub pages: Arc<[u32]>,
    /// Entries that it sees.
    pub len: usize,
}

impl CacheRow {
    /// Each page that it sees, with the entries that it sees of it.
    fn seen(&self) -> impl Iterator<Item = Seen> {
        let counts = (0..self.len).step_by(PAGE).map(|start| PAGE.min(self.len - start));
        self.pages.iter().zip(counts).map(|(&page, count)| Seen { page: page as usize, count })
    }
}

/// The first entries of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub page: usize,
    pub count: usize,
}

/// What the rows of a batch see: the same for every layer.
#[derive(Debug, Default)]
pub struct CacheRows {
    pub(super) rows: Vec<CacheRow>,
    pub(super) blocks: Vec<Block>,
}

/// Neighbouring rows, and what they look at together.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub looks: Vec<Look>,
    /// For each row what it takes part in, page after page.
    pub rows: Vec<Vec<Share>>,
}

/// Pages of a stretch, one after the other, that the same rows look at.
#[derive(Debug)]
pub(super) struct Look {
    pub pages: Vec<Seen>,
    /// Counted through the batch.
    pub rows: Vec<usize>,
}

/// A row's part in a look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub look: usize,
    /// Its place among the rows of the look.
    pub place: usize,
    /// Whether a stretch begins here.
    pub begins: bool,
}

impl CacheRows {
    /// Rows that see the same of a page look at it together.
    pub fn new(rows: Vec<CacheRow>) -> Self {
        let blocks = rows.chunks(BLOCK).enumerate().map(|(at, rows)| Block::new(at * BLOCK, rows)).collect();
        Self { rows, blocks }
    }
}

impl Block {
    /// `rows` are those from `first` on.
    fn new(first: usize, rows: &[CacheRow]) -> Self {
        let mut block = Self { looks: vec![], rows: vec![Vec::new(); rows.len()] };
        let mut at: Vec<_> = rows.iter().map(|row| row.seen()).collect();
        let longest = rows.iter().map(|row| row.len.div_ceil(PAGE)).max().unwrap_or(0);
        for page in 0..longest {
            // Rows by what they see, in their order.
            let mut groups: Vec<(Seen, Vec<usize>)> = Vec::new();
            let mut open = HashMap::new();
            for (row, seen) in at.iter_mut().enumerate() {
                let Some(seen) = seen.next() else { continue };
                let group = open.entry(seen).or_insert(usize::MAX);
                if groups.get(*group).is_none_or(|(_, together)| together.len() == TOGETHER) {
                    *group = groups.len();
                    groups.push((seen, Vec::new()));
                }
                groups[*group].1.push(row);
            }
            groups.into_iter().for_each(|(seen, rows)| block.look(first, page % STRETCH == 0, seen, &rows));
        }
        block
    }

    /// The next page that `rows` of the block see: one look with the pages of the stretch so far, if they saw these
    /// together. What they saw apart has to be added page after page.
    fn look(&mut self, first: usize, begins: bool, seen: Seen, rows: &[usize]) {
        let last = self.rows[rows[0]].last().filter(|share| share.begins && !begins).map(|share| share.look);
        if let Some(look) = last.map(|last| &mut self.looks[last])
            && look.rows.iter().copied().eq(rows.iter().map(|row| first + row))
        {
            look.pages.push(seen);
            return;
        }
        for (place, &row) in rows.iter().enumerate() {
            self.rows[row].push(Share { look: self.looks.len(), place, begins });
        }
        self.looks.push(Look { pages: vec![seen], rows: rows.iter().map(|row| first + row).collect() });
    }
}
