//! The ledger of a recording: which objects the bucket has confirmed, one checksummed line each, beside the recording.
//!
//! ```text
//! 3f2a9c10 {"object":"video/s7.m4s","bytes":512034,"sum":3735928559}
//! ```
//! What stands here was confirmed; what was confirmed may be missing here, and is then put again. So a line that is torn
//! or was lost in a power cut does no harm, and only before something is deleted from disk the ledger is synced.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::recording::{checksummed, unchecksummed};
use crate::storage::disk::{Appender, replace};

/// Its name in the folder of a recording.
pub(crate) const FILE: &str = "uploaded.log";

/// An object that was confirmed, or removed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    object: String,
    /// `None`: it was removed.
    #[serde(flatten)]
    confirmed: Option<Confirmed>,
}

/// What was confirmed of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confirmed {
    pub(crate) bytes: u64,
    /// CRC-32 of its bytes.
    pub(crate) sum: u32,
}

/// The objects of a recording that are in the bucket.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    file: Option<Appender>,
    objects: BTreeMap<String, Confirmed>,
    /// Lines that the disk did not take yet.
    waiting: String,
}

impl Ledger {
    /// Reads the ledger in `folder`; an empty one if there is none.
    ///
    /// # Errors
    /// What reading or cutting off a torn line says.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut ledger = Self { path, file: None, objects: BTreeMap::new(), waiting: String::new() };
        let Some(bytes) = bytes else { return Ok(ledger) };
        let (lines, bad) = unchecksummed::<Line>(&bytes);
        for line in lines {
            match line.confirmed {
                Some(confirmed) => ledger.objects.insert(line.object, confirmed),
                None => ledger.objects.remove(&line.object),
            };
        }
        let mut len = bytes.len() as u64;
        if bad > 0 || !bytes.ends_with(b"\n") {
            let text = ledger.text();
            replace(&ledger.path, text.as_bytes())?;
            len = text.len() as u64;
        }
        ledger.file = Some(Appender::resume(ledger.path.clone(), len)?);
        Ok(ledger)
    }

    /// What was confirmed of this object.
    pub(crate) fn get(&self, object: &str) -> Option<Confirmed> {
        self.objects.get(object).copied()
    }

    /// All of them, by name.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (&str, Confirmed)> {
        self.objects.iter().map(|(object, confirmed)| (object.as_str(), *confirmed))
    }

    /// The bucket has an object.
    ///
    /// # Errors
    /// What the disk says; the line is written with the next one.
    pub(crate) fn confirm(&mut self, object: &str, confirmed: Confirmed) -> io::Result<()> {
        self.objects.insert(object.to_owned(), confirmed);
        self.write(object, Some(confirmed))
    }

    /// The bucket no longer has an object.
    ///
    /// # Errors
    /// As for [`Self::confirm`].
    pub(crate) fn forget(&mut self, object: &str) -> io::Result<()> {
        self.objects.remove(object);
        self.write(object, None)
    }

    /// Sees to it that a power cut loses nothing of it.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.as_ref().map_or(Ok(()), Appender::sync)
    }

    fn write(&mut self, object: &str, confirmed: Option<Confirmed>) -> io::Result<()> {
        // A disk that takes nothing for long: all that counts stands in the map anyway.
        if self.waiting.len() > WAITING_BYTES_MAX {
            self.waiting = self.text();
        } else {
            self.waiting.push_str(&checksummed(&Line { object: object.to_owned(), confirmed }));
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(Appender::create(self.path.clone())?),
        };
        file.append(&[Bytes::from(self.waiting.clone())])?;
        self.waiting.clear();
        Ok(())
    }

    fn text(&self) -> String {
        let line = |(object, confirmed): (&str, Confirmed)| {
            checksummed(&Line { object: object.to_owned(), confirmed: Some(confirmed) })
        };
        self.objects().map(line).collect()
    }
}

/// Lines that wait for a disk that takes none, in bytes: ten thousand of them. At the limit they are replaced by one line
/// per object, which is all that they come to.
const WAITING_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::disk::inject;

    fn confirmed(bytes: u64) -> Confirmed {
        Confirmed { bytes, sum: 7 }
    }

    #[test]
    fn a_ledger_that_was_torn_claims_nothing_that_it_did_not_say() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open(folder.path()).expect("a ledger");
        let mut states = vec![ledger.objects.clone()];
        let mut ends = vec![0];
        for (object, bytes) in
            [("video/s0.m4s", Some(10)), ("video/s1.m4s", Some(11)), ("video/s0.m4s", None)]
        {
            match bytes {
                Some(bytes) => ledger.confirm(object, confirmed(bytes)).expect("written"),
                None => ledger.forget(object).expect("written"),
            }
            states.push(ledger.objects.clone());
            ends.push(fs::metadata(folder.path().join(FILE)).expect("there").len() as usize);
        }
        let all = fs::read(folder.path().join(FILE)).expect("readable");
        for cut in 0..=all.len() {
            let torn = tempfile::tempdir().expect("a folder");
            fs::write(torn.path().join(FILE), &all[..cut]).expect("written");
            let whole = ends.iter().rposition(|end| *end <= cut + 1).expect("the first is 0");
            let mut read = Ledger::open(torn.path()).expect("readable");
            // A line without its end is whole if its checksum says so.
            assert_eq!(read.objects, states[whole], "{cut}");
            read.confirm("video/s9.m4s", confirmed(9)).expect("it goes on");
            let again = Ledger::open(torn.path()).expect("readable");
            assert_eq!(again.objects, read.objects, "{cut}");
        }
    }

    #[test]
    fn what_a_full_disk_did_not_take_is_written_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let fault = inject(folder.path());
        let mut ledger = Ledger::open(folder.path()).expect("a ledger");
        fault.full(true);
        assert!(ledger.confirm("video/s0.m4s", confirmed(1)).is_err());
        assert!(ledger.sync().is_err(), "nothing may be deleted on its word");
        assert_eq!(Ledger::open(folder.path()).expect("a ledger").get("video/s0.m4s"), None);
        fault.full(false);
        ledger.confirm("video/s1.m4s", confirmed(2)).expect("written");
        ledger.sync().expect("synced");
        let read = Ledger::open(folder.path()).expect("readable");
        assert_eq!(
            (read.get("video/s0.m4s"), read.get("video/s1.m4s")),
            (Some(confirmed(1)), Some(confirmed(2)))
        );
    }
}
