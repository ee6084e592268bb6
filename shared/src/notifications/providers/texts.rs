//! A message as plain text, and texts of others made fit to keep.

use super::{Message, RESPONSE_BYTES};

/// The text on one line: where it breaks, a space. Nothing in it can begin another header.
pub(super) fn one_line(text: &str) -> String {
    let breaks = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    text.split(breaks).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Title and body, for who sees one text: the title alone if the body says nothing more.
pub(super) fn whole(message: &Message) -> String {
    let title = one_line(&message.title);
    if title.is_empty() {
        message.body.clone()
    } else if message.body.trim().is_empty() || message.body.trim() == message.title.trim() {
        title
    } else {
        format!("{title}\n{}", message.body)
    }
}

/// The text, cut to so many units of UTF-16, as some count characters.
pub(super) fn cut(text: String, most: usize) -> String {
    if text.encode_utf16().count() <= most {
        return text;
    }
    let mut left = most.saturating_sub(1);
    let fits = |letter: &char| {
        let fits = letter.len_utf16() <= left;
        left = left.saturating_sub(letter.len_utf16());
        fits
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    kept.push('…');
    kept
}

/// The beginning of an answer as text that the database takes, which knows no NUL.
pub(super) fn kept(answer: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(answer).replace('\0', "\u{fffd}");
    text.truncate(text.floor_char_boundary(RESPONSE_BYTES));
    text
}

/// An error with its causes, in one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some repeat their cause.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_has_one_line() {
        assert_eq!(one_line("Done\r\nBcc: x@example.com\u{2028}\n ok "), "Done Bcc: x@example.com ok");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("abc".to_owned(), 3), "abc");
        assert_eq!(cut("abcd".to_owned(), 3), "ab…");
        // A rocket counts twice.
        assert_eq!(cut("🚀🚀🚀".to_owned(), 5), "🚀🚀…");
        assert_eq!(cut("🚀🚀🚀".to_owned(), 4), "🚀…");
    }

    #[test]
    fn an_answer_is_kept_up_to_its_limit() {
        assert_eq!(kept(b"a\0b"), "a\u{fffd}b");
        assert!(kept(&[0xff; RESPONSE_BYTES]).len() <= RESPONSE_BYTES);
    }
}
