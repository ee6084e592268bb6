//! Files that nobody here wrote, compared with what others read in them: tests/files/compare.sh.

use tests::processes::millrace;

#[tokio::test(flavor = "multi_thread")]
async fn files_of_other_programs_read_as_python_reads_them() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/files/compare.sh");
    let output = tokio::process::Command::new("sh").arg(script).arg(millrace()).output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("all values agree"), "{said}");
}
