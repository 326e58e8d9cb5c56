//! HTTP/1.1 and HTTP/2: the same answers.

use reqwest::{Client, ClientBuilder, Version};
use tests::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_urls_are_right_in_both_versions_of_http() {
    let stage = Stage::shared().await;
    let base = stage.url("");
    for (version, client) in [
        (Version::HTTP_11, Client::builder().http1_only()),
        // It names the host as `:authority`, without a Host header.
        (Version::HTTP_2, Client::builder().http2_prior_knowledge()),
    ] {
        let client = ClientBuilder::build(client).expect("a client");
        let answer = client.get(format!("{base}/api/v1/info")).send().await.expect("HTTP answers");
        assert_eq!(answer.version(), version);
        let info: serde_json::Value = answer.json().await.expect("JSON");
        assert_eq!(info["whipUrl"], format!("{base}/whip"), "{version:?}: {info}");
        assert_eq!(info["rtmpUrl"], format!("rtmp://{}/live", stage.rtmp_address()), "{version:?}: {info}");
    }
    stage.stop().await;
}
