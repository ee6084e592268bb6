//! Chaos: workers and schedulers as processes, runs of mixed kinds whose effects are rows, and for the
//! whole time something that breaks: processes die and freeze, Redis loses what it has or falls silent,
//! PostgreSQL drops connections or crashes. Afterwards nothing may be lost, doubled or stuck.

mod faults;
mod load;
mod rescue;
mod verdict;

use crate::{
    Fleet,
    processes::{Postgres, Process, Proxy, Redis},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

pub use verdict::Verdict;

/// Runs of one queue that may run at once, on all workers together.
const LIMIT: i64 = 6;

/// How much of it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Runs to be accepted while things break (children of flows come on top).
    pub runs: usize,
    /// How long things break; up to twice as long if that is not enough for this many faults.
    pub window: Duration,
    /// See `window`.
    pub faults: u32,
    /// Pause between two faults, on average.
    pub pause: Duration,
    /// Crashes of PostgreSQL, spread over the window.
    pub crashes: u32,
    /// Between heartbeats.
    pub heartbeat: Duration,
    /// Silence after which a worker is dead.
    pub lease: Duration,
    /// Of the random choices.
    pub seed: u64,
}

impl Plan {
    /// With the leases that are the default: about five minutes.
    pub fn full(seed: u64) -> Self {
        Self {
            runs: 5_000,
            window: Duration::from_secs(240),
            faults: 200,
            pause: Duration::from_millis(900),
            crashes: 6,
            heartbeat: Duration::from_secs(5),
            lease: Duration::from_secs(20),
            seed,
        }
    }

    /// With short leases: under a minute.
    pub fn quick(seed: u64) -> Self {
        Self {
            runs: 300,
            window: Duration::from_secs(18),
            faults: 30,
            pause: Duration::from_millis(250),
            crashes: 2,
            heartbeat: Duration::from_millis(300),
            lease: Duration::from_millis(1500),
            seed,
        }
    }
}

/// What the tasks of a chaos share.
struct Chaos {
    plan: Plan,
    fleet: Fleet,
    /// When PostgreSQL came back the last time.
    postgres_back: Mutex<Instant>,
    /// Process ids of workers that were killed, or frozen for longer than their lease.
    doomed: Mutex<Vec<u32>>,
    faults: Mutex<BTreeMap<&'static str, u32>>,
    complaints: Mutex<Vec<String>>,
    rescues: Mutex<Vec<Duration>>,
    /// Most runs of the limited queue that were seen running at once.
    most_running: AtomicI64,
    /// Nothing breaks any more.
    over: CancellationToken,
}

/// Servers and processes that are broken.
struct Victims {
    postgres: Postgres,
    redis: Redis,
    network: Proxy,
    workers: Vec<Process>,
    schedulers: Vec<Process>,
}

impl Chaos {
    fn count(&self, fault: &'static str) {
        *locked(&self.faults).entry(fault).or_default() += 1;
    }

    fn complain(&self, complaint: String) {
        locked(&self.complaints).push(complaint);
    }

    fn doom(&self, pid: u32) {
        locked(&self.doomed).push(pid);
    }

    /// Since `from`, or since PostgreSQL came back if it was away meanwhile.
    fn elapsed_since(&self, from: Instant) -> Duration {
        from.max(*locked(&self.postgres_back)).elapsed()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Breaks things while runs are enqueued and executed, lets the rest run to its end and looks at the
/// record.
pub async fn run(plan: Plan) -> Verdict {
    let started = Instant::now();
    let (postgres, redis) = (Postgres::start().await, Redis::start());
    let network = Proxy::to(redis.socket());
    let mut fleet = Fleet::new(&postgres.url, &network.redis_url());
    fleet.set_lease(plan.heartbeat, plan.lease);
    fleet.set("MILLRACE_LIGHT_SLOTS", "20");
    fleet.execute(&format!("SELECT set_queue_limit('default', {LIMIT})")).await;
    let victims = Victims {
        workers: (0..3).map(|_| fleet.worker()).collect(),
        schedulers: (0..2).map(|_| fleet.scheduler()).collect(),
        postgres,
        redis,
        network,
    };
    let chaos = Arc::new(Chaos {
        plan,
        fleet,
        postgres_back: Mutex::new(Instant::now()),
        doomed: Mutex::default(),
        faults: Mutex::default(),
        complaints: Mutex::default(),
        rescues: Mutex::default(),
        most_running: AtomicI64::new(0),
        over: CancellationToken::new(),
    });
    let watching = tokio::spawn(watch_limit(chaos.clone()));
    let loading = tokio::spawn(load::enqueue_all(chaos.clone()));
    let victims = faults::break_things(&chaos, victims).await;
    chaos.over.cancel();
    let accepted = loading.await.expect("the enqueuer does not panic");
    let verdict = verdict::judge(&chaos, accepted, started).await;
    watching.abort();
    drop(victims);
    verdict
}

/// Looks all the time at how many runs of the limited queue run at once.
async fn watch_limit(chaos: Arc<Chaos>) {
    let sql = "SELECT count(*) AS value FROM runs WHERE state = 'running' AND queue = 'default'";
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        // While the database is away there is nothing to see.
        if let Ok(running) = chaos.fleet.try_number(sql).await {
            chaos.most_running.fetch_max(running, Ordering::Relaxed);
        }
    }
}
