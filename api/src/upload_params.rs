//! What a sender says of how a file is to be taken in: query parameters, fields of a form, or JSON, read
//! alike.

use crate::{
    error::{ApiError, ApiResult},
    params::{FromParams, Params},
    views::words,
};
use chrono_tz::Tz;
use serde::Deserialize;
use shared::{
    ids::UploadId,
    uploads::{
        UploadKind, UploadOptions,
        model::{ExistingClients, FormOptions, OnError, UnknownClients},
        options::{ExplicitMapping, check_mapping, read_delimiter, read_encoding, read_mapping},
    },
};
use std::fmt::Display;

/// Names of the parameters, as fields of a form.
pub const FIELDS: [&str; 14] = [
    "kind",
    "unknown_clients",
    "existing_clients",
    "on_error",
    "dry_run",
    "zone",
    "force",
    "allow_many_months",
    "encoding",
    "delimiter",
    "sheet",
    "header_row",
    "mapping",
    "corrects",
];

/// How a file is to be taken in: query parameters, or fields of the form, before or after the file.
#[derive(Debug, Clone, Default, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadParams {
    /// What the rows are; transactions if absent.
    #[param(schema_with = words::upload_kind)]
    pub kind: Option<UploadKind>,
    /// What happens to a transaction of an unknown client; create (a stub) if absent.
    #[param(schema_with = words::unknown_clients)]
    pub unknown_clients: Option<UnknownClients>,
    /// What happens to a client who is known already, in a file of clients; update if absent.
    #[param(schema_with = words::existing_clients)]
    pub existing_clients: Option<ExistingClients>,
    /// What a record that cannot be loaded does to the others: nothing (skip, if absent), or none is
    /// loaded (abort).
    #[param(schema_with = words::on_error)]
    pub on_error: Option<OnError>,
    /// Do everything but load.
    #[param(required = false)]
    pub dry_run: bool,
    /// IANA zone of times that name none; the reporting zone if absent.
    #[param(value_type = Option<String>, example = "Europe/Berlin")]
    pub zone: Option<Tz>,
    /// Take the file in although the same one is there.
    #[param(required = false)]
    pub force: bool,
    /// Let the file create more than 36 new months.
    #[param(required = false)]
    pub allow_many_months: bool,
    /// Encoding of a text file, by a WHATWG label; found out if absent.
    #[param(example = "windows-1252")]
    pub encoding: Option<String>,
    /// Between the fields of a text file: comma, semicolon, tab, pipe, or the character itself; found out
    /// if absent.
    #[param(value_type = Option<String>, example = "semicolon")]
    pub delimiter: Option<char>,
    /// Sheet of a workbook, by its name, or its number from 1; the first if absent.
    pub sheet: Option<String>,
    /// Line (of a text file) or row (of a sheet) that names the columns, from 1; found out if absent.
    #[param(minimum = 1)]
    pub header_row: Option<u32>,
    /// A JSON object from field to column name, column number (from 0) or null; fields that it leaves out
    /// are found by the columns' names.
    #[param(value_type = Option<String>, example = r#"{"amount": "Betrag", "status": null}"#)]
    pub mapping: Option<ExplicitMapping>,
    /// The upload whose rejects the file brings, mended. Unless given, the policies on clients, the zone and
    /// the mapping are those of that upload.
    #[param(value_type = Option<uuid::Uuid>)]
    pub corrects: Option<UploadId>,
}

impl FromParams for UploadParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        let read = Self {
            kind: params.parsed("kind")?,
            unknown_clients: params.parsed("unknown_clients")?,
            existing_clients: params.parsed("existing_clients")?,
            on_error: params.parsed("on_error")?,
            dry_run: params.flag("dry_run")?,
            zone: params.made("zone", read_zone)?,
            force: params.flag("force")?,
            allow_many_months: params.flag("allow_many_months")?,
            encoding: params.made("encoding", read_encoding)?,
            delimiter: params.made("delimiter", read_delimiter)?,
            sheet: params.text("sheet")?,
            header_row: params.made("header_row", read_row)?,
            mapping: params.made("mapping", read_mapping)?,
            corrects: params.parsed("corrects")?,
        };
        read.check()
    }
}

fn read_zone(text: &str) -> Result<Tz, String> {
    let name = text.trim();
    name.parse().map_err(|_| {
        let shown: String = name.chars().take(80).collect();
        format!("{shown:?} is no IANA zone; one is written as Europe/Berlin or UTC")
    })
}

fn read_row(text: &str) -> Result<u32, String> {
    text.trim().parse().ok().filter(|&row| row > 0).ok_or_else(|| "it is a number from 1".to_owned())
}

impl UploadParams {
    /// What the rows are.
    pub fn kind(&self) -> UploadKind {
        self.kind.unwrap_or(UploadKind::Transactions)
    }

    /// What was not said is as it was for the upload whose rejects the file brings. Its form is not: the
    /// download has one of its own, which can be seen.
    pub fn inherit(&mut self, kind: UploadKind, options: UploadOptions) {
        self.kind = self.kind.or(Some(kind));
        self.unknown_clients = self.unknown_clients.or(Some(options.unknown_clients));
        self.existing_clients = self.existing_clients.or(Some(options.existing_clients));
        self.zone = self.zone.or(options.zone);
        self.allow_many_months |= options.allow_many_months;
        if self.mapping.is_none() && !options.form.mapping.is_empty() {
            self.mapping = Some(options.form.mapping);
        }
    }

    /// How the file is to be read and loaded.
    pub fn options(&self) -> UploadOptions {
        let usual = UploadOptions::default();
        UploadOptions {
            unknown_clients: self.unknown_clients.unwrap_or(usual.unknown_clients),
            existing_clients: self.existing_clients.unwrap_or(usual.existing_clients),
            on_error: self.on_error.unwrap_or(usual.on_error),
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

    fn check(self) -> ApiResult<Self> {
        match check_mapping(self.kind(), self.mapping.as_ref().unwrap_or(&ExplicitMapping::new())) {
            Ok(()) => Ok(self),
            Err(reason) => {
                Err(ApiError::invalid("mapping", format!("The mapping cannot be used: {reason}.")))
            }
        }
    }
}

/// The same as JSON, to load a previewed file.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadRequest {
    /// What the rows are; transactions if absent.
    #[schema(schema_with = words::upload_kind)]
    kind: Option<UploadKind>,
    /// What happens to a transaction of an unknown client; create (a stub) if absent.
    #[schema(schema_with = words::unknown_clients)]
    unknown_clients: Option<UnknownClients>,
    /// What happens to a client who is known already; update if absent.
    #[schema(schema_with = words::existing_clients)]
    existing_clients: Option<ExistingClients>,
    /// What a record that cannot be loaded does to the others; skip if absent.
    #[schema(schema_with = words::on_error)]
    on_error: Option<OnError>,
    /// Do everything but load; the preview can be loaded afterwards.
    #[serde(default)]
    dry_run: bool,
    /// IANA zone of times that name none; the reporting zone if absent.
    #[schema(value_type = Option<String>, example = "Europe/Berlin")]
    zone: Option<Tz>,
    /// Take the file in although the same one is there.
    #[serde(default)]
    force: bool,
    /// Let the file create more than 36 new months.
    #[serde(default)]
    allow_many_months: bool,
    /// Encoding of a text file; found out if absent.
    encoding: Option<String>,
    /// Between the fields of a text file: comma, semicolon, tab, pipe, or the character; found out if
    /// absent.
    delimiter: Option<String>,
    /// Sheet of a workbook, by name or by number from 1.
    sheet: Option<SheetName>,
    /// Line or row that names the columns, from 1.
    #[schema(minimum = 1)]
    header_row: Option<u32>,
    /// Field to column name, column number (from 0) or null. If absent, what the preview shows without
    /// one; `{}` is what the columns' names say.
    #[schema(value_type = Option<Object>)]
    mapping: Option<ExplicitMapping>,
    /// The upload whose rejects the file brings, mended.
    #[schema(value_type = Option<uuid::Uuid>)]
    corrects: Option<UploadId>,
}

/// A sheet by its name, or its number.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
enum SheetName {
    /// From 1.
    Number(u32),
    /// As in the workbook.
    Name(String),
}

impl LoadRequest {
    /// The request, read like a form.
    pub fn into_params(self) -> ApiResult<UploadParams> {
        if self.header_row == Some(0) {
            return Err(ApiError::invalid("header_row", "The field header_row counts from 1."));
        }
        let params = UploadParams {
            kind: self.kind,
            unknown_clients: self.unknown_clients,
            existing_clients: self.existing_clients,
            on_error: self.on_error,
            dry_run: self.dry_run,
            zone: self.zone,
            force: self.force,
            allow_many_months: self.allow_many_months,
            encoding: self.encoding.map(|text| usable("encoding", read_encoding(&text))).transpose()?,
            delimiter: self.delimiter.map(|text| usable("delimiter", read_delimiter(&text))).transpose()?,
            sheet: self.sheet.map(|sheet| match sheet {
                SheetName::Number(number) => number.to_string(),
                SheetName::Name(name) => name,
            }),
            header_row: self.header_row,
            mapping: self.mapping,
            corrects: self.corrects,
        };
        params.check()
    }
}

fn usable<T>(field: &str, read: Result<T, impl Display>) -> ApiResult<T> {
    read.map_err(|reason| ApiError::invalid(field, format!("The field {field} cannot be used: {reason}.")))
}
