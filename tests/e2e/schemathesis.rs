//! schemathesis makes requests out of the OpenAPI document, good ones and bad ones, and looks at the answers.

use std::path::Path;
use std::process::{Command, Output};

use media::Kind;
use reqwest::Method;
use serde_json::json;
use tests::process::setting;
use tests::stage::{CHANNEL, KEY};
use tests::{Stage, source};

use crate::contract::Contract;
use crate::person::{set_up, sign_up};

/// What an answer must be: no 5xx, and a status, a type and a body that the document has.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance";

/// Requests made for each operation and each phase, if `SWIFTWATER_TEST_EXAMPLES` does not say.
const EXAMPLES: u32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_that_the_document_allows_or_forbids_gets_an_answer_that_it_does_not_have() {
    let stage = Stage::shared_with(|config| {
        config.accounts.sign_up = control::account::SignUp::Open;
        // Whoever fails all the time would meet these limits, which others test.
        config.api.requests_per_minute = 1_000_000;
    })
    .await;
    let publisher = source::pattern(&format!("rtmp://{}/live/{KEY}", stage.rtmp_address()), source::PLAIN);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let admin = set_up(&stage).await;
    sign_up(&stage, "bob").await;
    admin.post(&stage, "/api/v1/channels", json!({ "name": "show" })).await;
    let key = admin.post(&stage, "/api/v1/channels/show/keys", json!({})).await;
    let hook = json!({ "url": "https://bot.example.org/live" });
    let hook = admin.post(&stage, "/api/v1/hooks?channel=show", hook).await;
    let (key, hook) =
        (key["key"]["id"].as_str().expect("an id"), hook["hook"]["id"].as_str().expect("an id"));
    let test = format!("/api/v1/hooks/{hook}/test?channel=show");
    assert_eq!(admin.status(&stage, Method::POST, &test, None).await, 202);

    let folder = tempfile::tempdir().expect("a folder");
    let cookie = admin.cookie.expect("signed in");
    let operations = Contract::of(&stage).await.operations();
    let of_real = |operation: &&String| {
        let named = ["{channel}", "{login}", "{id}", "/hooks"].iter().any(|part| operation.contains(part));
        named && !operation.starts_with("DELETE")
    };
    let of_real = operations.iter().filter(of_real).count();
    // Ids that are of nothing, for every operation but the one that ends the session.
    let made_up = run(folder.path(), &stage, &cookie, &["--exclude-operation-id", "session_log_out"]).await;
    // Those of what is there, so that they come further than 404.
    let real = format!(
        "[parameters]\nchannel = \"show\"\n\"path.channel\" = \"show\"\n\"path.login\" = \"bob\"\n\"path.id\" = \"{hook}\"\n\
         [[operations]]\ninclude-path-regex = \"/keys/\"\nparameters = {{ \"path.channel\" = \"show\", \"path.id\" = \"{key}\" }}\n\
         [[operations]]\ninclude-path-regex = \"/streams/\"\nparameters = {{ \"path.channel\" = \"{CHANNEL}\" }}\n"
    );
    std::fs::write(folder.path().join("schemathesis.toml"), real).expect("written");
    let real = run(
        folder.path(),
        &stage,
        &cookie,
        &["--include-path-regex", "\\{(channel|login|id)\\}|/hooks", "--exclude-method", "DELETE"],
    )
    .await;
    for (name, output, wanted) in [("made up", made_up, operations.len() - 1), ("real", real, of_real)] {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
        let number = |what: &str| -> usize {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(what));
            line.and_then(|rest| rest.trim().parse().ok()).unwrap_or_else(|| panic!("no {what} in {said}"))
        };
        assert_eq!(number("Tested:"), wanted, "{name}: {said}");
        let cases = said.lines().find(|line| line.contains("generated")).unwrap_or_default();
        eprintln!("{name}: {} operations, {}", number("Tested:"), cases.trim());
    }
    drop(publisher);
    stage.stop().await;
}

async fn run(folder: &Path, stage: &Stage, cookie: &str, arguments: &[&str]) -> Output {
    let program = setting("SWIFTWATER_TEST_SCHEMATHESIS").unwrap_or_else(|| {
        let home = setting("HOME").unwrap_or_default();
        format!("{home}/.cache/swiftwater/schemathesis/bin/schemathesis")
    });
    let examples = setting("SWIFTWATER_TEST_EXAMPLES").unwrap_or_else(|| EXAMPLES.to_string());
    let mut command = Command::new(&program);
    command
        .current_dir(folder)
        .args(["run", "--no-color", "--phases", "examples,coverage,fuzzing", "--checks", CHECKS])
        .args(["--max-examples", &examples, "--generation-database", "none", "--continue-on-failure"])
        .args([
            "--suppress-health-check",
            "all",
            "--warnings",
            "off",
            "--header",
            &format!("Cookie: {cookie}"),
        ])
        .args(arguments)
        .arg(stage.url("/api/v1/openapi.json"));
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("it ran");
    ran.unwrap_or_else(|error| panic!("{program}: {error}; bin/test installs it"))
}
