//! Work side by side, on few threads. Mechanism only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::error::{Error, Reason, error};

/// Threads at a time: kind to the services, small in memory.
const MOST_THREADS: usize = 8;

/// [`each_of`] with a number of threads that is kind to the services.
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
    let guarded = |item| {
        catch_unwind(AssertUnwindSafe(|| work(item))).unwrap_or_else(|_| {
            Err(error!(
                Reason::Defect,
                "a defect in sm-tls-sync: please report it with the log of this run"
            ))
        })
    };
    if items.len() <= 1 {
        return items.into_iter().map(guarded).collect();
    }
    let threads = items.len().min(most_threads);
    let queue = Mutex::new(items.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((position, item)) = next else { break };
                    let result = guarded(item);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((position, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(position, _)| *position);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
