//! What Redis has not done is tried again, for a moment.

use std::collections::HashSet;
use std::time::Duration;

use redis::Value;
use tidegate_broker::Error;
use tidegate_protocol::{Partition, Topic};
use tokio::time::{Instant, sleep};

use super::slot::{Slot, Up};
use super::{Call, Publisher};
use crate::errors::{Kind, Refusal};
use crate::scripts;
use crate::standing::Entered;

/// The first pause before Redis is asked again to do what it can't do yet.
const PAUSE: Duration = Duration::from_millis(50);

/// What helps a call that Redis has not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The node must enter its partition again.
    Enter,
    /// The server is no primary.
    Reconnect,
    /// It does not know the script.
    Load,
    /// It is loading, or between two primaries.
    Wait,
}

impl Again {
    /// `None`: it ran, or Redis would refuse it again.
    pub(super) fn of(answer: &Value) -> Option<Self> {
        match answer {
            Value::ServerError(error) => match Refusal::of(error).kind {
                Kind::NotPrimary => Some(Self::Reconnect),
                Kind::Soon => Some(Self::Wait),
                Kind::NoScript => Some(Self::Load),
                Kind::Refused | Kind::Failed => None,
            },
            answer => scripts::is_elsewhere(answer).then_some(Self::Enter),
        }
    }
}

/// A call to be made again.
struct Asked {
    partition: Partition,
    again: Again,
    refusal: Error,
}

/// The calls of one connection, until each has its result.
struct Open<'a> {
    calls: &'a [Call<'a>],
    results: Vec<Option<Result<Value, Error>>>,
}

impl Publisher {
    /// One answer for each call. Those that Redis has not run are made again until the deadline,
    /// unless a later one of the same topic has run: the topic's order would change.
    pub(super) async fn run(&self, slot: &Slot, calls: &[Call<'_>]) -> Vec<Result<Value, Error>> {
        let deadline = Instant::now() + self.patience;
        let mut open = Open { calls, results: (0..calls.len()).map(|_| None).collect() };
        let (mut load, mut pause, mut before) = (false, PAUSE, None);
        // Why what is left was not run the last time: more telling than that no connection came.
        let mut refusal = None;
        loop {
            let left = open.left();
            if left.is_empty() {
                break;
            }
            let up = match slot.up_after(before.as_ref(), deadline).await {
                Ok(up) => up,
                Err(error) => {
                    let error = refusal.unwrap_or(error);
                    for at in left {
                        let partition = &self.partitions[calls[at].partition.index()];
                        open.fail(&[at], &partition.explain(error.clone()));
                    }
                    break;
                }
            };
            let entered = self.enter_all(&mut open, &left, deadline).await;
            let left = open.left();
            if left.is_empty() {
                break;
            }
            let answers = match self.send(&up, calls, &left, &entered, load).await {
                Ok(answers) => answers,
                Err(error) => {
                    open.fail(&left, &error);
                    break;
                }
            };
            let asked = open.settle(&left, answers, Instant::now() >= deadline);
            let wants = |again| asked.iter().any(|asked| asked.again == again);
            load = wants(Again::Load);
            before = None;
            if wants(Again::Enter) || wants(Again::Reconnect) {
                up.lost.notify_one();
                before = Some(up);
            }
            for asked in asked.iter().filter(|asked| asked.again == Again::Enter) {
                if let Some(entered) = &entered[asked.partition.index()] {
                    // An error is that of the next round.
                    let _ = self.partitions[asked.partition.index()].enter_again(entered, deadline).await;
                }
            }
            if wants(Again::Wait) {
                sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
                pause *= 2;
            }
            refusal = asked.into_iter().next().map(|asked| asked.refusal);
        }
        open.results
            .into_iter()
            .map(|result| result.unwrap_or_else(|| Err(Error::Unknown(String::new()))))
            .collect()
    }

    /// Where the node has entered the partitions of the calls. Calls of others get their error.
    async fn enter_all(
        &self,
        open: &mut Open<'_>,
        left: &[usize],
        deadline: Instant,
    ) -> Vec<Option<Entered>> {
        let mut entered: Vec<Option<Entered>> = vec![None; self.partitions.len()];
        for at in left {
            let index = open.calls[*at].partition.index();
            if entered[index].is_none() {
                match self.partitions[index].entered(deadline).await {
                    Ok(place) => entered[index] = Some(place),
                    Err(error) => open.fail(&[*at], &error),
                }
            }
        }
        entered
    }

    async fn send(
        &self,
        up: &Up,
        calls: &[Call<'_>],
        left: &[usize],
        entered: &[Option<Entered>],
        load: bool,
    ) -> Result<Vec<Value>, Error> {
        let (mut commands, mut checks) = (Vec::with_capacity(left.len() + 1), Vec::new());
        if load {
            commands.push(scripts::load_publish());
        }
        for at in left {
            let call = &calls[*at];
            if let Some(entered) = &entered[call.partition.index()] {
                let check = up.check(call.partition);
                commands.push(self.command(call, entered, check.is_some()));
                checks.push(check);
            }
        }
        let mut answers = up.ask_all(commands).await?;
        if load {
            answers.remove(0);
        }
        for (check, answer) in checks.into_iter().zip(&answers) {
            if Again::of(answer).is_none() {
                up.checked(check);
            }
        }
        Ok(answers)
    }
}

impl Open<'_> {
    fn left(&self) -> Vec<usize> {
        (0..self.results.len()).filter(|at| self.results[*at].is_none()).collect()
    }

    fn fail(&mut self, calls: &[usize], error: &Error) {
        for at in calls {
            self.results[*at] = Some(Err(error.clone()));
        }
    }

    /// Takes the answers. Gives what helps those that are to be made again.
    fn settle(&mut self, left: &[usize], answers: Vec<Value>, over: bool) -> Vec<Asked> {
        let mut ran: HashSet<&Topic> = HashSet::new();
        let mut asked = Vec::new();
        for (at, answer) in left.iter().zip(answers).rev() {
            let call = &self.calls[*at];
            match Again::of(&answer) {
                Some(again) => {
                    let refusal = scripts::failure(&answer, "a receipt");
                    if over || ran.contains(call.topic) {
                        self.results[*at] = Some(Err(refusal));
                    } else {
                        asked.push(Asked { partition: call.partition, again, refusal });
                    }
                }
                None => {
                    ran.insert(call.topic);
                    self.results[*at] = Some(Ok(answer));
                }
            }
        }
        asked
    }
}
