//! Settings of a thread that hold while a piece of work runs.

use std::cell::Cell;
use std::thread::LocalKey;

/// Runs `work` with `setting` at `value`; what was before is put back, also where the work panics.
pub(crate) fn within<T: Copy, R>(setting: &'static LocalKey<Cell<T>>, value: T, work: impl FnOnce() -> R) -> R {
    struct Before<T: Copy + 'static>(&'static LocalKey<Cell<T>>, T);
    impl<T: Copy> Drop for Before<T> {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _before = Before(setting, setting.replace(value));
    work()
}
