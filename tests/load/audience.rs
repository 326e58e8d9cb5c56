//! Viewers of one process, spread over the streams that there are.

use std::io::Write;
use std::sync::Arc;

use tests::spectator::{Manner, Spectator, Tally};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Handshakes at once: a real audience does not arrive in one millisecond.
const JOINING_MAX: usize = 8;
/// Descriptors that a process needs besides its viewers' sockets: HTTP, the runtime, files.
const OTHER_DESCRIPTORS: usize = 64;

/// How an audience watches.
pub(crate) struct Plan {
    /// Where to offer; viewers take turns.
    pub(crate) whep: Vec<String>,
    /// One in so many decrypts and feeds back; 0: none.
    pub(crate) full_every: usize,
    pub(crate) loss_percent: f64,
    /// The server is a plain forwarder.
    pub(crate) plain: bool,
}

impl Plan {
    /// How viewer `number` does it.
    pub(crate) fn manner(&self, number: usize) -> Manner {
        Manner {
            full: self.full_every > 0 && number.is_multiple_of(self.full_every),
            loss_percent: self.loss_percent,
            plain: self.plain,
            // The last that counts for sure: a viewer that decrypts is slower.
            traced: number == 1,
        }
    }
}

/// Those who watch.
pub(crate) struct Audience {
    plan: Arc<Plan>,
    client: reqwest::Client,
    tally: Arc<Tally>,
    viewers: JoinSet<()>,
}

impl Audience {
    pub(crate) fn new(plan: Plan, client: reqwest::Client, tally: Arc<Tally>) -> Self {
        Self { plan: Arc::new(plan), client, tally, viewers: JoinSet::new() }
    }

    /// Lets viewers join until there are so many.
    pub(crate) async fn grow(&mut self, viewers: usize) {
        let joining = Arc::new(Semaphore::new(JOINING_MAX));
        for number in self.viewers.len()..viewers {
            let (client, tally, plan) =
                (self.client.clone(), Arc::clone(&self.tally), Arc::clone(&self.plan));
            let permit = Arc::clone(&joining).acquire_owned().await.expect("open");
            self.viewers.spawn(async move {
                let whep = &plan.whep[number % plan.whep.len()];
                let viewer = Spectator::join(&client, whep, plan.manner(number), tally).await;
                let mut viewer = viewer.expect("WHEP takes it");
                viewer.connect().await;
                drop(permit);
                viewer.watch().await;
            });
        }
        let _all = joining.acquire_many(JOINING_MAX as u32).await.expect("open");
        if let Some(ended) = self.viewers.try_join_next() {
            panic!("a viewer ended: {ended:?}");
        }
    }
}

/// Ends the process with advice if it may not open a socket for each viewer.
pub(crate) fn check_descriptors(viewers: usize) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    let needed = viewers + OTHER_DESCRIPTORS;
    if let Some(soft) = soft.filter(|soft| *soft < needed) {
        let advice =
            format!("{viewers} viewers need {needed} open files and {soft} are allowed: ulimit -n {needed}");
        let _ = writeln!(std::io::stderr(), "{advice}");
        std::process::exit(2);
    }
}
