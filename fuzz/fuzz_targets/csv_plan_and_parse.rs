//! Planning a text block by block and parsing its chunks gives what parsing it in one go gives.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::{
    config::FilesConfig,
    transactions::parse::{Batch, Reading},
    uploads::{
        UploadKind,
        model::FormOptions,
        plan::{PlanOptions, plan_text},
        reading::{RecordForm, each_record},
    },
};

const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

fn records(text: &[u8], line: i64, form: RecordForm, columns: usize) -> Vec<(i64, Result<Vec<Vec<u8>>, &'static str>)> {
    let mut seen = Vec::new();
    each_record(&mut text.to_vec(), line, form, columns, |text, place, fields| {
        let fields = fields.map(|fields| fields.iter().map(|field| field.of(text).to_vec()).collect());
        seen.push((place.line, fields.map_err(|bad| bad.code)));
    });
    seen
}

fuzz_target!(|data: &[u8]| {
    let [how, block, rest @ ..] = data else { return };
    let delimiter = DELIMITERS[usize::from(how & 3)];
    let counts_rows = how & 4 != 0 && delimiter == ',';
    let mut text = Vec::new();
    if how & 8 == 0 {
        text = ["id", "user", "date", "amount"].join(&delimiter.to_string()).into_bytes();
        text.push(b'\n');
    }
    text.extend_from_slice(rest);
    let options = PlanOptions {
        kind: if how & 16 == 0 { UploadKind::Transactions } else { UploadKind::Clients },
        chunk_records: u64::from(how >> 5) + 1,
        form: FormOptions::default(),
        counts_rows,
        certainly_utf8: true,
        limits: FilesConfig::default(),
    };
    let Ok(plan) = plan_text(&text, usize::from(*block) + text.len().min(200), options) else { return };
    let form = RecordForm { delimiter: plan.form.delimiter, counts_rows, field_bytes: 1000 };
    let columns = plan.header.len();
    let mut chunked = Vec::new();
    for chunk in &plan.chunks {
        let part = &text[chunk.start as usize..chunk.end as usize];
        let seen = records(part, chunk.first_line, form, columns);
        assert_eq!(seen.len() as i64, chunk.records);
        chunked.extend(seen);
        if how & 16 == 0 {
            let reading = Reading {
                form,
                header: plan.header.clone(),
                mapping: plan.mapping.clone(),
                zone: chrono_tz::UTC,
                currency: *b"USD",
                until_us: i64::MAX,
                today: Default::default(),
            };
            let batch = Batch::parse(part.to_vec(), chunk.first_line, 1, &reading);
            assert_eq!((batch.rows.len() + batch.rejects.len()) as i64, chunk.records);
        }
    }
    assert_eq!(chunked.len() as i64, plan.records);
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let whole = records(text, 1, form, columns);
    let below: Vec<_> = whole.into_iter().filter(|(line, _)| *line > plan.form.header_line).collect();
    assert_eq!(chunked, below);
});

