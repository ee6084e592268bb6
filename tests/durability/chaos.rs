//! Everything at once, at random. `MILLRACE_TEST_SEED` repeats the random choices of an earlier run.

use tests::chaos::{self, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn chaos_loses_doubles_and_stops_nothing() {
    let seed =
        std::env::var("MILLRACE_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let verdict = chaos::run(Plan::quick(seed)).await;
    assert!(verdict.is_clean(), "{verdict}");
    // Of the thirty that are planned some find nothing to break, on a machine that is busy.
    assert!(
        verdict.faults() >= 24 && verdict.runs >= 300 && verdict.rescues > 0,
        "too little happened: {verdict}"
    );
}
