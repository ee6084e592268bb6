//! One upload: how far it is, what became of its rows, why some were rejected, its flow; and what can
//! be done with it.

use super::{
    address::Address,
    fmt,
    pieces::{Action, Badge, Chip, Chips, Confirm, Id, Progress, Time, icon},
    preview_parts::format_words,
    run_parts::{self, ActionForm, Deed, RunLine, cancel_refusal, lines, perform, retry_refusal},
    shell::{Shell, page},
    upload_links::{Around, Undoing, UploadLink, option_words, undo_question},
    upload_parts::{Part, failure_advice, fault_words, filename, is_moving, pace, parts, progress},
};
use crate::{
    actions::undo::undo_upload,
    app::AppState,
    auth::PageSession,
    error::{ApiError, ApiResult},
    mending::download,
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, State},
    response::Response,
};
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use shared::{
    ids::UploadId,
    runs::{
        Job, Run, RunState,
        counts::{StateCount, count_by_state},
        pulse,
        queries::{self as run_queries, RunFilter},
    },
    uploads::{
        jobs::{IngestChunk, PlanUpload},
        model::{Reject, Upload, UploadCounts, UploadState},
        queries, undo as undoing,
    },
};

/// Steps that the page shows; the list of runs has the rest.
const STEPS: i64 = 25;
/// Bytes of a rejected record that are shown.
const RAW_BYTES: usize = 240;

#[derive(Template)]
#[template(path = "pages/uploads/upload.html")]
struct UploadPage {
    shell: Shell,
    upload: Upload,
    filename: String,
    badge: Badge,
    created: Time,
    id: Id,
    size: String,
    sha256: Id,
    options: Vec<String>,
    failure: Option<String>,
    advice: String,
    progress: Progress,
    counts: UploadCounts,
    /// Of a file that is loaded whole or not at all, while nothing of it is loaded.
    faults: Option<String>,
    parts: Vec<Part>,
    columns: Vec<Column>,
    reasons: Vec<Reason>,
    rejects: i64,
    root: RunLine,
    step_states: Chips,
    steps: Vec<RunLine>,
    steps_left: i64,
    all_steps: String,
    retry: Action,
    cancel: Action,
    undo: Option<Action>,
    undoing: Option<Undoing>,
    /// What its load waits for.
    waiting: Option<String>,
    dry_run: bool,
    load_href: Option<String>,
    format: Option<String>,
    warnings: Vec<String>,
    corrects: Option<UploadLink>,
    corrected_by: Vec<UploadLink>,
    files_removed: Option<Time>,
}

struct Column {
    name: String,
    field: Option<String>,
}

struct Reason {
    words: String,
    code: String,
    count: i64,
    examples: Vec<Example>,
}

struct Example {
    line: i64,
    message: String,
    raw: String,
}

pub(super) async fn find(conn: &mut AsyncPgConnection, id: &str) -> ApiResult<Upload> {
    let found = match id.parse::<UploadId>() {
        Ok(id) => queries::find_upload(conn, id).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| ApiError::not_found("There is no upload with this id. It may be mistyped."))
}

/// `GET /ui/uploads/{id}`.
pub(super) async fn show(
    mut shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let upload = find(&mut conn, &id).await?;
    shell.moving = is_moving(upload.state) || upload.is_undoing();
    let counts = queries::counts(&mut conn, &[upload.id]).await?.remove(&upload.id).unwrap_or_default();
    let reasons = reasons(&mut conn, upload.id).await?;
    let root = run_queries::find_run(&mut conn, upload.run_id)
        .await?
        .ok_or_else(|| ApiError::internal("an upload without its run"))?;
    let steps = run_queries::children(&mut conn, upload.run_id, STEPS).await?;
    // Its flow may be part of a larger one, which is not its own.
    let mine = match root.parent_id {
        None => RunFilter { flow: Some(upload.run_id), ..RunFilter::default() },
        Some(_) => RunFilter { parent: Some(upload.run_id), ..RunFilter::default() },
    };
    let states = count_by_state(&mut conn, &mine).await?;
    let span = pulse::step_span(&mut conn, upload.run_id, IngestChunk::KIND).await?;
    let failure = match upload.state {
        UploadState::Failed => {
            queries::failure(&mut conn, upload.run_id).await?.or_else(|| root.error.clone())
        }
        _ => None,
    };
    let plan = steps.iter().find(|step| step.kind == PlanUpload::KIND);
    let mut progress = progress(&upload, &counts, plan);
    progress.more = pace(&upload, &counts, &span, &shell);
    let (retry, cancel) = actions(&shell, &upload, &root, counts.only_checked() && counts.faults() > 0);
    let around = Around::of(&mut conn, &upload, &counts, &shell).await?;
    let shown: Vec<Run> = std::iter::once(root).chain(steps).collect();
    let mut steps = lines(&mut conn, &shown, &shell).await?;
    let root = steps.remove(0);
    let all: i64 = states.iter().map(|count| count.count).sum();
    page(&UploadPage {
        filename: filename(&upload),
        badge: upload.state.into(),
        created: shell.ago(upload.created_at),
        id: Id::new(upload.id),
        size: fmt::bytes(upload.size_bytes),
        sha256: Id::new(sha256_hex(&upload.sha256)),
        options: option_words(&upload),
        failure: failure.map(|error| fmt::cut(&error, 2_000)),
        advice: failure_advice(&upload, &counts),
        progress,
        faults: counts.only_checked().then(|| fault_words(&counts)),
        parts: parts(&counts),
        counts,
        columns: columns(&upload),
        rejects: reasons.iter().map(|reason| reason.count).sum(),
        reasons,
        step_states: Chips { label: "States of the steps", chips: step_chips(&upload, &states) },
        steps_left: (all - 1 - i64::try_from(steps.len()).unwrap_or(0)).max(0),
        steps,
        all_steps: Address::new("/ui/runs").with("q", &format!("flow:{}", upload.run_id)).to_string(),
        root,
        retry,
        cancel,
        undo: around.undo,
        undoing: around.undoing,
        waiting: around.waiting,
        dry_run: around.dry_run,
        load_href: around.load_href,
        format: upload.read_format().map(|format| format_words(&format)),
        warnings: upload.warnings.iter().map(|warning| fmt::cut(warning, 1_000)).collect(),
        corrects: around.corrects,
        corrected_by: around.corrected_by,
        files_removed: upload.files_removed_at.map(|at| shell.ago(at)),
        upload,
        shell,
    })
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

async fn reasons(conn: &mut AsyncPgConnection, id: UploadId) -> ApiResult<Vec<Reason>> {
    let mut reasons = Vec::new();
    for (code, count) in queries::rejects_by_code(conn, id).await?.into_iter().take(30) {
        let examples = queries::rejects_with_code(conn, id, &code, 3).await?;
        let examples = examples.iter().map(example).collect();
        reasons.push(Reason { words: fmt::words(&code), code, count, examples });
    }
    Ok(reasons)
}

fn example(reject: &Reject) -> Example {
    Example {
        line: reject.line,
        message: fmt::cut(&reject.message, 400),
        raw: fmt::raw(reject.raw.trim_ascii_end(), RAW_BYTES),
    }
}

/// The file's columns in their order, with the field that each feeds.
fn columns(upload: &Upload) -> Vec<Column> {
    let mapping = upload.mapping.as_ref().and_then(|mapping| mapping.as_object());
    let field_of = |index: usize| {
        mapping?
            .iter()
            .find(|(_, column)| column.as_u64() == Some(index as u64))
            .map(|(field, _)| fmt::words(field))
    };
    let header = upload.header.as_deref().unwrap_or_default();
    header
        .iter()
        .enumerate()
        .take(100)
        .map(|(index, name)| Column { name: fmt::cut(name, 80), field: field_of(index) })
        .collect()
}

fn step_chips(upload: &Upload, states: &[StateCount]) -> Vec<Chip> {
    RunState::ALL
        .iter()
        .filter_map(|state| {
            let counted = states.iter().find(|count| count.state == *state)?;
            let href = Address::new("/ui/runs")
                .with("q", &format!("flow:{}", upload.run_id))
                .with("state", state.as_str())
                .to_string();
            Some(Chip {
                href,
                word: state.to_string(),
                class: state.as_str(),
                icon: Some(icon(state.as_str())),
                count: Some(counted.count),
                more: counted.more,
                on: false,
            })
        })
        .collect()
}

/// `refused`: its check has found faults.
fn actions(shell: &Shell, upload: &Upload, root: &Run, refused: bool) -> (Action, Action) {
    let path = format!("/ui/uploads/{}", upload.id);
    let refusal = if is_moving(upload.state) {
        Some(format!("still {}", upload.state))
    } else if upload.undo_run_id.is_some() {
        Some("its rows were taken back, or are being".to_owned())
    } else if refused {
        Some("its file has faults: mend it and hand it in again".to_owned())
    } else {
        retry_refusal(root)
    };
    let retry = shell.action("Retry what failed", format!("{path}/retry"), refusal);
    let cancel = shell.action("Cancel", format!("{path}/cancel"), cancel_refusal(root));
    let confirm = cancel_question(shell, upload);
    (retry, shell.dangerous(cancel, confirm))
}

/// What the cancellation asks.
fn cancel_question(shell: &Shell, upload: &Upload) -> Confirm {
    let path = format!("/ui/uploads/{}", upload.id);
    Confirm {
        id: "cancel-upload",
        title: format!("Cancel the upload of {}?", filename(upload)),
        consequence:
            "Chunks that are loaded stay loaded, and their summaries stay exact. The rest is not loaded; \
                      a retry later goes on from there."
                .to_owned(),
        label: "Cancel the upload".to_owned(),
        href: format!("{path}/cancel"),
        back: path,
        csrf: shell.csrf().to_owned(),
        fields: Vec::new(),
        danger: true,
    }
}

/// `GET /ui/uploads/{id}/rejects`: a file to mend and hand in again.
pub(super) async fn rejects(
    _session: PageSession,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    let upload = find(&mut *state.env.pool.get().await?, &id).await?;
    download(state, upload).await
}

/// An upload and the root of its flow.
async fn find_with_flow(state: &AppState, id: &str) -> ApiResult<(Upload, Run)> {
    let mut conn = state.env.pool.get().await?;
    let upload = find(&mut conn, id).await?;
    let root = run_parts::find(&mut conn, &upload.run_id.to_string()).await?;
    Ok((upload, root))
}

/// `POST /ui/uploads/{id}/retry`.
pub(super) async fn retry(
    session: PageSession,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let (upload, root) = find_with_flow(&state, &id).await?;
    let (_, notice) = perform(&state, &session, &root, Deed::Retry).await?;
    Ok(super::shell::done(&format!("/ui/uploads/{}", upload.id), notice))
}

#[derive(Template)]
#[template(path = "pages/errors/confirm.html")]
pub(super) struct ConfirmPage {
    pub(super) shell: Shell,
    pub(super) title: &'static str,
    pub(super) confirm: Confirm,
}

/// `POST /ui/uploads/{id}/cancel`; asks first.
pub(super) async fn cancel(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let (upload, root) = find_with_flow(&state, &id).await?;
    if !form.is_confirmed() {
        let confirm = cancel_question(&shell, &upload);
        return page(&ConfirmPage { shell, title: "Cancel the upload", confirm });
    }
    let (_, notice) = perform(&state, &session, &root, Deed::Cancel).await?;
    Ok(super::shell::done(&format!("/ui/uploads/{}", upload.id), notice))
}

/// What the form of an undo sends.
#[derive(Deserialize)]
pub(super) struct UndoForm {
    #[serde(flatten)]
    action: ActionForm,
    /// There if the question named the uploads that go with it.
    together: Option<String>,
}

/// `POST /ui/uploads/{id}/undo`; asks first.
pub(super) async fn undo(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(UndoForm { action, together }): Form<UndoForm>,
) -> ApiResult<Response> {
    action.verify(&session)?;
    let mut conn = state.env.pool.get().await?;
    let upload = find(&mut conn, &id).await?;
    if !action.is_confirmed() {
        let counts = queries::counts(&mut conn, &[upload.id]).await?;
        let counts = counts.get(&upload.id).copied().unwrap_or_default();
        let with = undoing::extent(&mut conn, &upload).await?.with;
        let confirm = undo_question(&shell, &upload, &counts, &with);
        return page(&ConfirmPage { shell, title: "Undo the upload", confirm });
    }
    drop(conn);
    undo_upload(&state, &session.principal, &upload, together.is_some()).await?;
    Ok(super::shell::done(&format!("/ui/uploads/{}", upload.id), "undoing"))
}
