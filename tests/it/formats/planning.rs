//! Cutting a file into chunks must not change what is in it: the chunks, parsed one by one, are the file
//! parsed in one go, and both are what the `csv` crate reads.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use shared::{
    config::FilesConfig,
    storage::Storage,
    uploads::{
        UploadKind,
        model::FormOptions,
        plan::{Plan, PlanOptions, Planning},
        reading::{RecordForm, each_record},
    },
};

/// What a reader makes of a record: its line, and its fields or what is wrong with it.
type Seen = (i64, Result<Vec<String>, &'static str>);

fn parsed(text: &[u8], line: i64, form: RecordForm, columns: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    each_record(&mut text.to_vec(), line, form, columns, |text, place, fields| {
        let fields = fields.map_err(|bad| bad.code).map(|fields| {
            fields.iter().map(|field| String::from_utf8_lossy(field.of(text)).into_owned()).collect()
        });
        seen.push((place.line, fields));
    });
    seen
}

async fn plan(storage: &Storage, file: &[u8], chunk_records: u64) -> Plan {
    let mut writer = storage.create("file").await.unwrap();
    writer.write(file).await.unwrap();
    writer.finish().await.unwrap();
    let options = PlanOptions {
        kind: UploadKind::Transactions,
        chunk_records,
        form: FormOptions::default(),
        counts_rows: false,
        certainly_utf8: true,
        limits: FilesConfig::default(),
    };
    let mut planning = Planning::new(storage, "file", file.len() as u64, options);
    while planning.read_block().await.unwrap().is_some() {}
    planning.finish().unwrap()
}

/// A file of random records. Its fields hold whatever CSV makes difficult; of a messy one, quotes too that
/// do not pair.
fn random_file(rng: &mut ChaCha8Rng, delimiter: char, messy: bool) -> String {
    let values = [
        "",
        "a",
        "1.50",
        "two\nlines",
        "\r\n",
        "\"",
        "say \"hi\"",
        ",",
        ";",
        "\t",
        "|",
        "é",
        " b ",
        "\n\n\n",
    ];
    let line_end = if rng.random_bool(0.5) { "\n" } else { "\r\n" };
    let mut file = ["id", "user", "date", "amount"].join(&delimiter.to_string()) + line_end;
    for _ in 0..rng.random_range(0..60) {
        if rng.random_bool(0.1) {
            file.push_str(line_end);
        }
        for field in 0..4 {
            if field > 0 {
                file.push(delimiter);
            }
            let value = values[rng.random_range(0..values.len())];
            let special = value.contains(['"', '\n', '\r', delimiter]);
            if messy && rng.random_bool(0.05) {
                file.push_str(["\"", "x\"y", "\"a\"b", "\"\"\""][rng.random_range(0..4)]);
            } else if special || rng.random_bool(0.3) {
                file += &format!("\"{}\"", value.replace('"', "\"\""));
            } else {
                file.push_str(value);
            }
        }
        file.push_str(line_end);
    }
    if rng.random_bool(0.3) {
        file.truncate(file.trim_end_matches(['\r', '\n']).len());
    }
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_hold_what_the_whole_file_holds_whatever_is_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::directory(directory.path()).unwrap();
    for seed in 0..400 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let delimiter = [',', ';', '\t', '|'][seed as usize % 4];
        let messy = rng.random_bool(0.5);
        let file = random_file(&mut rng, delimiter, messy);
        let plan = plan(&storage, file.as_bytes(), rng.random_range(1..8)).await;
        assert_eq!(char::from(plan.form.delimiter), delimiter, "seed {seed}: {file:?}");
        let form = RecordForm { delimiter: plan.form.delimiter, counts_rows: false, field_bytes: 1 << 20 };
        let whole = parsed(file.as_bytes(), 1, form, 4);
        let mut chunked = vec![whole[0].clone()];
        for chunk in &plan.chunks {
            let text = &file.as_bytes()[chunk.start as usize..chunk.end as usize];
            let records = parsed(text, chunk.first_line, form, 4);
            assert_eq!(records.len() as i64, chunk.records, "seed {seed}: {chunk:?} of {file:?}");
            chunked.extend(records);
        }
        assert_eq!(chunked, whole, "seed {seed}: {file:?}");
        assert_eq!(plan.records, whole.len() as i64 - 1, "seed {seed}");
    }
}
