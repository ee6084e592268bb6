//! Benchmarks: `./run bench NAME`.

fn main() {}
