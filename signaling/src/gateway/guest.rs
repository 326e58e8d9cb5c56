//! Who has no account: a name and an id, made up.

use std::fmt::Write;

use chat::User;
use rand::RngCore;

/// Longest guest name in characters.
const NAME_CHARS_MAX: usize = 25;

/// A guest's name: letters and digits of any script, `_`, `-` and single spaces.
pub(super) fn clean_name(name: &str) -> Option<String> {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    (fits && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '))).then_some(name)
}

/// Somebody new without an account.
pub(super) fn guest(name: Option<&str>) -> User {
    let hex = random_hex::<10>();
    let (short, id) = hex.split_at(4);
    User {
        id: format!("gst_{id}"),
        login: format!("guest-{short}"),
        display: name.and_then(clean_name).unwrap_or_else(|| format!("Guest-{short}")),
        badges: Vec::new(),
    }
}

/// So many random bytes, in twice as many digits.
pub(super) fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0u8; BYTES];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
