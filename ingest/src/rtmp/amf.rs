//! AMF0 values from untrusted bytes (AMF 0 specification, chapter 2).
//!
//! `rml_amf0` writes what we send and lends its value type. It does not read what we receive: it recurses as
//! deep as a peer nests objects, which ends the process by stack overflow, and it does not know dates and
//! long strings, which real encoders put into their metadata.

use std::collections::HashMap;

use rml_rtmp::rml_amf0::Amf0Value;

use crate::Error;

/// Objects inside objects. Metadata of real encoders needs three; Enhanced RTMP's multitrack maps four.
const DEPTH_MAX: usize = 16;

/// Values in one message, nested ones included. OBS sends about 30.
const VALUES_MAX: usize = 1024;

/// Reads the values of a command or data message.
///
/// # Errors
/// [`Error::Message`] if they are malformed or over a limit.
pub(crate) fn read_all(bytes: &[u8]) -> Result<Vec<Amf0Value>, Error> {
    let mut reader = Reader { rest: bytes, values: 0 };
    let mut all = Vec::new();
    while !reader.rest.is_empty() {
        all.push(reader.value(0)?);
    }
    Ok(all)
}

fn malformed(why: &'static str) -> Error {
    Error::Message { what: "AMF0 value", why }
}

struct Reader<'a> {
    rest: &'a [u8],
    values: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Amf0Value, Error> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(malformed("too many values"));
        }
        if depth > DEPTH_MAX {
            return Err(malformed("nested too deep"));
        }
        Ok(match self.byte()? {
            0x00 => Amf0Value::Number(f64::from_be_bytes(self.array()?)),
            0x01 => Amf0Value::Boolean(self.byte()? != 0),
            0x02 => Amf0Value::Utf8String(self.short_string()?),
            0x03 => Amf0Value::Object(self.properties(depth)?),
            // Null; undefined and unsupported mean as little to us.
            0x05 => Amf0Value::Null,
            0x06 | 0x0d => Amf0Value::Undefined,
            // ECMA array: the announced count is a hint at best, the end marker rules.
            0x08 => {
                self.take(4)?;
                Amf0Value::Object(self.properties(depth)?)
            }
            0x0a => Amf0Value::StrictArray(self.strict_array(depth)?),
            // Date: milliseconds and a time zone that is always 0.
            0x0b => {
                let date = Amf0Value::Number(f64::from_be_bytes(self.array()?));
                self.take(2)?;
                date
            }
            // Long string, XML document.
            0x0c | 0x0f => {
                let length = u32::from_be_bytes(self.array()?) as usize;
                Amf0Value::Utf8String(text(self.take(length)?))
            }
            // Typed object: a class name, then as an object.
            0x10 => {
                self.short_string()?;
                Amf0Value::Object(self.properties(depth)?)
            }
            0x07 => return Err(malformed("references are not supported")),
            _ => return Err(malformed("unknown marker")),
        })
    }

    fn properties(&mut self, depth: usize) -> Result<HashMap<String, Amf0Value>, Error> {
        let mut properties = HashMap::new();
        // Some encoders leave the end marker out at the end of the message.
        while !self.rest.is_empty() {
            let name = self.short_string()?;
            if name.is_empty() && self.rest.first().is_none_or(|&marker| marker == 0x09) {
                self.rest = self.rest.get(1..).unwrap_or_default();
                break;
            }
            properties.insert(name, self.value(depth + 1)?);
        }
        Ok(properties)
    }

    fn strict_array(&mut self, depth: usize) -> Result<Vec<Amf0Value>, Error> {
        let count = u32::from_be_bytes(self.array()?);
        // Not sized by `count`: it is the peer's word. Every value takes at least one byte of the message.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth + 1)?);
        }
        Ok(values)
    }

    fn short_string(&mut self) -> Result<String, Error> {
        let length = u16::from_be_bytes(self.array()?);
        Ok(text(self.take(usize::from(length))?))
    }

    fn byte(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(malformed("cut short"))?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(malformed("cut short"))?;
        self.rest = rest;
        Ok(head)
    }
}

/// Old encoders write names in their own code page: keep what can be read.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The property `name` of an object, if `value` is one.
pub(crate) fn property<'a>(value: &'a Amf0Value, name: &str) -> Option<&'a Amf0Value> {
    match value {
        Amf0Value::Object(properties) => properties.get(name),
        _ => None,
    }
}

/// The text of a string value.
pub(crate) fn string(value: &Amf0Value) -> Option<&str> {
    match value {
        Amf0Value::Utf8String(text) => Some(text),
        _ => None,
    }
}

/// The number of a number value, or of a string that holds one (some encoders write `"30"`).
pub(crate) fn number(value: &Amf0Value) -> Option<f64> {
    match value {
        Amf0Value::Number(number) => Some(*number),
        Amf0Value::Utf8String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rml_rtmp::rml_amf0;

    use super::*;

    #[test]
    fn reads_what_rml_amf0_writes() {
        let inner = HashMap::from([("fps".to_owned(), Amf0Value::Number(30.0))]);
        let values = vec![
            Amf0Value::Utf8String("connect".into()),
            Amf0Value::Number(1.0),
            Amf0Value::Object(HashMap::from([
                ("app".to_owned(), Amf0Value::Utf8String("live".into())),
                ("deep".to_owned(), Amf0Value::Object(inner)),
            ])),
            Amf0Value::StrictArray(vec![Amf0Value::Boolean(true), Amf0Value::Null]),
            Amf0Value::Undefined,
        ];
        let bytes = rml_amf0::serialize(&values).unwrap();
        assert_eq!(read_all(&bytes).unwrap(), values);
    }

    #[test]
    fn reads_what_rml_amf0_does_not_know() {
        let date = [&[0x0b][..], &1.5f64.to_be_bytes(), &[0, 0]].concat();
        assert_eq!(read_all(&date).unwrap(), [Amf0Value::Number(1.5)]);
        let long = [&[0x0c, 0, 0, 0, 2][..], b"hi"].concat();
        assert_eq!(read_all(&long).unwrap(), [Amf0Value::Utf8String("hi".into())]);
        // ECMA array without its end marker, as the last value.
        let array = [&[0x08, 0, 0, 0, 9, 0, 1][..], b"a", &[0x05]].concat();
        assert_eq!(
            read_all(&array).unwrap(),
            [Amf0Value::Object(HashMap::from([("a".to_owned(), Amf0Value::Null)]))]
        );
    }

    #[test]
    fn nesting_and_counts_are_bounded() {
        let deep: Vec<u8> = [0x03, 0, 1, b'a'].repeat(100_000);
        assert!(read_all(&deep).is_err(), "objects in objects");
        let arrays: Vec<u8> = [0x0a, 0, 0, 0, 1].repeat(100_000);
        assert!(read_all(&arrays).is_err(), "arrays in arrays");
        assert!(read_all(&[0x0a, 0xff, 0xff, 0xff, 0xff]).is_err(), "a count without values");
        assert!(read_all(&[0x05; VALUES_MAX + 1]).is_err(), "many values");
        for cut in [&[0x00, 1][..], &[0x02, 0, 5, b'a'], &[0x01], &[0x0c, 255, 255, 255, 255], &[0x09]] {
            assert!(read_all(cut).is_err(), "{cut:?}");
        }
    }
}
