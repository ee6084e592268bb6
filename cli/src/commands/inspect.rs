//! `millrace inspect FILE`: shows how a local file would be read. Needs no server. It ends with 1 where a
//! server would refuse the file.

use crate::{
    output::{bytes, remark, say},
    table::Table,
};
use anyhow::Context;
use clap::Args;
use shared::{
    clock::{Clock, SystemClock},
    config::FilesConfig,
    storage::Storage,
    uploads::{
        UploadKind, UploadOptions,
        formats::{Text, Watch, detect::Seen, table::find_form, text_of},
        header::column_names,
        model::FormOptions,
        preview::{Look, LookedRow, Means, look_with},
        records::{MAX_RECORD_BYTES, Record, next_record, split_fields},
    },
};
use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// Bytes read at once.
const BLOCK_BYTES: u64 = 4 << 20;
/// The name that the file has while it is looked at.
const KEY: &str = "file";

/// What to look at.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The file.
    file: PathBuf,
    /// What its rows are: transactions, clients or stocks.
    #[arg(long, default_value = "transactions")]
    kind: UploadKind,
    /// Sheet of a workbook, by name or by number from 1.
    #[arg(long)]
    sheet: Option<String>,
    /// Encoding of a text, as browsers name it: utf-8, windows-1252, utf-16le …
    #[arg(long)]
    encoding: Option<String>,
    /// Character between fields: one of , ; | or tab.
    #[arg(long, value_parser = delimiter)]
    delimiter: Option<char>,
    /// Line or row that names the columns, from 1.
    #[arg(long)]
    header_row: Option<u32>,
    /// For programs.
    #[arg(long)]
    json: bool,
    /// Print every record from the header on as a JSON array, one a line, and nothing else.
    #[arg(long)]
    records: bool,
}

fn delimiter(text: &str) -> Result<char, String> {
    match text {
        "tab" | "\\t" => Ok('\t'),
        _ => text.parse().map_err(|_| "it is one character, or the word tab".to_owned()),
    }
}

/// A directory of its own in which the file can be read like a stored one, and its text be made.
struct Workplace(PathBuf);

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            remark(format!("{} could not be removed: {error}", self.0.display()));
        }
    }
}

impl Workplace {
    fn make(file: &Path) -> anyhow::Result<Self> {
        let place = Self(std::env::temp_dir().join(format!("millrace-inspect-{}", uuid::Uuid::new_v4())));
        std::fs::create_dir_all(&place.0).with_context(|| format!("cannot make {}", place.0.display()))?;
        let file = file.canonicalize().with_context(|| format!("cannot read {}", file.display()))?;
        std::os::unix::fs::symlink(&file, place.0.join(KEY)).context("cannot point to the file")?;
        Ok(place)
    }
}

/// Shows the file.
pub async fn inspect(args: Inspect) -> anyhow::Result<()> {
    let metadata =
        std::fs::metadata(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    anyhow::ensure!(metadata.is_file(), "{} is not a file", args.file.display());
    let place = Workplace::make(&args.file)?;
    let storage = Storage::directory(&place.0)?;
    let form = FormOptions {
        encoding: args.encoding.clone(),
        delimiter: args.delimiter,
        sheet: args.sheet.clone(),
        header_row: args.header_row,
        ..FormOptions::default()
    };
    let files = FilesConfig::from_env().map_err(anyhow::Error::msg)?;
    if args.records {
        return print_records(&storage, metadata.len(), form, &files, args.kind).await;
    }
    let means =
        Means { storage: &storage, files, zone: chrono_tz::UTC, currency: *b"USD", now: SystemClock.now() };
    let options = UploadOptions { form, ..UploadOptions::default() };
    let look = look_with(&means, KEY, metadata.len(), args.kind, &options).await?;
    if args.json {
        say(serde_json::to_string_pretty(&json(&look))?);
    } else {
        print(&look, metadata.len());
    }
    let missing = look.missing.join(", ");
    anyhow::ensure!(missing.is_empty(), "the file cannot be loaded so: it has no column for {missing}");
    Ok(())
}

fn json(look: &Look) -> serde_json::Value {
    let columns: Vec<_> = look
        .columns
        .iter()
        .map(|column| {
            serde_json::json!({ "name": column.name, "field": column.field, "samples": column.samples })
        })
        .collect();
    let row = |row: &LookedRow| serde_json::json!({ "line": row.line, "cells": row.cells, "values": row.values, "fault": row.fault });
    serde_json::json!({
        "format": look.format,
        "columns": columns,
        "missing": look.missing,
        "warnings": look.warnings,
        "records": look.records,
        "counted": look.counted,
        "rows": look.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn print(look: &Look, size_bytes: u64) {
    let format = &look.format;
    let mut facts = vec![format!("{} file", format.container), format!("{size_bytes} bytes")];
    facts.extend(format.member.as_ref().map(|member| format!("member {member:?}")));
    facts.extend(format.encoding.clone());
    facts.extend(format.sheet.as_ref().map(|sheet| format!("sheet {sheet:?}")));
    if format.sheet.is_none() {
        facts.push(format!("fields separated by {:?}", format.delimiter));
    }
    facts.push(format!("header in line {}", format.header_row));
    let about = if look.counted { "" } else { "about " };
    facts.push(format!("{about}{} records", look.records));
    say(facts.join(", "));
    look.warnings.iter().for_each(|warning| say(format!("Note: {warning}")));
    let mut columns = Table::new(&["COLUMN", "FIELD", "SAMPLES"]);
    for column in &look.columns {
        let field = column.field.unwrap_or("(ignored)").to_owned();
        columns.row([column.name.clone(), field, column.samples.join(" | ")]);
    }
    say("");
    columns.print();
    let mut rows = Table::new(&["LINE", "READS AS"]);
    for row in look.rows.iter().take(10) {
        let shown = match &row.fault {
            Some(fault) => format!("rejected ({}): {}", fault.code, fault.message),
            None if row.values.is_empty() => row.cells.join(" | "),
            None => {
                let values = row.values.iter().map(|(field, value)| format!("{field}={value}"));
                values.collect::<Vec<_>>().join(" ")
            }
        };
        rows.row([row.line.to_string(), shown]);
    }
    say("");
    rows.print();
}

/// Prints every record, in bounded memory.
async fn print_records(
    storage: &Storage,
    size_bytes: u64,
    mut form: FormOptions,
    files: &FilesConfig,
    kind: UploadKind,
) -> anyhow::Result<()> {
    let mut text = text_of(storage, KEY, size_bytes, &form, files, &Watch::default()).await?;
    if form.encoding.is_none()
        && text.format.encoding.as_deref() == Some("UTF-8")
        && let Some(encoding) = legacy(storage, &text).await?
    {
        form.encoding = Some(encoding.to_owned());
        text = text_of(storage, KEY, size_bytes, &form, files, &Watch::default()).await?;
    }
    text.warnings.iter().for_each(|warning| remark(format!("Note: {warning}")));
    let mut out = BufWriter::new(bytes());
    match write_records(storage, &text, &form, kind, files, &mut out).await {
        // `… | head` has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other.and_then(|()| Ok(out.flush()?)),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The old encoding that a text is in, if it is.
async fn legacy(storage: &Storage, text: &Text) -> anyhow::Result<Option<&'static str>> {
    let (mut seen, mut at) = (Seen::default(), 0);
    while at < text.size_bytes {
        let block = storage.read_range(&text.key, at..(at + BLOCK_BYTES).min(text.size_bytes)).await?;
        // Cut between lines, so that no character is cut.
        let last = at + block.len() as u64 == text.size_bytes;
        let line_end = block.iter().rposition(|byte| *byte == b'\n').map(|end| end + 1);
        let end = line_end.filter(|_| !last).unwrap_or(block.len());
        seen.look(&block[..end]);
        at += end as u64;
    }
    Ok(seen.legacy().map(|encoding| encoding.name()))
}

async fn write_records(
    storage: &Storage,
    text: &Text,
    form: &FormOptions,
    kind: UploadKind,
    files: &FilesConfig,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let rows = text.format.counts_rows();
    let (mut buffer, mut read, mut line, mut table) = (Vec::new(), 0, 1i64, None);
    let mut fields = Vec::new();
    loop {
        let until = (read + BLOCK_BYTES).min(text.size_bytes);
        if read < until {
            buffer.extend_from_slice(&storage.read_range(&text.key, read..until).await?);
            read = until;
        }
        let (end, last) = (buffer.len(), read == text.size_bytes);
        let mut at = if line == 1 && buffer.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let table = match table {
            Some(table) => table,
            None => *table.insert(find_form(&buffer[at..], last, rows, kind, form)?),
        };
        while at < end {
            let (len, lines) = match next_record(&buffer[at..end], table.delimiter, last) {
                Record::Incomplete => break,
                Record::Blank { len } => (len, 1),
                Record::BadQuoting { len } => {
                    let bad = String::from_utf8_lossy(&buffer[at..at + len]);
                    writeln!(out, "{}", serde_json::json!({ "line": line, "bad_quoting": bad }))?;
                    (len, 1)
                }
                Record::Whole { len, lines, quoted } => {
                    if line >= table.header_line {
                        split_fields(&mut buffer, at, len, quoted, table.delimiter, &mut fields);
                        if line == table.header_line {
                            column_names(&buffer, &fields, line, rows, files)?;
                        }
                        let cells: Vec<_> =
                            fields.iter().map(|field| String::from_utf8_lossy(field.of(&buffer))).collect();
                        serde_json::to_writer(&mut *out, &cells)?;
                        writeln!(out)?;
                        buffer.truncate(end);
                    }
                    (len, if rows { 1 } else { i64::from(lines) })
                }
            };
            at += len;
            line += lines;
        }
        if last {
            return Ok(());
        }
        anyhow::ensure!(
            at > 0 || end < MAX_RECORD_BYTES,
            "line {line} is longer than {MAX_RECORD_BYTES} bytes"
        );
        buffer.drain(..at);
    }
}
