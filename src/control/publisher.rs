//! The only writer of what is served. It also frees what is served no more: a large image takes long to take down, and a thread
//! that answers queries must never be the one to do it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::cookie_secrets::CookieSecrets;
use crate::image::Serving;
use crate::image::tally::{Decision, Tally};
use crate::server::Shared;

/// Publishes what is served and keeps what was until nobody reads it.
#[derive(Debug)]
pub struct Publisher {
    shared: Shared,
    retired: Mutex<Retired>,
    /// How often something was published.
    published: watch::Sender<u64>,
}

/// What was served, and what is to be told of it.
#[derive(Debug)]
struct Retired {
    /// What may still be read.
    servings: Vec<Arc<Serving>>,
    /// Of images that are served no more, but may still be read, and so written to.
    tallies: Vec<Arc<Tally>>,
    /// Of images that nobody reads any more: by name, since ids have died with them.
    counted: BTreeMap<Decision, u64>,
    /// Since when the image is served that is served now.
    image_since: SystemTime,
    /// What cookies are made with, where the settings give no secrets.
    cookie_secrets: CookieSecrets,
}

impl Publisher {
    /// Begins with this.
    pub fn new(mut first: Serving) -> Self {
        let cookie_secrets = CookieSecrets::new(Instant::now());
        first.secrets = first.image.options.secrets.unwrap_or(cookie_secrets.in_force());
        Self {
            shared: Arc::new(ArcSwap::from_pointee(first)),
            retired: Mutex::new(Retired {
                servings: Vec::new(),
                tallies: Vec::new(),
                counted: BTreeMap::new(),
                image_since: SystemTime::now(),
                cookie_secrets,
            }),
            published: watch::Sender::new(0),
        }
    }

    /// What readers load from.
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Serves this from now on. A query that is being answered is answered from what it began with.
    pub fn publish(&self, mut next: Serving) -> Arc<Serving> {
        let mut retired = self.retired();
        next.secrets = (next.image.options.secrets).unwrap_or(retired.cookie_secrets.in_force());
        let next = Arc::new(next);
        let before = self.shared.swap(next.clone());
        if !Arc::ptr_eq(&before.image, &next.image) {
            retired.image_since = SystemTime::now();
            retired.tallies.push(before.image.tally.clone());
        }
        retired.servings.push(before);
        drop(retired);
        self.published.send_modify(|count| *count += 1);
        next
    }

    /// Takes other secrets for cookies into use, if it is time and the settings give none.
    pub fn turn_secrets(&self, now: Instant) {
        let mut retired = self.retired();
        if !retired.cookie_secrets.turn(now) {
            return;
        }
        // Under the lock nothing else is published, so that nothing newer is lost.
        let served = self.shared.load_full();
        if served.image.options.secrets.is_none() {
            let next = served.with(retired.cookie_secrets.in_force());
            retired.servings.push(self.shared.swap(Arc::new(next)));
        }
    }

    /// How often something was published: changes whenever that happens.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Since when the image is served that is served now.
    pub fn image_since(&self) -> SystemTime {
        self.retired().image_since
    }

    /// How often each decision was made that can be made now, over every image since the start.
    pub fn decisions(&self) -> BTreeMap<Decision, u64> {
        // Under the lock no image retires, so that none is counted twice or not at all.
        let retired = self.retired();
        let mut decisions: BTreeMap<Decision, u64> = self.shared.load().image.tally.counts().collect();
        let earlier = retired.tallies.iter().flat_map(|tally| tally.counts());
        let earlier = earlier.chain(
            retired
                .counted
                .iter()
                .map(|(decision, count)| (decision.clone(), *count)),
        );
        add_known(&mut decisions, earlier);
        decisions
    }

    /// Frees what is served no more and read by nobody; says whether something is still read. Called now and then, on a thread
    /// that may take its time.
    pub fn sweep(&self) -> bool {
        let mut retired = self.retired();
        // Only this list and its readers hold a retired one, and nobody becomes a reader of it: who is alone stays alone.
        let (free, read): (Vec<_>, Vec<_>) = retired.servings.drain(..).partition(|one| Arc::strong_count(one) == 1);
        retired.servings = read;
        let remain = !retired.servings.is_empty();
        drop(retired);
        // Now, after the lock is given back: this is what takes long.
        drop(free);
        self.retired().fold(&self.shared);
        remain
    }

    /// Whether [`Self::sweep`] may have something to do.
    pub fn has_retired(&self) -> bool {
        let retired = self.retired();
        !retired.servings.is_empty() || !retired.tallies.is_empty()
    }

    fn retired(&self) -> MutexGuard<'_, Retired> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Retired {
    /// Adds what was counted of images that are gone to what is kept by name. What cannot be decided any more is forgotten, so that names
    /// that come and go do not add up for ever.
    fn fold(&mut self, shared: &Shared) {
        let (gone, read): (Vec<_>, Vec<_>) = self.tallies.drain(..).partition(|one| Arc::strong_count(one) == 1);
        self.tallies = read;
        if gone.is_empty() {
            return;
        }
        let now = shared.load();
        let mut counted: BTreeMap<Decision, u64> =
            now.image.tally.counts().map(|(decision, _)| (decision, 0)).collect();
        let earlier = std::mem::take(&mut self.counted);
        add_known(
            &mut counted,
            earlier.into_iter().chain(gone.iter().flat_map(|tally| tally.counts())),
        );
        self.counted = counted;
    }
}

/// Adds counts to those of the same name.
fn add_known(to: &mut BTreeMap<Decision, u64>, counts: impl Iterator<Item = (Decision, u64)>) {
    for (decision, count) in counts {
        if let Some(sum) = to.get_mut(&decision) {
            *sum += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::health::Verdicts;
    use crate::image::tally::Counting;
    use crate::image::{Image, Options};
    use crate::policy::model::Steering;
    use crate::policy::trace::Ear;
    use crate::policy::tree::Forest;
    use crate::wire::cookie::Secrets;

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

    #[test]
    fn secrets_turn_and_go_on_from_one_serving_to_the_next() {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        let publisher = Publisher::new(serving());
        let in_force = || publisher.shared().load().secrets;
        let first = in_force();
        publisher.publish(serving());
        assert_eq!(in_force(), first);
        let image = publisher.shared().load().image.clone();
        publisher.turn_secrets(Instant::now());
        assert_eq!(in_force(), first, "it is not time");
        publisher.turn_secrets(Instant::now() + DAY);
        let second = in_force();
        assert_ne!(second, first);
        assert!(Arc::ptr_eq(&publisher.shared().load().image, &image));
        publisher.publish(serving());
        assert_eq!(in_force(), second);
        assert!(!publisher.sweep(), "nobody reads what was served");
    }

    #[test]
    fn secrets_of_the_settings_are_in_force_for_as_long_as_they_are_given() {
        let given = Secrets::new([7; 16], &[]);
        let options = Options {
            secrets: Some(given),
            ..Options::default()
        };
        let forest = Forest::without_databases(Steering::default());
        let image = Image::compile(&[], &[], forest, options, [1, 2]);
        let publisher = Publisher::new(Serving::new(Arc::new(image), &Verdicts::default()));
        let in_force = || publisher.shared().load().secrets;
        assert_eq!(in_force(), given);
        publisher.turn_secrets(Instant::now() + Duration::from_secs(48 * 3_600));
        assert_eq!(in_force(), given);
        publisher.publish(serving());
        assert_ne!(in_force(), given);
    }

    /// A steered name whose root is a pool without backends to choose from but one.
    fn steered(name: &str) -> Serving {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("zones")).unwrap();
        let config = folder.path().join("windrose.toml");
        std::fs::write(&config, "").unwrap();
        let zone = format!(
            "[records]\n\"@\".NS = \"ns.example.net.\"\n{name}.steer = \"web\"\n[pools.web]\nbackends = [\"192.0.2.1\"]\n"
        );
        std::fs::write(folder.path().join("zones/example.org.toml"), zone).unwrap();
        let image = crate::control::reload::build(crate::load::load(Some(&config)), 1);
        Serving::new(image, &Verdicts::default())
    }

    fn count(serving: &Serving, times: usize) {
        let mut counting = Counting::new(&serving.image, 0);
        for _ in 0..times {
            counting.steered(0);
            counting.reached(crate::policy::model::NodeId(0), crate::policy::Family::Ipv4);
        }
    }

    #[test]
    fn no_decision_is_lost_when_an_image_retires_or_a_late_reader_counts_in_it() {
        let publisher = Publisher::new(steered("www"));
        let told = || {
            let decisions = publisher.decisions().into_iter();
            decisions
                .map(|(decision, count)| (decision.record, count))
                .collect::<Vec<_>>()
        };
        let www = |count| vec![("www.example.org.".to_owned(), count)];
        let reader = publisher.shared().load_full();
        count(&reader, 3);
        publisher.publish(steered("www"));
        assert_eq!(told(), www(3));
        publisher.sweep();
        count(&reader, 2);
        count(&publisher.shared().load(), 1);
        assert_eq!(told(), www(6), "it is still read, and so still counted");
        drop(reader);
        assert!(!publisher.sweep() && !publisher.has_retired());
        assert_eq!(told(), www(6), "it is gone, and kept by name");
        // The same image under other verdicts is the same image.
        let again = publisher.shared().load().under(&Verdicts::default());
        publisher.publish(again);
        publisher.sweep();
        assert_eq!(told(), www(6));
        publisher.publish(steered("web"));
        publisher.sweep();
        publisher.publish(steered("www"));
        publisher.sweep();
        assert_eq!(told(), www(0), "what is configured no more is forgotten");
    }
}
