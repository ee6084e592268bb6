//! Values as text: rows are written byte by byte, since formatting would cost more than drawing them.

/// The numbers 00 to 99.
const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut number = 0;
    while number < 100 {
        pairs[number * 2] = b'0' + (number / 10) as u8;
        pairs[number * 2 + 1] = b'0' + (number % 10) as u8;
        number += 1;
    }
    pairs
};

/// Writes texts one after another.
pub fn text(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Writes a number.
pub fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes a number with at least `width` digits.
pub fn padded(out: &mut Vec<u8>, value: u64, width: u32) {
    let mut power = 10u64.pow(width - 1);
    while power > value.max(1) {
        out.push(b'0');
        power /= 10;
    }
    number(out, value);
}

/// Writes an amount given in cents.
pub fn cents(out: &mut Vec<u8>, cents: u64) {
    number(out, cents / 100);
    out.push(b'.');
    padded(out, cents % 100, 2);
}

/// Writes the last two digits of a number where they belong.
fn pair(out: &mut [u8], at: usize, value: u64) {
    let from = (value % 100) as usize * 2;
    out[at..at + 2].copy_from_slice(&PAIRS[from..from + 2]);
}

/// Writes `2025-01-15T10:00:00.000000Z`: a day, and the microseconds since its beginning.
pub fn instant(out: &mut Vec<u8>, day: &[u8; 10], micros: u64) {
    let mut text = *b"yyyy-mm-ddThh:mm:ss.ffffffZ";
    text[..10].copy_from_slice(day);
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    pair(&mut text, 11, seconds / 3600);
    pair(&mut text, 14, seconds / 60 % 60);
    pair(&mut text, 17, seconds % 60);
    pair(&mut text, 20, micros / 10_000);
    pair(&mut text, 22, micros / 100 % 100);
    pair(&mut text, 24, micros % 100);
    out.extend_from_slice(&text);
}

/// Eight characters, `c0000001` for the first client.
pub fn client_id(out: &mut Vec<u8>, client: u64) {
    out.push(b'c');
    padded(out, client, 7);
}
