//! The signal that refreshes pages: server-sent events that say "something changed", never what. A
//! browser then asks for its page again, so a lost event costs nothing.
//!
//! One task a process looks at a cheap fingerprint of the database once a second, while anybody
//! listens. `beat` tells the script that the line is alive (it cannot see comments), `trouble` that the
//! database does not answer.

use crate::{app::AppState, auth::PageSession};
use axum::{
    Extension,
    extract::State,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::Stream;
use shared::runs::pulse;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::broadcast::{self, error::RecvError};

/// Time between looks at the database.
const LOOK: Duration = Duration::from_secs(1);
/// Time between signs of life.
const BEAT: Duration = Duration::from_secs(10);
/// A stream ends after this time; the browser reconnects by itself and shows its session anew.
const LIFE: Duration = Duration::from_secs(900);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Change,
    Trouble,
}

/// Those who listen; one a process, cheap to clone.
#[derive(Clone)]
pub struct LiveHub(Arc<Inner>);

struct Inner {
    signals: broadcast::Sender<Signal>,
    looking: AtomicBool,
}

impl Default for LiveHub {
    fn default() -> Self {
        Self(Arc::new(Inner { signals: broadcast::Sender::new(16), looking: AtomicBool::new(false) }))
    }
}

impl LiveHub {
    fn listen(&self, state: &AppState) -> broadcast::Receiver<Signal> {
        let receiver = self.0.signals.subscribe();
        self.look(state);
        receiver
    }

    /// Starts the looking task unless one looks.
    fn look(&self, state: &AppState) {
        if self.0.looking.swap(true, Ordering::SeqCst) {
            return;
        }
        let (hub, state) = (self.clone(), state.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = state.shutdown.cancelled() => {}
                () = hub.look_while_heard(&state) => {
                    hub.0.looking.store(false, Ordering::SeqCst);
                    // Somebody may have come after the last look at the listeners and found the flag set.
                    if hub.0.signals.receiver_count() > 0 {
                        hub.look(&state);
                    }
                }
            }
        });
    }

    async fn look_while_heard(&self, state: &AppState) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last: Option<String> = None;
        while self.0.signals.receiver_count() > 0 {
            ticks.tick().await;
            match fingerprint(state).await {
                Ok(seen) => {
                    if last.as_ref().is_some_and(|last| *last != seen) {
                        // Nobody listening any more is no error.
                        self.0.signals.send(Signal::Change).ok();
                    }
                    last = Some(seen);
                }
                Err(error) => {
                    tracing::debug!(%error, "the state of the runs cannot be looked at");
                    self.0.signals.send(Signal::Trouble).ok();
                    // What is seen next is news to everybody.
                    last = Some(String::new());
                }
            }
        }
    }
}

async fn fingerprint(state: &AppState) -> anyhow::Result<String> {
    let mut conn = state.env.pool.get().await?;
    Ok(pulse::fingerprint(&mut conn).await?)
}

/// `GET /ui/live`.
pub async fn live(
    _session: PageSession,
    State(state): State<AppState>,
    Extension(hub): Extension<LiveHub>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut signals = hub.listen(&state);
    let stream = async_stream::stream! {
        yield Ok(Event::default().event("beat").retry(Duration::from_secs(1)).data(""));
        let mut beats = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
        let end = tokio::time::sleep(LIFE);
        tokio::pin!(end);
        loop {
            let name = tokio::select! {
                () = state.shutdown.cancelled() => return,
                () = &mut end => return,
                _ = beats.tick() => "beat",
                signal = signals.recv() => match signal {
                    Ok(Signal::Trouble) => "trouble",
                    // One who fell behind has missed changes.
                    Ok(Signal::Change) | Err(RecvError::Lagged(_)) => "change",
                    Err(RecvError::Closed) => return,
                },
            };
            yield Ok(Event::default().event(name).data(""));
        }
    };
    Sse::new(stream).keep_alive(KeepAlive::new().interval(BEAT).text("still here"))
}
