//! Attention over a cache against its reference; a row's result beside others and alone.

use super::*;
use crate::device::everywhere;
use crate::testing::{close, random};

/// Queries and weights are rounded to bf16: to 2^-9 of themselves.
const ROUNDED: f64 = 8e-3;

fn row(pages: &[u32], len: usize) -> CacheRow {
    CacheRow { pages: pages.into(), len }
}

#[test]
fn agrees_with_the_reference() -> Result<()> {
    // The first two see a page in common, the last two the same of it.
    let rows = [row(&[3, 0], PAGE + 5), row(&[3, 2], 2 * PAGE), row(&[1], 1), row(&[4], 7), row(&[4], 7)];
    let all = CacheRows::new(rows.to_vec());
    for (h, g, c, vw, v_width) in [(4, 2, 6, 5, 5), (3, 1, 8, 8, 6), (10, 2, 20, 150, 150)] {
        let (q, k, v) = (random(&[5, h, c], 1), random(&[5, PAGE, g, c], 2), random(&[5, PAGE, g, vw], 3));
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, ROUNDED)] {
            let (k, v) = (k.to_dtype(dtype)?, v.to_dtype(dtype)?);
            let fast = cached_attention(&q, &k, &v, v_width, &all, 0.4)?;
            let exact = reference(&q, &k, &v, v_width, &rows, 0.4)?;
            close("cached attention", &fast, &exact, tolerance)?;
            everywhere(|device| {
                let [q, k, v] = [&q, &k, &v].map(|x| x.to_device(device));
                close("everywhere", &cached_attention(&q?, &k?, &v?, v_width, &all, 0.4)?, &exact, tolerance)
            })?;
            // The same bits, whatever rows lie beside it.
            for (j, row) in rows.iter().enumerate() {
                let q = q.narrow(0, j, 1)?.contiguous()?;
                let alone = cached_attention(&q, &k, &v, v_width, &CacheRows::new(vec![row.clone()]), 0.4)?;
                close("alone", &alone, &fast.narrow(0, j, 1)?, 0.0)?;
            }
        }
        // Keys and values in one.
        if c == vw {
            let fast = cached_attention(&q, &k, &k, v_width, &all, 0.4)?;
            close("latents", &fast, &reference(&q, &k, &k, v_width, &rows, 0.4)?, 1e-5)?;
        }
        for wrong in [row(&[5], 1), row(&[0], 0), row(&[0], PAGE + 1)] {
            assert!(cached_attention(&q.narrow(0, 0, 1)?, &k, &v, v_width, &CacheRows::new(vec![wrong]), 0.4).is_err());
        }
    }
    Ok(())
}

#[test]
fn pages_in_bf16_give_what_rounded_numbers_would() -> Result<()> {
    let rows = [row(&[3, 0], PAGE + 5), row(&[3, 2], 2 * PAGE), row(&[1], 1), row(&[3, 4], PAGE + 64)];
    let all = CacheRows::new(rows.to_vec());
    for (h, g, c, vw) in [(8, 1, 96, 64), (6, 2, 64, 32), (10, 1, 32, 96), (17, 1, 288, 40), (6, 2, 256, 260)] {
        let (q, k, v) = (random(&[4, h, c], 1), random(&[5, PAGE, g, c], 2), random(&[5, PAGE, g, vw], 3));
        let (k, v) = (k.to_dtype(DType::BF16)?, v.to_dtype(DType::BF16)?);
        let rounded = q.to_dtype(DType::BF16)?.to_dtype(DType::F32)?;
        let found = cached_attention(&q, &k, &v, vw, &all, 0.4)?;
        close("bf16", &found, &reference(&rounded, &k, &v, vw, &rows, 0.4)?, ROUNDED)?;
        for (j, row) in rows.iter().enumerate() {
            let q = q.narrow(0, j, 1)?.contiguous()?;
            let alone = cached_attention(&q, &k, &v, vw, &CacheRows::new(vec![row.clone()]), 0.4)?;
            close("alone", &alone, &found.narrow(0, j, 1)?, 0.0)?;
        }
    }
    Ok(())
}

/// Pasts of several stretches that part ways inside one, more rows than look together and than a block has.
#[test]
fn a_long_past_gives_the_same_bits_whoever_looks_along() -> Result<()> {
    let shared = [6, 2, 5, 0, 3, 1];
    let rows: Vec<CacheRow> = (0..70)
        .map(|j: usize| {
            let own = [7 + j as u32 % 3, 10 + j as u32 % 2, 4, 12];
            let pages: Vec<u32> = shared[..2 + j % 5].iter().copied().chain(own).collect();
            row(&pages, (pages.len() - j % 2) * PAGE - j % 3)
        })
        .collect();
    let all = CacheRows::new(rows.clone());
    for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, ROUNDED)] {
        let (q, cache) = (random(&[70, 4, 34], 1), random(&[13, PAGE, 2, 34], 2).to_dtype(dtype)?);
        let together = cached_attention(&q, &cache, &cache, 30, &all, 0.4)?;
        close("a long past", &together, &reference(&q, &cache, &cache, 30, &rows, 0.4)?, tolerance)?;
        for (j, row) in rows.iter().enumerate() {
            let q = q.narrow(0, j, 1)?.contiguous()?;
            let alone = cached_attention(&q, &cache, &cache, 30, &CacheRows::new(vec![row.clone()]), 0.4)?;
            close("alone", &alone, &together.narrow(0, j, 1)?, 0.0)?;
        }
    }
    Ok(())
}

#[test]
fn written_and_copied_numbers_are_where_they_should_be() -> Result<()> {
    everywhere(written_and_copied)
}

fn written_and_copied(device: &candle_core::Device) -> Result<()> {
    for dtype in [DType::F32, DType::BF16] {
        let cache = Tensor::zeros((3, PAGE, 1, 2), dtype, device)?;
        let numbers = || cache.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        let new = random(&[2, 1, 2], 5).to_device(device)?;
        write_cache(&cache, &new, &[PAGE + 2, 0].into())?;
        let written = new.to_dtype(dtype)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let mut expected = vec![0f32; 3 * PAGE * 2];
        expected[2 * (PAGE + 2)..][..2].copy_from_slice(&written[..2]);
        expected[..2].copy_from_slice(&written[2..]);
        assert_eq!(numbers()?, expected);
        copy_page(&cache, 1, 2)?;
        expected.copy_within(2 * PAGE..4 * PAGE, 4 * PAGE);
        assert_eq!(numbers()?, expected);
        assert!(write_cache(&cache, &new.narrow(0, 0, 1)?, &[3 * PAGE].into()).is_err());
        assert!(copy_page(&cache, 3, 0).is_err() && copy_page(&cache, 0, 3).is_err());
    }
    Ok(())
}
