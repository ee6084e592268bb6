//! The form of a preview, read: what is known of the file, what is to become of its rows, and which
//! column feeds which field.

use crate::{
    actions::previews::{Looked, look_at},
    app::AppState,
    error::{ApiError, ApiResult},
    params::{FromParams, Params},
    upload_params::{FIELDS, UploadParams},
};
use sha2::{Digest, Sha256};
use shared::uploads::{
    UploadKind,
    columns::fields,
    model::MappedColumn,
    options::ExplicitMapping,
    preview::{Look, LookedColumn},
    previews::Preview,
};
use std::collections::BTreeMap;

/// Prefix of the fields that choose what a column feeds; its number follows.
pub const COLUMN: &str = "column.";
/// Field that says of which header the columns were chosen.
pub const HEADER: &str = "header";

/// What the form says.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The parameters of the upload.
    pub params: UploadParams,
    /// The fields by column number, and what stands for the header that they were chosen of.
    pub chosen: Option<(BTreeMap<usize, String>, String)>,
    /// What could not be read.
    pub complaint: Option<String>,
}

/// What a look showed, and whether the columns that were chosen are still those of the file.
pub struct Seen {
    /// The look.
    pub looked: Looked,
    /// False if the file reads differently from what the columns were chosen of.
    pub fits: bool,
    /// A field that two columns were chosen for.
    pub twice: Option<String>,
}

impl Wanted {
    /// Reads the form. A field that cannot be read is left out, with a complaint.
    pub fn read(state: &AppState, pairs: &[(String, String)]) -> Self {
        let named = |name: &str| pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let chosen = named(HEADER).map(|header| {
            let column = |(name, value): &(String, String)| {
                let number = name.strip_prefix(COLUMN)?.parse().ok()?;
                (!value.is_empty()).then(|| (number, value.clone()))
            };
            (pairs.iter().filter_map(column).collect(), header)
        });
        let mut known: Vec<_> = pairs
            .iter()
            .filter(|(name, value)| FIELDS.contains(&name.as_str()) && !value.contains('\0'))
            .cloned()
            .collect();
        let mut complaint = None;
        loop {
            match UploadParams::from_params(&Params::of(known.clone(), state.env.settings.zone)) {
                Ok(params) => return Self { params, chosen, complaint },
                Err(error) => {
                    let field = error.problem().field.clone();
                    let before = known.len();
                    known.retain(|(name, _)| Some(name) != field.as_ref());
                    complaint.get_or_insert_with(|| error.problem().detail.clone());
                    if known.len() == before {
                        known.clear();
                    }
                }
            }
        }
    }

    /// Looks at the file with what the form says. Columns that were chosen of another header are forgotten.
    pub async fn look(&mut self, state: &AppState, preview: &Preview) -> ApiResult<Seen> {
        let Some((chosen, header)) = self.chosen.take() else {
            return Ok(Seen {
                looked: look_at(state, preview, &self.params).await?,
                fits: true,
                twice: None,
            });
        };
        let by_name = UploadParams { mapping: Some(ExplicitMapping::new()), ..self.params.clone() };
        let looked = look_at(state, preview, &by_name).await?;
        if digest(&looked.look) != header {
            self.params.mapping = None;
            return Ok(Seen {
                looked: look_at(state, preview, &self.params).await?,
                fits: false,
                twice: None,
            });
        }
        let (mapping, twice) = mapping(looked.kind, &looked.look.columns, &chosen);
        self.params = UploadParams { kind: Some(looked.kind), mapping: Some(mapping), ..by_name };
        let looked = match self.params.mapping.as_ref().is_some_and(|mapping| !mapping.is_empty()) {
            true => look_at(state, preview, &self.params).await?,
            false => looked,
        };
        Ok(Seen { looked, fits: true, twice })
    }

    /// The parameters to load with, exactly as they were looked at.
    pub async fn into_params(mut self, state: &AppState, preview: &Preview) -> ApiResult<UploadParams> {
        if let Some(complaint) = self.complaint {
            return Err(ApiError::invalid("form", complaint));
        }
        let seen = self.look(state, preview).await?;
        if !seen.fits {
            let detail =
                "The file reads differently with these settings. Look at it again before loading it.";
            return Err(ApiError::invalid(HEADER, detail));
        }
        if let Some(field) = seen.twice {
            return Err(ApiError::invalid(&field, twice_words(&field)));
        }
        let mapping = seen.looked.options.form.mapping;
        Ok(UploadParams { kind: Some(seen.looked.kind), mapping: Some(mapping), ..self.params })
    }
}

/// What is wrong if two columns feed one field.
pub fn twice_words(field: &str) -> String {
    format!("Two columns feed {field}. Choose one of them; the other is ignored meanwhile.")
}

/// What stands for a header in the form.
pub fn digest(look: &Look) -> String {
    let mut hash = Sha256::new();
    for column in &look.columns {
        hash.update(column.name.as_bytes());
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..8])
}

/// The explicit mapping that leads from what the columns' names say to what was chosen: only what
/// differs, by name where the name is the column's alone. Also the field that was chosen twice.
fn mapping(
    kind: UploadKind,
    columns: &[LookedColumn],
    chosen: &BTreeMap<usize, String>,
) -> (ExplicitMapping, Option<String>) {
    let mut mapping = ExplicitMapping::new();
    let mut twice = None;
    for field in fields(kind) {
        let by_name = columns.iter().position(|column| column.field == Some(field.name));
        let mut wanted = chosen.iter().filter(|(_, name)| *name == field.name).map(|(number, _)| *number);
        let first = wanted.next().filter(|number| *number < columns.len());
        if wanted.next().is_some() {
            twice = Some(field.name.to_owned());
        }
        let column = match first {
            same if same == by_name => continue,
            None => MappedColumn::Nothing(()),
            Some(number) => {
                let name = &columns[number].name;
                let alone = columns.iter().filter(|column| column.name == *name).count() == 1;
                if alone && !name.is_empty() {
                    MappedColumn::Name(name.clone())
                } else {
                    MappedColumn::Number(number)
                }
            }
        };
        mapping.insert(field.name.to_owned(), column);
    }
    (mapping, twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, field: Option<&'static str>) -> LookedColumn {
        LookedColumn { name: name.to_owned(), field, samples: Vec::new() }
    }

    #[test]
    fn only_what_differs_from_the_names_is_mapped() {
        let columns = [
            column("id", Some("transaction_id")),
            column("user", Some("client_id")),
            column("wann", None),
            column("Betrag", None),
            column("Betrag", None),
            column("status", Some("status")),
        ];
        let chosen = |pairs: &[(usize, &str)]| {
            pairs.iter().map(|(number, field)| (*number, (*field).to_owned())).collect()
        };
        let names = chosen(&[(0, "transaction_id"), (1, "client_id"), (5, "status")]);
        assert_eq!(mapping(UploadKind::Transactions, &columns, &names), (ExplicitMapping::new(), None));
        let by_hand = chosen(&[
            (0, "transaction_id"),
            (1, "client_id"),
            (2, "occurred_at"),
            (3, "amount"),
            (4, "amount"),
        ]);
        let (mapping, twice) = mapping(UploadKind::Transactions, &columns, &by_hand);
        assert_eq!(twice.as_deref(), Some("amount"));
        assert_eq!(
            serde_json::to_value(mapping).unwrap(),
            serde_json::json!({ "occurred_at": "wann", "amount": 3, "status": null })
        );
    }
}
