//! A machine whose role opens the bucket: by keys that last for seconds, and by one that is taken back.

use super::*;
use crate::node::Node;
use crate::person::Person;
use tests::Machine;

/// Keys are fetched anew when they are good for less than this.
const EARLY: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_uploads_by_its_role_whose_keys_change_while_it_is_live() {
    let bucket = Bucket::start().await;
    // No key but those of the role.
    bucket.open(false);
    let machine = Machine::start(&bucket).await;
    let data = tempfile::tempdir().expect("a folder");
    let settings = format!(
        "publish.reconnect_grace_s = 1\nhls.target_duration_min_s = 1\n[hls.s3]\nbucket = \"recordings\"\n\
         endpoint = {:?}\nallow_http = true\nprefix = \"live/recordings\"\n[[channels]]\nname = {CHANNEL:?}\nkeys = \
         [{KEY:?}]\n",
        bucket.endpoint()
    );
    let node = Node::start_in(data.path(), &settings, &[machine.variable()]).await;
    let publisher = source::pattern(&format!("rtmp://{}/live/{KEY}", node.rtmp), source::PLAIN);
    let id = eventually("a recording", SOON, async || {
        let list = Person::default().get(&node, "/api/v1/recordings").await;
        list["items"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let objects = bucket.objects(&id);
    let about = async || Person::default().get(&node, &format!("/api/v1/recordings/{id}")).await;

    // The machine has no role yet.
    let keyless = "swiftwater_storage_errors_total{reason=\"keyless\"}";
    eventually("that there are no credentials", SOON, async || {
        (metric(&node, keyless).await >= 2.0).then_some(())
    })
    .await;
    let error = eventually("what to do", SOON, async || {
        about().await["uploaded"]["error"].as_str().map(str::to_owned)
    })
    .await;
    for words in ["access_key_id", "the role of this machine", machine.variable().1] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(!objects.exists());

    // It gets one, whose keys are fetched anew every second.
    machine.give(EARLY + Duration::from_secs(1));
    eventually("objects by several keys", Duration::from_secs(90), async || {
        (machine.given() >= 4 && media_of(&objects).len() >= 12).then_some(())
    })
    .await;
    let denied = "swiftwater_storage_errors_total{reason=\"denied\"}";
    assert_eq!(metric(&node, denied).await, 0.0, "each was replaced before its end");

    // One that says that it is good for hours is taken back.
    machine.give(Duration::from_secs(6 * 3600));
    let (given, there) = (machine.given(), media_of(&objects).len());
    eventually("objects by the long one", SOON, async || {
        (machine.given() > given && media_of(&objects).len() >= there + 4).then_some(())
    })
    .await;
    let (given, there) = (machine.given(), media_of(&objects).len());
    machine.revoke();
    eventually("objects by another one", SOON, async || {
        (media_of(&objects).len() >= there + 4).then_some(())
    })
    .await;
    assert!(metric(&node, denied).await >= 1.0 && machine.given() > given);

    publisher.kill();
    let whole = eventually("all of it in the bucket", Duration::from_secs(120), async || {
        let found = about().await;
        (found["uploaded"]["complete"] == true).then_some(found)
    })
    .await;
    assert!(whole["holes"] == 0 && whole["uploaded"]["error"].is_null(), "{whole}");
    let (on_disk, stored) = (media_of(&data.path().join("recordings").join(&id)), media_of(&objects));
    assert!(stored == on_disk, "{:?} and {:?}", stored.keys(), on_disk.keys());
    plays(objects.join("master.m3u8").to_str().expect("text")).await;
    eprintln!("{} keys were given out", machine.given());
    node.kill().await;
}

async fn metric(node: &Node, name: &str) -> f64 {
    let text = reqwest::get(format!("http://{}/metrics", node.http)).await.expect("HTTP answers");
    let text = text.text().await.expect("text");
    let mut values = text.lines().filter_map(|line| line.rsplit_once(' '));
    let value = values.find(|(known, _)| *known == name).and_then(|(_, value)| value.parse().ok());
    value.unwrap_or_else(|| panic!("no metric {name} in {text}"))
}
