//! What has been decided so far, target by target, and which writes are in flight: what can be said
//! truthfully when the time is over in the middle of the work.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, Reason};
use crate::report::{Action, Heading, Outcome, Report};

/// How long the answers to writes in flight are awaited after the end of the run: knowing them is
/// worth more than these seconds.
const GRACE: Duration = Duration::from_secs(5);

/// A longer line would wrap on a terminal, and could not be cleared.
const LONGEST_LINE: usize = 79;

/// How far a target has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// Nothing was written.
    Open,
    /// The write is in flight.
    Writing,
    /// A write was sent and has no clear answer.
    InDoubt,
    /// The write is confirmed; the outcome follows at once.
    Written,
    /// The outcome is known, apart from so many effects that are still to be seen: it is final without
    /// any.
    Settled(usize),
}

/// What is known of a target.
#[derive(Clone, Debug)]
struct Known {
    stage: Stage,
    /// What is being done: "waiting for its turn".
    step: String,
    outcome: Outcome,
}

#[derive(Debug, Default)]
struct State {
    heading: Heading,
    targets: Vec<Known>,
    /// The entries of the event that no target uses.
    others: Vec<Outcome>,
    /// What was begun last, how much of it is done (apart from targets), and how much there is.
    doing: String,
    done: usize,
    count: usize,
    /// Changes of apps in flight.
    changes: usize,
    over: bool,
}

/// The state of the run, shared by all of its threads.
#[derive(Debug, Default)]
pub struct Progress {
    state: Mutex<State>,
    moved: Condvar,
}

impl Progress {
    /// What is known of the run before its targets.
    pub fn describe(&self, heading: Heading) {
        self.lock().heading = heading;
    }

    /// What [`Progress::describe`] said.
    pub fn heading(&self) -> Heading {
        self.lock().heading.clone()
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        self.lock().over
    }

    /// The targets of the run, and what else it reports.
    pub(crate) fn plan(&self, targets: Vec<Outcome>, others: Vec<Outcome>) {
        let open = |outcome| Known {
            stage: Stage::Open,
            step: "waiting for its turn".to_owned(),
            outcome,
        };
        self.begin("waiting", targets.len());
        let mut state = self.lock();
        state.targets = targets.into_iter().map(open).collect();
        state.others = others;
    }

    /// The run begins to do this, so many times.
    pub(crate) fn begin(&self, what: &str, count: usize) {
        let mut state = self.lock();
        (state.doing, state.done, state.count) = (what.to_owned(), 0, count);
    }

    /// It was done once more.
    pub(crate) fn advance(&self) {
        self.lock().done += 1;
    }

    /// For a terminal: how much is done, and what was begun last.
    pub fn line(&self) -> String {
        let state = self.lock();
        let settled = |known: &&Known| known.stage == Stage::Settled(0);
        let settled = state.targets.iter().filter(settled);
        let done = state.done + settled.count();
        let line = format!("{done} of {} done; {}", state.count, state.doing);
        line.chars().take(LONGEST_LINE).collect()
    }

    /// What is being done for a target.
    pub(crate) fn step(&self, target: usize, step: &str) {
        let mut state = self.lock();
        if let Some(known) = state.targets.get_mut(target) {
            step.clone_into(&mut known.step);
            let name = known.outcome.tls_secret.clone().unwrap_or_default();
            state.doing = format!("{name}: {step}");
        }
    }

    /// What became known of a target.
    pub(crate) fn know(&self, target: usize, learn: impl FnOnce(&mut Outcome)) {
        self.update(target, |known| learn(&mut known.outcome));
    }

    /// The write of a target is about to be sent. Once the run is over this never returns: nobody
    /// could say what became of the write.
    pub(crate) fn begin_write(&self, target: usize) {
        let mut state = self.while_time_is_left();
        if let Some(known) = state.targets.get_mut(target) {
            known.stage = Stage::Writing;
        }
    }

    /// What the answer to the write of a target says.
    pub(crate) fn answered(&self, target: usize, stage: Stage) {
        self.update(target, |known| known.stage = stage);
    }

    /// Sends `request`, which changes something that is no target. Once the run is over this never
    /// returns.
    pub(crate) fn change<R>(&self, request: impl FnOnce() -> R) -> R {
        self.while_time_is_left().changes += 1;
        let answer = request();
        self.lock().changes -= 1;
        self.moved.notify_all();
        answer
    }

    /// The outcome of a target, made from what is known, is final once so many `effects` were seen.
    pub(crate) fn settle(
        &self,
        target: usize,
        effects: usize,
        outcome: impl FnOnce(Outcome) -> Outcome,
    ) {
        self.update(target, |known| {
            known.outcome = outcome(std::mem::take(&mut known.outcome));
            "waiting for the other targets".clone_into(&mut known.step);
            known.stage = Stage::Settled(effects);
        });
    }

    /// One effect of a target has been seen.
    pub(crate) fn seen(&self, target: usize) {
        self.update(target, |known| {
            if let Stage::Settled(effects) = &mut known.stage {
                *effects = effects.saturating_sub(1);
            }
        });
    }

    /// What became of all targets, and what else the run reports. What has no outcome is a bug. Once the
    /// run is over this never returns: somebody else reports.
    pub(crate) fn outcomes(&self) -> Report {
        let next = "please report it with the log of this run";
        let state = self.while_time_is_left();
        state.results(Reason::Defect, "a bug in sm-tls-sync", next)
    }

    /// Ends the run: nothing is written from now on. Waits for the answers to what is in flight, and
    /// says what is known then; the run goes on meanwhile, and may come to its own end.
    ///
    /// # Errors
    /// If the run has no targets yet, or is none that writes.
    pub fn stop(&self, why: &str, next: &str) -> Result<Report, Error> {
        const IN_FLIGHT: [Stage; 2] = [Stage::Writing, Stage::Written];
        let mut state = self.lock();
        state.over = true;
        let in_flight = |state: &mut State| {
            let targets = &mut state.targets.iter();
            state.changes > 0 || targets.any(|known| IN_FLIGHT.contains(&known.stage))
        };
        let waited = self.moved.wait_timeout_while(state, GRACE, in_flight);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        match state.targets.is_empty() {
            true => Err(Reason::Interrupted.error(why).hint(next)),
            false => Ok(state.results(Reason::Interrupted, why, next)),
        }
    }

    fn update(&self, target: usize, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.lock().targets.get_mut(target) {
            change(known);
        }
        self.moved.notify_all();
    }

    /// Blocks for ever if no time is left.
    fn while_time_is_left(&self) -> MutexGuard<'_, State> {
        let wait = self.moved.wait_while(self.lock(), |state| state.over);
        wait.unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The outcomes if nothing more is found out, for this reason.
    fn results(&self, reason: Reason, why: &str, next: &str) -> Report {
        let targets = self.targets.iter().cloned();
        let targets = targets.map(|known| known.when_over(reason, why, next));
        let outcomes = targets.chain(self.others.iter().cloned());
        Report { targets: outcomes.collect(), ..Report::default() }
    }
}

impl Known {
    fn when_over(mut self, reason: Reason, why: &str, next: &str) -> Outcome {
        let step = &self.step;
        if self.stage == Stage::Written {
            self.outcome.action = Action::Replaced;
            self.outcome.message = "the write was confirmed".to_owned();
        }
        let told = match self.stage {
            Stage::Settled(0) => return self.outcome,
            Stage::Written | Stage::Settled(_) => {
                let told = format!(
                    "the run ended before it could confirm what is served ({step}): {why}; {next}"
                );
                self.outcome.not_in_effect(reason, &told);
                return self.outcome;
            }
            Stage::Open => format!("{why} while {step}; nothing was written"),
            Stage::Writing => format!("{why} while a write was in flight: its outcome is unknown"),
            Stage::InDoubt => {
                format!("{why} after a write without a clear answer: its outcome is unknown")
            }
        };
        let name = self.outcome.tls_secret.clone().unwrap_or_default();
        let error = reason.error(format!("TLS secret {name}: {told}"));
        self.outcome.failed(&error.hint(next))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    const SIGTERM: &str = "interrupted by SIGTERM";
    const NEXT: &str = "the next run continues";

    fn outcome(name: &str) -> Outcome {
        Outcome { tls_secret: Some(name.to_owned()), ..Outcome::new(Action::Failed, "") }
    }

    fn planned() -> Progress {
        let progress = Progress::default();
        let other = Outcome::default().failed(&Reason::EventIgnored.error("not ours"));
        progress.plan(vec![outcome("a"), outcome("b")], vec![other]);
        progress
    }

    #[test]
    fn a_target_says_what_is_known_when_the_time_is_over() {
        let failed = (Action::Failed, Some(9));
        for (stage, (action, status), told) in [
            (
                Stage::Open,
                failed,
                "TLS secret a: interrupted by SIGTERM while reading it; nothing was written",
            ),
            (
                Stage::Writing,
                failed,
                "TLS secret a: interrupted by SIGTERM while a write was in flight: its outcome is unknown",
            ),
            (
                Stage::InDoubt,
                failed,
                "TLS secret a: interrupted by SIGTERM after a write without a clear answer: its outcome is unknown",
            ),
            (
                Stage::Written,
                (Action::Replaced, Some(10)),
                "the write was confirmed; the run ended before it could confirm what is served (reading it): interrupted",
            ),
            (
                Stage::Settled(1),
                (Action::Unchanged, Some(10)),
                "up to date; the run ended before it could confirm what is served (reading it): interrupted",
            ),
            (Stage::Settled(0), (Action::Unchanged, None), "up to date"),
        ] {
            let known = Known {
                stage,
                step: "reading it".to_owned(),
                outcome: Outcome {
                    secret_name: Some("shop".to_owned()),
                    action: Action::Unchanged,
                    message: "up to date".to_owned(),
                    ..outcome("a")
                },
            };
            let outcome = known.when_over(Reason::Interrupted, SIGTERM, NEXT);
            assert!(outcome.message.starts_with(told), "{}", outcome.message);
            let found = outcome.failure().map(|(_, status)| status.status());
            assert_eq!((outcome.action, found), (action, status), "{told}");
            assert_eq!(outcome.secret_name.as_deref(), Some("shop"));
        }
    }

    #[test]
    fn without_targets_there_is_only_the_reason() {
        let error = Progress::default().stop(SIGTERM, NEXT).unwrap_err();
        assert_eq!(error.message, "interrupted by SIGTERM; the next run continues");
    }

    #[test]
    fn a_target_without_an_outcome_is_a_defect() {
        let progress = planned();
        progress.settle(0, 0, |_| Outcome::new(Action::Replaced, "done"));
        let targets = progress.outcomes().targets;
        let reasons: Vec<_> = targets.iter().map(|target| target.reason).collect();
        assert_eq!(reasons, [None, Some(Reason::Defect), Some(Reason::EventIgnored)]);
        let told =
            "TLS secret b: a bug in sm-tls-sync while waiting for its turn; nothing was written";
        assert!(targets[1].message.starts_with(told), "{}", targets[1].message);
    }

    #[test]
    fn the_end_waits_for_the_answer_and_for_the_outcome_of_a_write_in_flight() {
        let progress = planned();
        progress.begin_write(0);
        thread::scope(|scope| {
            let stopped = scope.spawn(|| progress.stop(SIGTERM, NEXT));
            while !progress.is_over() {
                thread::yield_now();
            }
            progress.answered(0, Stage::Written);
            progress.settle(0, 0, |_| Outcome::new(Action::Replaced, "done"));
            let targets = stopped.join().unwrap().unwrap().targets;
            let actions: Vec<Action> = targets.iter().map(|target| target.action).collect();
            assert_eq!(actions, [Action::Replaced, Action::Failed, Action::Ignored]);
        });
    }

    #[test]
    fn the_end_waits_for_a_change_in_flight() {
        let progress = planned();
        let (sender, begun) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                progress.change(|| {
                    sender.send(()).unwrap();
                    while !progress.is_over() {
                        thread::yield_now();
                    }
                });
            });
            begun.recv().unwrap();
            assert_eq!(progress.lock().changes, 1);
            progress.stop(SIGTERM, NEXT).unwrap();
            assert_eq!(progress.lock().changes, 0);
        });
    }

    #[test]
    fn the_line_says_how_much_is_done_and_what_was_begun_last() {
        let progress = planned();
        assert_eq!(progress.line(), "0 of 2 done; waiting");
        progress.step(1, "reading it");
        progress.settle(0, 1, |known| known);
        assert_eq!(progress.line(), "0 of 2 done; b: reading it");
        progress.seen(0);
        assert_eq!(progress.line(), "1 of 2 done; b: reading it");
        progress.step(1, &"x".repeat(100));
        assert_eq!(progress.line().len(), LONGEST_LINE);

        let progress = Progress::default();
        progress.begin("reading certificates", 3);
        progress.advance();
        progress.advance();
        assert_eq!(progress.line(), "2 of 3 done; reading certificates");
    }

    #[test]
    fn nothing_is_sent_once_the_run_is_over() {
        let progress: &'static Progress = Box::leak(Box::new(planned()));
        progress.stop(SIGTERM, NEXT).unwrap();
        let (sender, sent) = mpsc::channel();
        for change in [false, true] {
            let sender = sender.clone();
            // blocked until the process ends
            thread::spawn(move || {
                match change {
                    true => progress.change(|| ()),
                    false => progress.begin_write(1),
                }
                sender.send(change).unwrap();
            });
        }
        assert!(sent.recv_timeout(Duration::from_millis(300)).is_err());
    }
}
