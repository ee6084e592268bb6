//! How providers are configured: by URLs whose user is the credential and whose query holds the rest.

use std::time::Duration;
use url::Url;

/// Values of a URL's query. A plus is a plus, as in phone numbers and mailboxes; a space is `%20`.
fn parameters(url: &Url) -> impl Iterator<Item = (String, String)> {
    let pairs = url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// A value of the query.
pub(super) fn parameter(url: &Url, name: &str) -> Option<String> {
    parameters(url).find_map(|(found, value)| (found == name).then_some(value))
}

/// The URL without these parameters.
pub(super) fn without(mut url: Url, names: &[&str]) -> Url {
    let query = url.query().unwrap_or_default().to_owned();
    let name_of = |pair: &str| decoded(pair.split_once('=').map_or(pair, |(name, _)| name));
    let kept: Vec<&str> = query.split('&').filter(|pair| !names.contains(&name_of(pair).as_str())).collect();
    let kept = kept.join("&");
    url.set_query((!kept.is_empty()).then_some(kept.as_str()));
    url
}

/// Refuses parameters that nobody would read, as a slip of the pen would go unnoticed.
pub(super) fn check_parameters(url: &Url, known: &[&str]) -> Result<(), String> {
    if url.fragment().is_some() {
        return Err("it has a #…, which means nothing; a # in a name or a password is written %23".to_owned());
    }
    let mut seen = Vec::new();
    for (name, _) in parameters(url) {
        if !known.contains(&name.as_str()) {
            let known = [known, &["name", "rate"]].concat().join(", ");
            return Err(format!("the parameter {name:?} is not known; known are {known}"));
        }
        if seen.contains(&name) {
            return Err(format!("the parameter {name:?} is there twice"));
        }
        seen.push(name);
    }
    Ok(())
}

/// `timeout_ms`, or what is usual.
pub(super) fn time_limit(url: &Url, usual: Duration) -> Result<Duration, String> {
    let Some(text) = parameter(url, "timeout_ms") else { return Ok(usual) };
    let ms = text.parse().ok().filter(|ms| (1..=600_000).contains(ms));
    ms.map(Duration::from_millis).ok_or_else(|| format!("timeout_ms={text} is no number from 1 to 600000"))
}

/// Text with its `%20`s read.
pub(super) fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// What stands before the `@` as one credential: it may hold a colon.
pub(super) fn credential(url: &Url) -> Option<String> {
    let user = decoded(url.username());
    let whole = match url.password() {
        Some(password) => format!("{user}:{}", decoded(password)),
        None => user,
    };
    (!whole.is_empty()).then_some(whole)
}

/// The host, if there is one.
pub(super) fn host(url: &Url) -> Result<&str, String> {
    url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| "it names no host".to_owned())
}

/// Where an HTTP API is: by TLS, unless the scheme ends in `+http`.
pub(super) fn http_base(url: &Url) -> Result<String, String> {
    let scheme = if url.scheme().ends_with("+http") { "http" } else { "https" };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{scheme}://{}{port}{}", host(url)?, url.path().trim_end_matches('/')))
}

/// Credentials, that no text shown to people may hold.
#[derive(Clone)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// These, as far as they are long enough to be secret: hiding the letter `a` would only garble texts.
    pub(super) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        Self(secrets.into_iter().filter(|secret| secret.len() >= 4).collect())
    }

    /// The text without them: a server may quote what it was sent.
    pub(super) fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_stays_a_plus_and_parameters_go_by_name() {
        let url = Url::parse("smtp://h?from=A%20<a+b@example.com>&rate=5&name=x").unwrap();
        assert_eq!(parameter(&url, "from").as_deref(), Some("A <a+b@example.com>"));
        let stripped = without(url, &["name", "rate"]);
        assert_eq!(stripped.query().map(decoded).as_deref(), Some("from=A <a+b@example.com>"));
        let bare = without(Url::parse("webhook:?rate=5").unwrap(), &["name", "rate"]);
        assert_eq!(bare.as_str(), "webhook:");
    }

    #[test]
    fn a_credential_may_hold_a_colon() {
        let of = |text: &str| credential(&Url::parse(text).unwrap());
        assert_eq!(of("telegram://123:ab-c@api.telegram.org").as_deref(), Some("123:ab-c"));
        assert_eq!(of("kavenegar://5A%2F%3D@api.kavenegar.com").as_deref(), Some("5A/="));
        assert_eq!(of("kavenegar://api.kavenegar.com"), None);
    }
}
