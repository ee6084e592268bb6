//! How messages write numbers, and how what came from elsewhere becomes one line.

use super::providers::breaks_line;
use std::borrow::Borrow;

/// `1,234,567`.
pub fn count(number: impl Borrow<u64>) -> String {
    grouped(&number.borrow().to_string())
}

/// A number with its noun, in the plural unless it is one: `1 attempt`, `2 attempts`.
pub fn counted(number: impl Borrow<u64>, noun: &str) -> String {
    let number = *number.borrow();
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Digits in groups of three.
pub fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A text on one line of at most so many characters: a control character, such as a line's end, is a blank.
pub fn one_line(text: &str, characters: usize) -> String {
    let line: String = text.trim().chars().map(|c| if breaks_line(c) { ' ' } else { c }).collect();
    if line.chars().count() <= characters {
        return line;
    }
    line.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}
