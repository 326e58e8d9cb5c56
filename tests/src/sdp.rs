//! What clients do to session descriptions.

/// The answer with the candidates of one transport only: `udp` or `tcp`.
pub fn only(answer: &str, transport: &str) -> String {
    let wanted = format!(" 1 {transport} ");
    let stays = |line: &&str| !line.starts_with("a=candidate:") || line.contains(&wanted);
    answer.lines().filter(stays).map(|line| format!("{line}\r\n")).collect()
}

/// The fragment by which a client tells of its ICE session (RFC 8840), from its offer.
pub fn fragment_of(offer: &str) -> String {
    let line = |prefix: &str| offer.lines().find(|line| line.starts_with(prefix)).expect("an offer has it");
    ["a=ice-ufrag:", "a=ice-pwd:", "m=", "a=mid:"].map(|prefix| format!("{}\r\n", line(prefix))).concat()
}

/// The answer with the credentials of a fragment: what a client makes of the response to an ICE restart.
pub fn with_fragment(answer: &str, fragment: &str) -> String {
    let renew = |line: &str| {
        let known = ["a=ice-ufrag:", "a=ice-pwd:"].into_iter().find(|prefix| line.starts_with(prefix));
        let fresh = known.and_then(|prefix| fragment.lines().find(|fresh| fresh.starts_with(prefix)));
        format!("{}\r\n", fresh.unwrap_or(line))
    };
    answer.lines().map(renew).collect()
}
