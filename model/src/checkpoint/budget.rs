//! How a limit of memory is shared out among caches and weights.

use crate::Error;

/// The most memory for caches, whatever the limit.
const MOST_CACHES: usize = 2 << 30;

/// The share of a memory limit that caches get.
pub fn cache_share(memory: usize) -> usize {
    MOST_CACHES.min(memory / 8)
}

/// What a memory limit leaves for experts, once caches and everything else have their shares.
pub fn expert_budget(memory: usize, everything_else: usize, one_expert: usize) -> Result<usize, Error> {
    let least = everything_else + 2 * one_expert;
    // A seventh of what is not caches is an eighth of the whole.
    let needed = least + MOST_CACHES.min(least.div_ceil(7));
    match memory < needed {
        true => Err(Error::Memory { memory, needed, has_experts: one_expert > 0 }),
        false => Ok(memory - everything_else - cache_share(memory)),
    }
}

/// Bytes that the weights of a model take on a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceBytes {
    /// Norms, routers and other numbers that are always there.
    pub always: usize,
    /// Embeddings of which rows are read: there where all is, else with the host.
    pub tables: usize,
    /// Other matrices outside the experts.
    pub matrices: usize,
    /// What the largest of them takes while it comes over.
    pub largest: usize,
    /// All experts, and one of them.
    pub experts: usize,
    pub one_expert: usize,
}

impl DeviceBytes {
    /// How many bytes of matrices stay on a device and how many of experts are kept there, where its memory leaves `room`
    /// for weights; `None` where all of them fit. The error is what is needed at least.
    pub fn offload(&self, room: usize) -> Result<Option<(usize, usize)>, usize> {
        let Self { always, tables, matrices, largest, experts, one_expert } = *self;
        if always + tables + matrices + experts <= room {
            return Ok(None);
        }
        // Of two experts one is multiplied while the other may be asked for.
        if let Some(left) = room.checked_sub(always + matrices)
            && left >= 2 * one_expert
        {
            return Ok(Some((matrices, left)));
        }
        // The largest matrix comes and goes.
        let needed = always + largest + 2 * one_expert;
        let left = room.checked_sub(needed).ok_or(needed)?;
        let fixed = matrices.min(left);
        Ok(Some((fixed, 2 * one_expert + left - fixed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_without_room_for_experts_is_refused() {
        assert_eq!(expert_budget(1600, 700, 100).ok(), Some(700));
        for (everything_else, one_expert) in [(900, 100), (901, 0), (40 << 30, 1 << 20)] {
            let Err(Error::Memory { needed, has_experts, .. }) = expert_budget(1000, everything_else, one_expert)
            else {
                panic!("not refused")
            };
            assert_eq!(has_experts, one_expert > 0);
            // What the error asks for is enough, and no byte too much.
            let budget = expert_budget(needed, everything_else, one_expert).expect("enough");
            assert!(budget >= 2 * one_expert && budget <= 2 * one_expert + 1, "{budget}");
            assert!(expert_budget(needed - 1, everything_else, one_expert).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_on_a_device_comes_and_goes() {
        let moe = DeviceBytes { always: 10, tables: 0, matrices: 100, largest: 20, experts: 1000, one_expert: 5 };
        assert_eq!(moe.offload(1110), Ok(None));
        // All that every token needs stays, and the rest is for experts.
        assert_eq!(moe.offload(1109), Ok(Some((100, 999))));
        assert_eq!((moe.offload(120), moe.offload(119)), (Ok(Some((100, 10))), Ok(Some((79, 10)))));
        assert_eq!(moe.offload(90), Ok(Some((50, 10))));
        assert_eq!((moe.offload(40), moe.offload(39)), (Ok(Some((0, 10))), Err(40)));
        let table = DeviceBytes { tables: 1, ..moe };
        assert_eq!((table.offload(1111), table.offload(1110)), (Ok(None), Ok(Some((100, 1000)))));
        let dense = DeviceBytes { experts: 0, one_expert: 0, ..moe };
        assert_eq!((dense.offload(110), dense.offload(100)), (Ok(None), Ok(Some((70, 0)))));
    }
}
