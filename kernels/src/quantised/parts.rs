//! Matrices that several threads write at once, each a part of its own.

/// A matrix in memory, seen by many threads.
pub(super) struct Parts {
    start: *mut f32,
    rows: usize,
    width: usize,
}

#[expect(unsafe_code, reason = "threads write different parts of one matrix")]
// SAFETY: the pointer is used only by functions whose callers keep to different numbers.
unsafe impl Sync for Parts {}

impl Parts {
    /// The rows of `width` numbers in `numbers`, for as long as nothing else touches them.
    pub(super) fn of(numbers: &mut [f32], width: usize) -> Self {
        Self { start: numbers.as_mut_ptr(), rows: numbers.len() / width, width }
    }

    fn at(&self, row: usize, column: usize, count: usize) -> usize {
        assert!(row < self.rows && column + count <= self.width, "a part lies outside of its matrix");
        row * self.width + column
    }

    /// Adds `weight * values` to part of a row.
    ///
    /// # Safety
    /// The matrix must still be there, and no other thread may touch these numbers.
    #[expect(unsafe_code, reason = "threads write different parts of one matrix")]
    pub(super) unsafe fn add(&self, row: usize, column: usize, weight: f32, values: &[f32]) {
        let at = self.at(row, column, values.len());
        // SAFETY: inside the matrix; the rest is the caller's promise.
        let part = unsafe { std::slice::from_raw_parts_mut(self.start.add(at), values.len()) };
        part.iter_mut().zip(values).for_each(|(sum, x)| *sum += weight * x);
    }
}

/// A matrix in memory that is written once and not filled with zeros first.
pub(super) struct Unwritten {
    numbers: Vec<f32>,
    parts: Parts,
    /// Rows that will be written.
    claimed: Vec<bool>,
}

impl Unwritten {
    pub(super) fn new(n: usize, width: usize) -> Self {
        let mut numbers = Vec::with_capacity(n * width);
        let parts = Parts { start: numbers.as_mut_ptr(), rows: n, width };
        Self { numbers, parts, claimed: vec![false; n] }
    }

    /// Sees to it that these rows are claimed once.
    pub(super) fn claim(&mut self, rows: impl IntoIterator<Item = u32>) {
        for row in rows {
            let before = std::mem::replace(&mut self.claimed[row as usize], true);
            assert!(!before, "row {row} would be written twice");
        }
    }

    /// Writes part of a row.
    ///
    /// # Safety
    /// No other thread may write these numbers.
    #[expect(unsafe_code, reason = "threads write different parts of one matrix")]
    pub(super) unsafe fn write(&self, row: usize, column: usize, values: &[f32]) {
        let at = self.parts.at(row, column, values.len());
        // SAFETY: inside the memory of `numbers`; the rest is the caller's promise.
        unsafe { self.parts.start.add(at).copy_from_nonoverlapping(values.as_ptr(), values.len()) }
    }

    /// The matrix; rows that nobody claimed are 0.
    ///
    /// # Safety
    /// All numbers of the claimed rows must have been written.
    #[expect(unsafe_code, reason = "the memory was written part by part")]
    pub(super) unsafe fn written(mut self) -> Vec<f32> {
        let Parts { start, rows, width } = self.parts;
        for (row, _) in self.claimed.iter().enumerate().filter(|(_, claimed)| !**claimed) {
            // SAFETY: a row inside the memory of `numbers`.
            unsafe { start.add(row * width).write_bytes(0, width) }
        }
        // SAFETY: every number has been written, here or by whoever claimed its row.
        unsafe { self.numbers.set_len(rows * width) }
        self.numbers
    }
}
