//! The only writer of what is served. It also frees what is served no more: a large image takes long to take down, and a thread
//! that answers queries must never be the one to do it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::image::Serving;
use crate::server::Shared;

/// Publishes what is served and keeps what was until nobody reads it.
#[derive(Debug)]
pub struct Publisher {
    shared: Shared,
    retired: Mutex<Vec<Arc<Serving>>>,
    /// How often something was published.
    published: watch::Sender<u64>,
}

impl Publisher {
    /// Begins with this.
    pub fn new(first: Serving) -> Self {
        Self {
            shared: Arc::new(ArcSwap::from_pointee(first)),
            retired: Mutex::default(),
            published: watch::Sender::new(0),
        }
    }

    /// What readers load from.
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Serves this from now on. A query that is being answered is answered from what it began with.
    pub fn publish(&self, next: Serving) -> Arc<Serving> {
        let next = Arc::new(next);
        let mut retired = self.retired();
        retired.push(self.shared.swap(next.clone()));
        drop(retired);
        self.published.send_modify(|count| *count += 1);
        next
    }

    /// Changes whenever something is published.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Frees what is served no more and read by nobody; says whether something is still read. Called now and then, on a thread
    /// that may take its time.
    pub fn sweep(&self) -> bool {
        let mut retired = self.retired();
        // Only this list and its readers hold a retired one, and nobody becomes a reader of it: who is alone stays alone.
        let (free, read): (Vec<_>, Vec<_>) = retired.drain(..).partition(|one| Arc::strong_count(one) == 1);
        *retired = read;
        let remain = !retired.is_empty();
        drop(retired);
        // Now, after the lock is given back: this is what takes long.
        drop(free);
        remain
    }

    /// Whether [`Self::sweep`] may have something to do.
    pub fn has_retired(&self) -> bool {
        !self.retired().is_empty()
    }

    fn retired(&self) -> MutexGuard<'_, Vec<Arc<Serving>>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Verdicts;
    use crate::image::{Image, Options};
    use crate::policy::model::Steering;
    use crate::policy::tree::Forest;

    fn serving() -> Serving {
        let image = Image::compile(
            &[],
            &[],
            Forest::without_databases(Steering::default()),
            Options::default(),
            [1, 2],
        );
        Serving::new(Arc::new(image), &Verdicts::default())
    }

    #[test]
    fn what_is_read_is_freed_by_the_publisher_when_its_last_reader_is_gone() {
        let publisher = Publisher::new(serving());
        let shared = publisher.shared();
        let reader = shared.load();
        let image = Arc::downgrade(&reader.image);
        publisher.publish(serving());
        assert!(publisher.sweep(), "it is still read");
        drop(reader);
        assert!(image.upgrade().is_some(), "the reader did not free it");
        assert!(!publisher.sweep());
        assert!(image.upgrade().is_none());
        assert!(!publisher.has_retired());
    }

    #[test]
    fn readers_see_the_new_one_at_once() {
        let publisher = Publisher::new(serving());
        let shared = publisher.shared();
        let next = serving();
        let image = Arc::downgrade(&next.image);
        publisher.publish(next);
        assert!(std::ptr::eq(image.as_ptr(), Arc::as_ptr(&shared.load().image)));
    }
}
