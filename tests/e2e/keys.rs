//! Stream keys: who has none or the wrong one hears why, and no log line ever has one.

use std::time::Duration;

use tests::stage::{CHANNEL, KEY};
use tests::{Process, Stage, log, source};

/// In no other test, so that a log line that has it comes from here.
const WRONG: &str = "sk_wrong_71d0c5e9f2";

/// A real encoder's offer.
const OFFER: &str = include_str!("../../sfu/tests/fixtures/offers/obs.offer.sdp");

#[tokio::test(flavor = "multi_thread")]
async fn rtmp_refuses_wrong_and_missing_keys_in_the_encoders_own_words() {
    let stage = Stage::shared().await;
    let base = format!("rtmp://{}/live", stage.rtmp_address());
    for (url, advice) in [
        (
            format!("{base}/{WRONG}"),
            "Unknown stream key: copy the key of your channel into the encoder again",
        ),
        (format!("{base}/{CHANNEL}?key={WRONG}"), "Unknown stream key"),
        (base.clone(), "No stream key: copy the stream key of your channel"),
        (format!("{base}/other/{KEY}"), "this stream key is not of channel other"),
    ] {
        let publisher = source::pattern(&url, source::PLAIN);
        let (status, said) = wait(publisher).await;
        assert!(!status.success(), "{url}: {said}");
        assert!(said.contains(advice), "{url}: {said}");
    }
    assert_eq!(stage.metric("swiftwater_rtmp_rejections_total").await, 4.0);
    assert!(stage.server().hub().streams().is_empty());
    no_key_was_logged("rtmp");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whip_refuses_wrong_and_missing_keys_with_a_problem() {
    let stage = Stage::shared().await;
    for (path, token, status, detail) in [
        ("/whip/stage", None, 401, "A stream key is needed"),
        ("/whip", None, 401, "A stream key is needed"),
        ("/whip/stage", Some(WRONG), 401, "Unknown stream key"),
        ("/whip", Some(WRONG), 401, "Unknown stream key"),
        (concat!("/whip/stage?key=", "sk_wrong_71d0c5e9f2"), None, 401, "Unknown stream key"),
        ("/whip/other", Some(KEY), 403, "this stream key is not of channel other"),
    ] {
        let response = post(&stage, path, token).await;
        let got = response.status().as_u16();
        let header =
            |name: &str| response.headers().get(name).map(|value| value.to_str().expect("ASCII").to_owned());
        let (kind, challenge) = (header("content-type"), header("www-authenticate"));
        let problem: serde_json::Value = response.json().await.expect("JSON");
        assert_eq!(got, status, "{path}: {problem}");
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{path}");
        // RFC 9110 section 15.5.2: 401 must say how to authenticate, and nothing else may.
        assert_eq!(challenge.as_deref(), (status == 401).then_some("Bearer"), "{path}");
        assert_eq!(problem["status"], status, "{problem}");
        let text = problem["detail"].as_str().expect("text");
        assert!(text.contains(detail), "{path}: {text}");
        assert!(!problem.to_string().contains(WRONG) && !problem.to_string().contains(KEY), "{problem}");
    }
    assert!(stage.server().hub().streams().is_empty());

    let accepted = post(&stage, "/whip/stage", Some(KEY)).await;
    assert_eq!(accepted.status().as_u16(), 201);
    let location = accepted.headers()["location"].to_str().expect("ASCII").to_owned();
    let session = if location.starts_with('/') { stage.url(&location) } else { location };
    let deleted = reqwest::Client::new().delete(session).send().await.expect("HTTP answers");
    assert!(deleted.status().is_success(), "{}", deleted.status());
    no_key_was_logged("whip");
    stage.stop().await;
}

async fn post(stage: &Stage, path: &str, token: Option<&str>) -> reqwest::Response {
    let mut request = reqwest::Client::new().post(stage.url(path)).header("content-type", "application/sdp");
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.body(OFFER).send().await.expect("HTTP answers")
}

async fn wait(process: Process) -> (std::process::ExitStatus, String) {
    tokio::task::spawn_blocking(|| process.wait(Duration::from_secs(30))).await.expect("it ran")
}

/// The refusals are in the log, the keys are not, not even below the level that operators see.
fn no_key_was_logged(transport: &str) {
    assert!(!log::lines(&["publisher refused", transport]).is_empty(), "refusals are logged");
    for key in [WRONG, KEY] {
        assert_eq!(log::lines(&[key]), Vec::<String>::new());
    }
}
