//! How `millrace ingest` says that a file is to be read and loaded: the parameters of the API.

use clap::Args;
use shared::{
    ids::UploadId,
    uploads::{
        UploadKind, UploadOptions,
        model::{ExistingClients, FormOptions, OnError, UnknownClients},
        options::{
            ExplicitMapping, check_mapping, delimiter_word, read_delimiter, read_encoding, read_mapping,
        },
    },
};

/// Options of a load.
#[derive(Debug, Args)]
pub struct IngestOptions {
    /// What its rows are: transactions, clients or stocks.
    #[arg(long, default_value = "transactions")]
    pub kind: UploadKind,
    /// Transactions of a client nobody knows: create (a stub of the client) or reject.
    #[arg(long, value_name = "POLICY", default_value = "create")]
    unknown_clients: UnknownClients,
    /// Clients who are known already: update, keep or reject.
    #[arg(long, value_name = "POLICY", default_value = "update")]
    existing_clients: ExistingClients,
    /// If a row cannot be loaded: skip it, or abort (load none).
    #[arg(long, value_name = "POLICY", default_value = "skip")]
    on_error: OnError,
    /// Do everything but load.
    #[arg(long)]
    dry_run: bool,
    /// Zone of times that name none, such as Europe/Berlin.
    #[arg(long)]
    zone: Option<chrono_tz::Tz>,
    /// Let the file create more than 36 new months.
    #[arg(long)]
    allow_many_months: bool,
    /// Encoding of a text file, such as windows-1252; found out if absent.
    #[arg(long, value_parser = read_encoding)]
    encoding: Option<String>,
    /// Between fields: comma, semicolon, tab or pipe; found out if absent.
    #[arg(long, value_parser = read_delimiter)]
    delimiter: Option<char>,
    /// Sheet of a workbook, by name or by number from 1.
    #[arg(long)]
    sheet: Option<String>,
    /// Line or row that names the columns, from 1; found out if absent.
    #[arg(long, value_name = "LINE", value_parser = clap::value_parser!(u32).range(1..))]
    header_row: Option<u32>,
    /// Which column holds which field, as JSON: '{"amount": "Betrag", "status": null}'.
    #[arg(long, value_name = "JSON", value_parser = read_mapping)]
    mapping: Option<ExplicitMapping>,
    /// The upload whose rejects the file brings, mended.
    #[arg(long, value_name = "UPLOAD")]
    pub corrects: Option<UploadId>,
    /// Load it although the same file was loaded before.
    #[arg(long)]
    pub force: bool,
}

impl IngestOptions {
    /// Refuses what fits no file of this kind.
    pub fn check(&self) -> Result<(), String> {
        self.mapping.as_ref().map_or(Ok(()), |mapping| check_mapping(self.kind, mapping))
    }

    /// For the database.
    pub fn options(&self) -> UploadOptions {
        UploadOptions {
            unknown_clients: self.unknown_clients,
            existing_clients: self.existing_clients,
            on_error: self.on_error,
            dry_run: self.dry_run,
            zone: self.zone,
            allow_many_months: self.allow_many_months,
            form: FormOptions {
                encoding: self.encoding.clone(),
                delimiter: self.delimiter,
                sheet: self.sheet.clone(),
                header_row: self.header_row,
                mapping: self.mapping.clone().unwrap_or_default(),
            },
        }
    }

    /// For the API: the fields of its form.
    pub fn fields(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let flag = |on: bool| on.then(|| "true".to_owned());
        let mapping = self.mapping.as_ref().map(serde_json::to_string).transpose()?;
        let all = [
            ("kind", Some(self.kind.to_string())),
            ("unknown_clients", Some(self.unknown_clients.to_string())),
            ("existing_clients", Some(self.existing_clients.to_string())),
            ("on_error", Some(self.on_error.to_string())),
            ("dry_run", flag(self.dry_run)),
            ("zone", self.zone.map(|zone| zone.name().to_owned())),
            ("force", flag(self.force)),
            ("allow_many_months", flag(self.allow_many_months)),
            ("encoding", self.encoding.clone()),
            ("delimiter", self.delimiter.map(|delimiter| delimiter_word(delimiter).to_owned())),
            ("sheet", self.sheet.clone()),
            ("header_row", self.header_row.map(|row| row.to_string())),
            ("mapping", mapping),
            ("corrects", self.corrects.map(|id| id.to_string())),
        ];
        Ok(all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}
