//! Matrix products over strided views: a safe wrapper around the `gemm` crate, and products in bf16 of our own.

#[cfg(target_arch = "x86_64")]
pub(crate) mod bf16;
mod precision;

use gemm::Parallelism;
pub use precision::MatmulPrecision;

/// A read-only matrix inside a slice. Element (row, col) is `data[row * row_stride + col * col_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    pub row_stride: usize,
    pub col_stride: usize,
}

impl<'a> Mat<'a> {
    /// A dense row-major matrix.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// Rows that lie `row_stride` apart.
    pub(crate) fn strided(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        Self { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// The transpose, as a view.
    pub(crate) fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// The last index a view touches, plus one.
fn extent(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> usize {
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * row_stride + (cols - 1) * col_stride + 1 }
}

/// Where a product goes.
pub(crate) struct MatMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> MatMut<'a> {
    pub(crate) fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self { data, rows, cols, row_stride: cols }
    }

    pub(crate) fn strided(data: &'a mut [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        Self { data, rows, cols, row_stride }
    }
}

/// How many threads a product may use.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Threads {
    /// This one only: the caller already runs in parallel.
    One,
    /// All of rayon's, where the product is large enough to pay for it.
    All,
}

/// How a product is computed.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub threads: Threads,
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "products there are all f32"))]
    pub precision: MatmulPrecision,
}

impl MatmulPrecision {
    /// Products of this precision on this thread only.
    pub(crate) fn alone(self) -> How {
        How { threads: Threads::One, precision: self }
    }

    /// Products of this precision on all threads.
    pub(crate) fn together(self) -> How {
        How { threads: Threads::All, precision: self }
    }
}

/// `out = a b`, or `out += a b` with `accumulate`.
pub(crate) fn matmul(out: MatMut<'_>, a: Mat<'_>, b: Mat<'_>, accumulate: bool, how: How) {
    let (m, n) = (out.rows, out.cols);
    assert!(extent(m, n, out.row_stride, 1) <= out.data.len(), "matmul: result out of bounds");
    assert!(m <= 1 || n <= out.row_stride, "matmul: rows of the result overlap");
    if a.cols == 0 && !accumulate {
        out.data.chunks_mut(out.row_stride.max(1)).take(m).for_each(|row| row[..n].fill(0.0));
    }
    #[expect(unsafe_code, reason = "the product takes raw pointers")]
    // SAFETY: the asserts above keep the result inside `out`, whose rows do not overlap and which is borrowed mutably, so
    // it overlaps neither operand.
    unsafe {
        multiply(out.data.as_mut_ptr(), out.row_stride, (m, n), a, b, accumulate, how);
    }
}

/// `a b`, row-major, in memory that is written once and not filled with zeros first.
pub(crate) fn product(a: Mat<'_>, b: Mat<'_>, how: How) -> Vec<f32> {
    let (m, n) = (a.rows, b.cols);
    if a.cols == 0 {
        return vec![0.0; m * n];
    }
    let mut out = Vec::with_capacity(m * n);
    #[expect(unsafe_code, reason = "the product takes raw pointers")]
    // SAFETY: `out` has room for m rows of n numbers. Without `accumulate` and with an inner dimension above 0 the product
    // writes each of them and reads none.
    unsafe {
        multiply(out.as_mut_ptr(), n, (m, n), a, b, false, how);
        out.set_len(m * n);
    }
    out
}

/// The product into m rows of n numbers that begin `row_stride` apart.
///
/// # Safety
/// `out` must be valid for writes of these rows, for reads too with `accumulate`; they must overlap neither each other
/// nor the operands.
#[expect(unsafe_code, reason = "the product takes raw pointers")]
unsafe fn multiply(
    out: *mut f32,
    row_stride: usize,
    (m, n): (usize, usize),
    a: Mat<'_>,
    b: Mat<'_>,
    accumulate: bool,
    how: How,
) {
    let k = a.cols;
    assert_eq!((a.rows, b.rows, b.cols), (m, k, n), "matmul shapes");
    assert!(extent(a.rows, a.cols, a.row_stride, a.col_stride) <= a.data.len(), "matmul: left operand out of bounds");
    assert!(extent(b.rows, b.cols, b.row_stride, b.col_stride) <= b.data.len(), "matmul: right operand out of bounds");
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    // Below this size waking the other threads costs more than they save.
    let parallel = how.threads == Threads::All && m * n * k > 64 * 64 * 64;
    #[cfg(target_arch = "x86_64")]
    if how.precision == MatmulPrecision::Bf16 && crate::avx512_bf16::is_here() {
        let threads = if parallel { Threads::All } else { Threads::One };
        // SAFETY: as below.
        return unsafe { bf16::multiply(out, row_stride, a, b, accumulate, threads) };
    }
    let parallelism = if parallel { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: the asserts keep reads inside the operands; the rest is the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            row_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_triple_loop_in_every_layout() {
        let (m, k, n) = (5, 7, 3);
        let a: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.7).sin()).collect();
        let b: Vec<f32> = (0..k * n).map(|i| (i as f32 * 0.3).cos()).collect();
        let at: Vec<f32> = (0..k * m).map(|i| a[(i % m) * k + i / m]).collect();
        let bt: Vec<f32> = (0..n * k).map(|i| b[(i % k) * n + i / k]).collect();
        for (left, right) in [
            (Mat::new(&a, m, k), Mat::new(&b, k, n)),
            (Mat::new(&at, k, m).t(), Mat::new(&b, k, n)),
            (Mat::new(&a, m, k), Mat::new(&bt, n, k).t()),
        ] {
            let mut dense = vec![0.5; m * n];
            matmul(MatMut::new(&mut dense, m, n), left, right, false, MatmulPrecision::F32.alone());
            assert_eq!(product(left, right, MatmulPrecision::F32.alone()), dense);
            for accumulate in [false, true] {
                let mut out = vec![0.5; m * 4];
                matmul(MatMut::strided(&mut out, m, n, 4), left, right, accumulate, MatmulPrecision::F32.together());
                for row in 0..m {
                    for col in 0..n {
                        let start = if accumulate { 0.5 } else { 0.0 };
                        let exact: f64 = (0..k).map(|x| f64::from(a[row * k + x]) * f64::from(b[x * n + col])).sum();
                        assert!((f64::from(out[row * 4 + col]) - exact - start).abs() < 1e-5);
                    }
                    assert_eq!(out[row * 4 + 3], 0.5, "padding between rows stays untouched");
                }
            }
        }
    }

    #[test]
    fn an_empty_inner_dimension_gives_zero() {
        let mut out = vec![3.0; 4];
        matmul(
            MatMut::new(&mut out, 2, 2),
            Mat::new(&[], 2, 0),
            Mat::new(&[], 0, 2),
            false,
            MatmulPrecision::F32.alone(),
        );
        assert_eq!(out, [0.0; 4]);
        assert_eq!(product(Mat::new(&[], 2, 0), Mat::new(&[], 0, 2), MatmulPrecision::F32.alone()), [0.0; 4]);
    }
}
