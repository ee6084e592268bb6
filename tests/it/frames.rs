//! A client that breaks the rules of WebSockets is told so by the right code (RFC 6455, section 7.4.1).

use std::collections::BTreeMap;
use tests::App;

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_closed_with_the_code_of_the_fault() {
    let app = App::start().await;
    let python = std::env::var("MILLRACE_TEST_PYTHON")
        .expect("MILLRACE_TEST_PYTHON is not set: run the tests by ./run test");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/frames.py");
    let url = format!("{}/ws/transactions", app.url.replacen("http", "ws", 1));
    let output =
        tokio::process::Command::new(python).args([script, &url, app.admin_token()]).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let said: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    for case in ["fragmented", "largest", "interleaved"] {
        assert!(said[case].contains("\"pong\""), "{case}: {text}");
    }
    assert!(said["no_json"].contains("\"error\""), "{text}");
    let code = |case: &str| said.get(case).copied().unwrap_or("not tried");
    for (case, expected) in [
        ("closed_by_client", "1000"),
        ("oversized", "1009"),
        ("oversized_in_parts", "1009"),
        ("invalid_utf8", "1007"),
        ("utf8_cut_at_the_end", "1007"),
        ("binary", "1003"),
        ("reserved_data_opcode", "1002"),
        ("reserved_control_opcode", "1002"),
        ("reserved_bit", "1002"),
        ("unmasked", "1002"),
        ("continuation_of_nothing", "1002"),
        ("text_within_a_text", "1002"),
        ("fragmented_ping", "1002"),
        ("long_ping", "1002"),
        ("close_with_reserved_code", "1002"),
        ("close_of_one_byte", "1002"),
        ("close", "1000"),
    ] {
        assert_eq!(code(case), expected, "{case}: {text}");
    }
    assert_eq!(said.len(), 21, "{text}");
    // None of it has hurt the others.
    let (mut listener, _) = app.listen("").await;
    listener.say(&serde_json::json!({ "type": "ping" })).await;
    assert_eq!(listener.next().await["type"], "pong");
}
