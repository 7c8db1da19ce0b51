//! Work side by side, on few threads. Mechanism only.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::Error;

/// Threads at a time: easy on the services, small in memory.
const MOST_THREADS: usize = 8;

/// Does `work` once for each of these, however often it is among them.
pub(crate) fn once<K: Copy + Ord + Send, R: Send>(
    keys: impl Iterator<Item = K>,
    work: impl Fn(K) -> Result<R, Error> + Sync,
) -> BTreeMap<K, Result<R, Error>> {
    let keys: BTreeSet<K> = keys.collect();
    let results = each(keys.iter().copied().collect(), work);
    keys.into_iter().zip(results).collect()
}

/// [`each_of`] with at most eight threads.
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
    let count = items.len();
    let mut results = Vec::new();
    results.resize_with(count, || Err(Error::defect()));
    let results = Mutex::new(results);
    let open = Mutex::new(items.into_iter().enumerate());
    spread(count.min(most_threads), &|| {
        loop {
            let next = lock(&open).next();
            let Some((position, item)) = next else { break };
            let result = catch_unwind(AssertUnwindSafe(|| work(item)));
            if let (Ok(result), Some(place)) = (result, lock(&results).get_mut(position)) {
                *place = result;
            }
        }
    });
    std::mem::take(&mut *lock(&results))
}

/// Calls `work` in so many threads. Not generic, to avoid one copy per caller in the binary.
fn spread(threads: usize, work: &(dyn Fn() + Sync)) {
    thread::scope(|scope| {
        // this thread is one of them, and the only one if no other can be started
        for _ in 1..threads {
            if let Err(e) = thread::Builder::new().spawn_scoped(scope, work) {
                log::warn!("cannot start one more thread: {e}");
                break;
            }
        }
        work();
    });
}

/// Waits. SIGTERM and the deadline end the process meanwhile.
pub(crate) fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    thread::sleep(duration);
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
