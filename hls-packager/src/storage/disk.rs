//! Files on disk: some grow by whole records, the others are replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Slices handed to the kernel in one `writev`: Linux takes 1024 at most (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// A file that grows by whole records: an append that fails leaves nothing of its record behind.
#[derive(Debug)]
pub(crate) struct Appender {
    path: PathBuf,
    file: File,
    len: u64,
    /// A failed append could not be taken back; it is tried again before the next one.
    dirty: bool,
}

impl Appender {
    /// An empty file in place of whatever is there.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        check(&path)?;
        let file = File::create(&path)?;
        Ok(Self { path, file, len: 0, dirty: false })
    }

    /// Goes on behind the first `len` bytes of a file, and cuts off the rest.
    pub(crate) fn resume(path: PathBuf, len: u64) -> io::Result<Self> {
        check(&path)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        let mut resumed = Self { path, file, len, dirty: true };
        resumed.take_back()?;
        Ok(resumed)
    }

    /// Its length in whole records.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends the pieces as one record, with one write unless the kernel takes less.
    pub(crate) fn append(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        check(&self.path)?;
        self.take_back()?;
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        self.dirty = true;
        let written =
            tear(&self.path, &mut self.file, pieces).and_then(|()| write_all(&mut self.file, &mut slices));
        if let Err(error) = written {
            // A disk that is full takes what fits. Nobody may read that, also if nothing is appended any more.
            let _ = self.take_back();
            return Err(error);
        }
        self.dirty = false;
        self.len += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        Ok(())
    }

    /// The file, to be synced by somebody else.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Sees to it that a power cut loses nothing of it.
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync(&self.file)
    }

    fn take_back(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.set_len(self.len)?;
            io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.len))?;
            self.dirty = false;
        }
        Ok(())
    }
}

fn write_all(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let batch = slices.len().min(SLICES_MAX);
        match file.write_vectored(&slices[..batch]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Replaces a file: readers, and a restart after a crash, see the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    check(path)?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    sync(&file)?;
    fs::rename(&temporary, path)?;
    sync_folder(path)
}

/// As [`replace`], but waits for no disk: after a power cut the file may be empty or torn until what comes back is synced.
pub(crate) fn replace_soon(path: &Path, bytes: &[u8]) -> io::Result<File> {
    check(path)?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    fs::rename(&temporary, path)?;
    Ok(file)
}

/// Makes a new or renamed file's name survive a power cut.
pub(crate) fn sync_folder(of: &Path) -> io::Result<()> {
    let Some(folder) = of.parent() else { return Ok(()) };
    sync(&File::open(folder)?)
}

/// Makes what was written survive a power cut.
#[cfg(not(test))]
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests put faults here")]
fn check(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests put faults here")]
fn tear(_: &Path, _: &mut File, _: &[Bytes]) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use faults::tear;
#[cfg(test)]
pub(crate) use faults::{Fault, check, inject, sync};

/// Disks that are full or stand still, for tests.
#[cfg(test)]
mod faults {
    use std::fs::File;
    use std::io::{self, Write};
    use std::os::fd::AsRawFd;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Condvar, Mutex};

    use bytes::Bytes;

    static FAULTS: Mutex<Vec<(PathBuf, Arc<Fault>)>> = Mutex::new(Vec::new());

    /// What is wrong with a folder.
    #[derive(Debug, Default)]
    pub(crate) struct Fault {
        state: Mutex<State>,
        changed: Condvar,
    }

    #[derive(Debug, Default)]
    struct State {
        full: bool,
        nearly_full: bool,
        stalled: bool,
        syncs_stalled: bool,
    }

    impl Fault {
        /// Writes fail from now on, or no longer.
        pub(crate) fn full(&self, full: bool) {
            self.state.lock().expect("not poisoned").full = full;
        }

        /// Files can be made from now on, but of what is appended only a part fits; or no longer.
        pub(crate) fn nearly_full(&self, nearly_full: bool) {
            self.state.lock().expect("not poisoned").nearly_full = nearly_full;
        }

        /// Writes wait from now on, or no longer.
        pub(crate) fn stalled(&self, stalled: bool) {
            self.state.lock().expect("not poisoned").stalled = stalled;
            self.changed.notify_all();
        }

        /// Syncs wait from now on, and nothing else does; or no longer.
        pub(crate) fn syncs_stalled(&self, stalled: bool) {
            self.state.lock().expect("not poisoned").syncs_stalled = stalled;
            self.changed.notify_all();
        }
    }

    /// A fault for everything below `folder`, first without effect.
    pub(crate) fn inject(folder: &Path) -> Arc<Fault> {
        let fault = Arc::new(Fault::default());
        FAULTS.lock().expect("not poisoned").push((folder.to_owned(), Arc::clone(&fault)));
        fault
    }

    fn of(path: &Path) -> Option<Arc<Fault>> {
        let faults = FAULTS.lock().expect("not poisoned");
        faults.iter().find(|(folder, _)| path.starts_with(folder)).map(|(_, it)| Arc::clone(it))
    }

    pub(crate) fn check(path: &Path) -> io::Result<()> {
        let Some(fault) = of(path) else { return Ok(()) };
        let state = fault.state.lock().expect("not poisoned");
        let state = fault.changed.wait_while(state, |state| state.stalled).expect("not poisoned");
        if state.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Tests cut no power, and make thousands of recordings: nothing is synced, but it may take its time.
    #[expect(clippy::unnecessary_wraps, reason = "a real disk may refuse")]
    pub(crate) fn sync(file: &File) -> io::Result<()> {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        if let Some(fault) = path.ok().and_then(|path| of(&path)) {
            let state = fault.state.lock().expect("not poisoned");
            drop(fault.changed.wait_while(state, |state| state.syncs_stalled).expect("not poisoned"));
        }
        Ok(())
    }

    /// Writes what fits of a record, and fails.
    pub(super) fn tear(path: &Path, file: &mut File, pieces: &[Bytes]) -> io::Result<()> {
        let Some(fault) = of(path).filter(|it| it.state.lock().expect("not poisoned").nearly_full) else {
            return Ok(());
        };
        drop(fault);
        let record = pieces.concat();
        file.write_all(&record[..record.len() / 2])?;
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_that_fails_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let fault = inject(folder.path());
        let path = folder.path().join("log");
        let mut file = Appender::create(path.clone()).expect("created");
        file.append(&[Bytes::from_static(b"one "), Bytes::from_static(b"record")]).expect("appended");
        fault.full(true);
        assert!(file.append(&[Bytes::from_static(b"lost")]).is_err());
        fault.full(false);
        fault.nearly_full(true);
        assert!(file.append(&[Bytes::from_static(b"lost")]).is_err());
        assert_eq!(fs::read(&path).expect("readable"), b"one record", "also if nothing follows");
        fault.nearly_full(false);
        file.append(&[Bytes::from_static(", another".as_bytes())]).expect("appended");
        assert_eq!(fs::read(&path).expect("readable"), b"one record, another");
        let mut file = Appender::resume(path.clone(), 3).expect("resumed");
        file.append(&[Bytes::from_static(b"!")]).expect("appended");
        assert_eq!(fs::read(&path).expect("readable"), b"one!");
    }
}
