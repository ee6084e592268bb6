//! Editing a client's contact fields. Who was overtaken by somebody else sees both versions and decides.

use super::{
    address::segment,
    fmt,
    pieces::Time,
    shell::{Shell, done, page},
};
use crate::{
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
    routes::clients::edit_client,
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use shared::{
    audit,
    clients::{Client, ClientError, Contact, ContactPatch, error::Stale, queries::find_client, service},
};

/// Edits that are shown.
const EDITS: i64 = 10;

#[derive(Template)]
#[template(path = "pages/clients/edit.html")]
struct EditPage {
    shell: Shell,
    client_id: String,
    title: String,
    /// The client's page.
    back: String,
    version: String,
    overtaken: Option<String>,
    fields: Vec<Field>,
    edits: Vec<Edit>,
}

struct Field {
    name: &'static str,
    label: &'static str,
    typed: String,
    longest: u32,
    lines: bool,
    mode: Option<&'static str>,
    complaint: Option<String>,
    /// The page of the client that the complaint is about.
    other: Option<String>,
    /// What is stored, where the form was overtaken.
    stored: Option<String>,
}

/// Somebody's edit.
struct Edit {
    actor: String,
    at: Time,
    changes: Vec<Change>,
}

struct Change {
    label: String,
    before: String,
    after: String,
}

/// What the form says.
#[derive(Deserialize)]
pub(super) struct Typed {
    csrf_token: String,
    #[serde(default)]
    contact_version: String,
    // A form of another make may lack fields: those stay.
    name: Option<String>,
    email: Option<String>,
    phone_number: Option<String>,
    telegram_chat_id: Option<String>,
    address: Option<String>,
    country: Option<String>,
}

impl Typed {
    fn patch(&self) -> ContactPatch {
        ContactPatch {
            name: self.name.clone().map(Some),
            email: self.email.clone().map(Some),
            phone_number: self.phone_number.clone().map(Some),
            telegram_chat_id: self.telegram_chat_id.clone().map(Some),
            address: self.address.clone().map(Some),
            country: self.country.clone().map(Some),
        }
    }
}

fn label(field: &str) -> &'static str {
    match field {
        "name" => "Name",
        "email" => "E-mail",
        "phone_number" => "Phone",
        "telegram_chat_id" => "Telegram chat",
        "address" => "Address",
        _ => "Country",
    }
}

/// The form's fields with these values.
fn fields(contact: &Contact) -> Vec<Field> {
    let field = |(name, value): (&'static str, &Option<String>)| {
        let (longest, mode) = match name {
            "email" => (254, Some("email")),
            "phone_number" => (50, Some("tel")),
            "telegram_chat_id" => (50, None),
            "country" => (100, None),
            _ => (255, None),
        };
        Field {
            name,
            label: label(name),
            typed: value.clone().unwrap_or_default(),
            longest,
            lines: name == "address",
            mode,
            complaint: None,
            other: None,
            stored: None,
        }
    };
    contact.named().into_iter().map(field).collect()
}

fn edit(entry: &audit::Entry, shell: &Shell) -> Edit {
    let text =
        |side: &str, field: &str| fmt::cut(entry.details[side][field].as_str().unwrap_or_default(), 200);
    let changed = entry.details["after"].as_object().into_iter().flatten();
    let change = |(field, _): (&String, _)| Change {
        label: label(field).to_owned(),
        before: text("before", field),
        after: text("after", field),
    };
    Edit { actor: entry.actor.clone(), at: shell.ago(entry.at), changes: changed.map(change).collect() }
}

/// `ada has changed e-mail, name meanwhile (12 s ago).`
fn overtaken_words(stale: &Stale, shell: &Shell) -> String {
    let told = |entry: &audit::Entry| {
        let changed: Vec<String> =
            edit(entry, shell).changes.into_iter().map(|change| change.label).collect();
        format!(
            "{} has changed {} meanwhile ({}).",
            entry.actor,
            changed.join(", ").to_lowercase(),
            fmt::ago(entry.at, shell.now)
        )
    };
    match stale.edits.as_slice() {
        [] => "This client is not as the form shows it: a clients file has changed it since you opened the form, \
               or what the form had read was lost."
            .to_owned(),
        edits => edits.iter().map(told).collect::<Vec<_>>().join(" "),
    }
}

pub(super) async fn found(conn: &mut AsyncPgConnection, id: &str) -> ApiResult<Client> {
    let missing = || ApiError::from(ClientError::NotFound(id.to_owned()));
    if id.contains('\0') {
        return Err(missing());
    }
    find_client(conn, id).await?.ok_or_else(missing)
}

async fn build(
    shell: Shell,
    conn: &mut AsyncPgConnection,
    client: &Client,
    contact: &Contact,
) -> ApiResult<EditPage> {
    let id = &client.client_id;
    let edits = service::last_edits(conn, id, EDITS).await?;
    Ok(EditPage {
        client_id: id.clone(),
        title: client.name.as_deref().map_or_else(|| id.clone(), |name| fmt::cut(name, 120)),
        back: format!("/ui/clients/{}", segment(id)),
        version: Contact::of(client).version(),
        overtaken: None,
        fields: fields(contact),
        edits: edits.iter().map(|entry| edit(entry, &shell)).collect(),
        shell,
    })
}

/// `GET /ui/clients/{id}/edit`.
pub(super) async fn form(
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let client = found(&mut conn, &id).await?;
    page(&build(shell, &mut conn, &client, &Contact::of(&client)).await?)
}

/// `POST /ui/clients/{id}/edit`.
pub(super) async fn submit(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(typed): Form<Typed>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let mut conn = state.env.pool.get().await?;
    let client = found(&mut conn, &id).await?;
    let (patch, actor) = (typed.patch(), &session.principal.name);
    let refusal = match edit_client(&state, &mut conn, &id, &patch, &typed.contact_version, actor).await {
        Ok(edited) => {
            let notice = if edited.changed { "client-saved" } else { "client-unchanged" };
            return Ok(done(&format!("/ui/clients/{}", segment(&id)), notice));
        }
        Err(refusal) => refusal,
    };
    let wanted = Contact::of(&client).patched(&patch);
    let mut form = build(shell, &mut conn, &client, &wanted).await?;
    // Only a form that saw what is stored may replace it.
    form.version = typed.contact_version;
    let status = form.refuse(refusal)?;
    Ok((status, page(&form)?).into_response())
}

impl EditPage {
    /// Says at the fields why nothing was saved; the status of that answer.
    fn refuse(&mut self, refusal: ClientError) -> ApiResult<StatusCode> {
        match refusal {
            ClientError::Invalid(faults) => {
                for fault in faults {
                    self.complain(fault.field, format!("{}.", fault.message), None);
                }
                Ok(StatusCode::UNPROCESSABLE_ENTITY)
            }
            ClientError::EmailTaken { ref client_id, .. } => {
                let other = format!("/ui/clients/{}", segment(client_id));
                self.complain("email", refusal.to_string(), Some(other));
                Ok(StatusCode::CONFLICT)
            }
            ClientError::Stale(stale) => {
                self.overtaken = Some(overtaken_words(&stale, &self.shell));
                self.version = stale.contact.version();
                let seen = stale.seen.as_ref().map(Contact::named);
                for (at, (field, (_, stored))) in
                    self.fields.iter_mut().zip(stale.contact.named()).enumerate()
                {
                    let stored = stored.clone().unwrap_or_default();
                    let untouched = seen
                        .as_ref()
                        .is_some_and(|seen| seen[at].1.as_deref().unwrap_or_default() == field.typed);
                    if untouched {
                        field.typed = stored;
                    } else {
                        field.stored = Some(stored).filter(|stored| *stored != field.typed);
                    }
                }
                Ok(StatusCode::CONFLICT)
            }
            other => Err(other.into()),
        }
    }

    fn complain(&mut self, field: &str, complaint: String, other: Option<String>) {
        if let Some(field) = self.fields.iter_mut().find(|one| one.name == field) {
            (field.complaint, field.other) = (Some(complaint), other);
        }
    }
}
