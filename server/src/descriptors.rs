//! How many files and sockets this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// The soft and the hard limit; `None` is no limit.
pub(crate) fn limits() -> (Option<u64>, Option<u64>) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    (current, maximum)
}

/// Raises the soft limit to the hard one: many systems give 1024, which is a thousand viewers. The soft limit is that
/// low for programs that use `select`, which this one does not.
pub(crate) fn raise() {
    let (before, hard) = limits();
    if before == hard {
        info!(descriptors = hard, "the limit of open files and sockets is as high as it may be");
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }) {
        Ok(()) => info!(before, descriptors = hard, "raised the limit of open files and sockets"),
        Err(error) => warn!(%error, descriptors = before, "cannot raise the limit of open files and sockets"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise();
        let (soft, hard) = limits();
        assert_eq!(soft, hard);
    }
}
