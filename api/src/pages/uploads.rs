//! The list of uploads, and the form that hands a file in.

use super::{
    address::Address,
    fmt,
    pieces::{Chip, Chips, Empty, Pager, icon, upload_shape},
    shell::{Shell, done, page},
    upload_parts::{UploadLine, filename, lines},
};
use crate::{
    app::AppState,
    auth::PageSession,
    error::ApiResult,
    intake::{self, Envelope},
};
use askama::Template;
use axum::{
    extract::{Multipart, Query, State, multipart::MultipartRejection},
    http::HeaderMap,
    response::Response,
};
use serde::Deserialize;
use shared::{
    pagination::{Cursor, PageRequest},
    uploads::{
        model::{UploadKind, UploadState},
        queries::{self, UploadFilter},
    },
};

#[derive(Template)]
#[template(path = "pages/uploads/list.html")]
struct ListPage {
    shell: Shell,
    states: Chips,
    kinds: Chips,
    uploads: Vec<UploadLine>,
    pager: Pager,
    empty: Option<Empty>,
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    state: Option<String>,
    kind: Option<String>,
    cursor: Option<String>,
}

/// `GET /ui/uploads`.
pub(super) async fn list(
    mut shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let filter = UploadFilter {
        states: wanted
            .state
            .iter()
            .flat_map(|states| states.split(','))
            .filter_map(|one| one.parse().ok())
            .collect(),
        kind: wanted.kind.as_deref().and_then(|kind| kind.parse().ok()),
    };
    let request = PageRequest {
        cursor: wanted.cursor.as_deref().map(Cursor::decode).transpose()?,
        ..PageRequest::default()
    };
    let here = address(&filter);
    let mut conn = state.env.pool.get().await?;
    let found = queries::list_uploads(&mut conn, &filter, &request).await?;
    let by_state = queries::count_by_state(&mut conn, filter.kind).await?;
    let uploads = lines(&mut conn, &found.items, &shell).await?;
    shell.moving = uploads.iter().any(|upload| upload.moving);
    page(&ListPage {
        states: Chips { label: "State", chips: state_chips(&filter, &here, &by_state) },
        kinds: Chips { label: "Kind", chips: kind_chips(&filter, &here) },
        pager: Pager::by_time(&found, &here, "upload"),
        empty: found.items.is_empty().then(|| nothing(&filter, &here)),
        uploads,
        shell,
    })
}

fn address(filter: &UploadFilter) -> Address {
    let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
    Address::new("/ui/uploads")
        .with("state", &states.join(","))
        .maybe("kind", filter.kind.map(UploadKind::as_str))
}

fn state_chips(filter: &UploadFilter, here: &Address, counts: &[(UploadState, i64)]) -> Vec<Chip> {
    UploadState::ALL
        .iter()
        .map(|state| {
            let on = filter.states.contains(state);
            let mut states: Vec<&str> =
                filter.states.iter().filter(|other| *other != state).map(|other| other.as_str()).collect();
            if !on {
                states.push(state.as_str());
            }
            Chip {
                href: here.with("state", &states.join(",")).to_string(),
                word: state.to_string(),
                class: state.as_str(),
                icon: Some(icon(upload_shape(*state))),
                count: Some(counts.iter().find(|(other, _)| other == state).map_or(0, |(_, count)| *count)),
                more: false,
                on,
            }
        })
        .collect()
}

fn kind_chips(filter: &UploadFilter, here: &Address) -> Vec<Chip> {
    UploadKind::ALL
        .iter()
        .map(|kind| {
            let on = filter.kind == Some(*kind);
            Chip {
                href: here.with("kind", if on { "" } else { kind.as_str() }).to_string(),
                word: kind.to_string(),
                class: "",
                icon: None,
                count: None,
                more: false,
                on,
            }
        })
        .collect()
}

fn nothing(filter: &UploadFilter, here: &Address) -> Empty {
    if here.is_filtered() {
        let mut words: Vec<String> = filter.states.iter().map(|state| format!("the state {state}")).collect();
        words.extend(filter.kind.map(|kind| format!("the kind {kind}")));
        return Empty::nothing_matches("uploads", &words.join(" or "), &here.cleared());
    }
    Empty::nothing_yet(
        "No file was handed in yet",
        "An upload is one file (CSV or XLSX) of transactions, clients or stocks. Every row of it is accounted for: inserted, \
         updated, duplicate, conflict or rejected.",
        "Upload a file",
        "/ui/uploads/new",
    )
    .or_by("millrace ingest transactions.csv")
}

#[derive(Template)]
#[template(path = "pages/uploads/new.html")]
struct NewPage {
    shell: Shell,
    limit: i64,
    zone: String,
    zones: Vec<&'static str>,
    /// The upload whose rejects the file is to mend: its id and its file's name.
    corrects: Option<(String, String)>,
}

#[derive(Default, Deserialize)]
pub(super) struct NewWanted {
    corrects: Option<String>,
}

/// `GET /ui/uploads/new`; `?corrects=` names the upload whose rejects the file mends.
pub(super) async fn form(
    shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<NewWanted>,
) -> ApiResult<Response> {
    let corrects = match wanted.corrects {
        Some(id) => Some(super::upload::find(&mut *state.env.pool.get().await?, &id).await?),
        None => None,
    };
    page(&NewPage {
        shell,
        corrects: corrects.map(|upload| (upload.id.to_string(), fmt::shortened(&filename(&upload)))),
        limit: i64::try_from(state.config.max_upload_bytes).unwrap_or(i64::MAX),
        zone: state.env.settings.zone.name().to_owned(),
        zones: chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).collect(),
    })
}

/// `POST /ui/uploads`: the form's token is its first field, so it is looked at before the file.
pub(super) async fn receive(
    session: PageSession,
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Multipart, MultipartRejection>,
) -> ApiResult<Response> {
    let form = intake::multipart(&headers, body)?;
    let envelope = Envelope { session: Some(session.clone()), ..Envelope::default() };
    let accepted = intake::receive(&state, &session.principal, form, envelope).await?;
    let notice = if accepted.created { "accepted" } else { "known" };
    Ok(done(&format!("/ui/uploads/{}", accepted.upload.id), notice))
}
