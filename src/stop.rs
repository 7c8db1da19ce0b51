//! The end of the run: how long may I wait, may I still begin a write.
//!
//! Belongs here: the deadline, SIGTERM, and all waiting. Does not: how often something is tried.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::error::{Error, Reason, error};

/// How long a wait sleeps before it checks again whether SIGTERM arrived.
const SLICE: Duration = Duration::from_millis(50);

/// When the run must end.
#[derive(Debug)]
pub struct Stop {
    start: Instant,
    seconds: u64,
    terminated: Arc<AtomicBool>,
    /// When SIGTERM was first seen. Every wait of this program checks several times per second.
    terminated_at: OnceLock<Instant>,
}

impl Stop {
    /// Ends the run `seconds` after `start`, or when `terminated` becomes true.
    #[must_use]
    pub fn new(start: Instant, seconds: u64, terminated: Arc<AtomicBool>) -> Self {
        Self {
            start,
            seconds,
            terminated,
            terminated_at: OnceLock::new(),
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

    /// How long the run has been over, if it is: what is in flight may get a little more time.
    #[must_use]
    pub fn over_for(&self) -> Option<Duration> {
        let over = self.terminated.load(Ordering::Relaxed);
        over.then(|| self.terminated_at.get_or_init(Instant::now).elapsed())
    }

    /// Whether the run may go on.
    ///
    /// # Errors
    /// [`Reason::Interrupted`] after SIGTERM, [`Reason::Interrupted`] after the deadline.
    pub fn check(&self) -> Result<(), Error> {
        match self.over_for() {
            None => Ok(()),
            Some(_) => Err(error!(Reason::Interrupted, "interrupted by SIGTERM")),
        }
    }

    /// Waits for `duration`. Nobody waits for what the deadline would cut.
    ///
    /// # Errors
    /// [`Reason::Interrupted`] if the run ends before that.
    pub fn wait(&self, duration: Duration) -> Result<(), Error> {
        if self.left(Duration::MAX) <= duration {
            return Err(error!(
                Reason::Interrupted,
                "DEADLINE ({} s) exceeded", self.seconds
            )
            .hint("if this happens again, raise DEADLINE and the job's maximum execution time"));
        }
        let until = Instant::now() + duration;
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
