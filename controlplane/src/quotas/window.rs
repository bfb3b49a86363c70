//! Window: what came and went in the last ten looks, which are a second apart.
//!
//! Shards are asked at one look and answer before the next one: what they tell there was used
//! between the look at which they were asked and the one before, and took as long as was between
//! those, however late a look was.

use std::time::{Duration, Instant};

use dataplane::control::UsageRow;

/// Looks that a bit rate is measured over.
pub(super) const LOOKS: usize = 10;
/// What is told at the first look was used in about so long.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What a publication carried in less than this is a burst, and no rate.
const MEASURED_AFTER: Duration = Duration::from_secs(2);
/// What a publication carries is not asked for alone at the next look, nor at the one after it.
const BLURRED: u8 = 2;
/// Bits a second that a player is taken to be sent until its stream is measured.
pub(super) const TYPICAL_BPS: u64 = 2_000_000;

/// What was used between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    lasted: Duration,
    /// Bytes of its publisher.
    published: u64,
    /// Bytes to whoever plays.
    sent: u64,
    /// Those of them to players who are told apart, and how long those played together.
    played: u64,
    play_us: u64,
}

/// What was used lately.
#[derive(Debug)]
pub(super) struct Window {
    /// The newest first; those that were not filled yet lasted no time.
    buckets: [Bucket; LOOKS],
    /// What was told since the last look.
    told: Bucket,
    looked: Instant,
    /// How long it was between the last look and the one before.
    lasted: Duration,
    /// Looks since the publication began, and those at which it is not alone in a bucket.
    publication: usize,
    blurred: u8,
}

/// Bits a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rates {
    /// Of publishers.
    pub ingress: u64,
    /// To whoever plays.
    pub egress: u64,
    /// To one player: what its stream carries, or what players are sent if that is more; `None` if
    /// neither is known.
    pub each: Option<u64>,
    /// They are those of a whole window, and no burst.
    pub whole: bool,
}

impl Window {
    pub(super) const fn new(now: Instant) -> Self {
        const EMPTY: Bucket =
            Bucket { lasted: Duration::ZERO, published: 0, sent: 0, played: 0, play_us: 0 };
        Self {
            buckets: [EMPTY; LOOKS],
            told: EMPTY,
            looked: now,
            lasted: LOOK_EVERY,
            publication: 0,
            blurred: BLURRED,
        }
    }

    /// So much was used.
    pub(super) const fn add(&mut self, row: &UsageRow) {
        let (told, used) = (&mut self.told, &row.used);
        told.published = told.published.saturating_add(row.publish_bytes_in);
        told.sent = told.sent.saturating_add(used.bytes_out);
        // Viewers who are not told apart have no time.
        if used.play_us > 0 {
            told.played = told.played.saturating_add(used.bytes_out);
            told.play_us = told.play_us.saturating_add(used.play_us);
        }
    }

    /// What was told since the last look is a bucket from now on.
    pub(super) fn look(&mut self, now: Instant) {
        let lasted =
            std::mem::replace(&mut self.lasted, now.saturating_duration_since(self.looked));
        self.looked = now;
        self.buckets.rotate_right(1);
        self.buckets[0] = Bucket { lasted, ..std::mem::take(&mut self.told) };
        match self.blurred {
            0 => self.publication = (self.publication + 1).min(LOOKS),
            _ => self.blurred -= 1,
        }
    }

    /// A publication begins: what it carries is not what the one before did.
    pub(super) const fn begin_publication(&mut self) {
        (self.publication, self.blurred) = (0, BLURRED);
    }

    /// What was published is as if it had not been.
    pub(super) fn forget_publication(&mut self) {
        self.told.published = 0;
        self.buckets.iter_mut().for_each(|bucket| bucket.published = 0);
        self.begin_publication();
    }

    /// What was published as `other` says is not part of it any more.
    pub(super) fn forget(&mut self, other: &Self) {
        let others = other.buckets.iter().chain([&other.told]);
        for (own, other) in self.buckets.iter_mut().chain([&mut self.told]).zip(others) {
            own.published = own.published.saturating_sub(other.published);
        }
    }

    /// Bytes that were published.
    pub(super) fn published(&self) -> u64 {
        self.sum(LOOKS, |bucket| bucket.published)
    }

    pub(super) fn rates(&self) -> Rates {
        let lasted = |looks: usize| -> Duration {
            self.buckets[..looks].iter().map(|bucket| bucket.lasted).sum()
        };
        let bps = |bytes, lasted: Duration| per_second(bytes, lasted.as_micros());
        let all = lasted(LOOKS);
        let since = lasted(self.publication);
        let carried = bps(self.sum(self.publication, |bucket| bucket.published), since);
        let play_us = self.sum(LOOKS, |bucket| bucket.play_us);
        let to_one = match u128::from(play_us) >= MEASURED_AFTER.as_micros() {
            true => per_second(self.sum(LOOKS, |bucket| bucket.played), play_us.into()),
            false => 0,
        };
        Rates {
            ingress: bps(self.published(), all),
            egress: bps(self.sum(LOOKS, |bucket| bucket.sent), all),
            // Who played what was published before tells nothing of what is published now.
            each: Some(carried.max(to_one)).filter(|&bps| bps > 0 && since >= MEASURED_AFTER),
            whole: self.buckets.iter().all(|bucket| !bucket.lasted.is_zero()),
        }
    }

    fn sum(&self, looks: usize, of: impl Fn(&Bucket) -> u64) -> u64 {
        self.buckets[..looks].iter().map(of).fold(0, u64::saturating_add)
    }
}

fn per_second(bytes: u64, lasted_us: u128) -> u64 {
    let bits_us = u128::from(bytes) * 8_000_000;
    u64::try_from(bits_us.checked_div(lasted_us).unwrap_or(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quotas::tests::used;

    /// A window with a look each second at which `rows` were told before.
    fn looked(
        window: &mut Window,
        from: Instant,
        seconds: std::ops::Range<u64>,
        rows: &[UsageRow],
    ) {
        for second in seconds {
            rows.iter().for_each(|row| window.add(row));
            window.look(from + Duration::from_secs(second));
        }
    }

    #[test]
    fn a_constant_rate_is_read_as_it_is_whatever_rows_and_looks_it_comes_in() {
        let began = Instant::now();
        let mut window = Window::new(began);
        // Many rows a second, and looks that are late.
        let mut now = began;
        for look in 0..200_u64 {
            let lasted = Duration::from_millis(1_000 + (look * 377) % 900);
            let bytes = 240 * u64::try_from(window.lasted.as_millis()).unwrap();
            for row in (0..2).map(|_| used(bytes / 2, 0)).chain((0..300).map(|_| used(0, 1))) {
                window.add(&row);
            }
            now += lasted;
            window.look(now);
            let Rates { ingress, whole, .. } = window.rates();
            assert_eq!(whole, look + 1 >= LOOKS as u64);
            assert!(ingress.abs_diff(1_920_000) < 4_000, "{look}: {ingress}");
        }
        assert!(size_of::<Window>() < 1_024);
    }

    #[test]
    fn a_publication_is_measured_from_its_beginning() {
        let now = Instant::now();
        let mut window = Window::new(now);
        looked(&mut window, now, 1..20, &[used(0, 0)]);
        assert_eq!(window.rates().each, None);
        window.begin_publication();
        // Its first second is not whole.
        looked(&mut window, now, 20..21, &[used(0, 0)]);
        looked(&mut window, now, 21..22, &[used(10_000, 0)]);
        assert_eq!(window.rates().each, None, "that was no second");
        looked(&mut window, now, 22..24, &[used(500_000, 0)]);
        assert_eq!(window.rates().each, Some(4_000_000));
        assert!(window.rates().ingress < 1_000_000, "the window is not full of it");
        // Another one carries less, beside the players of the one before.
        window.begin_publication();
        looked(&mut window, now, 24..26, &[used(100, 0)]);
        assert_eq!(window.rates().each, None);
        looked(&mut window, now, 26..28, &[used(100, 0)]);
        assert_eq!(window.rates().each, Some(800));
    }

    #[test]
    fn a_player_is_sent_what_it_is_sent_in_its_own_time() {
        let now = Instant::now();
        let mut window = Window::new(now);
        let mut played = used(0, 50_000);
        played.used.play_us = 500_000;
        // Viewers without a name are no players.
        looked(&mut window, now, 1..8, &[played, used(0, 1_000_000)]);
        let Rates { egress, each, .. } = window.rates();
        assert_eq!((egress, each), (8_400_000, Some(800_000)));
    }
}
