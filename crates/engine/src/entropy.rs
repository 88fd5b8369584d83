//! Chance: random bytes and the ids made from them.
//!
//! The one thing to know: ids are UUIDv7 made by [`Ids`], strictly increasing within a process, so that "in order of
//! creation" and "in order of id" are the same thing everywhere. They are never derived from secrets.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::clock::Timestamp;

/// A source of random bytes.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills the whole buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// The operating system's generator.
#[derive(Debug, Default)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// Ready at once; the generator seeds itself.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one home of the system's chance"
    )]
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        // A machine that cannot give random bytes must not mint tokens: stop rather than go on.
        self.0
            .fill(buffer)
            .expect("the operating system gives random bytes");
    }
}

/// A reproducible stream, SHA-256 over (seed, counter): for tests and recorded conversations only.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    block: Mutex<u64>,
}

impl SeededEntropy {
    /// The same seed gives the same stream.
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            block: Mutex::new(0),
        }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        let mut block = self.block.lock().expect("no code panics under this lock");
        for chunk in buffer.chunks_mut(32) {
            let digest = Sha256::new()
                .chain_update(self.seed.to_be_bytes())
                .chain_update(block.to_be_bytes())
                .finalize();
            *block += 1;
            chunk.copy_from_slice(&digest[..chunk.len()]);
        }
    }
}

/// Makes UUIDv7 ids that strictly increase within this process.
///
/// 48 bits of milliseconds and 12 bits of `rand_a` form one counter of 1/4096 ms that never stands still
/// (RFC 9562, section 6.2, methods 1 and 3); the remaining 62 bits are random.
#[derive(Debug, Default)]
pub struct Ids(AtomicU64);

impl Ids {
    /// The next id, at or after `now`.
    pub fn next(&self, now: Timestamp, entropy: &dyn Entropy) -> Uuid {
        // Instants before the epoch have no UUIDv7; such a clock still gets increasing ids.
        let micros = u64::try_from(now.as_micros()).unwrap_or(0);
        let wanted = ((micros / 1000) << 12) | ((micros % 1000) * 4096 / 1000);
        let previous = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| {
                Some(wanted.max(last + 1))
            })
            .expect("the closure always returns a value");
        let ticks = wanted.max(previous + 1);
        let mut random = [0_u8; 10];
        entropy.fill(&mut random);
        let fraction = (ticks & 0xfff).to_be_bytes();
        random[0] = fraction[6];
        random[1] = fraction[7];
        let mut bytes = [0_u8; 16];
        bytes[..6].copy_from_slice(&(ticks >> 12).to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        uuid::Builder::from_bytes(bytes)
            .with_version(uuid::Version::SortRand)
            .with_variant(uuid::Variant::RFC4122)
            .into_uuid()
    }
}

/// A random UUIDv4 from the given source, for outward ids that products print in that form.
pub fn random_uuid(entropy: &dyn Entropy) -> Uuid {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_increase_even_when_the_clock_stands_still_or_goes_back() {
        let ids = Ids::default();
        let entropy = SeededEntropy::new(1);
        let now = Timestamp::from_micros(1_767_225_600_000_000).unwrap();
        let earlier = now.checked_add_secs(-60).unwrap();
        let mut last = ids.next(now, &entropy);
        assert_eq!(last.get_version_num(), 7);
        for step in 0..10_000 {
            let at = if step % 2 == 0 { now } else { earlier };
            let next = ids.next(at, &entropy);
            assert!(next > last, "{next} is not after {last}");
            last = next;
        }
    }

    #[test]
    fn the_seed_decides_the_stream() {
        let (mut a, mut b, mut c) = ([0; 70], [0; 70], [0; 70]);
        SeededEntropy::new(7).fill(&mut a);
        SeededEntropy::new(7).fill(&mut b);
        SeededEntropy::new(8).fill(&mut c);
        assert_eq!(a, b);
        assert_ne!(a, c);
    }
}
