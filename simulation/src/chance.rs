//! All chance of a simulation comes from one number.

/// splitmix64.
#[derive(Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for each purpose: one client less does not change what the others do.
    pub fn of(seed: u64, purpose: &str, number: usize) -> Self {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let label = purpose.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
        Self(Self(seed ^ label ^ ((number as u64) << 17)).draw())
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `low..=high`.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % (high.max(low) - low + 1)
    }

    pub fn index(&mut self, count: usize) -> usize {
        self.range(0, count.max(1) as u64 - 1) as usize
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.draw() % 100 < percent
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// Mostly near `low`, sometimes near `high`: short and long times both happen in one schedule.
    pub fn skewed(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low).max(1);
        let bits = 64 - u64::from(span.leading_zeros());
        low + (self.draw() % (1 << self.range(0, bits))).min(span)
    }
}
