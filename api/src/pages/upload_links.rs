//! What stands around an upload on its page: what it was asked to do, what it mends, how it is undone.

use super::{
    address::Address,
    fmt,
    pieces::{Action, Confirm},
    shell::Shell,
    upload_parts::{filename, is_moving},
};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use shared::{
    ids::UploadId,
    uploads::{
        UploadKind,
        model::{ExistingClients, OnError, UnknownClients, Upload, UploadCounts, UploadOptions, UploadState},
        options::delimiter_word,
        previews::{self, Preview},
        queries,
        undo::{self, Extent},
        waiting,
    },
};

/// Another upload.
pub struct UploadLink {
    /// Its page.
    pub href: String,
    /// Its file.
    pub name: String,
}

/// An undo that was asked for.
pub struct Undoing {
    /// How far it is.
    pub title: &'static str,
    /// Why it does not go on, and how it does.
    pub standstill: Option<String>,
    /// Its run.
    pub href: String,
    /// What the link says.
    pub link: &'static str,
    /// What it did.
    pub facts: Vec<(String, String)>,
}

/// All of it.
pub struct Around {
    /// Whether nothing is loaded.
    pub dry_run: bool,
    /// Where a file that was only checked can be loaded.
    pub load_href: Option<String>,
    /// Takes its rows back.
    pub undo: Option<Action>,
    /// The undo that was asked for.
    pub undoing: Option<Undoing>,
    /// What its load waits for.
    pub waiting: Option<String>,
    /// The upload whose rejects it brings, mended.
    pub corrects: Option<UploadLink>,
    /// The uploads that bring its rejects, mended.
    pub corrected_by: Vec<UploadLink>,
}

fn link(upload: &Upload) -> UploadLink {
    UploadLink { href: format!("/ui/uploads/{}", upload.id), name: fmt::shortened(&filename(upload)) }
}

impl Around {
    /// What stands around this upload.
    pub async fn of(
        conn: &mut AsyncPgConnection,
        upload: &Upload,
        counts: &UploadCounts,
        shell: &Shell,
    ) -> QueryResult<Self> {
        let options = upload.read_options().unwrap_or_default();
        let corrects = match upload.corrects {
            Some(id) => queries::find_upload(conn, id).await?,
            None => None,
        };
        let load_href = match options.dry_run && !is_moving(upload.state) {
            true => open_preview(conn, upload.id, shell).await?,
            false => None,
        };
        // An upload that loads nothing has nothing to take back.
        let undo = match options.dry_run {
            true => None,
            false => Some(undo_action(conn, upload, counts, shell).await?),
        };
        Ok(Self {
            dry_run: options.dry_run,
            load_href: load_href.map(|preview| look_again(&preview, upload.kind, &options)),
            undo,
            undoing: undoing(upload, undo::standstill(conn, upload).await?),
            waiting: waiting::waiting(conn, upload).await?,
            corrects: corrects.as_ref().map(link),
            corrected_by: queries::corrections(conn, upload.id).await?.iter().map(link).collect(),
        })
    }
}

/// The preview of a dry run, while its file is there.
async fn open_preview(
    conn: &mut AsyncPgConnection,
    id: UploadId,
    shell: &Shell,
) -> QueryResult<Option<Preview>> {
    let preview = previews::find_by_upload(conn, id).await?;
    Ok(preview.filter(|preview| shell.may_upload() && preview.expires_at() > shell.now))
}

/// The page of a preview as it was looked at with these options.
fn look_again(preview: &Preview, kind: UploadKind, options: &UploadOptions) -> String {
    let form = &options.form;
    let mapping = serde_json::to_string(&form.mapping).unwrap_or_default();
    Address::new(format!("/ui/previews/{}", preview.id))
        .with("kind", kind.as_str())
        .with("unknown_clients", options.unknown_clients.as_str())
        .with("existing_clients", options.existing_clients.as_str())
        .with("on_error", options.on_error.as_str())
        .maybe("zone", options.zone.map(|zone| zone.name()))
        .maybe("allow_many_months", options.allow_many_months.then_some("true"))
        .maybe("encoding", form.encoding.as_deref())
        .maybe("delimiter", form.delimiter.map(delimiter_word))
        .maybe("sheet", form.sheet.as_deref())
        .maybe("header_row", form.header_row.map(|row| row.to_string()).as_deref())
        .with("mapping", &mapping)
        .to_string()
}

async fn undo_action(
    conn: &mut AsyncPgConnection,
    upload: &Upload,
    counts: &UploadCounts,
    shell: &Shell,
) -> QueryResult<Action> {
    let Extent { with, refusal } = undo::extent(conn, upload).await?;
    let label = if with.is_empty() { "Undo" } else { "Undo together" };
    let action = shell.action(label, format!("/ui/uploads/{}/undo", upload.id), refusal);
    Ok(shell.dangerous(action, undo_question(shell, upload, counts, &with)))
}

/// What the undo asks; `with` can only be undone together with the upload.
pub fn undo_question(shell: &Shell, upload: &Upload, counts: &UploadCounts, with: &[Upload]) -> Confirm {
    let path = format!("/ui/uploads/{}", upload.id);
    let rows = fmt::counted(counts.inserted, "row");
    let mut consequence = match upload.kind {
        UploadKind::Transactions => format!(
            "{rows} that it brought {} deleted and {} whose status it moved go back; every summary and balance \
             becomes what it would be without them. The clients that it made stay. The file can be uploaded again.",
            if counts.inserted == 1 { "is" } else { "are" },
            fmt::counted(counts.updated, "row"),
        ),
        UploadKind::Clients | UploadKind::Stocks => {
            format!("What it brought, {rows}, is taken back as far as that is possible.")
        }
    };
    let (mut title, mut label) =
        (format!("Undo the upload of {}?", filename(upload)), format!("Take {rows} back"));
    if !with.is_empty() {
        title = format!("Undo the upload of {} and {} with it?", filename(upload), others(with.len()));
        label = format!("Undo all {}", with.len() + 1);
        consequence.push_str(&format!(
            " The same becomes of {}: they and this one found rows of each other, so that none can go alone. \
             Upload again what is to stay.",
            fmt::cut(&undo::list(with), 1_000)
        ));
    }
    Confirm {
        id: "undo-upload",
        title,
        consequence,
        label,
        href: format!("{path}/undo"),
        back: path,
        csrf: shell.csrf().to_owned(),
        fields: if with.is_empty() { Vec::new() } else { vec![("together", "yes".to_owned())] },
        danger: true,
    }
}

fn others(count: usize) -> String {
    if count == 1 { "another".to_owned() } else { format!("{count} others") }
}

/// The undo that was asked for; `standstill` is why it does not go on.
fn undoing(upload: &Upload, standstill: Option<String>) -> Option<Undoing> {
    let run = upload.undo_run_id?;
    let report = upload.undo_report.as_ref();
    let number = |name: &str| report.and_then(|report| report[name].as_i64());
    let mut facts = Vec::new();
    facts.extend(number("transactions").map(|rows| ("Rows taken back".to_owned(), fmt::count(rows))));
    facts.extend(number("statuses").map(|rows| ("Pending again".to_owned(), fmt::count(rows))));
    let journal = report.map(|report| &report["reversed"]).filter(|journal| !journal.is_null());
    facts.extend(journal.map(|_| ("Cash".to_owned(), "the upload’s journal was reversed".to_owned())));
    let undone = upload.state == UploadState::Undone;
    Some(Undoing {
        title: match standstill {
            Some(_) => "The undo stands still.",
            None if undone => "It was undone.",
            None => "It is being undone.",
        },
        standstill,
        href: format!("/ui/runs/{run}"),
        link: if undone { "the run that did it" } else { "the run that does it" },
        facts,
    })
}

/// The options that differ from the usual, in words.
pub fn option_words(upload: &Upload) -> Vec<String> {
    let options = upload.read_options().unwrap_or_default();
    let mut words = Vec::new();
    if options.dry_run {
        words.push("dry run".to_owned());
    }
    if options.unknown_clients == UnknownClients::Reject {
        words.push("unknown clients rejected".to_owned());
    }
    words.extend(match options.existing_clients {
        ExistingClients::Update => None,
        ExistingClients::Keep => Some("known clients kept".to_owned()),
        ExistingClients::Reject => Some("known clients rejected".to_owned()),
    });
    if options.on_error == OnError::Abort {
        words.push("all or nothing".to_owned());
    }
    words.extend(options.zone.map(|zone| format!("times in {zone}")));
    if options.allow_many_months {
        words.push("many new months allowed".to_owned());
    }
    if !options.form.mapping.is_empty() {
        words.push("columns mapped by hand".to_owned());
    }
    if upload.forced {
        words.push("taken in although known".to_owned());
    }
    words
}
