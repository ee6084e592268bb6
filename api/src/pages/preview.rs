//! A file before it is loaded: what it is, which column feeds which field, how its first rows read. The
//! form is a GET form: looking again changes the address. Its two other buttons load the file, or check
//! it without loading.

use super::{
    fmt,
    pieces::Time,
    preview_form::{COLUMN, HEADER, Wanted, digest, twice_words},
    preview_parts::{ColumnLine, FormatControls, RowLine, column_lines, format_words, row_lines},
    shell::{Shell, done, page},
};
use crate::{
    actions::previews,
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
    intake::{self, Envelope},
    upload_params::UploadParams,
};
use askama::Template;
use axum::{
    Form,
    extract::{Multipart, Path, Query, State, multipart::MultipartRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use shared::uploads::{
    UploadKind,
    columns::fields,
    model::{ExistingClients, OnError, UnknownClients, Upload},
    previews::Preview,
    queries,
};

type Pairs = Vec<(String, String)>;

#[derive(Template)]
#[template(path = "pages/previews/preview.html")]
struct PreviewPage {
    shell: Shell,
    path: String,
    filename: String,
    size: String,
    expires: Time,
    /// The dry run that it was checked by.
    checked: Option<String>,
    /// The upload whose rejects it mends: its id and its file's name.
    corrects: Option<(String, String)>,
    complaints: Vec<String>,
    kind: UploadKind,
    controls: FormatControls,
    params: UploadParams,
    zone: String,
    zones: Vec<&'static str>,
    seen: Option<SeenPart>,
}

/// What there is to see of a file that can be read.
struct SeenPart {
    header: String,
    format: String,
    warnings: Vec<String>,
    begun_from: Option<(String, String)>,
    missing: Vec<&'static str>,
    columns: Vec<ColumnLine>,
    shown_fields: Vec<String>,
    rows: Vec<RowLine>,
    faults: i64,
    /// `about 1,000,000 rows`.
    records: String,
    empty: bool,
}

impl PreviewPage {
    fn unknown(&self, policy: &str) -> bool {
        self.params.unknown_clients.unwrap_or(UnknownClients::Create).as_str() == policy
    }

    fn existing(&self, policy: &str) -> bool {
        self.params.existing_clients.unwrap_or(ExistingClients::Update).as_str() == policy
    }

    fn on_error(&self, policy: &str) -> bool {
        self.params.on_error.unwrap_or(OnError::Skip).as_str() == policy
    }

    fn has_options(&self) -> bool {
        let UploadParams { unknown_clients, existing_clients, on_error, zone, .. } = &self.params;
        let usual = unknown_clients.unwrap_or(UnknownClients::Create) == UnknownClients::Create
            && existing_clients.unwrap_or(ExistingClients::Update) == ExistingClients::Update
            && on_error.unwrap_or(OnError::Skip) == OnError::Skip;
        !usual || zone.is_some() || self.params.force || self.params.allow_many_months
    }
}

/// `POST /ui/previews`: the form's token is its first field, so it is looked at before the file.
pub(super) async fn receive(
    session: PageSession,
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Multipart, MultipartRejection>,
) -> ApiResult<Response> {
    let form = intake::multipart(&headers, body)?;
    let envelope = Envelope { session: Some(session.clone()), ..Envelope::default() };
    let (preview, params) = intake::receive_preview(&state, &session.principal, form, envelope).await?;
    let corrects = params.corrects.map(|id| format!("?corrects={id}")).unwrap_or_default();
    Ok(Redirect::to(&format!("/ui/previews/{}{corrects}", preview.id)).into_response())
}

async fn find(state: &AppState, session: &PageSession, id: &str) -> ApiResult<Preview> {
    match id.parse() {
        Ok(id) => previews::find(state, &session.principal, id).await,
        Err(_) => Err(ApiError::not_found("There is no preview with this id. It may be mistyped.")),
    }
}

/// `GET /ui/previews/{id}`.
pub(super) async fn show(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(pairs): Query<Pairs>,
) -> ApiResult<Response> {
    let preview = find(&state, &session, &id).await?;
    if let Some(upload) = previews::loaded_as(&state, &preview).await? {
        return Ok(Redirect::to(&format!("/ui/uploads/{}", upload.id)).into_response());
    }
    let mut wanted = Wanted::read(&state, &pairs);
    if !pairs.iter().any(|(name, _)| name == "kind") {
        // Not sent by the form yet: it begins with what was said of the upload whose rejects this mends.
        intake::settle_corrects(&state, &mut wanted.params).await?;
    }
    page(&build(shell, &state, &preview, wanted).await?)
}

/// `POST /ui/previews/{id}/load`; with `?dry_run=true` in the address it only checks.
pub(super) async fn load(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(how): Query<Pairs>,
    Form(mut pairs): Form<Pairs>,
) -> ApiResult<Response> {
    let sent = pairs.iter().find(|(name, _)| name == "csrf_token").map(|(_, value)| value.clone());
    verify_csrf(&session, sent.as_deref().unwrap_or_default())?;
    pairs.extend(how.into_iter().filter(|(name, _)| name == "dry_run"));
    let preview = find(&state, &session, &id).await?;
    let wanted = Wanted::read(&state, &pairs);
    let loaded = match previews::loaded_as(&state, &preview).await? {
        // Pressed twice: the same upload.
        Some(_) => Ok(wanted.params.clone()),
        None => wanted.clone().into_params(&state, &preview).await,
    };
    let accepted = match loaded {
        Ok(params) => previews::load(&state, &session.principal, &preview, &params).await,
        Err(error) => Err(error),
    };
    match accepted {
        Ok(accepted) => {
            let notice = if accepted.created { "accepted" } else { "known" };
            Ok(done(&format!("/ui/uploads/{}", accepted.upload.id), notice))
        }
        Err(error) if error.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            let again = Wanted { complaint: Some(error.problem().detail.clone()), ..wanted };
            let form = build(shell, &state, &preview, again).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&form)?).into_response())
        }
        Err(error) => Err(error),
    }
}

async fn build(
    shell: Shell,
    state: &AppState,
    preview: &Preview,
    mut wanted: Wanted,
) -> ApiResult<PreviewPage> {
    let mut complaints: Vec<String> = wanted.complaint.take().into_iter().collect();
    let seen = match wanted.look(state, preview).await {
        Ok(seen) => {
            complaints.extend(seen.twice.as_deref().map(twice_words));
            Some(seen.looked)
        }
        Err(error) if error.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            complaints.push(error.problem().detail.clone());
            None
        }
        Err(error) => return Err(error),
    };
    complaints.dedup();
    let corrects = match wanted.params.corrects {
        Some(id) => queries::find_upload(&mut *state.env.pool.get().await?, id).await?,
        None => None,
    };
    let kind = seen.as_ref().map_or_else(|| wanted.params.kind(), |looked| looked.kind);
    Ok(PreviewPage {
        path: format!("/ui/previews/{}", preview.id),
        filename: fmt::cut(&preview.filename, 200),
        size: fmt::bytes(preview.size_bytes),
        expires: shell.ago(preview.expires_at()),
        checked: preview.upload_id.map(|id| format!("/ui/uploads/{id}")),
        corrects: corrects.map(|upload: Upload| (upload.id.to_string(), fmt::shortened(&upload.filename))),
        complaints,
        kind,
        controls: FormatControls::new(&wanted.params, seen.as_ref().map(|looked| &looked.look.format)),
        zone: state.env.settings.zone.name().to_owned(),
        zones: chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).collect(),
        seen: seen.map(|looked| {
            let look = looked.look;
            let used = looked.begun_from;
            SeenPart {
                header: digest(&look),
                format: format_words(&look.format),
                begun_from: used
                    .map(|used| (format!("/ui/uploads/{}", used.upload_id), fmt::shortened(&used.filename))),
                columns: column_lines(kind, &look),
                shown_fields: fields(kind)
                    .iter()
                    .filter(|field| look.columns.iter().any(|column| column.field == Some(field.name)))
                    .map(|field| fmt::words(field.name))
                    .collect(),
                rows: row_lines(kind, &look),
                faults: i64::try_from(look.rows.iter().filter(|row| row.fault.is_some()).count())
                    .unwrap_or(i64::MAX),
                records: match look.counted {
                    true => fmt::counted(look.records, "row"),
                    false => format!("about {}", fmt::counted(rounded(look.records), "row")),
                },
                empty: look.counted && look.records == 0,
                missing: look.missing,
                warnings: look.warnings,
            }
        }),
        params: wanted.params,
        shell,
    })
}

/// An estimate to two digits.
fn rounded(number: i64) -> i64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    (number + unit / 2) / unit * unit
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn an_estimate_has_two_digits() {
        for (number, said) in [(7, 7), (99, 99), (104, 100), (1_049_876, 1_000_000), (996, 1000)] {
            assert_eq!(rounded(number), said);
        }
    }
}
