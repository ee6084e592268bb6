//! A message as plain text, and texts of others made fit to keep.

use super::{Message, RESPONSE_BYTES};
use crate::notifications::model::Channel;

/// Units of UTF-16, as phones and Telegram count characters, that a message of title and body has at most
/// (Kavenegar: 900 for one text, status 413; Bot API, `sendMessage`: 4,096); `None`: no limit of the channel's own.
pub fn longest(channel: Channel) -> Option<usize> {
    match channel {
        Channel::Sms => Some(900),
        Channel::Telegram => Some(4096),
        Channel::Email | Channel::Webhook => None,
    }
}

/// Whether a letter ends a line, or changes the direction of what follows it: none belongs in a title.
pub fn breaks_line(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text on one line: where it breaks, a space. Nothing in it can begin another header.
pub(super) fn one_line(text: &str) -> String {
    text.split(breaks_line).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Title and body, for who sees one text: the title alone if the body says nothing more.
pub fn whole(title: &str, body: &str) -> String {
    let line = one_line(title);
    if line.is_empty() {
        body.to_owned()
    } else if body.trim().is_empty() || body.trim() == title.trim() {
        line
    } else {
        format!("{line}\n{body}")
    }
}

/// Title and body as a channel carries them. What people write is refused where it is too long; what tells of an
/// event is cut, and says so by its end.
pub(super) fn carried(message: &Message, channel: Channel) -> String {
    let text = whole(&message.title, &message.body);
    cut(text, longest(channel).unwrap_or(usize::MAX))
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
