//! Addresses of recipients: what is one, and how it is written.

use super::{guard::Guard, texts};
use crate::notifications::model::Channel;
use lettre::Address;

/// Longest mailbox (RFC 5321).
const MAILBOX_BYTES: usize = 254;

/// The address as a channel's providers take it, or what is wrong with it and what would be right.
pub fn check_address(channel: Channel, text: &str, guard: &Guard) -> Result<String, String> {
    let text = text.trim();
    match channel {
        Channel::Email => mailbox(text).map(|address| address.to_string()),
        Channel::Sms => phone(text),
        Channel::Telegram => chat(text),
        Channel::Webhook => guard.check_url(text).map(Into::into),
    }
}

/// A mailbox, its domain as DNS knows it.
pub(super) fn mailbox(text: &str) -> Result<Address, String> {
    let fault = || format!("{} is no e-mail address; write it like ann@example.org", shown(text));
    if text.len() > MAILBOX_BYTES {
        return Err(format!("an e-mail address has at most {MAILBOX_BYTES} bytes"));
    }
    let address: Address = text.parse().map_err(|_| fault())?;
    // Quoted names and numbers for domains are addresses that no mail can be written to here.
    if address.domain().starts_with('[') || address.user().contains('"') {
        return Err(fault());
    }
    match url::Host::parse(address.domain()) {
        Ok(url::Host::Domain(domain)) => Address::new(address.user(), domain).map_err(|_| fault()),
        _ => Err(fault()),
    }
}

fn phone(text: &str) -> Result<String, String> {
    let separates = |letter: &char| letter.is_whitespace() || matches!(letter, '-' | '‐'..='–' | '(' | ')');
    let number: String = text.chars().filter(|letter| !separates(letter)).map(latin_digit).collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    if (5..=15).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Ok(number);
    }
    Err(format!("{} is no phone number; write 5 to 15 digits, like +989121234567", shown(text)))
}

/// A chat by its number (groups have negative ones), or a public one by its name.
fn chat(text: &str) -> Result<String, String> {
    if let Some(id) = text.parse::<i64>().ok().filter(|&id| id != 0) {
        return Ok(id.to_string());
    }
    let well_formed = text.strip_prefix('@').is_some_and(|name| {
        (4..=32).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
    });
    if well_formed {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is no Telegram chat; write its number, like 123456789, or a channel's @name",
        shown(text)
    ))
}

/// Persian and Arabic digits as Latin ones.
fn latin_digit(letter: char) -> char {
    let value = match letter {
        '\u{6f0}'..='\u{6f9}' => u32::from(letter) - 0x6f0,
        '\u{660}'..='\u{669}' => u32::from(letter) - 0x660,
        _ => return letter,
    };
    char::from_digit(value, 10).unwrap_or(letter)
}

fn shown(text: &str) -> String {
    format!("{:?}", texts::cut(text.to_owned(), 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(channel: Channel, text: &str) -> Result<String, String> {
        check_address(channel, text, &Guard::default())
    }

    #[test]
    fn addresses_are_normalised() {
        for (channel, text, expected) in [
            (Channel::Email, " Ann+x@Example.ORG ", "Ann+x@example.org"),
            (Channel::Email, "ann@пример.рф", "ann@xn--e1afmkfd.xn--p1ai"),
            (Channel::Email, "علی@example.com", "علی@example.com"),
            (Channel::Sms, "+98 (912) 123-45-67", "+989121234567"),
            (Channel::Sms, "۰۹۱۲ ۱۲۳ ۴۵۶۷", "09121234567"),
            (Channel::Telegram, "-1001234567890", "-1001234567890"),
            (Channel::Telegram, "@millrace_news", "@millrace_news"),
            (Channel::Webhook, "HTTPS://Example.com:443/a", "https://example.com/a"),
        ] {
            assert_eq!(check(channel, text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_what_would_be() {
        for (channel, text, part) in [
            (Channel::Email, "ann", "ann@example.org"),
            (Channel::Email, "ann@", "ann@example.org"),
            (Channel::Email, "a b@example.org", "ann@example.org"),
            (Channel::Email, "ann@example.org\r\nRCPT TO:<bob@example.org>", "ann@example.org"),
            (Channel::Email, "Ann <ann@example.org>", "ann@example.org"),
            (Channel::Email, "ann@example.org,bob@example.org", "ann@example.org"),
            (Channel::Sms, "1234", "+989121234567"),
            (Channel::Sms, "+98912123456789012", "+989121234567"),
            (Channel::Sms, "call me", "+989121234567"),
            (Channel::Telegram, "0", "123456789"),
            (Channel::Telegram, "ann", "123456789"),
            (Channel::Telegram, "@a b", "123456789"),
            (Channel::Webhook, "http://10.0.0.1/", "allow="),
            (Channel::Webhook, "example.com/hooks", "https://example.com/hooks"),
        ] {
            let error = check(channel, text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
