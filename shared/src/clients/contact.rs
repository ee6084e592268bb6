//! The contact fields of a client, which people may edit, held to the rules of clients files.

use super::{
    model::Client,
    parse::{
        ValueFault, address_fault, country_fault, email_fault, full_name_fault, phone_fault, telegram_fault,
    },
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Something for each contact field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields<T> {
    /// Full name.
    pub name: T,
    /// E-mail.
    pub email: T,
    /// Phone number.
    pub phone_number: T,
    /// Telegram chat: its number, or a public one's `@name`.
    pub telegram_chat_id: T,
    /// Postal address; may have several lines.
    pub address: T,
    /// Country.
    pub country: T,
}

/// A client's contact fields; what is not known is `None`, never blank.
pub type Contact = Fields<Option<String>>;
/// What is to become of each contact field: `None` leaves it, `Some(None)` empties it.
pub type ContactPatch = Fields<Option<Option<String>>>;

/// A value that a field cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// The field.
    pub field: &'static str,
    /// What is wrong with the value.
    pub message: String,
}

impl<T> Fields<T> {
    /// Each field with its name.
    pub fn named(&self) -> [(&'static str, &T); 6] {
        [
            ("name", &self.name),
            ("email", &self.email),
            ("phone_number", &self.phone_number),
            ("telegram_chat_id", &self.telegram_chat_id),
            ("address", &self.address),
            ("country", &self.country),
        ]
    }

    fn zip<U, V>(self, other: Fields<U>, with: impl Fn(T, U) -> V) -> Fields<V> {
        Fields {
            name: with(self.name, other.name),
            email: with(self.email, other.email),
            phone_number: with(self.phone_number, other.phone_number),
            telegram_chat_id: with(self.telegram_chat_id, other.telegram_chat_id),
            address: with(self.address, other.address),
            country: with(self.country, other.country),
        }
    }
}

impl Contact {
    /// A client's.
    pub fn of(client: &Client) -> Self {
        Self {
            name: client.name.clone(),
            email: client.email.clone(),
            phone_number: client.phone_number.clone(),
            telegram_chat_id: client.telegram_chat_id.clone(),
            address: client.address.clone(),
            country: client.country.clone(),
        }
    }

    /// Tells these values from others: whoever edits says by it what they had seen.
    pub fn version(&self) -> String {
        let values = self.named().map(|(_, value)| value.as_deref());
        // Texts and nulls always serialise.
        let bytes = serde_json::to_vec(&values).unwrap_or_default();
        hex::encode(&Sha256::digest(bytes)[..8])
    }

    /// With a patch applied. Blanks around a value are dropped; a blank value is none.
    pub fn patched(&self, patch: &ContactPatch) -> Self {
        let neat = |text: String| {
            let text = text.replace("\r\n", "\n").trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        self.clone().zip(patch.clone(), |old, new| match new {
            None => old,
            Some(new) => new.and_then(neat),
        })
    }

    /// What is wrong with the values that differ from `earlier`.
    pub fn faults(&self, earlier: &Self) -> Vec<FieldFault> {
        let rules: Fields<fn(&[u8]) -> ValueFault> = Fields {
            name: full_name_fault,
            email: email_fault,
            phone_number: phone_fault,
            telegram_chat_id: telegram_fault,
            address: address_fault,
            country: country_fault,
        };
        let changed = self.named().into_iter().zip(earlier.named()).zip(rules.named());
        changed
            .filter(|((new, old), _)| new != old)
            .filter_map(|(((field, value), _), (_, rule))| {
                let (_, message) = rule(value.as_ref()?.as_bytes())?;
                Some(FieldFault { field, message })
            })
            .collect()
    }

    /// Both sides of what differs, as JSON objects: `{"before": {…}, "after": {…}}`.
    pub fn difference(&self, after: &Self) -> Value {
        let (mut old, mut new) = (Map::new(), Map::new());
        for ((field, before), (_, after)) in self.named().into_iter().zip(after.named()) {
            if before != after {
                old.insert(field.to_owned(), before.clone().into());
                new.insert(field.to_owned(), after.clone().into());
            }
        }
        serde_json::json!({ "before": old, "after": new })
    }

    /// As it was before a [`difference`](Self::difference).
    pub fn before(&self, difference: &Value) -> Self {
        let text = |field: &str| {
            let value = difference["before"].get(field)?;
            Some(value.as_str().map(str::to_owned))
        };
        let earlier = ContactPatch {
            name: text("name"),
            email: text("email"),
            phone_number: text("phone_number"),
            telegram_chat_id: text("telegram_chat_id"),
            address: text("address"),
            country: text("country"),
        };
        self.clone().zip(earlier, |now, earlier| earlier.unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(name: &str, email: Option<&str>) -> Contact {
        Contact { name: Some(name.to_owned()), email: email.map(str::to_owned), ..Contact::default() }
    }

    fn set(text: &str) -> Option<Option<String>> {
        Some(Some(text.to_owned()))
    }

    #[test]
    fn a_patch_leaves_sets_and_empties() {
        let ann = contact("Ann", Some("ann@example.org"));
        let patch = ContactPatch {
            email: Some(None),
            address: set(" 1 Road\r\nTown "),
            country: set("  "),
            ..ContactPatch::default()
        };
        let patched = ann.patched(&patch);
        assert_eq!(patched, Contact { address: Some("1 Road\nTown".to_owned()), ..contact("Ann", None) });
        assert_ne!(patched.version(), ann.version());
        assert_eq!(ann.patched(&ContactPatch::default()).version(), ann.version());
    }

    #[test]
    fn a_difference_leads_back() {
        let (ann, anna) = (contact("Ann", None), contact("Anna", Some("a@b")));
        let difference = ann.difference(&anna);
        assert_eq!(difference["before"], serde_json::json!({ "name": "Ann", "email": null }));
        assert_eq!(anna.before(&difference), ann);
    }

    #[test]
    fn only_what_changed_has_faults() {
        let odd = Contact { phone_number: Some("x".repeat(60)), ..contact("Ann", None) };
        let wanted = odd.patched(&ContactPatch { email: set("nowhere"), ..ContactPatch::default() });
        let faults = wanted.faults(&odd);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].field == "email" && faults[0].message.contains("write it like"), "{faults:?}");
    }
}
