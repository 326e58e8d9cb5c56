//! Where encoders put the stream key: three ways to write it, one meaning.

use media::ChannelName;
use secrecy::SecretString;

use crate::{Error, Written, percent};

/// Names under which a key stands in a query.
const KEY_NAMES: [&str; 4] = ["key", "token", "streamkey", "secret"];

/// What the connection URL and the publish name say.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) channel: Option<ChannelName>,
    pub(crate) key: SecretString,
    /// The other parameters.
    pub(crate) params: Option<String>,
    pub(crate) written: Written,
}

/// Reads the key from `app` (the path of the server URL, with its query if it has one) and `name` (the
/// publish name, in OBS the field "stream key").
///
/// ```text
/// rtmp://host/live             KEY              the key alone names the channel
/// rtmp://host/live             KEY?a=b          with parameters
/// rtmp://host/live/CHANNEL     KEY
/// rtmp://host/live             CHANNEL?key=KEY  or ?token=KEY, ?secret=KEY
/// rtmp://host/live/CHANNEL?key=KEY
/// ```
///
/// # Errors
/// [`Error::Unsupported`], with a text for the streamer, if there is no key or the channel cannot be one.
pub(crate) fn parse(app: &str, name: &str) -> Result<Credentials, Error> {
    let (app_path, app_query) = app.split_once('?').unwrap_or((app, ""));
    let (name_path, name_query) = name.split_once('?').unwrap_or((name, ""));
    let app_channel = app_path.trim_matches('/').split('/').nth(1).filter(|channel| !channel.is_empty());
    let name_path = name_path.trim_matches('/');
    let written = Written {
        app: app_path.trim_matches('/').to_owned(),
        stream: name_path.to_owned().into(),
        param: queries(name_query, app_query).into(),
    };

    let mut key = None;
    let mut params = String::new();
    for pair in name_query.split('&').chain(app_query.split('&')).filter(|pair| !pair.is_empty()) {
        let (parameter, value) = pair.split_once('=').unwrap_or((pair, ""));
        if KEY_NAMES.contains(&parameter) {
            key = key.or(Some(percent::decoded(value)));
        } else {
            if !params.is_empty() {
                params.push('&');
            }
            params.push_str(pair);
        }
    }
    let (channel, key) = match key {
        Some(key) if name_path.is_empty() => (app_channel, key),
        Some(key) => (Some(name_path), key),
        None => (app_channel, name_path.to_owned()),
    };
    if key.is_empty() {
        return Err(Error::Unsupported(
            "No stream key: copy the stream key of your channel into the encoder's field \"Stream key\""
                .to_owned(),
        ));
    }
    let channel = channel
        .map(ChannelName::parse)
        .transpose()
        .map_err(|error| Error::Unsupported(format!("The channel in the server URL is {error}")))?;
    Ok(Credentials { channel, key: key.into(), params: (!params.is_empty()).then_some(params), written })
}

/// Both queries as one, with its `?`.
fn queries(name: &str, app: &str) -> String {
    match (name, app) {
        ("", "") => String::new(),
        ("", one) | (one, "") => format!("?{one}"),
        (name, app) => format!("?{name}&{app}"),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn every_way_to_write_the_key() {
        for (app, name, channel, key, params) in [
            ("live", "sk_abc", None, "sk_abc", None),
            ("live", "sk_abc?bandwidthtest=true", None, "sk_abc", Some("bandwidthtest=true")),
            ("live/", "/sk_abc", None, "sk_abc", None),
            ("live/Ana", "sk_abc", Some("ana"), "sk_abc", None),
            ("live", "ana?key=sk_abc", Some("ana"), "sk_abc", None),
            ("live", "ana?a=1&token=sk%5Fabc&b=2", Some("ana"), "sk_abc", Some("a=1&b=2")),
            ("live/ana?key=sk_abc", "", Some("ana"), "sk_abc", None),
            ("live/ana?token=sk_abc&x=%zz", "", Some("ana"), "sk_abc", Some("x=%zz")),
            ("live?key=sk_abc", "", None, "sk_abc", None),
        ] {
            let got = parse(app, name).unwrap();
            assert_eq!(got.channel.as_ref().map(ChannelName::as_str), channel, "{app} {name}");
            assert_eq!(got.key.expose_secret(), key, "{app} {name}");
            assert_eq!(got.params.as_deref(), params, "{app} {name}");
        }
    }

    #[test]
    fn what_was_written_is_kept() {
        for (app, name, written) in [
            ("live", "sk_abc", ("live", "sk_abc", "")),
            ("live/ana/", "/sk_abc?a=1", ("live/ana", "sk_abc", "?a=1")),
            ("live", "ana?key=sk_abc", ("live", "ana", "?key=sk_abc")),
            ("live?a=1", "ana?secret=sk%5Fabc", ("live", "ana", "?secret=sk%5Fabc&a=1")),
            ("live/ana?key=sk_abc", "", ("live/ana", "", "?key=sk_abc")),
        ] {
            let got = parse(app, name).unwrap().written;
            let got = (got.app.as_str(), got.stream.expose_secret(), got.param.expose_secret());
            assert_eq!(got, written, "{app} {name}");
        }
    }

    #[test]
    fn no_key_and_no_channel_are_said() {
        for (app, name) in [("live", ""), ("live/ana", ""), ("live", "?x=1"), ("live", "ana?key=")] {
            let error = parse(app, name).unwrap_err().to_string();
            assert!(error.contains("Stream key"), "{error}");
        }
        assert!(parse("live/a b", "k").unwrap_err().to_string().contains("channel"));
    }
}
