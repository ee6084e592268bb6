//! From an upload's stored file to its plan: the text is made if the file is none, and planned. A text
//! that turns out to be in an old encoding is converted and planned again.

use super::{
    columns::{HeaderError, map_header},
    formats::{FormatError, Text, Watch, text_of},
    model::{FileFormat, FormOptions, Upload},
    plan::{Plan, PlanError, PlanOptions, Planning},
    queries::{UsedMapping, last_mapping},
};
use crate::runs::RunContext;
use std::time::Duration;

/// How often a conversion shows how far it is.
const SHOWN_EVERY: Duration = Duration::from_millis(500);

/// A file whose text is there and planned.
pub struct PlannedFile {
    /// Its plan.
    pub plan: Plan,
    /// Where its text is, if it is not the file itself.
    pub text_key: Option<String>,
    /// What the file is.
    pub format: FileFormat,
    /// What somebody should know of it.
    pub warnings: Vec<String>,
}

/// Plans an upload's file, of which `form` is known.
pub async fn plan_file(
    context: &RunContext,
    upload: &Upload,
    mut form: FormOptions,
) -> Result<PlannedFile, PlanError> {
    let mut warnings = Vec::new();
    loop {
        let text = make_text(context, upload, &form).await?;
        let options = PlanOptions {
            kind: upload.kind,
            chunk_records: context.env.chunk_records,
            counts_rows: text.format.counts_rows(),
            certainly_utf8: form.encoding.is_some() || text.format.encoding.as_deref() != Some("UTF-8"),
            form: form.clone(),
            limits: context.env.files,
        };
        match plan_text(context, &text, options).await {
            Err(PlanError::OtherEncoding(encoding)) if form.encoding.is_none() => {
                tracing::info!(encoding, "the file is not UTF-8; it is converted");
                warnings.push(format!(
                    "The file is not UTF-8 and was read as {encoding}; if letters are wrong, name its encoding."
                ));
                form.encoding = Some(encoding.to_owned());
            }
            planned => {
                if form.mapping.is_empty()
                    && let Some(used) = mapping_before(context, upload, &planned).await?
                {
                    warnings.push(format!(
                        "The columns were mapped as in {} ({}), the last upload with this header for which somebody \
                         mapped them. If that is wrong, send a mapping.",
                        used.filename, used.upload_id
                    ));
                    form.mapping = used.mapping;
                    continue;
                }
                let plan = planned?;
                let mut format = text.format;
                format.delimiter = char::from(plan.form.delimiter);
                format.header_row = plan.form.header_line;
                warnings.extend(text.warnings);
                warnings.extend_from_slice(&plan.warnings);
                let text_key = text.converted.then_some(text.key);
                return Ok(PlannedFile { plan, text_key, format, warnings });
            }
        }
    }
}

/// The mapping that the last upload with the header of this plan used, if it says anything else than the
/// columns' names.
async fn mapping_before(
    context: &RunContext,
    upload: &Upload,
    planned: &Result<Plan, PlanError>,
) -> Result<Option<UsedMapping>, PlanError> {
    let (header, by_name) = match planned {
        Ok(plan) => (&plan.header, Some(&plan.mapping)),
        Err(PlanError::Header(HeaderError::Unusable(unusable))) => (&unusable.found, None),
        Err(_) => return Ok(None),
    };
    let mut conn = context.env.pool.get().await.map_err(|error| PlanError::Record(error.into()))?;
    let used = last_mapping(&mut conn, upload.kind, header).await;
    let used = used.map_err(|error| PlanError::Record(error.into()))?;
    Ok(used.filter(|used| {
        let mapped = map_header(upload.kind, header, &used.mapping);
        mapped.is_ok_and(|mapped| Some(&mapped.mapping) != by_name)
    }))
}

/// The file's text; shows how far its making is.
async fn make_text(context: &RunContext, upload: &Upload, form: &FormOptions) -> Result<Text, PlanError> {
    let env = &context.env;
    let watch = Watch::new(context.cancel.clone());
    let size = upload.size_bytes.unsigned_abs();
    let made = text_of(&env.storage, &upload.storage_key, size, form, &env.files, &watch);
    let mut made = std::pin::pin!(made);
    loop {
        tokio::select! {
            made = &mut made => return Ok(made?),
            () = tokio::time::sleep(SHOWN_EVERY) => {
                context.progress(watch.written().cast_signed(), None, "bytes", "making the file's text").await;
            }
        }
    }
}

async fn plan_text(context: &RunContext, text: &Text, options: PlanOptions) -> Result<Plan, PlanError> {
    let mut planning = Planning::new(&context.env.storage, &text.key, text.size_bytes, options);
    while let Some(seen) = planning.read_block().await? {
        if context.cancel.is_cancelled() {
            return Err(PlanError::Format(FormatError::Stopped));
        }
        let total = Some(text.size_bytes.cast_signed());
        context.progress(seen.cast_signed(), total, "bytes", "reading the file").await;
    }
    planning.finish()
}
