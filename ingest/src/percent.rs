//! Percent-encoding in URLs (RFC 3986 section 2.1).

/// Undoes the escapes; anything that is not one stays as it is.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        if first == b'%'
            && let (Some(high), Some(low)) = (hex(0), hex(1))
        {
            bytes.push((high * 16 + low) as u8);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn escapes_are_undone_and_nothing_else() {
        for (text, plain) in [("a%2Db", "a-b"), ("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%41%42", "AB")] {
            assert_eq!(decoded(text), plain);
        }
    }
}
