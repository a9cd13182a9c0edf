//! Which vector instructions the kernels use: the best that this machine has, or fewer where that is asked for.

use std::sync::atomic::{AtomicU8, Ordering};

/// Sets of instructions that kernels are written for, each with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instructions {
    /// What every machine has
    Portable,
    /// AVX2, FMA and F16C
    Avx2,
    /// AVX-512 with VNNI and bf16, as far as the machine has them
    Avx512,
}

static MOST: AtomicU8 = AtomicU8::new(Instructions::Avx512 as u8);

/// Keeps the kernels of this process from using more than `most`: to test, and to compare. To be called before anything is
/// computed. Products in f32 are the `gemm` crate's, which chooses for itself.
pub fn limit_instructions(most: Instructions) {
    MOST.store(most as u8, Ordering::Relaxed);
}

/// Whether kernels may use `set`, if this machine has it.
pub(crate) fn may_use(set: Instructions) -> bool {
    #[cfg(test)]
    if let Some(most) = crate::testing::most_instructions() {
        return set <= most;
    }
    set as u8 <= MOST.load(Ordering::Relaxed)
}

/// The instructions that elementwise loops are compiled for.
pub(crate) fn arch() -> pulp::Arch {
    let best = pulp::Arch::new();
    #[cfg(target_arch = "x86_64")]
    if !may_use(Instructions::Avx512)
        && let pulp::Arch::V4(v4) = best
    {
        return if may_use(Instructions::Avx2) { pulp::Arch::V3(*v4) } else { pulp::Arch::Scalar };
    }
    if may_use(Instructions::Avx2) { best } else { pulp::Arch::Scalar }
}

/// What this process uses, for a record: results differ in their last bits from one set to another.
pub fn instructions() -> String {
    let mut used = vec![crate::quantised::instructions()];
    if crate::MatmulPrecision::Bf16.is_here() {
        used.push("bf16");
    }
    used.join("+")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MOST_INSTRUCTIONS, most_instructions};
    use std::process::Command;

    /// Every test of this crate, on each lesser set of instructions.
    #[test]
    fn all_tests_pass_with_fewer_instructions() {
        if most_instructions().is_some() {
            return;
        }
        let own = std::env::current_exe().expect("the tests are a program");
        for (name, set) in [("avx2", Instructions::Avx2), ("portable", Instructions::Portable)] {
            let run = Command::new(&own).env(MOST_INSTRUCTIONS, name).output().expect("it starts");
            let said = String::from_utf8_lossy(&run.stdout);
            assert!(run.status.success(), "with {set:?}: {said}");
        }
    }
}
