//! Work side by side, on few threads. Mechanism only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::Error;

/// Threads at a time: easy on the services, small in memory.
const MOST_THREADS: usize = 8;

/// [`each_of`] with a number of threads that is easy on the services.
pub(crate) fn each<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, Error> + Sync,
) -> Vec<Result<R, Error>> {
    each_of(MOST_THREADS, items, work)
}

/// Does `work` for each item and returns the results in the order of the items. A panic costs only
/// its own item.
pub(crate) fn each_of<T: Send, R: Send>(
    most_threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, Error> + Sync,
) -> Vec<Result<R, Error>> {
    let items: Vec<Mutex<Option<T>>> = items
        .into_iter()
        .map(|item| Mutex::new(Some(item)))
        .collect();
    let results: Vec<Mutex<Option<Result<R, Error>>>> =
        items.iter().map(|_| Mutex::new(None)).collect();
    spread(most_threads, items.len(), &|position| {
        let item = items.get(position).and_then(|item| lock(item).take());
        if let (Some(item), Some(result)) = (item, results.get(position)) {
            let done = work(item);
            *lock(result) = Some(done);
        }
    });
    results
        .into_iter()
        .map(|result| {
            let result = result.into_inner().unwrap_or_else(PoisonError::into_inner);
            result.unwrap_or_else(|| Err(Error::defect()))
        })
        .collect()
}

/// Waits. SIGTERM and the deadline end the process meanwhile.
pub(crate) fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    thread::sleep(duration);
}

/// Calls `work` with each number below `count`, whatever panics. Not generic, to avoid one copy per
/// caller in the binary.
fn spread(most_threads: usize, count: usize, work: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    let go_on = || {
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            if position >= count {
                break;
            }
            // a panic leaves no result; the caller reports the missing result as a defect
            let _panic = catch_unwind(AssertUnwindSafe(|| work(position)));
        }
    };
    thread::scope(|scope| {
        // this thread is one of them, and the only one if no other can be started
        for _ in 1..count.min(most_threads) {
            if let Err(e) = thread::Builder::new().spawn_scoped(scope, go_on) {
                log::warn!("cannot start one more thread: {e}");
                break;
            }
        }
        go_on();
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    #[test]
    fn results_keep_the_order_and_a_panic_costs_only_its_own_item() {
        let results = each((0..100).collect(), |n| {
            assert_ne!(n, 50);
            Ok(n * 2)
        });
        for (n, result) in results.into_iter().enumerate() {
            match result {
                Ok(double) => assert_eq!(double, n * 2),
                Err(error) => assert_eq!((n, error.reason), (50, Reason::Defect)),
            }
        }
    }
}
