//! What breaks. One fault follows the other at random; those that take time (a frozen worker, a Redis
//! that is away) last while others happen.
//!
//! Somebody must live long enough to judge that others are dead: of the three workers one is spared at
//! any time, each in turn.

use super::{Chaos, Victims, locked, rescue};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What one of the things that can break is doing.
struct Broken<T> {
    what: T,
    until: Instant,
}

/// How Redis is away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RedisFault {
    Stopped,
    Frozen,
    Cut,
}

/// A worker that stands still.
struct Frozen {
    index: usize,
    worker: uuid::Uuid,
    since: Instant,
}

struct Breaking<'a> {
    chaos: &'a Arc<Chaos>,
    victims: Victims,
    rng: StdRng,
    started: Instant,
    crashes: u32,
    redis: Option<Broken<RedisFault>>,
    frozen: Option<Broken<Frozen>>,
    /// Killed workers and schedulers that are to be started again.
    dead_workers: Vec<Broken<usize>>,
    dead_schedulers: Vec<Broken<usize>>,
}

/// Breaks things for the planned time, then mends all of them.
pub(super) async fn break_things(chaos: &Arc<Chaos>, victims: Victims) -> Victims {
    let mut breaking = Breaking {
        chaos,
        victims,
        rng: StdRng::seed_from_u64(chaos.plan.seed ^ 1),
        started: Instant::now(),
        crashes: 0,
        redis: None,
        frozen: None,
        dead_workers: Vec::new(),
        dead_schedulers: Vec::new(),
    };
    while !breaking.is_enough() {
        breaking.mend(Instant::now()).await;
        breaking.break_something().await;
        let pause = chaos.plan.pause.mul_f64(breaking.rng.random_range(0.1..1.9));
        tokio::time::sleep(pause).await;
    }
    breaking.mend_all().await;
    breaking.victims
}

impl Breaking<'_> {
    fn is_enough(&self) -> bool {
        let (plan, elapsed) = (&self.chaos.plan, self.started.elapsed());
        let faults: u32 = locked(&self.chaos.faults).values().sum();
        elapsed > plan.window * 2 || (elapsed > plan.window && faults > plan.faults)
    }

    async fn break_something(&mut self) {
        let plan = &self.chaos.plan;
        let due = self.started.elapsed().as_secs_f64() / plan.window.as_secs_f64();
        if self.crashes < plan.crashes && due * f64::from(plan.crashes + 1) > f64::from(self.crashes + 1) {
            return self.crash_postgres().await;
        }
        // What cannot be broken now, because it is, leaves the turn to something else.
        for _ in 0..10 {
            let broke = match self.rng.random_range(0..100) {
                0..24 => self.kill_worker(),
                24..36 => self.kill_scheduler(),
                36..50 => self.freeze_worker().await,
                50..66 => self.end_connections_of_one().await,
                66..72 => self.end_all_connections().await,
                72..86 => self.flush_redis(),
                86..92 => self.break_redis(RedisFault::Stopped),
                92..96 => self.break_redis(RedisFault::Frozen),
                _ => self.break_redis(RedisFault::Cut),
            };
            if broke {
                return;
            }
        }
    }

    /// Mends what was to be broken until then.
    async fn mend(&mut self, now: Instant) {
        if self.redis.as_ref().is_some_and(|broken| broken.until <= now) {
            self.mend_redis();
        }
        for broken in take_due(&mut self.dead_workers, now) {
            self.victims.workers[broken.what] = self.chaos.fleet.worker();
        }
        for broken in take_due(&mut self.dead_schedulers, now) {
            self.victims.schedulers[broken.what] = self.chaos.fleet.scheduler();
        }
        if self.frozen.as_ref().is_some_and(|broken| broken.until <= now) {
            self.thaw_worker().await;
        }
    }

    async fn mend_all(&mut self) {
        let end =
            [&self.dead_workers, &self.dead_schedulers].into_iter().flatten().map(|broken| broken.until);
        let end = end.chain(self.redis.as_ref().map(|broken| broken.until));
        let end = end.chain(self.frozen.as_ref().map(|broken| broken.until)).max();
        if let Some(end) = end {
            self.mend(end).await;
        }
    }

    /// A worker that may be broken now. The spared one changes; for a lease the next is spared beside it,
    /// so that there is always one that may judge.
    fn worker(&mut self) -> Option<usize> {
        let lease = self.chaos.plan.lease;
        let phase = lease * 4;
        let elapsed = self.started.elapsed();
        let turn = (elapsed.as_millis() / phase.as_millis()) as usize;
        let late = elapsed.as_millis() % phase.as_millis() > (phase - lease.mul_f64(1.3)).as_millis();
        let spared = [turn % 3, (turn + usize::from(late)) % 3];
        let broken = |index: usize| {
            self.dead_workers.iter().any(|dead| dead.what == index)
                || self.frozen.as_ref().is_some_and(|frozen| frozen.what.index == index)
        };
        let able: Vec<usize> = (0..3).filter(|index| !spared.contains(index) && !broken(*index)).collect();
        if able.is_empty() {
            return None;
        }
        Some(able[self.rng.random_range(0..able.len())])
    }

    fn kill_worker(&mut self) -> bool {
        let Some(index) = self.worker() else { return false };
        let pid = self.victims.workers[index].id();
        self.victims.workers[index].kill();
        self.chaos.doom(pid);
        tokio::spawn(rescue::measure(self.chaos.clone(), pid, Instant::now()));
        let until = self.soon(0.1..2.0);
        self.dead_workers.push(Broken { what: index, until });
        self.chaos.count("kill -9 of a worker");
        true
    }

    fn kill_scheduler(&mut self) -> bool {
        let index = self.rng.random_range(0..self.victims.schedulers.len());
        if self.dead_schedulers.iter().any(|dead| dead.what == index) {
            return false;
        }
        self.victims.schedulers[index].kill();
        let until = self.soon(0.1..2.0);
        self.dead_schedulers.push(Broken { what: index, until });
        self.chaos.count("kill -9 of a scheduler");
        true
    }

    /// Freezes a worker, in mid-COPY if it comes to that within a second.
    async fn freeze_worker(&mut self) -> bool {
        if self.frozen.is_some() {
            return false;
        }
        let Some(index) = self.worker() else { return false };
        let pid = self.victims.workers[index].id();
        let Some(worker) = rescue::worker_of(self.chaos, pid).await else { return false };
        let looking = Instant::now();
        while looking.elapsed() < Duration::from_secs(1) && !rescue::is_copying(self.chaos, worker).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let since = Instant::now();
        self.victims.workers[index].freeze();
        self.chaos.doom(pid);
        self.chaos.count("SIGSTOP of a worker past its lease");
        if rescue::is_copying(self.chaos, worker).await {
            self.chaos.count("(of these in mid-COPY)");
        }
        tokio::spawn(rescue::measure(self.chaos.clone(), pid, since));
        let lease = self.chaos.plan.lease;
        let until = since + lease.mul_f64(self.rng.random_range(1.3..1.8));
        self.frozen = Some(Broken { what: Frozen { index, worker, since }, until });
        true
    }

    async fn thaw_worker(&mut self) {
        let Some(Broken { what: Frozen { index, worker, since }, .. }) = self.frozen.take() else { return };
        rescue::until_cut_off(self.chaos, worker, since).await;
        let process = &self.victims.workers[index];
        process.thaw();
        tokio::spawn(rescue::until_begun_anew(self.chaos.clone(), process.id(), worker));
    }

    async fn end_connections_of_one(&mut self) -> bool {
        // Of any: a worker that keeps its process loses nothing by it.
        let index = self.rng.random_range(0..self.victims.workers.len());
        let pid = self.victims.workers[index].id();
        let Some(worker) = rescue::worker_of(self.chaos, pid).await else { return false };
        self.end_connections(Some(&worker.to_string()), "connections of a worker ended").await
    }

    async fn end_all_connections(&mut self) -> bool {
        self.end_connections(None, "all connections ended").await
    }

    async fn end_connections(&mut self, name: Option<&str>, fault: &'static str) -> bool {
        let ended = self.victims.postgres.terminate_backends(name).await.is_some_and(|ended| ended > 0);
        if ended {
            self.chaos.count(fault);
        }
        ended
    }

    async fn crash_postgres(&mut self) {
        self.crashes += 1;
        self.victims.postgres.restart_immediate().await;
        *locked(&self.chaos.postgres_back) = Instant::now();
        self.chaos.count("crash of PostgreSQL (restart -m immediate)");
    }

    fn flush_redis(&mut self) -> bool {
        // A Redis that is away cannot be told anything.
        if self.redis.as_ref().is_some_and(|broken| broken.what != RedisFault::Cut) {
            return false;
        }
        self.victims.redis.flush();
        self.chaos.count("FLUSHALL");
        true
    }

    fn break_redis(&mut self, fault: RedisFault) -> bool {
        if self.redis.is_some() {
            return false;
        }
        let (name, until) = match fault {
            RedisFault::Stopped => {
                self.victims.redis.stop();
                ("Redis killed and started empty", self.soon(0.1..3.0))
            }
            RedisFault::Frozen => {
                self.victims.redis.freeze();
                ("SIGSTOP of Redis", self.soon(0.5..8.0))
            }
            RedisFault::Cut => {
                self.victims.network.cut();
                ("network to Redis cut", self.soon(0.5..8.0))
            }
        };
        self.chaos.count(name);
        self.redis = Some(Broken { what: fault, until });
        true
    }

    fn mend_redis(&mut self) {
        match self.redis.take().map(|broken| broken.what) {
            Some(RedisFault::Stopped) => self.victims.redis.start_again(),
            Some(RedisFault::Frozen) => self.victims.redis.thaw(),
            Some(RedisFault::Cut) => self.victims.network.restore(),
            None => {}
        }
    }

    fn soon(&mut self, seconds: std::ops::Range<f64>) -> Instant {
        Instant::now() + Duration::from_secs_f64(self.rng.random_range(seconds))
    }
}

fn take_due<T>(broken: &mut Vec<Broken<T>>, now: Instant) -> Vec<Broken<T>> {
    broken.extract_if(.., |broken| broken.until <= now).collect()
}
