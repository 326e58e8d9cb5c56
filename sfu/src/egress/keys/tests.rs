use super::*;

pub(in crate::egress) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Keys that a test vector names, instead of derived ones.
pub(in crate::egress) fn given(profile: Profile, key: &str, salt: &str) -> Keys {
    match profile {
        Profile::AeadAes128Gcm => Keys::Gcm {
            key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &hex(key)).unwrap()),
            salt: hex(salt).try_into().unwrap(),
        },
        Profile::Aes128CmSha1_80 => Keys::Cm(Box::new(CounterMode {
            key: counter_mode(&hex(key)),
            salt: hex(salt).try_into().unwrap(),
            mac: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &[0; 20]),
        })),
    }
}

#[test]
fn rfc_3711_b3_key_derivation() {
    let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
    let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
    assert_eq!(derive::<16>(&key, &salt, 0)[..], hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derive::<14>(&key, &salt, 2)[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(derive::<20>(&key, &salt, 1)[..], hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}
