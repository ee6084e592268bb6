//! Workers: who is there, who is silent, what each runs now.

use super::{
    fmt,
    pieces::{Badge, Empty, Id, Time},
    run_parts::{RunLine, lines},
    shell::{Shell, page},
};
use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use shared::{
    ids::WorkerId,
    pagination::{MAX_LIMIT, PageRequest},
    runs::{
        Queue, Run, RunState,
        queries::{self, RunFilter},
        workers::{self, WorkerStanding},
    },
};

/// Runs of a worker that a list shows.
const SHOWN: usize = 3;
/// Runs that a worker's page shows.
const RUNS: i64 = 200;

#[derive(Template)]
#[template(path = "pages/workers/list.html")]
struct ListPage {
    shell: Shell,
    summary: String,
    workers: Vec<WorkerLine>,
    empty: Option<Empty>,
}

#[derive(Template)]
#[template(path = "pages/workers/worker.html")]
struct WorkerPage {
    shell: Shell,
    worker: WorkerLine,
    kinds: Vec<String>,
    lease: String,
    runs: Vec<RunLine>,
    left: i64,
    all: String,
}

/// A worker in a list.
pub(super) struct WorkerLine {
    pub(super) href: String,
    pub(super) id: Id,
    pub(super) badge: Badge,
    pub(super) place: String,
    pub(super) version: String,
    pub(super) started: Time,
    pub(super) seen: Time,
    pub(super) slots: Vec<Slots>,
    pub(super) running: i64,
    pub(super) runs: Vec<(String, String)>,
    pub(super) note: Option<&'static str>,
}

/// The slots of one queue.
pub(super) struct Slots {
    pub(super) queue: String,
    pub(super) used: i64,
    pub(super) all: i64,
}

impl WorkerLine {
    /// The line of a worker that runs some of these.
    pub(super) fn new(standing: &WorkerStanding, runs: &[Run], shell: &Shell) -> Self {
        let WorkerStanding { worker, silent, running } = standing;
        let used =
            |queue: &str| running.iter().find(|(name, _)| name == queue).map_or(0, |(_, count)| *count);
        let own = runs.iter().filter(|run| run.worker_id == Some(worker.id));
        let slots = Queue::ALL.iter().filter_map(|queue| {
            let all = worker.slots[queue.as_str()].as_i64().filter(|&all| all > 0)?;
            Some(Slots { queue: queue.to_string(), used: used(queue.as_str()), all })
        });
        Self {
            href: format!("/ui/workers/{}", worker.id),
            id: shell.id(worker.id),
            badge: Badge::worker(worker.standing(), *silent),
            place: format!("{} · {}", fmt::cut(&worker.host, 60), worker.pid),
            version: worker.version.clone(),
            started: shell.ago(worker.started_at),
            seen: shell.ago(worker.last_seen),
            slots: slots.filter(|_| worker.state == "alive").collect(),
            running: running.iter().map(|(_, count)| count).sum(),
            runs: own
                .take(SHOWN)
                .map(|run| (format!("/ui/runs/{}", run.id), fmt::words(&run.kind)))
                .collect(),
            note: match (worker.state.as_str(), silent) {
                ("alive", true) => Some("Silent for longer than its lease: what it runs goes to others."),
                ("dead", _) => {
                    Some("Declared dead: it said nothing for its lease. What it ran went to others.")
                }
                _ => None,
            },
        }
    }

    /// Runs that are not shown.
    fn further(&self) -> i64 {
        self.running - i64::try_from(self.runs.len()).unwrap_or(0)
    }
}

/// `GET /ui/workers`.
pub(super) async fn list(mut shell: Shell, State(state): State<AppState>) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let standings = workers::recent(&mut conn).await?;
    let filter = RunFilter { states: vec![RunState::Running], ..RunFilter::default() };
    let request = PageRequest { limit: MAX_LIMIT, cursor: None };
    let runs = queries::list_runs(&mut conn, &filter, &request).await?.items;
    shell.moving = !runs.is_empty();
    let alive = standings.iter().filter(|one| one.worker.state == "alive" && !one.silent).count();
    let silent = standings.iter().filter(|one| one.silent).count();
    let counted = |number: usize, noun| fmt::counted(i64::try_from(number).unwrap_or(i64::MAX), noun);
    page(&ListPage {
        summary: match (alive, silent) {
            (0, 0) => "No worker is alive: nothing that is asked for runs.".to_owned(),
            (alive, 0) => format!("{} alive.", counted(alive, "worker")),
            (alive, silent) => format!("{} alive, {silent} silent.", counted(alive, "worker")),
        },
        empty: standings.is_empty().then(|| {
            Empty::nothing_yet(
                "No worker has been seen in the last day",
                "Workers take runs out of the queues. Start one, here or on another machine:",
                "See what waits",
                "/ui/queues",
            )
            .or_by("millrace worker")
        }),
        workers: standings.iter().map(|standing| WorkerLine::new(standing, &runs, &shell)).collect(),
        shell,
    })
}

/// `GET /ui/workers/{id}`.
pub(super) async fn show(
    mut shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let standing = match id.parse::<WorkerId>() {
        Ok(id) => workers::find(&mut conn, id).await?,
        Err(_) => None,
    };
    let standing = standing.ok_or_else(|| {
        ApiError::not_found(
            "There is no worker with this id. Those that ended more than a week ago are forgotten.",
        )
    })?;
    let runs = workers::runs_of(&mut conn, standing.worker.id, RUNS).await?;
    shell.moving = standing.worker.state == "alive";
    let worker = WorkerLine::new(&standing, &runs, &shell);
    page(&WorkerPage {
        kinds: standing.worker.kinds.iter().map(|kind| fmt::words(kind)).collect(),
        lease: fmt::duration(chrono::TimeDelta::milliseconds(standing.worker.lease_ms.into())),
        left: worker.running - i64::try_from(runs.len()).unwrap_or(0),
        runs: lines(&mut conn, &runs, &shell).await?,
        all: format!("/ui/runs?worker={}", standing.worker.id),
        worker,
        shell,
    })
}
