//! The end of the run: how long may I wait, may I still begin a write.
//!
//! Belongs here: the deadline, SIGTERM, and all waiting. Does not: how often something is tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::error::{Error, Reason, error};

/// How long a wait sleeps before it looks again whether SIGTERM arrived.
const SLICE: Duration = Duration::from_millis(50);

/// When the run must end.
#[derive(Debug)]
pub struct Stop {
    start: Instant,
    seconds: u64,
    terminated: Arc<AtomicBool>,
}

impl Stop {
    /// Ends the run `seconds` after `start`, or when `terminated` becomes true.
    #[must_use]
    pub fn new(start: Instant, seconds: u64, terminated: Arc<AtomicBool>) -> Self {
        Self {
            start,
            seconds,
            terminated,
        }
    }

    /// The time that is left; never longer than `at_most`.
    #[must_use]
    pub fn left(&self, at_most: Duration) -> Duration {
        Duration::from_secs(self.seconds)
            .saturating_sub(self.start.elapsed())
            .min(at_most)
    }

    /// How long after the start of the run `instant` was.
    #[must_use]
    pub fn age(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.start)
    }

    /// Whether the run may go on.
    ///
    /// # Errors
    /// [`Reason::Terminated`] after SIGTERM, [`Reason::DeadlineReached`] after the deadline.
    pub fn check(&self) -> Result<(), Error> {
        if self.terminated.load(Ordering::Relaxed) {
            return Err(error!(
                Reason::Terminated,
                "stopped by SIGTERM before this was done"
            )
            .hint(
                "the next run, or tomorrow's reconcile, does what is left; nothing is half done",
            ));
        }
        if self.left(Duration::MAX).is_zero() {
            return Err(error!(
                Reason::DeadlineReached,
                "the run's {} seconds were over before this was done",
                self.seconds
            )
            .hint("the next run does what is left; if it happens again, raise DEADLINE and the job's time limit"));
        }
        Ok(())
    }

    /// Does blocking work on a thread of its own and waits for it, at most `at_most`, at most until the
    /// run must end. `None`: it did not end in time, and its thread is left behind.
    pub(crate) fn aside<T: Send + 'static>(
        &self,
        at_most: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            // nobody listens any more if it took too long
            let _late = sender.send(work());
        });
        let until = Instant::now() + at_most;
        while self.check().is_ok() {
            let rest = until.saturating_duration_since(Instant::now());
            match receiver.recv_timeout(rest.min(SLICE)) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Timeout) if !rest.is_zero() => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Waits for `duration`, at most until the deadline.
    ///
    /// # Errors
    /// As [`Stop::check`].
    pub fn wait(&self, duration: Duration) -> Result<(), Error> {
        let until = Instant::now() + self.left(duration);
        loop {
            self.check()?;
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(());
            }
            #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
            std::thread::sleep(rest.min(SLICE));
        }
    }
}
