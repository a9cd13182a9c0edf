//! Threads that each work alone, for models so small that splitting every matrix product would cost more than it saves.
//!
//! Inside a worker rayon has one thread, so nothing in a forward or backward pass waits for another core. Larger models
//! get no workers: their work runs where it is called, and every operation uses all cores.

use crate::Error;
use candle_core::Device;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Models with more parameters run one batch at a time: another copy of what a batch needs would cost more memory and
/// bandwidth than it saves time.
const SMALL: usize = 64_000_000;

/// A fixed number of workers.
pub struct Workers {
    pools: Vec<ThreadPool>,
}

impl Workers {
    /// One worker per thread for a model with `parameters` parameters, none if that is too many.
    pub fn for_model(parameters: usize) -> Result<Self, Error> {
        let count = if parameters > SMALL { 0 } else { rayon::current_num_threads() };
        let pool = |_| ThreadPoolBuilder::new().num_threads(1).build().map_err(|e| Error::Threads(e.to_string()));
        Ok(Self { pools: (0..count).map(pool).collect::<Result<_, _>>()? })
    }

    /// The same for a model that computes on `device`. What a GPU is asked for goes through one queue, so nothing is gained
    /// by asking side by side.
    pub fn beside(device: &Device, parameters: usize) -> Result<Self, Error> {
        Self::for_model(if device.is_cpu() { parameters } else { usize::MAX })
    }

    /// How many pieces of work go side by side; at least 1.
    pub fn count(&self) -> usize {
        self.pools.len().max(1)
    }

    /// Calls `work` on every item, each on a worker of its own; results come in the order of the items.
    pub fn map<T: Send, R: Send>(&self, items: &mut [T], work: impl Fn(&mut T) -> R + Sync) -> Vec<R> {
        let work = &work;
        if items.len() < 2 || self.pools.is_empty() {
            return inside(|| items.iter_mut().map(work).collect());
        }
        std::thread::scope(|scope| {
            let pools = self.pools.iter().cycle();
            let threads: Vec<_> = items
                .iter_mut()
                .zip(pools)
                .map(|(item, pool)| scope.spawn(move || pool.install(|| work(item))))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }
}

/// Runs `work`, for instance a step of generation, on one of the threads that all operations share, the others looking out
/// for parts of it between two operations.
///
/// From any other thread each operation would hand its work over and sleep until it is done, and a thread that has gone
/// to sleep between two operations takes longer to wake up than many an operation of one token takes.
pub fn inside<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|scope| {
        let caller = rayon::current_thread_index();
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        scope.spawn_broadcast(move |_, context| {
            if Some(context.index()) != caller {
                look_out(&flag);
            }
        });
        // Also where `work` panics: the scope waits for everyone.
        let _finish = Finish(&done);
        work()
    })
}

/// Ends the looking out when it goes.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Does what work there is until `done`, or until there has been none for a while: a thread may look out in the middle of
/// an operation that has to end before anything is done.
fn look_out(done: &AtomicBool) {
    let mut idle = Instant::now();
    while !done.load(Ordering::Acquire) && idle.elapsed() < PATIENCE {
        match rayon::yield_now() {
            Some(rayon::Yield::Executed) => idle = Instant::now(),
            _ => std::hint::spin_loop(),
        }
    }
}

/// Longer than what one thread does alone between two operations.
const PATIENCE: Duration = Duration::from_micros(200);

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads that wait for parts of their work take up each other's: none may have to end before what lies beneath it.
    #[test]
    fn work_of_several_threads_ends() {
        fn sum(depth: u32) -> u64 {
            if depth == 0 {
                return 1;
            }
            let (left, right) = rayon::join(|| sum(depth - 1), || inside(|| sum(depth - 1)));
            left + right
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..50).for_each(|_| assert_eq!(inside(|| sum(6)), 64)));
            }
        });
    }

    #[test]
    fn results_keep_their_order_and_workers_have_one_thread() -> Result<(), Error> {
        for parameters in [1, SMALL + 1] {
            let workers = Workers::for_model(parameters)?;
            let mut items: Vec<usize> = (0..5).collect();
            let results = workers.map(&mut items, |item| {
                *item += 1;
                (*item, rayon::current_num_threads())
            });
            assert_eq!(results.iter().map(|r| r.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
            assert!(parameters > SMALL || results.iter().all(|r| r.1 == 1));
        }
        Ok(())
    }
}
