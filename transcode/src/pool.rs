//! A few threads that run jobs: the C libraries' home, away from the async workers.
//!
//! A job is run when it was woken, by frames or by demand, and gives its thread back when it has nothing to do.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::thread::JoinHandle;

use crate::Error;
use crate::job::Job;

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
/// Woken while it ran: run it once more.
const WOKEN: u8 = 3;

/// A job in the pool's hands. Its waker queues it; it is queued at most once, so the queue is bounded by the
/// number of jobs (`Config::jobs_max`).
pub(crate) struct Task {
    state: AtomicU8,
    job: Mutex<Option<Job>>,
    pool: Weak<Shared>,
}

impl Task {
    /// Takes the job out: it never runs again.
    pub(crate) fn stop(&self) {
        let job = self.job.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(job);
    }

    fn run(self: &Arc<Self>) {
        self.state.store(RUNNING, Ordering::Release);
        let waker = Waker::from(Arc::clone(self));
        let mut slot = self.job.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = &mut *slot {
            let more = catch_unwind(AssertUnwindSafe(|| job.run(&waker)));
            match more {
                Ok(true) => {}
                Ok(false) => drop(slot.take()),
                Err(_) => {
                    job.panicked();
                    drop(slot.take());
                }
            }
        }
        drop(slot);
        if self.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_err() {
            self.state.store(QUEUED, Ordering::Release);
            self.queue();
        }
    }

    fn queue(self: &Arc<Self>) {
        if let Some(pool) = self.pool.upgrade() {
            pool.lock().ready.push_back(Arc::clone(self));
            pool.wake.notify_one();
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        loop {
            let state = self.state.load(Ordering::Acquire);
            let next = match state {
                IDLE => QUEUED,
                RUNNING => WOKEN,
                _ => return,
            };
            if self.state.compare_exchange(state, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                if next == QUEUED {
                    self.queue();
                }
                return;
            }
        }
    }
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Arc<Task>>,
    stopping: bool,
}

pub(crate) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads. Dropping it lets each finish what it runs, and joins them.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `threads` workers.
    pub(crate) fn start(threads: usize) -> Result<Self, Error> {
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new() });
        let mut pool = Self { shared, threads: Vec::new() };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new()
                .name(format!("transcode-{number}"))
                .spawn(move || work(&shared))
                .map_err(|error| Error::Open { what: "a transcode thread", why: error.to_string() })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Takes a job and runs it for the first time.
    pub(crate) fn add(&self, job: Job) -> Arc<Task> {
        let task = Arc::new(Task {
            state: AtomicU8::new(IDLE),
            job: Mutex::new(Some(job)),
            pool: Arc::downgrade(&self.shared),
        });
        Waker::from(Arc::clone(&task)).wake();
        task
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A worker catches the panics of its jobs; there is nothing to learn from its end.
            let _ = thread.join();
        }
    }
}

fn work(shared: &Shared) {
    loop {
        let task = {
            let mut queue = shared.lock();
            loop {
                if queue.stopping {
                    return;
                }
                if let Some(task) = queue.ready.pop_front() {
                    break task;
                }
                queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        };
        task.run();
    }
}
