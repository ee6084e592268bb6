//! One attempt of a delivery's run: the channel's providers are asked in order until one accepts.
//!
//! Crash windows. Before a provider is asked, the attempt is on disk as `sending`; what it answered and the end
//! of the run are one commit. A process that dies between leaves an open attempt, of which nobody knows whether
//! it was accepted: where the provider makes no second message of the same key, it is asked again under it;
//! elsewhere the delivery is `unknown`, and somebody decides. Never is it sent twice in silence.

use super::{
    circuits::{self, Admission, Sign},
    desk,
    model::{AttemptOutcome, Channel, DeliveryState},
    providers::{Failure, Message, Named, Receipt, SendError},
    queries,
    recording::{Claim, Ended, Look, Verdict},
    seats::Later,
    unsent,
};
use crate::{
    ids::DeliveryId,
    runs::{Finished, JobError, RunContext, RunError},
};
use std::time::{Duration, Instant};

/// A turn that is so near is waited for; one that is further away is come back for.
const NEAR: Duration = Duration::from_millis(500);
/// A turn that has passed this long ago is taken anew: all who were kept away for a while would go at once.
const TURN_LASTS: Duration = Duration::from_secs(5);

/// Sends a delivery, or says when to come back.
pub(super) async fn deliver(
    context: &RunContext,
    id: DeliveryId,
    channel: Channel,
) -> Result<Finished, JobError> {
    let env = &context.env;
    let Some(look) = desk::look(env, id).await? else {
        return Err(JobError::Fail(anyhow::anyhow!("delivery {id} is not there any more")));
    };
    if let Some(settled) = unsent::settled(context, id, &look)? {
        return Ok(settled);
    }
    let providers = env.notifications.providers(channel);
    if providers.is_empty() {
        return Err(JobError::retry(anyhow::anyhow!(
            "this worker has no provider for {channel}: set {} where workers start, as where the api does",
            crate::config::variable(channel)
        )));
    }
    if let Some((number, name)) = &look.open {
        resume(context, id, *number, name, channel).await?;
    }
    if let Some(unsent) = unsent::withheld(context, id, &look).await? {
        return Ok(unsent);
    }
    let all = providers;
    let providers = askable(providers, &look)?;
    // Until when nobody can be asked, by anybody; none if a rate only keeps this one back.
    let mut shut: Option<Shut> = (providers.len() == all.len()).then(Shut::default);
    let mut away = Duration::MAX;
    let mut last = None;
    for named in providers {
        match attempt(context, id, &look, channel, named).await? {
            Tried::Accepted(finished) => return Ok(finished),
            Tried::Away(keeps) => {
                away = away.min(keeps.wait());
                shut = shut.and_then(|shut| shut.and(keeps));
            }
            Tried::Failed(error) => {
                let perhaps = error.failure == Failure::Unknown;
                last = Some(error);
                if perhaps {
                    break;
                }
            }
        }
    }
    match last {
        None => {
            if let Some(shut) = shut {
                put_off(context, channel, &look, shut).await?;
            }
            Ok(Finished::Snooze(away + away.mul_f64(0.2 * rand::random::<f64>())))
        }
        Some(SendError { failure: Failure::Throttled(Some(wait)), error, .. }) => {
            Err(JobError::RetryAfter(anyhow::anyhow!(error), wait))
        }
        Some(error) => Err(JobError::Retry(anyhow::anyhow!(error.error))),
    }
}

/// The providers that may be asked. Another one does not know the key: whoever may have accepted the message is
/// asked again, alone, whatever it said since.
fn askable<'p>(providers: &'p [Named], look: &Look) -> Result<&'p [Named], JobError> {
    let (name, in_run) = match (&look.open, &look.perhaps) {
        (Some((_, name)), _) => (name, true),
        (None, Some((name, in_run))) => (name, *in_run),
        (None, None) => return Ok(providers),
    };
    match providers.iter().find(|named| named.name == *name) {
        Some(named) if named.provider.repeats_safely() => Ok(std::slice::from_ref(named)),
        None if in_run => Err(JobError::retry(anyhow::anyhow!(
            "{name} may have accepted it, and this worker does not have it any more: no other is asked. Bring it \
             back, or replay the delivery if it may be sent twice."
        ))),
        _ => Ok(providers),
    }
}

/// What keeps a message from a provider.
#[derive(Debug, Clone, Copy)]
enum Keeps {
    /// Its circuit is open.
    Circuit(Duration),
    /// It has as many as it may have, and gives none back.
    Seats(Later),
    /// Its rate: each has a turn of its own.
    Turn(Duration),
}

impl Keeps {
    const fn wait(self) -> Duration {
        match self {
            Self::Circuit(wait) | Self::Turn(wait) | Self::Seats(Later { wait, .. }) => wait,
        }
    }
}

/// How long nobody is asked, and how who waits is to come back after that: one after the other, within a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shut {
    pub wait: Duration,
    pub pace: Duration,
    pub within: Duration,
}

impl Default for Shut {
    fn default() -> Self {
        Self { wait: Duration::MAX, pace: Duration::ZERO, within: Duration::ZERO }
    }
}

impl Shut {
    /// The same with one more provider.
    fn and(self, keeps: Keeps) -> Option<Self> {
        let (pace, within) = match keeps {
            // All at once: the first hears how it stands, and the others are put off with it.
            Keeps::Circuit(_) => (Duration::ZERO, Duration::ZERO),
            Keeps::Seats(later) => (later.pace, later.longest.saturating_sub(later.wait)),
            Keeps::Turn(_) => return None,
        };
        Some(Self {
            wait: self.wait.min(keeps.wait()),
            pace: self.pace.max(pace),
            within: self.within.max(within),
        })
    }
}

/// Puts off what else waits for the same providers, or endpoint.
async fn put_off(context: &RunContext, channel: Channel, look: &Look, shut: Shut) -> Result<(), JobError> {
    let endpoint = look.endpoint.filter(|_| channel == Channel::Webhook);
    let name = endpoint.map_or_else(|| channel.to_string(), |endpoint| endpoint.to_string());
    if !context.env.notifications.may_put_off(&name) {
        return Ok(());
    }
    let conn = &mut *context.connection().await?;
    let others = queries::put_off(conn, channel, endpoint, shut).await?;
    if others > 0 {
        tracing::debug!("{others} more that wait for {name} are put off");
    }
    Ok(())
}

/// What became of asking one provider.
enum Tried {
    Accepted(Finished),
    /// It was not asked; why, and when it may be.
    Away(Keeps),
    /// The next may be asked.
    Failed(SendError),
}

fn claim(context: &RunContext) -> Claim {
    Claim { run: context.run_id, token: context.token, attempt: context.attempt }
}

/// The circuit of a provider: each endpoint has one of its own.
fn circuit_name(channel: Channel, named: &Named, look: &Look) -> String {
    match (channel, look.endpoint) {
        (Channel::Webhook, Some(endpoint)) => format!("webhook/{endpoint}"),
        _ => format!("{channel}/{}", named.name),
    }
}

/// Ends an attempt that a process has left open: as one that may be repeated, or as unknown.
async fn resume(
    context: &RunContext,
    id: DeliveryId,
    number: i32,
    name: &str,
    channel: Channel,
) -> Result<(), JobError> {
    let named = context.env.notifications.providers(channel).iter().find(|named| named.name == name);
    let repeats = named.is_some_and(|named| named.provider.repeats_safely());
    let stopped = "the worker that was sending it stopped before it knew the answer";
    let (state, outcome, error) = if repeats {
        let error = format!("{stopped}; it is sent again under the same key");
        (DeliveryState::Pending, AttemptOutcome::Unknown, error)
    } else {
        let error = format!(
            "{stopped}; {name} may have accepted it or not. Find out, then mark it as delivered or send it again."
        );
        (DeliveryState::Unknown, AttemptOutcome::Unknown, error)
    };
    let verdict = Verdict {
        state,
        outcome,
        status_code: None,
        response: None,
        error: Some(error.clone()),
        sign: None,
        disables: None,
    };
    let ended = Ended {
        claim: claim(context),
        delivery: id,
        number,
        provider: name.to_owned(),
        duration_ms: None,
        verdict,
    };
    desk::end(&context.env, ended).await?;
    if repeats { Ok(()) } else { Err(JobError::Fail(anyhow::anyhow!(error))) }
}

/// Asks one provider, if its circuit, its rate and its seats let it.
async fn attempt(
    context: &RunContext,
    id: DeliveryId,
    look: &Look,
    channel: Channel,
    named: &Named,
) -> Result<Tried, JobError> {
    let env = &context.env;
    let circuit = circuit_name(channel, named, look);
    let now = env.clock.now();
    let admission =
        env.notifications.circuits.admit(&env.pool, &circuit, now).await.map_err(JobError::retry)?;
    if let Admission::Wait(wait) = admission {
        return Ok(Tried::Away(Keeps::Circuit(wait)));
    }
    let troubled = env.notifications.circuits.is_troubled(&circuit);
    let _seat = match env.notifications.seats.take(&circuit, troubled).await {
        Ok(seat) => seat,
        Err(later) => return Ok(Tried::Away(Keeps::Seats(later))),
    };
    if let Some(wait) = turn(context, id, look, named, &circuit).await? {
        return Ok(Tried::Away(Keeps::Turn(wait)));
    }
    let Some(number) = desk::begin(env, claim(context), id, &named.name).await? else {
        return Err(RunError::FenceLost.into());
    };
    let message = Message {
        key: id.0,
        to: look.address.clone(),
        title: look.title.clone(),
        body: look.body.clone(),
        html: look.html.clone(),
        payload: look.payload.clone(),
        secrets: look.secrets.clone(),
    };
    let since = Instant::now();
    let answer = named.provider.send(&message).await;
    let took = since.elapsed();
    let verdict = conclude(&answer, named, circuit, troubled, look);
    let state = verdict.state;
    let ended = Ended {
        claim: claim(context),
        delivery: id,
        number,
        provider: named.name.clone(),
        duration_ms: Some(i32::try_from(took.as_millis()).unwrap_or(i32::MAX)),
        verdict,
    };
    let closed = desk::end(env, ended).await?;
    match answer {
        Ok(_) => closed.map(|closed| Tried::Accepted(closed.into())).ok_or(RunError::FenceLost.into()),
        Err(error) if state == DeliveryState::Pending => Ok(Tried::Failed(error)),
        Err(error) => Err(JobError::Fail(anyhow::anyhow!(error.error))),
    }
}

/// When it is this delivery's turn, where its provider takes only so many a second; `None`: now.
async fn turn(
    context: &RunContext,
    id: DeliveryId,
    look: &Look,
    named: &Named,
    circuit: &str,
) -> Result<Option<Duration>, JobError> {
    let Some(rate) = named.rate else { return Ok(None) };
    let now = context.env.clock.now();
    let lasts = chrono::TimeDelta::from_std(TURN_LASTS).unwrap_or_default();
    let at = match look.permit_at.filter(|at| now - at < lasts) {
        Some(at) => at,
        None => {
            let conn = &mut *context.connection().await?;
            circuits::take_turn(conn, circuit, rate).await?
        }
    };
    let wait = (at - now).to_std().unwrap_or_default();
    if wait <= NEAR {
        tokio::time::sleep(wait).await;
        return Ok(None);
    }
    let conn = &mut *context.connection().await?;
    queries::keep_turn(conn, id, at).await?;
    Ok(Some(wait))
}

/// What an answer makes of the attempt, its delivery and the provider's circuit.
fn conclude(
    answer: &Result<Receipt, SendError>,
    named: &Named,
    circuit: String,
    troubled: bool,
    look: &Look,
) -> Verdict {
    let works = |circuit: String| troubled.then_some((circuit, Sign::Works));
    let error = match answer {
        Ok(receipt) => {
            return Verdict {
                state: DeliveryState::Delivered,
                outcome: AttemptOutcome::Accepted,
                status_code: receipt.status_code,
                response: Some(receipt.response.clone()).filter(|text| !text.is_empty()),
                error: None,
                sign: works(circuit),
                disables: None,
            };
        }
        Err(error) => error,
    };
    let said = error.error.clone();
    let (state, outcome, sign) = match error.failure {
        Failure::Unknown => {
            let repeats = named.provider.repeats_safely();
            let state = if repeats { DeliveryState::Pending } else { DeliveryState::Unknown };
            (state, AttemptOutcome::Unknown, Some((circuit, Sign::Fails(said.clone()))))
        }
        Failure::Transient => {
            (DeliveryState::Pending, AttemptOutcome::Transient, Some((circuit, Sign::Fails(said.clone()))))
        }
        Failure::Throttled(wait) => (
            DeliveryState::Pending,
            AttemptOutcome::Throttled,
            Some((circuit, Sign::Holds(wait, said.clone()))),
        ),
        Failure::Permanent | Failure::Gone => {
            (DeliveryState::Failed, AttemptOutcome::Permanent, works(circuit))
        }
    };
    Verdict {
        state,
        outcome,
        status_code: error.status_code,
        response: error.response.clone(),
        error: Some(said),
        sign,
        disables: look.endpoint.filter(|_| error.failure == Failure::Gone),
    }
}
